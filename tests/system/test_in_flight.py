"""A connection to PostgreSQL ends, or waits for a lock, with requests in flight: each is answered with what became of it."""

import concurrent.futures
import contextlib
import os
import signal
import statistics
import time
import uuid

import pytest

from metrics import scrape
from own_postgres import backends, connect, own_postgres, own_turnout, wait_idle
from proxy import Proxy
from sql_harness import wait_until
from traffic import add_event, stopped, wait_replaced

REGISTER = """select outcome, body from turnout.register_many(array[%s]::uuid[], array[%s]::uuid[], array['test'], array[%s]::uuid[],
  array[null]::text[], array[%s]::uuid[], array[%s]::uuid[], false, true)"""
CANCEL = "select outcome, body from turnout.registration_cancel('test', %s, %s, null, %s, false)"
# A write is given up at latest after both together.
TIMES = {"queue_timeout": "1s", "db_acquire_timeout": "1s", "db_statement_timeout": "2s"}


@pytest.fixture(scope="module")
def cluster():
    with own_postgres(tcp=True) as running:
        yield running


@pytest.fixture(scope="module")
def direct(cluster):
    """A turnoutd with one worker, so that all that a test sends meets in one process.

    Over TCP: a backend reads on after its client has died, where over a Unix socket the first answer that it cannot send ends it.
    """
    with own_turnout(cluster, workers=1, through="127.0.0.1", **TIMES) as turnout:
        yield turnout


@pytest.fixture(scope="module")
def proxied(cluster):
    """The same, with a proxy in front of PostgreSQL."""
    with Proxy(cluster.socket, cluster.port) as proxy, own_turnout(cluster, workers=1, through=proxy.folder, **TIMES) as turnout:
        turnout.proxy = proxy
        yield turnout


class Scene:
    """An event, a person who is known already, and a thread for the requests that wait."""

    def __init__(self, cluster, turnout, capacity=10):
        self.cluster, self.turnout = cluster, turnout
        self.database = connect(cluster, turnout)
        self.event = add_event(self.database, capacity)
        self.email = f"{uuid.uuid4()}@example.com"
        self.token = turnout.token(self.email)
        self.user = turnout.get("/api/users/me", token=self.token).json()["id"]
        self.threads = concurrent.futures.ThreadPoolExecutor(8)

    def register(self, event=None, token=None):
        return self.turnout.post("/api/registrations", token=token or self.token, json={"event_id": event or self.event})

    def cancel(self, registration):
        return self.turnout.delete(f"/api/registrations/{registration}", token=self.token)

    def begin(self, function, *arguments, **keywords):
        return self.threads.submit(function, *arguments, **keywords)

    def waiting(self, statement="registration_batch", count=1):
        """Waits until so many of turnout's backends run the statement and wait for a lock; answers their pids."""
        def found():
            rows = backends(self.database, self.turnout, f"wait_event_type = 'Lock' and query like '%%{statement}%%'")
            return len(rows) >= count and [row[0] for row in rows]
        return wait_until(found, f"{statement} waits for a lock")

    def rows(self, event=None):
        return self.database.execute("select id::text, status::text from turnout.registrations where event_id = %s and user_id = %s",
                                     (event or self.event, self.user)).fetchall()

    def actions(self, event=None):
        return [row[0] for row in self.database.execute(
            "select action from turnout.audit_log where event_id = %s and entity = 'registration' order by id",
            (event or self.event,)).fetchall()]

    @contextlib.contextmanager
    def lock(self, table, mode="exclusive"):
        """Holds a lock; the session may do things under it. It ends with `commit` or with the block."""
        with connect(self.cluster, self.turnout) as holder:
            holder.autocommit = False
            holder.execute(f"lock table turnout.{table} in {mode} mode")
            yield holder
            holder.commit()

    def close(self):
        self.threads.shutdown()
        self.database.close()


@pytest.fixture
def scene(cluster, direct):
    made = Scene(cluster, direct)
    yield made
    made.close()


@pytest.fixture
def cut(cluster, proxied):
    """A scene behind the proxy."""
    made = Scene(cluster, proxied)
    yield made
    proxied.proxy.held = proxied.proxy.away = False
    proxied.wait_ready()
    made.close()


