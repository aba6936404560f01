"""The load generator tells the truth: what it says of latencies and failures, the kill, reload and speed tests stand on."""

import os
import subprocess

import psycopg
import pytest

from loader import MIXES, Loader, generator
from server import free_port
from sql_harness import OWNER, wait_until
from traffic import add_event, pids, stopped

pytestmark = pytest.mark.alone

LIST = "[list]\npath = /api/events?limit=5\n"


@pytest.fixture(scope="module")
def events(postgres, turnout):
    with psycopg.connect(postgres.dsn(turnout.database, OWNER), autocommit=True) as connection:
        return [add_event(connection, 100000, f"Event {number}") for number in range(10)]


def test_a_closed_loop_asks_by_weights_and_registers_for_real(turnout, events, owner):
    with Loader(turnout, events, connections=10) as load:
        load.wait_for_answers(2000)
    report = load.report
    assert report["failed"] == 0 and report["unasked"] == 0, report["failures"]
    assert report["loop"] == "closed" and report["connects"] == 10
    requests = report["requests"]
    assert report["answered"] == sum(one["answered"] for one in requests.values())
    # 45 to 35 of a hundred: chance is far smaller than the difference to 5 and 8.
    assert 0.35 < requests["list"]["answered"] / report["answered"] < 0.55
    assert requests["register"]["statuses"].get("201", 0) > 0 and requests["cancel"]["statuses"]["200"] > 0
    # A 201 made a row or revived one that somebody had given back; what was not given back stands.
    rows, held = owner.execute("select count(*), count(*) filter (where status <> 'cancelled') from turnout.registrations").fetchone()
    made, cancelled = requests["register"]["statuses"]["201"], requests["cancel"]["answered"]
    assert made - cancelled <= held <= rows <= made


@pytest.mark.alone
def test_an_open_loop_keeps_its_rate(turnout):
    with Loader(turnout, people=0, mix=LIST, rate=200, duration="2s") as load:
        report = load.wait()
    assert report["failed"] == 0 and report["never_sent"] == 0
    assert 350 <= report["answered"] <= 401


@pytest.mark.alone
def test_a_pause_is_charged_to_everybody_whom_it_kept_waiting(turnout, capsys):
    """Two connections at 200 a second: of some 200 requests that were due in a second's pause, only two were on their way."""
    with Loader(turnout, people=0, mix=LIST, rate=200, connections=2) as load:
        load.wait_for_answers(100)
        with stopped(pids(turnout, "worker")):
            # Nothing can be answered: the time that matters here is the generator's own.
            with pytest.raises(subprocess.TimeoutExpired):
                load.process.wait(1)
        load.wait_for_answers(200)
    latency, service = load.report["latency_ms"], load.report["service_ms"]
    with capsys.disabled():
        print(f"\n  a pause of 1,000 ms: p90 since due {latency['p90']:.0f} ms, since sent {service['p90']:.0f} ms; most"
              f" {latency['max']:.0f} and {service['max']:.0f}")
    assert load.report["failed"] == 0
    assert latency["max"] > 900 and service["max"] > 900
    # A fifth or more of all requests were due in the pause.
    assert latency["p90"] > 300 and service["p90"] < latency["p90"] / 2


def test_what_fails_is_named_and_what_does_not_is_not(turnout):
    mix = LIST + "[absent]\npath = /api/events/01900000-0000-7000-8000-000000000000\n"
    with Loader(turnout, people=0, mix=mix, connections=2) as load:
        wait_until(lambda: load.failed > 10, "some have failed")
    assert load.report["requests"]["list"]["failed"] == 0 and load.report["requests"]["list"]["answered"] > 0
    absent = load.report["requests"]["absent"]
    assert absent["answered"] == 0 and absent["statuses"] == {"404": absent["failed"]}
    assert load.report["reasons"]["unexpected-status"] == absent["failed"] == load.report["failed"]
    assert "/problems/not-found" in load.report["failures"][0]["detail"]
    with Loader(turnout, people=0, mix=mix + "expect = 404\n", connections=2) as load:
        load.wait_for_answers(100)
    assert load.report["failed"] == 0 and load.report["requests"]["absent"]["answered"] > 0


def test_a_closed_door_is_named(turnout):
    with Loader(turnout, people=0, mix=LIST, connections=1, address=f"127.0.0.1:{free_port()}") as load:
        wait_until(lambda: load.failed > 2, "some have failed")
    assert load.report["reasons"]["refused"] == load.report["failed"] and load.report["answered"] == 0


def test_lost_and_closed_connections_are_told_apart(new_turnout):
    turnout = new_turnout(workers=1)
    with Loader(turnout, people=0, mix=LIST, connections=8) as load:
        load.wait_for_answers(100)
        with stopped(pids(turnout, "worker")):
            turnout.kill("worker")
        load.wait_for_answers(100)
    reasons = load.report["reasons"]
    assert reasons["closed"] + reasons["lost"] == load.report["failed"] and 1 <= load.report["failed"] <= 8
    assert all(0 < failure["port"] < 65536 for failure in load.report["failures"])


