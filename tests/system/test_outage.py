"""PostgreSQL goes away and comes back under a running turnoutd, which says so, and needs nobody's help."""

import json
import statistics
import threading
import time

import pytest

from journal import Journal, prove
from own_postgres import connect, own_postgres, own_turnout, wait_idle
from sql_harness import wait_until
from traffic import Traffic, add_event, everyday, pids

# PostgreSQL starts five times here; with sanitizers its absence is in test_in_flight.py and test_notify.py.
pytestmark = pytest.mark.nosan

# Seconds within which /readyz must have noticed, either way.
NOTICED = 5


@pytest.fixture(scope="module")
def cluster():
    with own_postgres() as running:
        yield running


@pytest.fixture
def away(cluster):
    """PostgreSQL is started again, whatever a test did."""
    yield cluster
    if not cluster.running:
        cluster.start()


class Looks:
    """Asks /healthz and /readyz again and again; each look is (begun, ended, status, body)."""

    def __init__(self, turnout):
        self.turnout, self.going = turnout, True
        self.ready, self.alive = [], []
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        while self.going:
            for path, found in (("/readyz", self.ready), ("/healthz", self.alive)):
                begun = time.monotonic()
                try:
                    answer = self.turnout.internal(path)
                    found.append((begun, time.monotonic(), answer.status, answer.json()))
                except OSError as error:
                    found.append((begun, time.monotonic(), 0, str(error)))
            time.sleep(0.005)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, error, trace):
        self.going = False
        self.thread.join(30)


def refused_truly(answers):
    """Each refusal during an outage says what it is and when to come again; answers how many there were of each kind."""
    kinds = {}
    for answer in answers:
        problem = json.loads(answer.body)["type"].removeprefix("/problems/")
        kinds[problem] = kinds.get(problem, 0) + 1
        assert int(answer.header("retry-after") or 0) > 0, answer.head
    return kinds


def noting(script, refusals):
    """The script, with every 5xx kept."""
    async def noted(client, number, traffic):
        ask = traffic.ask

        class Noting:
            """The traffic as the script sees it."""
            going = property(lambda self: traffic.going)
            answered = property(lambda self: traffic.answered)

            @staticmethod
            async def ask(*arguments, **keywords):
                answer = await ask(*arguments, **keywords)
                if answer is not None and answer.status >= 500:
                    refusals.append(answer)
                return answer
        await script(client, number, Noting())
    return noted


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_postgresql_is_stopped_and_started_again(away, capsys, mode):
    cluster, refusals = away, []
    with own_turnout(cluster, workers=2, db_acquire_timeout="2s", queue_timeout="3s") as turnout:
        with connect(cluster, turnout) as setup:
            events = [add_event(setup, 1000) for _ in range(40)]
        before = turnout.processes()
        with Looks(turnout) as looks, Traffic(turnout.port, 40, noting(everyday(turnout, events), refusals)) as traffic:
            traffic.wait_for_answers(500)
            assert traffic.failures == [] and {look[2] for look in looks.ready} == {200}
            stopping = time.monotonic()
            cluster.stop(mode)
            stopped = time.monotonic()
            wait_until(lambda: looks.ready[-1][2] == 503, "/readyz says that it is not ready")
            # Long enough for requests to wait in vain, and for reconnecting to back off.
            wait_until(lambda: len(refusals) > 20 and time.monotonic() - stopped > 3, "requests are refused")
            starting = time.monotonic()
            cluster.start()
            started = time.monotonic()
            wait_until(lambda: looks.ready[-1][2] == 200, "/readyz says that it is ready again")
            ready = time.monotonic()
            # Each worker connects by itself; the one that was asked has.
            wait_until(turnout.is_ready, "still ready")
            wait_until(lambda: time.monotonic() - ready > 2.5, "the longest pause between two attempts is over")
            well = time.monotonic()
            traffic.wait_for_answers(500)
        kinds = refused_truly(refusals)
        during = [ended - begun for begun, ended, status, _ in looks.ready if status == 503 and begun > stopped and ended < starting]
        noticed = next(begun for begun, _, status, _ in looks.ready if status == 503) - stopping
        with capsys.disabled():
            print(f"\n  {mode}: away for {starting - stopped:.1f} s; /readyz 503 after {noticed * 1000:.0f} ms, 200 again"
                  f" {(ready - started) * 1000:.0f} ms after the start; refused {kinds};"
                  f" /readyz answers after {statistics.median(during) * 1000:.0f} ms, at most {max(during) * 1000:.0f}")
        assert turnout.processes() and [row["pid"] for row in turnout.processes()] == [row["pid"] for row in before]
        assert {status for _, _, status, _ in looks.alive} == {200}
        # In flight when it stopped, a write may have been done: nothing else is in doubt. Overloaded: who waited behind those.
        assert set(kinds) <= {"database-unavailable", "outcome-unknown", "overloaded"} and kinds.get("outcome-unknown", 0) <= 40, kinds
        assert traffic.lost == []
        assert [failure for failure in traffic.failures if failure[0] > well] == []
        # Who asks wants to know now, not after a time-out.
        assert statistics.median(during) < 0.25
        # Truthful throughout.
        for begun, ended, status, body in looks.ready:
            if ended < stopping or begun > started + NOTICED:
                assert status == 200 and body["status"] == "ready", (begun - stopping, body)
            elif stopped + NOTICED < begun and ended < starting:
                assert status == 503, (begun - stopping, body)
            assert ended - begun < NOTICED, body
            if status == 503:
                assert body["status"] == "not-ready" and body["checks"]["database"] != "ok", body
                assert body["checks"]["workers"].startswith("ok"), body
            if stopped < begun and ended < starting:
                assert status == 503 or begun < stopped + NOTICED