# --- backends that are ended ---

def test_reads_in_flight_on_a_terminated_backend_succeed(scene):
    before = scene.turnout.processes()
    for _ in range(3):
        with scene.lock("events", "access exclusive"):
            # Searches and ranges are never cached: each asks PostgreSQL.
            reads = [scene.begin(scene.turnout.get, path) for path in ("/api/events?q=event", "/api/events?from=2020-01-01T00:00:00Z")]
            for pid in scene.waiting("event"):
                assert scene.database.execute("select pg_terminate_backend(%s, 5000)", (pid,)).fetchone()[0]
            # Sent again, and waiting again.
            scene.waiting("event")
        assert [read.result(20).status for read in reads] == [200, 200]
    assert [row["pid"] for row in scene.turnout.processes()] == [row["pid"] for row in before]


@pytest.mark.parametrize("times", [1, 3])
def test_a_registration_in_flight_on_a_terminated_backend_is_answered_with_201_and_made_once(scene, times):
    with scene.lock("outbox"):
        answer = scene.begin(scene.register)
        for _ in range(times):
            pid, = scene.waiting()
            assert scene.database.execute("select pg_terminate_backend(%s, 5000)", (pid,)).fetchone()[0]
        scene.waiting()
        assert scene.rows() == []
    answer = answer.result(20)
    assert answer.status == 201 and answer.json()["status"] == "registered", answer
    assert scene.rows() == [(answer.json()["id"], "registered")]
    assert scene.actions() == ["registration.registered"]


def test_a_cancel_in_flight_on_a_terminated_backend_is_answered_and_done_once(scene):
    registration = scene.register().json()["id"]
    with scene.lock("outbox"):
        answer = scene.begin(scene.cancel, registration)
        pid, = scene.waiting("registration_batch")
        assert scene.database.execute("select pg_terminate_backend(%s, 5000)", (pid,)).fetchone()[0]
        scene.waiting("registration_batch")
    answer = answer.result(20)
    assert answer.status == 200 and answer.json()["status"] == "cancelled", answer
    assert scene.rows() == [(registration, "cancelled")]
    assert scene.actions() == ["registration.registered", "registration.cancelled"]


# --- locks ---

def test_a_locked_event_costs_its_own_requests_503_in_time_and_the_others_nothing(scene):
    other = add_event(scene.database, 10)
    with connect(scene.cluster, scene.turnout) as holder:
        holder.autocommit = False
        holder.execute("select from turnout.event_seats where event_id = %s for update", (scene.event,))
        started = time.monotonic()
        stuck = [scene.begin(scene.register) for _ in range(4)]
        times = []
        while not all(one.done() for one in stuck):
            before = time.monotonic()
            registered = scene.register(other)
            assert registered.status in (200, 201), registered
            times.append(time.monotonic() - before)
        took = time.monotonic() - started
        for refused in stuck:
            refused = refused.result()
            assert (refused.status, refused.problem) == (503, "overloaded"), refused
            assert int(refused.headers["retry-after"]) >= 1
        assert 0.9 < took < 5, f"queue_timeout is 1 s, the answer took {took:.1f} s"
        # Who waited for the row would do so for as long as they.
        assert len(times) > 5 and statistics.median(times) < 0.3 and max(times) < 0.9, f"another event waited: {max(times):.3f} s of {len(times)}"
        assert scene.rows() == []
    # Its accepted twin: the lock is gone.
    assert scene.register().status == 201


# --- connections that are cut ---

@pytest.mark.parametrize("moment", ["before", "during", "after"])
def test_a_registration_whose_connection_is_cut_is_answered_with_201_and_made_once(cut, moment):
    proxy = cut.turnout.proxy
    for times in (1, 2):
        event = add_event(cut.database, 10)
        proxy.cut("registration_batch", moment, times)
        answer = cut.register(event)
        assert len(proxy.fired) == times, "no connection was cut: the test shows nothing"
        assert answer.status == 201 and answer.json()["status"] == "registered", answer
        assert answer.headers["location"] == f"/api/registrations/{answer.json()['id']}"
        assert cut.rows(event) == [(answer.json()["id"], "registered")]
        assert cut.actions(event) == ["registration.registered"]
        # Without a cut, to ask again is 200.
        assert cut.register(event).status == 200


