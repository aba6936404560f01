"""Everybody wants a seat at once: what clients were told, against what the database says, without and with deaths on the way."""

import asyncio
import collections
import contextlib
import os
import random
import signal
import time

import psycopg
import pytest

from journal import Journal, prove
from load import run_clients
from own_postgres import backends, connect, own_postgres, own_turnout, wait_idle
from sql_harness import OWNER
from traffic import SCALE, Traffic, add_event, allow_descriptors

# Each is a run of its own. What dies when also depends on time, so the same seed is not the same run.
SEEDS = [int(os.environ.get("TURNOUT_CRASH_SEED", "0")) + number for number in range(max(1, int(SCALE)))]
CLIENTS, SEATS, LEAVING = 2000, 500, 300
KILLS = int(50 * SCALE)


def rush(journal, event, leaving):
    """Everybody registers twice, every other one of them on two connections at once; the first `leaving` cancel afterwards."""
    async def script(client, number):
        email = f"rush{number}@example.com"
        if number % 2:
            first = await journal.register_until_decided(client, email, event)
            second = await journal.register_until_decided(client, email, event)
        else:
            other = type(client)(client.address)
            first, second = await asyncio.gather(journal.register_until_decided(client, email, event),
                                                 journal.register_until_decided(other, email, event))
            other.close()
        assert first["id"] == second["id"], (first, second)
        if number < leaving:
            await journal.cancel_until_decided(client, email, event, first["id"])
    return script


def final_state(connection, event):
    statuses = dict(connection.execute("select status::text, count(*) from turnout.registrations where event_id = %s group by 1",
                                       (event,)).fetchall())
    people = connection.execute("select count(*), count(distinct user_id) from turnout.registrations where event_id = %s",
                                (event,)).fetchone()
    return statuses, people


@pytest.mark.slow
def test_two_thousand_clients_twice_each_fill_five_hundred_seats_exactly(new_turnout, postgres, capsys):
    """2,000 clients register for a 500-seat event through 2 workers, twice each, and 300 cancel."""
    allow_descriptors()
    turnout = new_turnout(workers=2)
    with psycopg.connect(postgres.dsn(turnout.database, OWNER), autocommit=True) as connection:
        event = add_event(connection, SEATS)
        journal = Journal(turnout, "rush")
        start = time.monotonic()
        run_clients(turnout.port, CLIENTS, rush(journal, event, LEAVING))
        took = time.monotonic() - start
        figures = prove(connection, journal, {event: SEATS})
        statuses, people = final_state(connection, event)
    with capsys.disabled():
        print(f"\n  {figures['requests']} requests in {took:.1f} s, answers {journal.statuses()}")
    assert journal.unknown() == []
    assert statuses == {"registered": SEATS, "waitlisted": CLIENTS - SEATS - LEAVING, "cancelled": LEAVING}
    assert people == (CLIENTS, CLIENTS)
    told = [entry.status for entry in journal.entries if entry.kind == "register" and entry.done]
    assert told.count(201) == CLIENTS and told.count(200) == CLIENTS


# --- and again, with deaths ---

class Deaths:
    """Kills workers and PostgreSQL's backends, one at a time, and counts those that hit work in flight."""

    def __init__(self, turnout, cluster, connection, journal, seed):
        self.turnout, self.cluster, self.connection, self.journal = turnout, cluster, connection, journal
        self.random = random.Random(seed)
        self.kills = collections.Counter()
        self.hits = collections.Counter()
        # Requests in flight at each kill: of all clients for a worker, queries for PostgreSQL.
        self.in_flight = []
        self.lost = []

    @property
    def enough(self):
        return sum(self.hits.values()) >= KILLS

    def one(self, kind):
        self.kills[kind] += 1
        with contextlib.suppress(psycopg.OperationalError):
            hit = getattr(self, kind)()
            self.hits[kind] += hit > 0

    def worker(self):
        """kill -9 of a worker that serves. A hit: clients lose connections with a request unanswered, before the next kill."""
        serving = [process["pid"] for process in self.turnout.processes("worker") if process["state"] == "ready"]
        if not serving:
            return 0
        before, in_flight = len(self.journal.lost), self.journal.in_flight
        victim = self.random.choice(serving)
        os.kill(victim, signal.SIGKILL)
        # All of its clients hear of it in the same turn of their loop: over when the number rests, or nobody has heard anything.
        heard, rest = before, time.monotonic() + 0.25
        while victim in self._children() or time.monotonic() < rest:
            time.sleep(0.005)
            if len(self.journal.lost) != heard:
                heard, rest = len(self.journal.lost), time.monotonic() + 0.05
        self.in_flight.append(in_flight)
        self.lost.append(len(self.journal.lost) - before)
        return self.lost[-1]

    def _children(self):
        with open(f"/proc/{self.turnout.pid}/task/{self.turnout.pid}/children", encoding="ascii") as children:
            return [int(pid) for pid in children.read().split()]

    def backend(self):
        """Ends a backend that is at work, in the statement that sees it at work."""
        row = self.connection.execute("""
            select victim.pid, victim.busy, pg_terminate_backend(victim.pid)
            from (
              select pid, count(*) over () as busy from pg_stat_activity
              where datname = %s and application_name like 'turnout%%' and state = 'active'
              order by random() limit 1
            ) victim""", (self.turnout.database,)).fetchone()
        if row is None:
            return 0
        self.in_flight.append(row[1])
        return 1

    def crash(self):
        """kill -9 of a backend at work: PostgreSQL ends all others, too, and recovers."""
        busy = backends(self.connection, self.turnout, "state = 'active'")
        if not busy:
            return 0
        self.in_flight.append(len(busy))
        os.kill(self.random.choice(busy)[0], signal.SIGKILL)
        with contextlib.suppress(psycopg.OperationalError):
            while True:
                self.connection.execute("select 1")
        self.reconnect()
        return 1

    def reconnect(self):
        while True:
            with contextlib.suppress(psycopg.OperationalError):
                self.connection = connect(self.cluster, self.turnout)
                return


