"""/metrics names causes: why connections were closed, what processes died of, what became of registrations and of statements."""

import signal

import psycopg
import pytest

from api import Person
from conftest import run_turnout
from metrics import grown, scrape
from sql_harness import wait_until
from wire import Wire, get, request

# The gauges are as old as a ping at most.
PING = "50ms"


def wait_grown(turnout, before, count, name, **labels):
    """Waits until the sum has grown by exactly so much; more is wrong."""
    wait_until(lambda: grown(turnout, before, name, **labels) >= count, f"{name} {labels} has grown by {count}")
    assert grown(turnout, before, name, **labels) == count, (name, labels)


@pytest.fixture(scope="module")
def impatient(postgres, make_database):
    """One worker with time-outs that a test can wait for."""
    short = {f"{what}_timeout": "300ms" for what in ("header", "body", "write", "idle")}
    one = run_turnout(postgres, make_database(), workers=1, ping_interval=PING, **short)
    try:
        yield one.start()
    finally:
        one.remove()


def superuser(postgres, turnout):
    return psycopg.connect(postgres.dsn(turnout.database, "postgres"), autocommit=True)


# --- connections ---

def test_a_kept_connection_that_sends_nothing_is_closed_as_idle(impatient):
    before = scrape(impatient)
    with Wire.unix(impatient) as wire:
        wire.send(get("/api/openapi.json"))
        assert wire.answer().status == 200
        assert wire.is_closed()
    wait_grown(impatient, before, 1, "http_connections_closed_total", listener="public", reason="idle-timeout")


@pytest.mark.parametrize("bytes_sent,counted,refusal", [
    (b"", "header-timeout", None),
    (b"GET /api/events HTTP/1.1\r\nHost:", "header-timeout", "header-time"),
    (request("POST", "/api/events", "Content-Length: 10") + b"{", "body-timeout", "body-time"),
    (get("/api/events", "Host: second"), "refused", "host"),
    (get("/api/events", "X: " + "y" * 70000), "refused", "header-size"),
    (get("/api/openapi.json", "Connection: close"), "answered", None),
], ids=["nothing", "half-a-header", "half-a-body", "two-hosts", "too-much-header", "close"])
def test_why_a_connection_was_closed(impatient, bytes_sent, counted, refusal):
    before = scrape(impatient)
    with Wire.unix(impatient) as wire:
        wire.send(bytes_sent)
        wire.rest()
    wait_grown(impatient, before, 1, "http_connections_closed_total", listener="public", reason=counted)
    after = scrape(impatient)
    assert after.sum("http_connections_closed_total", listener="public") - before.sum(
        "http_connections_closed_total", listener="public") == 1
    refusals = after.sum("http_refused_requests_total") - before.sum("http_refused_requests_total")
    assert refusals == (0 if refusal is None else 1)
    if refusal is not None:
        assert after.sum("http_refused_requests_total", problem=refusal) - before.sum("http_refused_requests_total", problem=refusal) == 1


def test_a_client_that_goes_and_one_that_does_not_read(impatient):
    before = scrape(impatient)
    with Wire.unix(impatient) as wire:
        wire.send(get("/api/openapi.json"))
        assert wire.answer().status == 200
    wait_grown(impatient, before, 1, "http_connections_closed_total", listener="public", reason="client")
    with Wire.unix(impatient) as wire:
        wire.bare.setblocking(False)
        try:
            while True:
                wire.bare.send(get("/api/openapi.json"))
        except BlockingIOError:
            pass
        wait_grown(impatient, before, 1, "http_connections_closed_total", listener="public", reason="write-timeout")


def test_open_connections_are_those_accepted_and_not_closed(turnout):
    turnout.disconnect()

    def shown(page):
        accepted, closed = (page.sum(f"http_connections_{what}_total", listener="public") for what in ("accepted", "closed"))
        return accepted - closed, page.sum("http_connections", listener="public")

    wait_until(lambda: shown(scrape(turnout)) == (0, 0), "all connections are closed")
    wires = [Wire.unix(turnout) for _ in range(3)]
    wait_until(lambda: shown(scrape(turnout)) == (3, 3), "three are open")
    for wire in wires:
        wire.bare.close()
    wait_until(lambda: shown(scrape(turnout)) == (0, 0), "all connections are closed again")


def test_a_full_server_says_that_it_stopped_accepting_and_for_whom_it_made_room(new_turnout):
    turnout = new_turnout(workers=1, max_connections=4, ping_interval=PING)
    turnout.disconnect()
    before = scrape(turnout)
    wires = [Wire.unix(turnout) for _ in range(5)]
    # Nobody has been idle for long enough yet; then the first one goes.
    wait_until(lambda: grown(turnout, before, "http_accept_pauses_total", listener="public", reason="full") >= 1, "it is full")
    wait_grown(turnout, before, 1, "http_connections_closed_total", listener="public", reason="room")
    wait_grown(turnout, before, 5, "http_connections_accepted_total", listener="public")
    for wire in wires:
        wire.bare.close()


