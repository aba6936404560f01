"""The hot cache as operators meet it: the refresher among the processes, what turnoutctl shows and does, /readyz, cache_size."""

import json
import os
import pathlib
import re
import signal
import subprocess
import time

import psycopg
import pytest

import cached
from api import Person
from conftest import run_turnout
from faults import can_trace
from metrics import grown, scrape
from own_redis import OwnRedis
from sql_harness import OWNER, wait_until
from traffic import add_event, is_alive, pids, state_of, stopped, wait_replaced

PING = "200ms"
SLOTS = 5


@pytest.fixture(scope="module")
def daemon(postgres, make_database):
    """Two workers of five that there may be, and pings that a test can wait for."""
    one = run_turnout(postgres, make_database(), workers_max=SLOTS, ping_interval=PING, ping_timeout="2s")
    try:
        yield one.start()
    finally:
        one.remove()


@pytest.fixture(scope="module")
def event(daemon):
    return Person(daemon, "organizer").event(title="For everybody")


def cache(turnout):
    """`show cache`: what is no row by name, and rows by pattern."""
    shown = json.loads(turnout.ctl("-j", "show", "cache").stdout)
    return shown, {row["pattern"]: row for row in shown["rows"]}


def entry(turnout, key):
    """`show cache KEY`; None: there is none."""
    done = turnout.ctl("-j", "show", "cache", key, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else None


def read_until_cached(turnout, event):
    wait_until(lambda: turnout.get(f"/api/events/{event['id']}").status == 200, "everybody may read it")
    return wait_until(lambda: turnout.get(f"/api/events/{event['id']}") and entry(turnout, f"events:{event['id']}"), "it is cached")


# --- a process among others ---


def test_there_is_one_refresher_and_it_says_what_it_is(daemon):
    row, = daemon.processes("refresher")
    assert (row["slot"], row["state"]) == (0, "ready")
    with open(f"/proc/{row['pid']}/cmdline", encoding="utf-8") as title:
        assert title.read().rstrip("\0") == "turnoutd: refresher"
    daemon.wait_logged("process=refresher")
    page = scrape(daemon)
    assert page.sum("processes", role="refresher", state="ready") == 1
    assert page.sum("process_resident_memory_bytes", role="refresher") > 0
    answered, = json.loads(daemon.ctl("-j", "@refresher", "ping").stdout)
    assert answered["role"] == "refresher" and answered["answered_after_us"] > 0


def test_it_is_restarted_when_asked_and_takes_a_log_level_of_its_own(daemon):
    before = pids(daemon, "refresher")[0]
    daemon.ctl("@refresher", "log-level", "debug")
    daemon.ctl("@refresher", "restart")
    after = pids(daemon, "refresher")[0]
    assert after != before and not is_alive(before)
    assert scrape(daemon).sum("cache_distrusted_total") == 0, "who ends in order has written nothing wrong"


@pytest.mark.parametrize("how, cause, distrusted", [
    (signal.SIGKILL, "SIGKILL", 0), pytest.param(signal.SIGSEGV, "SIGSEGV", 1, marks=cached.crashes),
    pytest.param(signal.SIGABRT, "SIGABRT", 1, marks=cached.crashes)])
def test_killed_it_is_back_at_once_and_only_a_crash_costs_what_it_had_written(daemon, event, how, cause, distrusted):
    read_until_cached(daemon, event)
    before, victim = scrape(daemon), pids(daemon, "refresher")[0]
    warned = len(daemon.log_lines("the hot cache is distrusted"))
    os.kill(victim, how)
    successor, = wait_replaced(daemon, "refresher", victim)
    assert grown(daemon, before, "process_restarts_total", role="refresher") == 1
    assert grown(daemon, before, "process_restarts_total", role="refresher", cause=cause) == 1
    assert grown(daemon, before, "cache_distrusted_total") == distrusted
    assert len(daemon.log_lines("the hot cache is distrusted")) - warned == distrusted
    kept, = re.findall(r"entries=(\d+)", "\n".join(daemon.log_lines("the hot cache is open", f"pid={successor} ")))
    assert (int(kept) == 0) == bool(distrusted), kept
    assert daemon.get(f"/api/events/{event['id']}").status == 200


@cached.crashes
def test_from_the_crash_on_nobody_believes_what_it_wrote_and_be_it_that_the_master_does_not_know_yet(daemon, event):
    read_until_cached(daemon, event)
    path, victim = f"/api/events/{event['id']}", pids(daemon, "refresher")[0]
    before = scrape(daemon)
    assert daemon.get(path).status == 200 and grown(daemon, before, "cache_hits_total", pattern="event") == 1
    with stopped([daemon.pid]):
        os.kill(victim, signal.SIGSEGV)
        wait_until(lambda: not is_alive(victim), "it is dead")
        assert daemon.get(path).json()["title"] == "For everybody"
        assert grown(daemon, before, "cache_hits_total", pattern="event") == 1, "PostgreSQL was asked"
    wait_replaced(daemon, "refresher", victim)


def test_one_that_hangs_is_replaced_after_the_ping_time_out_and_readers_do_not_notice(daemon, event):
    read_until_cached(daemon, event)
    before, victim = scrape(daemon), pids(daemon, "refresher")[0]
    with stopped([victim]):
        # Who asks it for something is told what became of it.
        done = daemon.ctl("show", "cache", f"events:{event['id']}", check=False)
        assert done.returncode == 1 and "the refresher ended before it answered" in done.stderr
        assert daemon.get(f"/api/events/{event['id']}").status == 200
        wait_replaced(daemon, "refresher", victim)
    assert grown(daemon, before, "process_restarts_total", role="refresher", cause="unresponsive") == 1
    assert grown(daemon, before, "cache_distrusted_total") == 0
    assert daemon.internal("/readyz").status == 200, "once warm is warm for the life of the daemon"


def test_what_a_dead_worker_was_sending_from_is_free_again(new_turnout, tmp_path):
    """It is stopped between handing an answer to the kernel and letting go of it, and killed there."""
    if not can_trace():
        pytest.skip("strace is missing, or may not attach to a process here")
    turnout = new_turnout(workers=1, ping_interval=PING, ping_timeout="5m")
    made = Person(turnout, "organizer").event()
    read_until_cached(turnout, made)
    calls = "send,sendto,sendmsg"

    def stops_behind_the_answer():
        """False: the first thing that it sent was something else (a pong, a word to PostgreSQL), and it stands still there."""
        victim, = pids(turnout, "worker")
        with subprocess.Popen(["strace", "-o", str(tmp_path / "trace"), "-p", str(victim), "-e", f"trace={calls}",
                               "-e", f"inject={calls}:signal=SIGSTOP:when=1"], stderr=subprocess.DEVNULL) as tracer, turnout.connect(60) as client:
            try:
                wait_until(lambda: re.search(r"TracerPid:\t[1-9]", pathlib.Path(f"/proc/{victim}/status").read_text(encoding="ascii")),
                           "strace is attached")
                client.sendall(f"GET /api/events/{made['id']} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                wait_until(lambda: state_of(victim) in "Tt", "it stands still")
                client.settimeout(0.1)
                try:
                    assert client.recv(65536).startswith(b"HTTP/1.1 200")
                except TimeoutError:
                    return False
                assert cache(turnout)[0]["pins"] == 1
            finally:
                os.kill(victim, signal.SIGKILL)
                tracer.wait(30)
                wait_replaced(turnout, "worker", victim)
        return True
    wait_until(stops_behind_the_answer, "the stop hits the answer", 120)
    assert cache(turnout)[0]["pins"] == 0


# --- who holds what ---


def sockets_of(pid):
    held = set()
    for link in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{link}")
        except FileNotFoundError:
            continue
        if target.startswith("socket:"):
            held.add(target)
    return held


def test_each_worker_up_to_workers_max_has_one_end_of_its_own_and_the_refresher_all_the_others(daemon):
    daemon.ctl("workers", SLOTS)
    try:
        wait_until(lambda: len([row for row in daemon.processes("worker") if row["state"] == "ready"]) == SLOTS, "five workers serve")
        workers = [sockets_of(pid) for pid in pids(daemon, "worker")]
        refresher, scheduler = sockets_of(pids(daemon, "refresher")[0]), sockets_of(pids(daemon, "scheduler")[0])
        master = sockets_of(daemon.pid)
        listeners = set.intersection(*workers)
        assert len(listeners) == 3
        ends = [one & master - listeners for one in workers]
        assert [len(one) for one in ends] == [1] * SLOTS, "one end each"
        assert len(set.union(*ends)) == SLOTS, "and never one of somebody else"
        assert not refresher & set.union(*workers)
        assert len(refresher & master) == SLOTS and not refresher & listeners
        assert not scheduler & master
        # The memory is mapped, and nobody but the master keeps it open.
        for role in ("worker", "refresher", "scheduler"):
            files = [os.readlink(f"/proc/{pid}/fd/{link}") for pid in pids(daemon, role) for link in os.listdir(f"/proc/{pid}/fd")]
            assert not [file for file in files if "turnout-cache" in file]
            maps = [open(f"/proc/{pid}/maps", encoding="utf-8").read() for pid in pids(daemon, role)]
            assert all(("turnout-cache" in text) == (role != "scheduler") for text in maps), role
    finally:
        daemon.ctl("workers", 2)
        wait_until(lambda: len(daemon.processes("worker")) == 2, "two are left")


def test_only_the_refresher_may_write_where_others_read(daemon):
    def writable(pid):
        with open(f"/proc/{pid}/maps", encoding="utf-8") as maps:
            ranges = [line.split()[:2] for line in maps if "turnout-cache" in line]
        sizes = {}
        for span, rights in ranges:
            first, last = (int(end, 16) for end in span.split("-"))
            sizes[rights[:2]] = sizes.get(rights[:2], 0) + last - first
        return sizes.get("r-", 0), sizes.get("rw", 0)
    megabytes = 8 << 20  # cache_size of the harness
    assert writable(pids(daemon, "refresher")[0])[1] > megabytes
    for pid in pids(daemon, "worker"):
        read, written = writable(pid)
        assert read > megabytes and 0 < written < megabytes / 8
    assert writable(daemon.pid)[1] < megabytes / 2, "the master keeps the pages of workers alone"


# --- turnoutctl ---


def test_what_is_read_twice_is_a_hit_and_shown_by_pattern(daemon, event):
    cached.wait_coherent(daemon)
    read_until_cached(daemon, event)
    assert daemon.get("/api/events?limit=91").status == 200, "which nobody has asked for before"
    before, rows_before = cache(daemon)
    for _ in range(10):
        assert daemon.get(f"/api/events/{event['id']}").status == 200
    wait_until(lambda: cache(daemon)[1]["events"]["hits"] == rows_before["events"]["hits"] + 10, "ten more hits are shown")
    wait_until(lambda: cache(daemon)[1]["events"]["oldest"], "the oldest has been looked for")
    shown, rows = cache(daemon)
    assert rows["events"]["entries"] >= 1 and rows["events"]["bytes"] > 0 and rows["events"]["oldest"] is not None
    assert rows["events:list"]["misses"] >= 1 and rows["events:list"]["fills"] >= 1
    assert set(rows) == {"events:list", "events", "stats", "users", "calendars"}
    assert shown["segments_free"] + shown["segments_open"] + shown["segments_sealed"] <= 8 and shown["segments_free"] > 0
    assert shown["pins"] == 0 and shown["generation"] >= before["generation"] > 0
    assert shown["coherent_since"] is not None
    table = daemon.ctl("show", "cache").stdout
    assert re.search(r"^PATTERN +ENTRIES +BYTES +HITS", table) and re.search(r"^segments_free: \d+$", table, re.MULTILINE)


def test_an_entry_is_shown_with_its_header_and_the_body_that_readers_get(daemon, event):
    read_until_cached(daemon, event)
    answer = daemon.get(f"/api/events/{event['id']}")
    shown = entry(daemon, f"events:{event['id']}")
    assert shown["body"].encode() == answer.body
    assert shown["identity"] == f"{len(answer.body)} bytes, ETag {answer.headers['etag']}"
    assert re.fullmatch(r"\d+\.\d+\.\d+", shown["version"]) and shown["rendered"] < shown["expires"]
    text = daemon.ctl("show", "cache", f"events:{event['id']}").stdout
    assert f"body: {shown['body']}" in text
    missing = daemon.ctl("show", "cache", "events:01990000-0000-7000-8000-000000000000", check=False)
    assert missing.returncode == 1 and missing.stderr.startswith("turnoutctl: ")
    assert daemon.ctl("show", "cache", "one", "two", check=False).returncode == 2


def test_an_entry_of_more_than_a_message_comes_whole(daemon, postgres):
    with psycopg.connect(postgres.dsn(daemon.database, OWNER), autocommit=True) as connection:
        for number in range(100):
            add_event(connection, 10, f"{number:03} " + "long " * 50)
    key = "events:list::published:100:"
    wait_until(lambda: daemon.get("/api/events?limit=100").status == 200 and len((entry(daemon, key) or {"body": ""})["body"]) > 40000,
               "the long page is cached")
    shown = wait_until(lambda: entry(daemon, key), "it is shown")
    assert len(json.loads(shown["body"])["events"]) == 100


def test_what_is_dropped_is_gone_until_somebody_reads_it(daemon, event):
    read_until_cached(daemon, event)
    key = f"events:{event['id']}"
    assert daemon.ctl("cache", "drop", "stats:nothing*").returncode == 0
    assert entry(daemon, key) is not None, "another pattern leaves it alone"
    dropped = daemon.ctl("cache", "drop", key[:-1] + "?")
    assert re.search(r"\b1\b", dropped.stdout), dropped.stdout
    assert entry(daemon, key) is None
    before = scrape(daemon)
    assert daemon.get(f"/api/events/{event['id']}").json()["title"] == "For everybody"
    wait_until(lambda: entry(daemon, key), "it is cached again")
    assert grown(daemon, before, "cache_misses_total", pattern="event") >= 1
    assert daemon.ctl("cache", "drop", check=False).returncode == 2


def test_warming_fills_first_pages_again(daemon, event):
    read_until_cached(daemon, event)
    daemon.ctl("cache", "drop", "*")
    assert entry(daemon, "events:list::published:50:") is None
    assert daemon.ctl("cache", "warm").returncode == 0
    assert entry(daemon, "events:list::published:50:") is not None
    assert daemon.ctl("cache", "warm", "now", check=False).returncode == 2


# --- /readyz and the configuration ---


def test_a_daemon_whose_database_is_away_is_not_warm_until_it_has_come(new_turnout, postgres, make_database, tmp_path_factory):
    folder = tmp_path_factory.mktemp("d")
    name = make_database()
    dsn = postgres.dsn(name, "turnout_app")
    there = psycopg.conninfo.conninfo_to_dict(dsn)
    away = psycopg.conninfo.make_conninfo(dsn, host=str(folder))
    turnout = new_turnout(start=False, database=name, workers=1)
    turnout.configure(database=away)
    turnout.start(ready=False)

    def not_ready():
        try:
            answer = turnout.internal("/readyz")
        except OSError:
            return None
        return answer.json()["checks"] if answer.status == 503 else None
    checks = wait_until(not_ready, "/readyz says no")
    assert checks["cache"].startswith("not warm: the database is not reachable")
    socket_name = f".s.PGSQL.{there.get('port', 5432)}"
    os.symlink(os.path.join(there["host"], socket_name), folder / socket_name)
    turnout.wait_ready()
    assert turnout.internal("/readyz").json()["checks"]["cache"] == "ok"


def test_without_a_cache_there_is_no_refresher_and_every_read_asks_postgresql(new_turnout):
    turnout = new_turnout(cache_size="0", workers=1)
    assert [row["role"] for row in turnout.processes()] == ["master", "worker", "scheduler"]
    assert turnout.internal("/readyz").json()["checks"]["cache"] == "ok"
    made = Person(turnout, "organizer").event(title="Uncached")
    before = scrape(turnout)
    assert turnout.get(f"/api/events/{made['id']}").json()["title"] == "Uncached"
    assert grown(turnout, before, "cache_hits_total") == grown(turnout, before, "cache_misses_total") == 0
    for words in (("show", "cache"), ("show", "cache", "events:x"), ("cache", "drop", "*"), ("cache", "warm")):
        done = turnout.ctl(*words, check=False)
        assert done.returncode == 1 and "there is no hot cache: cache_size is 0" in done.stderr, words
    done = turnout.ctl("@refresher", "ping", check=False)
    assert done.returncode == 1 and "there is no refresher 0" in done.stderr


@pytest.mark.parametrize("size, complaint", [("1m", "cache_size: expected 0 or at least 4m"), ("1000000m", "cache_size: not enough memory"),
                                             ("4m", None)])
def test_a_size_that_cannot_be_is_a_bad_start(new_turnout, size, complaint):
    turnout = new_turnout(start=False, cache_size=size, workers=1)
    turnout.start(ready=complaint is None)
    if complaint is None:
        assert turnout.show("config") and len(turnout.processes("refresher")) == 1
    else:
        assert turnout.process.wait(30) == 2
        turnout.wait_logged(complaint)


# --- options at a reload ---


def reload(turnout, **options):
    turnout.configure(**options)
    said = {row["option"]: row["takes_effect"] for row in json.loads(turnout.ctl("-j", "reload").stdout)}
    assert set(options) <= set(said) and set(said.values()) == {"now"}, said


def test_how_the_cache_keeps_up_follows_the_file(new_turnout):
    """changes_poll, coherent_time and fill_timeout; stale_max is in test_cache.py."""
    turnout = new_turnout(workers=1, ping_interval=PING, ping_timeout="5m", coherent_time="10m", changes_poll="1m", fill_timeout="1m")
    made = Person(turnout, "organizer").event()
    read_until_cached(turnout, made)
    before = scrape(turnout)
    reload(turnout, coherent_time="1s", changes_poll="50ms", fill_timeout="100ms")
    wait_until(lambda: grown(turnout, before, "cache_feed_reads_total") >= 5, "changes are read more often than once a minute")
    path = f"/api/events/{made['id']}"
    assert "age" not in turnout.get(path).headers
    with stopped(pids(turnout, "refresher")):
        wait_until(lambda: "age" in turnout.get(path).headers, "it counts as stale sooner than after ten minutes")
        # Nobody fills it: the worker asks PostgreSQL itself, and sooner than after a minute.
        begun = time.monotonic()
        assert turnout.get("/api/events?limit=77").status == 200
        assert time.monotonic() - begun < 30


def test_redis_follows_the_file(new_turnout, tmp_path):
    """redis_password_file and redis_timeout."""
    wrong = tmp_path / "password"
    wrong.touch(mode=0o600)
    wrong.write_text("wrong\n", encoding="ascii")
    with OwnRedis() as redis:
        turnout = new_turnout(workers=1, ping_interval=PING, redis_socket=redis.socket, redis_password_file=wrong, redis_timeout="10s",
                              fill_timeout="1m")
        assert scrape(turnout).sum("redis_available") == 0
        reload(turnout, redis_password_file=redis.password_file)
        wait_until(lambda: scrape(turnout).sum("redis_available") == 1, "Redis takes the password")
        reload(turnout, redis_timeout="20ms")
        before = scrape(turnout)
        with stopped([redis.process.pid]):
            begun = time.monotonic()
            assert turnout.get("/api/events?limit=77").status == 200
            took = time.monotonic() - begun
            wait_until(lambda: grown(turnout, before, "redis_calls_total", result="late") >= 1, "a call has ended in time")
        assert took < 10, "it waited as long as before"
