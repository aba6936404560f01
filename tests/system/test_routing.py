"""Commands about one process: @worker N and @scheduler before them."""

import json
import os
import signal

import psycopg
import pytest

from sql_harness import wait_until
from traffic import add_event, stopped


def rows(turnout, *words):
    return json.loads(turnout.ctl("-j", *words).stdout)


@pytest.mark.parametrize("noun", ["processes", "pools", "connections", "memory"])
def test_a_noun_shows_the_one_process_that_was_named(turnout, noun):
    everybody = rows(turnout, "show", noun)
    pids = {row["slot"]: row["pid"] for row in turnout.processes("worker")}
    one = rows(turnout, "@worker", "1", "show", noun)
    assert one and {row["pid"] for row in one} == {pids[1]}
    assert len(one) < len(everybody)


def test_the_scheduler_is_named_without_a_number(turnout):
    assert {row["role"] for row in rows(turnout, "@scheduler", "show", "memory")} == {"scheduler"}
    assert turnout.ctl("@scheduler", "0", "show", "memory", check=False).returncode == 2


def test_a_ping_says_who_answers(turnout):
    assert {(row["role"], row["slot"]) for row in rows(turnout, "ping")} == {("worker", 0), ("worker", 1), ("refresher", 0), ("scheduler", 0)}
    row, = rows(turnout, "@worker", "0", "ping")
    assert row["state"] == "ready" and 0 < row["answered_after_us"] < 30_000_000
    with stopped([row["pid"]]):
        done = turnout.ctl("@worker", "0", "ping", check=False)
        assert done.returncode == 1 and "1 of them did not answer" in done.stderr
        # The others are asked all the same.
        assert turnout.ctl("@worker", "1", "ping").returncode == 0
        assert "1 of them did not answer" in turnout.ctl("ping", check=False).stderr
    assert turnout.ctl("@worker", "0", "ping").returncode == 0


def test_who_is_not_there_is_refused_with_a_status(turnout):
    for words, status, complaint in ((["@worker", "7", "ping"], 1, "there is no worker 7"),
                                     (["@worker", "7", "restart"], 1, "there is no worker 7"),
                                     (["@worker", "99999999999999999999", "ping"], 2, "expected @worker N"),
                                     (["@worker", "ping"], 2, "expected @worker N"),
                                     (["@master", "ping"], 2, "expected @worker N, @refresher, @mailer or @scheduler"),
                                     (["@", "ping"], 2, "expected @worker N"),
                                     (["@worker", "1"], 2, "unknown command"),
                                     (["@worker", "1", "dance"], 2, "unknown command"),
                                     (["@worker", "1", "stop"], 2, "about the whole daemon"),
                                     (["@worker", "1", "reload"], 2, "about the whole daemon"),
                                     (["@worker", "1", "show", "config"], 2, "about the whole daemon"),
                                     (["@worker", "1", "migrate"], 2, "done by turnoutctl itself"),
                                     (["restart"], 2, "about one process"),
                                     (["@worker", "1", "restart", "soon"], 2, "expected: stop [--now], @worker N restart [--now]")):
        done = turnout.ctl(*words, check=False)
        assert (done.returncode, complaint in done.stderr) == (status, True), (words, done)
    assert turnout.ctl("@worker", "1", "ping").returncode == 0


def test_the_log_level_of_one_process_is_its_own(turnout):
    def lines(slot):
        return len(turnout.log_lines("level=debug", "process=worker", f"slot={slot} "))
    before = lines(0), lines(1)
    assert turnout.ctl("@worker", "0", "log-level", "debug").stdout == "log level is debug\n"
    turnout.ctl("ping")

    def said_more():
        turnout.disconnect()
        turnout.get("/api/events")
        return lines(0) > before[0]
    wait_until(said_more, "worker 0 says more")
    assert lines(1) == before[1]
    # What holds for all of them is another thing.
    level, = [row for row in turnout.show("config") if row["name"] == "log_level"]
    assert level["value"] == "info"
    turnout.ctl("@worker", "0", "log-level", "info")


@pytest.mark.parametrize("who", [["@worker", "1"], ["@scheduler"]])
def test_a_process_is_replaced_and_turnoutctl_returns_when_its_successor_serves(turnout, who):
    row, = rows(turnout, *who, "show", "processes")
    said = turnout.ctl(*who, "restart").stdout
    now, = rows(turnout, *who, "show", "processes")
    assert now["state"] == "ready" and now["pid"] != row["pid"] and now["restarts"] == row["restarts"] + 1
    assert said == f"{row['role']} {row['slot']} is process {now['pid']} now, instead of {row['pid']}\n"
    turnout.wait_logged('message="child ended"', f"child={row['pid']}", 'cause="exit status 0"')


def test_a_worker_that_is_replaced_answers_what_it_has_begun(new_turnout, postgres):
    turnout = new_turnout(workers=1)
    with psycopg.connect(postgres.dsn(turnout.database, "postgres")) as holder, \
            psycopg.connect(postgres.dsn(turnout.database, "postgres"), autocommit=True) as observer:
        event = add_event(observer, 10)
        holder.execute("lock table turnout.outbox in exclusive mode")
        body = b'{"event_id":"%s"}' % event.encode()
        client = turnout.connect(30)
        client.sendall(b"POST /api/registrations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer "
                       + turnout.token("one@example.com").encode() + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        wait_until(lambda: observer.execute("select 1 from pg_stat_activity where wait_event_type = 'Lock'"
                                            " and application_name like 'turnout%'").fetchone(), "the statement waits")
        pid, = [row["pid"] for row in turnout.processes("worker")]
        os.kill(pid, signal.SIGTERM)
        # Who comes meanwhile waits for the successor.
        assert rows(turnout, "@worker", "0", "show", "connections")[0]["in_flight"] == 1
        newcomer = turnout.connect(30)
        newcomer.sendall(b"GET /api/events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        holder.rollback()
        answer = client.recv(65536)
        assert answer.startswith(b"HTTP/1.1 201") and b"Connection: close" in answer
        assert newcomer.recv(65536).startswith(b"HTTP/1.1 200")
        client.close()
        newcomer.close()


def test_now_does_not_wait_for_open_requests(new_turnout):
    turnout = new_turnout(workers=1, shutdown_timeout="60s", header_timeout="60s")
    with turnout.connect(60) as stuck:
        stuck.sendall(b"GET /api/events HTTP/1.1\r\n")
        wait_until(lambda: rows(turnout, "show", "connections")[0]["open"] >= 1, "it is connected")
        turnout.ctl("@worker", "0", "restart", "--now", timeout=50)
        assert stuck.recv(1) == b""
    assert turnout.get("/api/events").status == 200


def test_the_table_of_commands_is_printed_for_programs(turnout):
    printed = [line.split("\t") for line in turnout.ctl("--print-commands").stdout.splitlines()]
    assert all(len(fields) == 5 for fields in printed)
    table = {words: (where, whom) for words, _, where, whom, _ in printed}
    assert table["reload"] == ("daemon", "all") and table["restart"] == ("daemon", "one")
    assert table["ping"] == ("daemon", "any") and table["migrate"] == ("here", "all")
    listing = turnout.ctl("--help").stdout
    assert all(f"\n  {words}" in listing for words in table)
