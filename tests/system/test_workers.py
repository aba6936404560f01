"""The number of workers changes while people use it, and the connections to PostgreSQL stay within what was allowed."""

import contextlib
import os
import signal
import threading
import time

import psycopg
import pytest

from sql_harness import OWNER, wait_until
from traffic import SCALE, Traffic, add_event, everyday, is_alive, pids, wait_replaced

# Numbers of processes and connections; the same code runs with sanitizers in test_crashes.py and test_reload.py.
pytestmark = pytest.mark.nosan

CLIENTS = 60


@pytest.fixture
def events(postgres):
    def make(turnout, count=CLIENTS):
        with psycopg.connect(postgres.dsn(turnout.database, OWNER), autocommit=True) as connection:
            return [add_event(connection, 1000, f"Event {number}") for number in range(count)]
    return make


class Watch:
    """Counts turnout's sessions in pg_stat_activity again and again; `most` is the highest number seen."""

    def __init__(self, postgres, turnout):
        self.connection = psycopg.connect(postgres.dsn(turnout.database, "postgres"), autocommit=True)
        self.most, self.samples, self.going, self.error = 0, 0, True, None
        self.who = []
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        try:
            while self.going:
                rows = self.connection.execute(
                    "select application_name, state, wait_event from pg_stat_activity"
                    " where datname = current_database() and application_name like 'turnout%'").fetchall()
                self.samples += 1
                if len(rows) > self.most:
                    self.most, self.who = len(rows), rows
        except psycopg.Error as error:
            self.error = error

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, error, trace):
        self.going = False
        self.thread.join(30)
        self.connection.close()
        assert self.error is None, self.error


def fill_pools(turnout, send_more):
    """Until every connection that the workers have for reads is at work. Which worker takes a client is chance, and nobody who waits asks again: where
    the first crowd has left one of them with too little to do, more clients come."""
    def full():
        return all(row["open"] == row["max"] <= row["in_flight"] for row in turnout.show("pools")
                   if row["role"] == "worker" and row["pool"] == "read")

    for _ in range(8):
        started = time.monotonic()
        wait_until(lambda: full() or time.monotonic() - started > 2, "a look")  # pylint: disable=cell-var-from-loop
        if full():
            return
        send_more()
    raise AssertionError(f"not all connections are at work: {turnout.show('pools')}")


def set_workers(turnout, count, patience=30):
    """Changes the number and waits until that many serve and nobody else is there."""
    turnout.ctl("workers", count)
    wait_until(lambda: [row["state"] for row in turnout.processes("worker")] == ["ready"] * count, f"{count} workers", patience)


def test_workers_come_and_go_under_load_without_a_failed_request(new_turnout, events, postgres, capsys):
    turnout = new_turnout(workers=2)
    took = []
    with Watch(postgres, turnout) as watch, Traffic(turnout.port, CLIENTS, everyday(turnout, events(turnout))) as traffic:
        for count in (4, 1, 3, 5, 2) * max(1, int(SCALE)):
            traffic.wait_for_answers(300)
            started = time.monotonic()
            set_workers(turnout, count)
            took.append((count, time.monotonic() - started))
            wait_until(turnout.is_ready, "ready with the new number")
        traffic.wait_for_answers(300)
    with capsys.disabled():
        print("\n  " + ", ".join(f"{count} workers after {seconds * 1000:.0f} ms" for count, seconds in took)
              + f"; at most {watch.most} connections in {watch.samples} looks")
    assert traffic.failures == [] and traffic.refused == 0
    assert turnout.log_lines("child died") == []
    # Without db_connections it is 3 per worker + 5, for the number of the moment.
    assert watch.most <= 3 * 5 + 5, watch.who


def test_a_worker_that_leaves_is_not_held_up_by_idle_clients_for_longer_than_the_shutdown_time_out(new_turnout):
    turnout = new_turnout(workers=3, shutdown_timeout="1s")
    idle = [turnout.connect() for _ in range(60)]
    for connection in idle:
        connection.sendall(b"GET /api/events HTTP/1.1\r\nHost: test\r\n\r\n")
    for connection in idle:
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
    leaving = pids(turnout, "worker")[1:]
    set_workers(turnout, 1, patience=10)
    assert not any(is_alive(pid) for pid in leaving)
    # Growing again does not wait for anybody either.
    set_workers(turnout, 3, patience=10)
    for connection in idle:
        connection.close()