@pytest.mark.parametrize("mix, said", [
    ("[list]\nweight = 1\n", "has no path"), ("[list]\npath = /\ntoken = some\n", "expected none, any, kept or each"),
    ("[list]\npath = /\nweight = much\n", "a number"), ("[list]\npath = /{event}\n", "needs --events"),
    ("[list]\npath = /\nweight = 0\n", "no request has a weight"), ("[list]\npath = /\nexpect = often\n", "statuses"), ("[list]\npath = /\nretry = often\n", "statuses"),
    ("[list]\nroad = /\n", "expected weight, method"), (LIST, None)])
def test_a_mix_that_makes_no_sense_is_refused(turnout, tmp_path, mix, said):
    path = tmp_path / "test.mix"
    path.write_text(mix, encoding="utf-8")
    done = subprocess.run([generator(), "--address", f"127.0.0.1:{turnout.port}", "--mix", path, "--duration", "50ms"],
                          capture_output=True, text=True, check=False, timeout=20, env=os.environ)
    assert (done.returncode, said or "") == ((64, said) if said else (0, "")), done.stderr
    assert said is None or said in done.stderr




EACH = """[register]
method = POST
path = /api/registrations
token = each
body = {"event_id":"{event}"}
expect = 200 201 409
retry = 429 503
kinds = yes
"""


def people_of(turnout, emails):
    path = turnout.folder / "people"
    path.write_text("\n".join(turnout.token(email) for email in emails), encoding="utf-8")
    return path


def test_each_person_asks_once_within_the_time_and_the_load_ends_with_the_last_answer(turnout, postgres, tmp_path):
    with psycopg.connect(postgres.dsn(turnout.database, OWNER), autocommit=True) as connection:
        event = add_event(connection, 10, waitlist=False)
    tokens = people_of(turnout, [f"each{number}@example.com" for number in range(30)])
    with Loader(turnout, [event], people=0, mix=EACH, tokens=tokens, requests=30, within="300ms", answers=tmp_path / "answers") as load:
        report = load.wait()
    register = report["requests"]["register"]
    assert report["loop"] == "open" and report["failed"] == report["unanswered"] == register["retries"] == 0, report["failures"]
    assert register["kinds"] == {"201 registered": 10, "409 event-full": 20} and register["not_now"] == {}
    lines = [line.split(" ", 2) for line in (tmp_path / "answers").read_text(encoding="ascii").splitlines()]
    assert sorted(int(number) for number, _, _ in lines) == list(range(30))
    assert [said for _, _, said in lines].count("201 registered") == 10
    # without a number of requests it is the tokens that end
    with Loader(turnout, [event], people=0, mix=EACH, tokens=tokens, connections=4) as load:
        report = load.wait()
    assert report["loop"] == "closed" and report["requests"]["register"]["kinds"] == {"200 registered": 10, "409 event-full": 20}


def test_who_is_told_to_come_back_does_so_after_the_time_that_was_said_until_there_is_a_final_answer(new_turnout, postgres):
    turnout = new_turnout(user_writes=1, user_writes_burst=1)
    with psycopg.connect(postgres.dsn(turnout.database, OWNER), autocommit=True) as connection:
        event = add_event(connection, 10)
    tokens = people_of(turnout, ["hasty@example.com"] * 3)
    with Loader(turnout, [event], people=0, mix=EACH, tokens=tokens, connections=3) as load:
        report = load.wait()
    register = report["requests"]["register"]
    assert report["answered"] == 3 and report["failed"] == report["unanswered"] == 0, report["failures"]
    assert register["kinds"] == {"201 registered": 1, "200 registered": 2}
    assert register["not_now"] == {"429 rate-limited": register["retries"]} and 1 <= register["retries"] < 20
    # from the first attempt on, although each attempt was answered at once
    assert report["latency_ms"]["max"] >= 900
    with Loader(turnout, [event], people=0, mix=EACH.replace("retry = 429 503\n", ""), tokens=tokens, connections=3) as load:
        report = load.wait()
    assert report["requests"]["register"]["statuses"].get("429", 0) >= 1 and report["reasons"]["unexpected-status"] >= 1


@pytest.mark.parametrize("more, said", [(["--within", "1s"], "needs --requests"), (["--answers", "/nowhere/at/all"], "No such file"),
                                        (["--requests", "1", "--within", "10ms"], None)])
def test_options_that_make_no_sense_are_refused(turnout, tmp_path, more, said):
    path = tmp_path / "test.mix"
    path.write_text(LIST, encoding="utf-8")
    done = subprocess.run([generator(), "--address", f"127.0.0.1:{turnout.port}", "--mix", path, *more], capture_output=True, text=True,
                          check=False, timeout=20, env=os.environ)
    assert (done.returncode, said or "") == ((64, said) if said else (0, "")), done.stderr
    assert said is None or said in done.stderr