@pytest.mark.parametrize("moment", ["before", "during", "after"])
def test_a_cancel_whose_connection_is_cut_is_answered_and_done_once(cut, moment):
    registration = cut.register().json()["id"]
    cut.turnout.proxy.cut("registration_batch", moment)
    answer = cut.cancel(registration)
    assert len(cut.turnout.proxy.fired) == 1
    assert answer.status == 200 and answer.json()["status"] == "cancelled", answer
    assert cut.rows() == [(registration, "cancelled")]
    assert cut.actions() == ["registration.registered", "registration.cancelled"]


def test_a_cancel_that_is_sent_again_does_not_cancel_who_has_come_back_meanwhile(cut):
    proxy = cut.turnout.proxy
    registration = cut.register().json()["id"]
    proxy.held = True
    proxy.cut("registration_batch", "after")
    answer = cut.begin(cut.cancel, registration)
    wait_until(lambda: cut.rows() == [(registration, "cancelled")], "the cancel is committed")
    back = cut.database.execute(REGISTER, (uuid.uuid4(), uuid.uuid4(), cut.user, cut.event, cut.user)).fetchone()
    assert back[0] == "registered"
    proxy.held = False
    answer = answer.result(20)
    assert answer.status == 200 and answer.json()["status"] == "cancelled", answer
    assert cut.rows() == [(registration, "registered")]


def test_a_registration_that_is_sent_again_does_not_bring_back_who_has_cancelled_meanwhile(cut):
    proxy = cut.turnout.proxy
    proxy.held = True
    proxy.cut("registration_batch", "after")
    answer = cut.begin(cut.register)
    (registration, _), = wait_until(cut.rows, "the registration is committed")
    assert cut.database.execute(CANCEL, (uuid.uuid4(), cut.user, registration)).fetchone()[0] == "ok"
    proxy.held = False
    answer = answer.result(20)
    assert answer.status == 201 and answer.json()["id"] == registration, answer
    assert cut.rows() == [(registration, "cancelled")]


def test_a_write_that_cannot_be_sent_again_is_answered_with_outcome_unknown(cut):
    organizer = cut.turnout.token("organizer@example.com", role="organizer")
    fields = {"title": "Cut", "start_datetime": "2027-05-01T10:00:00Z", "end_datetime": "2027-05-01T11:00:00Z", "capacity": 5}
    assert cut.turnout.post("/api/events", token=organizer, json=fields).status == 201
    for moment, made in (("before", 0), ("after", 1)):
        title = f"Cut {moment} {uuid.uuid4()}"
        cut.turnout.proxy.cut("event_create", moment)
        answer = cut.turnout.post("/api/events", token=organizer, json={**fields, "title": title})
        assert (answer.status, answer.problem) == (503, "outcome-unknown") and int(answer.headers["retry-after"]) > 0, answer
        assert cut.database.execute("select count(*) from turnout.events where title = %s", (title,)).fetchone()[0] == made


@pytest.mark.parametrize("moment", ["during", "after"])
def test_outcome_unknown_is_the_answer_when_postgresql_stays_away_after_the_cut(cut, moment):
    proxy = cut.turnout.proxy
    proxy.cut("registration_batch", moment)
    proxy.away = True
    started = time.monotonic()
    answer = cut.register()
    took = time.monotonic() - started
    assert proxy.fired and (answer.status, answer.problem) == (503, "outcome-unknown"), answer
    assert int(answer.headers["retry-after"]) > 0
    assert took < 5 * (1 + 2), f"db_acquire_timeout + db_statement_timeout are 3 s, the answer took {took:.1f} s"
    # What was never sent is not in doubt.
    answer = cut.register()
    assert (answer.status, answer.problem) == (503, "database-unavailable"), answer
    proxy.away = False
    cut.turnout.wait_ready()
    wait_idle(cut.database, cut.turnout)
    assert [status for _, status in cut.rows()] == ["registered"]
    # To ask again tells.
    assert cut.register().status == 200