def test_a_restart_within_the_acquire_time_out_fails_no_read_and_leaves_no_registration_in_doubt(away, capsys):
    """What was sent is sent again, what was not waits."""
    cluster = away
    with own_turnout(cluster, workers=2, db_acquire_timeout="30s", queue_timeout="30s") as turnout:
        with connect(cluster, turnout) as setup:
            events = [add_event(setup, 1000) for _ in range(40)]
        with Traffic(turnout.port, 40, everyday(turnout, events)) as traffic:
            took = []
            for mode in ("fast", "immediate"):
                traffic.wait_for_answers(300)
                started = time.monotonic()
                cluster.restart(mode)
                traffic.wait_for_answers(300)
                took.append(time.monotonic() - started)
        with capsys.disabled():
            print(f"\n  {traffic.answered} requests answered; everybody served again {took[0]:.1f} and {took[1]:.1f} s after the stop")
        assert traffic.failures == []


def test_registrations_through_outages_are_what_people_were_told(away, capsys):
    """A rush of 200 for 80 seats while PostgreSQL stops and starts, fast and immediate."""
    cluster = away
    with own_turnout(cluster, workers=2, db_acquire_timeout="1s", db_statement_timeout="2s") as turnout:
        with connect(cluster, turnout) as setup:
            event = add_event(setup, 80)
        journal, over = Journal(turnout, "outage"), []

        async def script(client, number, traffic):
            email = f"outage{number}@example.com"
            while traffic.going or number not in over:
                row = await journal.register_until_decided(client, email, event, read_back=number % 2)
                await journal.cancel(client, email, event, row["id"])
                if not traffic.going:
                    over.append(number)
        with Traffic(turnout.unix_socket, 200, script) as traffic:
            for mode in ("fast", "immediate", "immediate"):
                decided = journal.decided + 150
                wait_until(lambda: journal.decided > decided, "registrations and cancels are decided")  # pylint: disable=cell-var-from-loop
                cluster.stop(mode)
                cluster.start()
        with connect(cluster, turnout) as connection:
            wait_idle(connection, turnout)
            figures = prove(connection, journal, {event: 80})
        with capsys.disabled():
            print(f"\n  {figures['requests']} requests, {figures['actions']} actions, answers {journal.statuses()}")
        assert len(pids(turnout)) == 5 and turnout.log_lines("child died") == []


def test_started_while_postgresql_is_away_it_waits_and_says_so(away):
    cluster = away
    with own_turnout(cluster, start=False, workers=2) as turnout:
        cluster.stop()
        turnout.start(ready=False)

        def answers():
            try:
                return turnout.internal("/readyz")
            except OSError:
                return None
        # The first look may come before the first attempt to connect has failed.
        wait_until(lambda: answers() and answers().json()["checks"]["database"] not in ("ok",), "/readyz answers")
        answer = answers()
        assert answer.status == 503 and "database" in answer.json()["checks"], answer
        assert turnout.internal("/healthz").status == 200
        refused = turnout.get("/api/events")
        assert (refused.status, refused.problem) == (503, "database-unavailable"), refused
        before = turnout.processes()
        cluster.start()
        turnout.wait_ready()
        assert turnout.get("/api/events").status == 200
        assert [row["pid"] for row in turnout.processes()] == [row["pid"] for row in before]