def test_a_number_that_db_connections_does_not_carry_is_refused_with_the_reason(new_turnout):
    turnout = new_turnout(workers=2, db_connections=11, workers_max=8)
    refused = turnout.ctl("workers", 3, check=False)
    said = refused.stdout + refused.stderr
    assert refused.returncode == 1 and "db_connections is 11" in said and "14" in said, refused
    for wrong in ("0", "9", "many", "-1"):
        refused = turnout.ctl("workers", "--", wrong, check=False)
        assert refused.returncode != 0 and ("workers_max" in refused.stdout + refused.stderr), refused
    assert len(pids(turnout, "worker")) == 2
    # The accepted twins: fewer, and as many again.
    set_workers(turnout, 1)
    set_workers(turnout, 2)
    turnout.restart(db_connections=14)
    set_workers(turnout, 3)


def test_workers_are_added_only_when_the_others_have_given_up_their_connections(new_turnout, events, postgres):
    """All connections wait for a lock, and so do the new workers. Without the hot cache, in which reads would find what they ask for."""
    allowed = 20
    turnout = new_turnout(workers=2, cache_size="0", db_connections=allowed, db_statement_timeout="30s", db_acquire_timeout="30s")
    people = everyday(turnout, events(turnout))
    with Watch(postgres, turnout) as watch, Traffic(turnout.port, CLIENTS, people) as traffic:
        traffic.wait_for_answers(500)
        with contextlib.ExitStack() as crowd, psycopg.connect(postgres.dsn(turnout.database, "postgres")) as holder:
            holder.execute("lock table turnout.events in access exclusive mode")
            fill_pools(turnout, lambda: crowd.enter_context(Traffic(turnout.port, CLIENTS, people)))
            assert "5" in turnout.ctl("workers", 5).stdout
            asked, looks = time.monotonic(), watch.samples
            wait_until(lambda: time.monotonic() - asked > 1 and watch.samples > looks + 10, "a second passes")
            assert len(pids(turnout, "worker")) == 2
            holder.rollback()
        wait_until(lambda: [row["state"] for row in turnout.processes("worker")] == ["ready"] * 5, "5 workers")
        traffic.wait_for_answers(500)
    assert 10 < watch.most <= allowed, watch.who
    assert traffic.failures == []


def test_connections_to_postgresql_never_exceed_db_connections_whatever_happens(new_turnout, events, postgres, capsys):
    """Workers come, go and are killed while all of them have more to do than connections to do it with."""
    allowed = 20
    turnout = new_turnout(workers=2, db_connections=allowed, workers_max=5)
    kills = 0
    with Watch(postgres, turnout) as watch, \
            Traffic(turnout.unix_socket, 4 * CLIENTS, everyday(turnout, events(turnout, 4 * CLIENTS))) as traffic:
        for count in (5, 1, 4, 2) * max(1, int(SCALE)):
            for role in ("worker", "refresher", "worker", "scheduler"):
                traffic.wait_for_answers(300)
                victim = pids(turnout, role)[0]
                os.kill(victim, signal.SIGKILL)
                kills += 1
                wait_replaced(turnout, role, victim)
            traffic.wait_for_answers(300)
            turnout.ctl("workers", count)
            # Sometimes one dies on the way to another number.
            os.kill(pids(turnout, "worker")[0], signal.SIGKILL)
            kills += 1
            wait_until(lambda: [row["state"] for row in turnout.processes("worker")] == ["ready"] * count, f"{count} workers")  # pylint: disable=cell-var-from-loop
        traffic.wait_for_answers(1000)
        shares = [row["max"] for row in turnout.show("pools")]
    with capsys.disabled():
        print(f"\n  {kills} kills, at most {watch.most} of {allowed} connections in {watch.samples} looks; pools {shares}")
    assert sum(shares) <= allowed
    assert watch.most > 8, "the pools were never full: the test shows nothing"
    assert watch.most <= allowed, watch.who
