"""Hours of everything at once: people, edits, reloads and kills. Descriptors and memory stay what they were.

A short form by default; `make soak` asks for an hour (TURNOUT_SOAK, in seconds).
"""

import os
import random
import statistics
import time

import psycopg
import pytest

from loader import MIXES, Loader
from sql_harness import OWNER, wait_until
from test_leaks import descriptors, is_sanitized, memory
from traffic import add_event, add_user, pids, wait_replaced

SECONDS = float(os.environ.get("TURNOUT_SOAK", "12"))
# Requests a second, and what else happens how often, in seconds.
RATE, EDITS = 100, 5
KILL, RELOAD, SAMPLE = max(1.5, SECONDS / 120), max(2.0, SECONDS / 120), max(0.5, SECONDS / 720)
MOST_KIB = 2048

EDIT = """
[edit]
method = PATCH
path = /api/events/{event}
token = any
header = If-Match: *
body = {"venue":"Room {number}"}
expect = 200
[look]
path = /api/events?limit=100
token = any
[search]
path = /api/events?q=Event+1
"""


class Organizers:
    """The face of a turnoutd whose tokens are those of its events' organizer."""

    def __init__(self, turnout):
        self.folder, self.port = turnout.folder, turnout.port
        self.token = lambda email, **claims: turnout.token("organizer@example.com", role="organizer")


class Disturber:
    """Kills workers other than the first, the scheduler and sessions of PostgreSQL, and reloads, as long as it lasts."""

    def __init__(self, turnout, connection, note):
        self.turnout, self.connection, self.note = turnout, connection, note
        self.chance = random.Random(1)
        self.kills = {"worker": 0, "scheduler": 0, "session": 0}
        self.reloads = 0
        # Descriptors and RSS of those that live throughout, again and again.
        self.samples = []

    def run(self, kept, until):
        next_kill, next_reload = time.monotonic() + KILL, time.monotonic() + RELOAD
        while time.monotonic() < until:
            self.samples.append({pid: (memory(pid), len(os.listdir(f"/proc/{pid}/fd"))) for pid in kept})
            if len(self.samples) % 60 == 0:
                self.note(f"sample {len(self.samples)}: (RSS in KiB, descriptors) of master and worker {list(self.samples[-1].values())};"
                          f" killed {self.kills}, {self.reloads} reloads")
            if time.monotonic() >= next_kill:
                self.kill()
                next_kill = time.monotonic() + KILL
            if time.monotonic() >= next_reload:
                self.turnout.ctl("reload")
                self.reloads += 1
                next_reload = time.monotonic() + RELOAD
            moment = time.monotonic() + SAMPLE
            wait_until(lambda: time.monotonic() >= moment, "the next sample")  # pylint: disable=cell-var-from-loop

    def kill(self):
        what = self.chance.choices(list(self.kills), [6, 1, 3])[0]
        if what == "session":
            self.connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()"
                                    " and application_name like 'turnout %' order by random() limit 1")
        else:
            victim = self.turnout.kill(what, self.chance.randrange(1, 3) if what == "worker" else 0)
            wait_replaced(self.turnout, what, victim)
        self.kills[what] += 1


def quiet(turnout, kept):
    """Descriptors and memory when nobody asks and each pool of a worker has its one connection."""
    wait_until(lambda: all(row["open"] == 0 and row["in_flight"] == 0 for row in turnout.show("connections")), "all have gone")
    wait_until(lambda: all(row["open"] == 1 for row in turnout.show("pools") if row["role"] == "worker"), "all are connected")
    return {pid: (memory(pid), descriptors(pid)) for pid in kept}


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.nosan
def test_descriptors_and_memory_stay_what_they_were(new_turnout, postgres, capsys):
    if is_sanitized():
        pytest.skip("freed memory stays in the sanitizer's quarantine")
    turnout = new_turnout(workers=3, log_level="warning", access_log="no")
    with psycopg.connect(postgres.dsn(turnout.database, OWNER), autocommit=True) as connection:
        add_user(connection, "organizer@example.com")
        events = [add_event(connection, 100_000, f"Event {number}") for number in range(100)]
    kept = [turnout.pid, pids(turnout, "worker")[0]]
    with Loader(turnout, events, connections=30, fresh=10) as load, \
            Loader(Organizers(turnout), events, people=1, mix=EDIT, connections=4) as edits:
        load.wait_for_answers(max(4000, int(SECONDS * 10)), 600)
        edits.wait_for_answers(200)
    before = quiet(turnout, kept)

    def note(line):
        with capsys.disabled():
            print(f"\n  {line}", end="", flush=True)
    with psycopg.connect(postgres.dsn(turnout.database, "postgres"), autocommit=True) as connection:
        disturber = Disturber(turnout, connection, note)
        # They end when they are told to, not before.
        with Loader(turnout, events, connections=30, fresh=10, rate=RATE, mix=MIXES / "everyday.mix", duration="24h") as load, \
                Loader(Organizers(turnout), events, people=1, mix=EDIT, connections=4, rate=EDITS, duration="24h") as edits:
            disturber.run(kept, time.monotonic() + SECONDS)
            load.wait_for_answers(100)
    after = quiet(turnout, kept)
    quarter = max(1, len(disturber.samples) // 4)
    with capsys.disabled():
        print(f"\n  {SECONDS:.0f} s: {load.report['answered']} requests and {edits.report['answered']} edits answered,"
              f" {load.report['failed'] + edits.report['failed']} failed ({load.report['reasons']});"
              f" killed {disturber.kills}; {disturber.reloads} reloads; p99 since due {load.report['latency_ms']['p99']:.1f} ms")
        for name, pid in zip(("master", "worker"), kept):
            early = statistics.median(sample[pid][0] for sample in disturber.samples[:quarter])
            late = statistics.median(sample[pid][0] for sample in disturber.samples[-quarter:])
            print(f"  {name}: RSS {before[pid][0]} KiB, then {after[pid][0]}; under load {early:.0f} (first quarter), {late:.0f} (last);"
                  f" descriptors {len(before[pid][1])} and {len(after[pid][1])}")
    assert sum(disturber.kills.values()) >= 2 and disturber.reloads >= 2
    assert load.report["answered"] > 0.9 * RATE * SECONDS and edits.report["answered"] > 0.8 * EDITS * SECONDS
    # Who was killed held a request or two; a session that died is a write whose outcome nobody knows.
    assert set(load.report["reasons"]) and load.report["failed"] <= 35 * sum(disturber.kills.values())
    assert pids(turnout, "worker")[0] == kept[1], "the worker that was to live has died"
    for pid in kept:
        assert after[pid][1] == before[pid][1]
        assert after[pid][0] - before[pid][0] <= MOST_KIB, f"{pid}: {before[pid][0]} KiB, then {after[pid][0]} KiB"
