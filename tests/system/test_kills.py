"""A worker is killed every 200 ms while people use all of them: only the requests that it held fail."""

import os
import random
import signal
import time

import psycopg
import pytest

from loader import Loader
from sql_harness import OWNER, wait_until
from traffic import add_event, log_moment, peers_of, pids, state_of, wait_replaced

# Seconds of killing; `make proof` asks for the whole minute.
SECONDS = 60 if os.environ.get("TURNOUT_FULL") else 6
EVERY = 0.2
# Milliseconds after which a successor serves, 99 of 100 times.
RESPAWN = 100


def kill_held(turnout, pid):
    """Kills the process. Answers when, and the ports of the clients that it held: between looking and killing it accepts nobody."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: state_of(pid) == "T", "it stands still")
    held = peers_of(pid, turnout.port)
    at = time.time()
    os.kill(pid, signal.SIGKILL)
    return at, held


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.full
def test_only_the_requests_of_the_worker_fail_and_its_successor_serves_at_once(new_turnout, postgres, capsys):
    turnout = new_turnout(workers=4)
    with psycopg.connect(postgres.dsn(turnout.database, OWNER), autocommit=True) as connection:
        events = [add_event(connection, 100000, f"Event {number}") for number in range(20)]
    chance, kills, held = random.Random(20), [], []
    # Some ask for a new connection each time, so that those of a successor come soon.
    with Loader(turnout, events, connections=64, fresh=20) as load:
        load.wait_for_answers(500)
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            begun = time.monotonic()
            # One that serves: a successor that has not begun yet holds nothing that could fail.
            serving = [row["pid"] for row in turnout.processes("worker") if row["state"] == "ready"]
            victim = chance.choice(serving)
            at, peers = kill_held(turnout, victim)
            held.append(peers)
            kills.append((at, victim))
            wait_until(lambda: time.monotonic() - begun >= EVERY, "200 ms have passed")
        load.wait_for_answers(500)
    wait_replaced(turnout, "worker", kills[-1][1])
    report = load.report
    took = respawns(turnout, kills)
    p99 = took[min(len(took) - 1, int(len(took) * 0.99))]
    hit = len([peers for peers in held if peers & {failure["port"] for failure in report["failures"]}])
    with capsys.disabled():
        print(f"\n  {len(kills)} kills in {SECONDS} s, {hit} with requests in flight; {report['answered']} answered,"
              f" {report['failed']} failed of {sum(map(len, held))} on connections held; a successor serves after"
              f" {took[len(took) // 2]:.0f} ms (median), {p99:.0f} ms (p99)")
    # What a killed worker held fails by its connection, and nothing else fails.
    assert {failure["reason"] for failure in report["failures"]} <= {"closed", "lost"}, report["failures"]
    assert {failure["port"] for failure in report["failures"]} <= set().union(*held), report["failures"]
    assert report["failed"] <= sum(map(len, held)) and report["unasked"] == 0
    assert hit >= len(kills) / 3, "too few kills hit a request"
    assert report["requests"]["register"]["answered"] > 0 and report["requests"]["cancel"]["answered"] > 0
    assert len(pids(turnout, "worker")) == 4
    assert p99 < 5 * RESPAWN


def respawns(turnout, kills):
    """Milliseconds from each kill to its slot's next "child serves", sorted."""
    def lines(message):
        return turnout.log_lines(f'message="{message}"', "role=worker")
    deaths = {int(field(line, "child")): int(field(line, "of")) for line in lines("child died")}
    serves = [(log_moment(line), int(field(line, "of"))) for line in lines("child serves")]
    took = []
    for at, victim in kills:
        slot = deaths[victim]
        took.append((min(moment for moment, of in serves if of == slot and moment > at) - at) * 1000)
    return sorted(took)


def field(line, name):
    return line.split(f" {name}=", 1)[1].split(" ", 1)[0]