# --- processes ---

def test_what_workers_died_of(new_turnout):
    turnout = new_turnout(workers=2, ping_interval=PING)
    turnout.disconnect()
    for how, cause in ((signal.SIGTERM, "exit"), (signal.SIGKILL, "SIGKILL"), (signal.SIGABRT, "SIGABRT"), (signal.SIGXCPU, "other-signal")):
        before = scrape(turnout)
        turnout.kill("worker", how=how)
        wait_grown(turnout, before, 1, "process_restarts_total", role="worker", cause=cause)
        assert grown(turnout, before, "process_restarts_total") == 1
        wait_until(lambda: scrape(turnout).sum("processes", role="worker", state="ready") == 2, "both serve again")
    before = scrape(turnout)
    turnout.kill("scheduler")
    wait_grown(turnout, before, 1, "process_restarts_total", role="scheduler", cause="SIGKILL")
    assert scrape(turnout).sum("process_early_deaths_total") == 0


def test_a_worker_that_hangs_is_told_from_one_that_somebody_killed(new_turnout):
    turnout = new_turnout(workers=2, ping_interval=PING, ping_timeout="1s")
    turnout.disconnect()
    turnout.kill("worker", how=signal.SIGSTOP)
    wait_until(lambda: scrape(turnout).sum("process_restarts_total", role="worker", cause="unresponsive") >= 1, "it is counted")
    assert scrape(turnout).sum("process_restarts_total", cause="SIGKILL") == 0


def test_a_worker_that_cannot_start_is_counted_and_shown(new_turnout):
    turnout = new_turnout(workers=2, ping_interval=PING)
    turnout.disconnect()
    keys = turnout.folder / "jwks.json"
    keys.rename(keys.with_suffix(".away"))
    turnout.kill("worker")
    wait_until(lambda: scrape(turnout).sum("process_early_deaths_total", role="worker") >= 1, "an early death is counted")
    wait_until(lambda: scrape(turnout).sum("processes", role="worker", state="backoff") == 1, "one worker is shown waiting")
    page = scrape(turnout)
    assert page.sum("process_restarts_total", role="worker", cause="SIGKILL") == 1
    assert page.sum("process_restarts_total", role="worker", cause="exit") >= 1
    assert page.sum("processes", role="worker", state="ready") == 1
    assert page.sum("workers_wanted") == 2
    keys.with_suffix(".away").rename(keys)
    wait_until(lambda: scrape(turnout).sum("processes", role="worker", state="ready") == 2, "both serve again")


def test_jobs_are_told_with_their_last_success_which_outlives_the_scheduler(turnout):
    wait_until(lambda: scrape(turnout).sum("job_runs_total", job_name="complete-events", result="ok") >= 1, "the job has run")
    before = scrape(turnout)
    moment = before.sum("job_last_success_timestamp_seconds", job_name="complete-events")
    assert moment >= before.sum("start_time_seconds")
    turnout.kill("scheduler")
    wait_until(lambda: grown(turnout, before, "job_runs_total", job_name="complete-events", result="ok") >= 1, "its successor has run it")
    wait_until(lambda: scrape(turnout).sum("job_last_success_timestamp_seconds", job_name="complete-events") > moment, "its moment is told")


def test_reloads_are_counted_and_the_last_one_is_shown(new_turnout):
    turnout = new_turnout(workers=1)
    before = scrape(turnout)
    assert (before.sum("reloads_total"), before.sum("reload_last_succeeded")) == (0, 1)
    assert before.sum("reload_last_success_timestamp_seconds") > 0
    turnout.configure(body_timeout="20s")
    turnout.ctl("reload")
    taken = scrape(turnout)
    assert (taken.sum("reloads_total", result="ok"), taken.sum("reload_last_succeeded")) == (1, 1)
    moment = taken.sum("reload_last_success_timestamp_seconds")
    assert moment > before.sum("reload_last_success_timestamp_seconds")
    turnout.configure(body_timeout="soon")
    assert turnout.ctl("reload", check=False).returncode != 0
    refused = scrape(turnout)
    assert (refused.sum("reloads_total", result="failed"), refused.sum("reload_last_succeeded")) == (1, 0)
    assert refused.sum("reload_last_success_timestamp_seconds") == moment


# --- what was decided ---