def test_outcome_unknown_is_the_answer_when_the_first_sending_still_waits_and_may_yet_be_done(cut):
    """The connection is cut while the statement waits: PostgreSQL does not notice, and finishes it when it can."""
    registration = cut.register().json()["id"]
    assert cut.cancel(registration).status == 200
    with connect(cut.cluster, cut.turnout) as holder:
        holder.autocommit = False
        # The mail that coming back will owe: who wants to owe it, too, waits for this transaction.
        holder.execute("insert into turnout.outbox (kind, dedupe_key, event_id, registration_id, user_id) values"
                       " ('confirmation', %s, %s, %s, %s)", (f"{registration}:confirmation:2", cut.event, registration, cut.user))
        cut.turnout.proxy.cut("registration_batch", "during")
        answer = cut.register()
        assert cut.turnout.proxy.fired
        assert (answer.status, answer.problem) == (503, "outcome-unknown"), answer
        cut.waiting()
        holder.rollback()
    wait_idle(cut.database, cut.turnout)
    assert cut.rows() == [(registration, "registered")]
    assert cut.register().status == 200


def test_a_lock_that_goes_in_time_leaves_no_doubt(cut):
    proxy = cut.turnout.proxy
    with cut.lock("outbox"):
        proxy.cut("registration_batch", "during")
        answer = cut.begin(cut.register)
        cut.waiting()
        wait_until(lambda: proxy.fired, "the cut")
    answer = answer.result(20)
    assert answer.status == 201, answer
    assert cut.rows() == [(answer.json()["id"], "registered")]
    assert cut.actions() == ["registration.registered"]


# --- orders of a dead worker ---

def killed(turnout):
    victim = turnout.kill("worker")
    wait_replaced(turnout, "worker", victim)


def test_an_order_of_a_dead_worker_revives_nobody_who_has_cancelled_meanwhile(scene):
    """A batch is held by a lock, its worker is killed, the person registers and cancels, and then the batch goes on."""
    with scene.lock("event_seats"):
        lost = scene.begin(scene.register)
        pid, = scene.waiting()
        killed(scene.turnout)
        with pytest.raises(OSError):
            lost.result(20)
        os.kill(pid, signal.SIGSTOP)
    with stopped([pid]):
        registered = scene.register()
        assert registered.status == 201
        assert scene.cancel(registered.json()["id"]).status == 200
    wait_idle(scene.database, scene.turnout)
    assert scene.rows() == [(registered.json()["id"], "cancelled")]
    assert scene.actions() == ["registration.registered", "registration.cancelled"]
    # A new order does bring the person back.
    assert scene.register().status == 201


def test_an_order_that_stood_behind_another_one_of_a_dead_worker_revives_nobody_either(scene):
    """The same, but the order had not begun: it came behind one for another event that was held by the lock."""
    other_event = add_event(scene.database, 10)
    other = scene.turnout.token(f"{uuid.uuid4()}@example.com")
    assert scene.turnout.get("/api/users/me", token=other).status == 200
    with scene.lock("event_seats"):
        lost = [scene.begin(scene.register, other_event, token=other)]
        pid, = scene.waiting()
        lost.append(scene.begin(scene.register))
        wait_until(lambda: scrape(scene.turnout).sum("orders_waiting") == 1, "the second waits for the first")
        killed(scene.turnout)
        for one in lost:
            with pytest.raises(OSError):
                one.result(20)
        os.kill(pid, signal.SIGSTOP)
    with stopped([pid]):
        registered = scene.register()
        assert registered.status == 201
        assert scene.cancel(registered.json()["id"]).status == 200
    wait_idle(scene.database, scene.turnout)
    assert scene.rows() == [(registered.json()["id"], "cancelled")]


def test_a_cancel_of_a_dead_worker_does_not_cancel_who_has_come_back_meanwhile(scene):
    registration = scene.register().json()["id"]
    with scene.lock("event_seats"):
        lost = scene.begin(scene.cancel, registration)
        pid, = scene.waiting("registration_batch")
        killed(scene.turnout)
        with pytest.raises(OSError):
            lost.result(20)
        os.kill(pid, signal.SIGSTOP)
    with stopped([pid]):
        assert scene.cancel(registration).status == 200
        assert scene.register().status == 201
    wait_idle(scene.database, scene.turnout)
    assert scene.rows() == [(registration, "registered")]
    assert scene.cancel(registration).json()["status"] == "cancelled"