def restless(journal, rush_event, events, deaths, rush_over):
    """First the rush; then, until enough has died, some of them come and go at other events."""
    async def script(client, number, traffic):
        email = f"rush{number}@example.com"
        first = await journal.register_until_decided(client, email, rush_event, read_back=number % 2)
        second = await journal.register_until_decided(client, email, rush_event, read_back=number % 2)
        assert first["id"] == second["id"]
        if number < LEAVING:
            await journal.cancel_until_decided(client, email, rush_event, first["id"])
        rush_over.append(number)
        pick = random.Random(number)
        while not deaths.enough and traffic.going and number < 300:
            event = pick.choice(events)
            row = await journal.register_until_decided(client, email, event, read_back=True)
            if pick.random() < 0.7:
                await journal.cancel(client, email, event, row["id"])
    return script


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_rush_with_workers_and_backends_killed_at_random_all_along(capsys, seed):
    """Counts only with 50 kills that hit work in flight. Afterwards every acknowledged answer is true, and nothing else is."""
    with own_postgres() as cluster, own_turnout(cluster, workers=2) as turnout:
        with connect(cluster, turnout) as setup:
            rush_event = add_event(setup, SEATS)
            events = [add_event(setup, capacity) for capacity in (3, 20, 50, 1000)]
        journal = Journal(turnout, "deaths")
        deaths = Deaths(turnout, cluster, connect(cluster, turnout), journal, seed)
        rush_over = []
        start = time.monotonic()
        with Traffic(turnout.unix_socket, CLIENTS, restless(journal, rush_event, events, deaths, rush_over)) as traffic:
            while traffic.thread.is_alive() and not (deaths.enough and len(rush_over) == CLIENTS):
                # Nobody gets anywhere when all die all the time: some requests are decided between two deaths.
                decided = journal.decided + deaths.random.randrange(1, 2 * CLIENTS // KILLS)
                while traffic.thread.is_alive() and (journal.decided < decided or journal.in_flight < 10):
                    time.sleep(0.001)
                crash_due = deaths.kills["crash"] < sum(deaths.kills.values()) // 30
                deaths.one("crash" if crash_due else deaths.random.choice(["worker", "backend"]))
        took = time.monotonic() - start
        deaths.reconnect()
        turnout.wait_ready()
        wait_idle(deaths.connection, turnout)
        figures = prove(deaths.connection, journal, {rush_event: SEATS} | dict(zip(events, (3, 20, 50, 1000))))
        statuses, people = final_state(deaths.connection, rush_event)
        unknown = journal.unknown()
        acted = {row[0] for row in deaths.connection.execute("select distinct request_id from turnout.audit_log").fetchall()}
        resolved = read_back(turnout, journal, deaths.connection, unknown)
        with capsys.disabled():
            print(f"\n  {took:.1f} s, kills {dict(deaths.kills)}, of those with work in flight {dict(deaths.hits)}"
                  f"\n  requests in flight at each kill: {deaths.in_flight}"
                  f"\n  requests lost by each killed worker: {deaths.lost}"
                  f"\n  {figures['requests']} requests, answers {journal.statuses()}"
                  f"\n  unknown: {len(unknown)}, of those done {sum(entry.request_id in acted for entry in unknown)};"
                  f" read back from the API and found as in the database: {resolved}")
        deaths.connection.close()
        obituaries = turnout.log_lines('message="child died"')
        assert len(obituaries) == deaths.kills["worker"], "somebody died whom nobody killed"
        assert all("signal 9 (KILL)" in line for line in obituaries)
    assert deaths.enough, f"only {sum(deaths.hits.values())} kills hit work in flight"
    assert statuses == {"registered": SEATS, "waitlisted": CLIENTS - SEATS - LEAVING, "cancelled": LEAVING}
    assert people == (CLIENTS, CLIENTS)


def read_back(turnout, journal, connection, unknown):
    """Asks the API for each registration whose request got no answer, and compares with the row. Answers how many."""
    pairs = sorted({(entry.email, entry.event) for entry in unknown})
    rows = {(email, str(event)): (str(registration), status) for email, event, registration, status in connection.execute(
        "select u.email, r.event_id, r.id, r.status from turnout.registrations r join turnout.users u on u.id = r.user_id").fetchall()}

    async def script(client, number):
        for email, event in pairs[number::20]:
            row = await journal.mine(client, email, event)
            assert (row and (row["id"], row["status"])) == rows.get((email, event)), (email, event, row)

    run_clients(turnout.port, 20, script)
    return len(pairs)