def test_registrations_are_counted_by_what_was_decided(turnout):
    organizer, people = Person(turnout, "organizer"), [Person(turnout) for _ in range(4)]
    event = organizer.event(capacity=2, waitlist_limit=1)
    draft = organizer.draft()
    before = scrape(turnout)
    statuses = [person.register(event).status for person in people]
    assert statuses == [201, 201, 201, 409]
    assert people[0].register(event).status == 200
    assert people[0].register(draft).status == 404
    assert organizer.register(draft).status == 409
    # A body that C refuses decides nothing.
    assert people[0].post("/api/registrations", json={}).status == 422
    expected = {"registered": 2, "waitlisted": 1, "full": 1, "existing": 1, "not_found": 1, "not_published": 1}
    for outcome, count in expected.items():
        assert grown(turnout, before, "registrations_total", outcome=outcome) == count, outcome
    assert grown(turnout, before, "registrations_total") == sum(expected.values())


def test_keys_of_writes_are_counted_by_what_became_of_them(turnout):
    organizer, person = Person(turnout, "organizer"), Person(turnout)
    event, other = organizer.event(), organizer.event()
    before = scrape(turnout)
    key = {"Idempotency-Key": '"metrics-1"'}
    assert [person.register(event, headers=key).status for _ in range(3)] == [201, 201, 201]
    assert person.register(other, headers=key).status == 422
    for result, count in (("stored", 1), ("replayed", 2), ("reused", 1), ("in-use", 0)):
        assert grown(turnout, before, "idempotency_keys_total", result=result) == count, result
    # What is given again was decided once.
    assert grown(turnout, before, "registrations_total", outcome="registered") == 1


def test_tokens_are_counted_by_how_they_were_looked_at(new_turnout):
    turnout = new_turnout(workers=1)
    person = Person(turnout)
    assert [person.get("/api/users/me").status for _ in range(3)] == [200, 200, 200]
    assert turnout.get("/api/users/me", token=person.token[:-4] + "AAAA").status == 401
    page = scrape(turnout)
    assert [page.sum("tokens_total", result=result) for result in ("verified", "remembered", "refused")] == [1, 2, 1]


# --- the database ---

def test_statements_that_are_given_up_are_counted_by_why(postgres, new_turnout):
    turnout = new_turnout(workers=1, ping_interval=PING, db_statement_timeout="3s", db_acquire_timeout="500ms")
    organizer = Person(turnout, "organizer")
    events = [organizer.event() for _ in range(2)]
    before = scrape(turnout)
    write = {"role": "worker", "pool": "write"}
    with superuser(postgres, turnout) as holder, holder.transaction():
        holder.execute("lock table turnout.events in access exclusive mode")
        with Wire.unix(turnout) as first, Wire.unix(turnout) as second:
            for wire, event in ((first, events[0]), (second, events[1])):
                wire.send(request("PATCH", f"/api/events/{event['id']}", f"Authorization: Bearer {organizer.token}", "If-Match: *",
                                  "Content-Type: application/json", body=b'{"title":"Held up"}'))
                wait_until(lambda: scrape(turnout).sum("db_connections", state="used", **write) == 1, "the connection is used")
            assert second.answer().problem == "database-unavailable"
            assert first.answer().problem == "overloaded"
    page = scrape(turnout)
    for kind in ("acquire", "statement"):
        assert grown(turnout, before, "db_timeouts_total", kind=kind, **write) == 1, kind
    # The one that was given up unsent is among those that waited.
    assert page.sum("db_acquire_seconds_count", **write) - before.sum("db_acquire_seconds_count", **write) == 2
    assert page.sum("db_acquire_seconds_sum", **write) - before.sum("db_acquire_seconds_sum", **write) >= 0.5
    assert page.sum("db_statement_seconds_count", **write) - before.sum("db_statement_seconds_count", **write) == 1
    assert page.sum("db_statement_seconds_sum", **write) - before.sum("db_statement_seconds_sum", **write) >= 2.9
    page.check_histograms()


def test_a_database_that_goes_is_shown_until_it_is_back(postgres, new_turnout):
    turnout = new_turnout(workers=1, ping_interval=PING)
    assert turnout.get("/api/events").status == 200
    wait_until(lambda: scrape(turnout).sum("db_unreachable_pools") == 0, "all pools have connected")
    before = scrape(turnout)
    with psycopg.connect(postgres.dsn("postgres", "postgres"), autocommit=True) as administrator:
        administrator.execute(f"alter database {turnout.database} with allow_connections false")
        try:
            administrator.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (turnout.database,))
            wait_until(lambda: scrape(turnout).sum("db_unreachable_pools", role="worker") == 3, "all pools of the worker are shown away")
            page = scrape(turnout)
            assert page.sum("db_connections_lost_total", role="worker") - before.sum("db_connections_lost_total", role="worker") >= 2
            assert page.sum("db_connects_total", result="failed") > before.sum("db_connects_total", result="failed")
            assert page.sum("db_connections", state="idle", role="worker") == 0
        finally:
            administrator.execute(f"alter database {turnout.database} with allow_connections true")
    wait_until(lambda: scrape(turnout).sum("db_unreachable_pools") == 0, "all pools are back")
    assert scrape(turnout).sum("db_connects_total", result="ok") > before.sum("db_connects_total", result="ok")
