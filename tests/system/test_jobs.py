"""The scheduler's work by the clock: done, recorded, and done again after deaths, locks and outages."""

import datetime
import os
import signal

import pytest

from own_postgres import backends, connect, own_postgres, own_turnout
from sql_harness import wait_until
from traffic import add_event, wait_replaced

# What the jobs do is SQL; the scheduler itself runs with sanitizers in test_audit.py, test_reminders.py and wherever a daemon does.
pytestmark = pytest.mark.nosan

JOBS = {"complete-events", "prune-changes", "prune-idempotency-keys", "prune-outbox", "partitions", "audit"}
QUICK = {"complete_interval": "1s", "prune_interval": "1s", "changes_keep": "1s", "idempotency_keep": "24h",
         "partition_interval": "1s", "audit_interval": "1s", "db_acquire_timeout": "500ms"}


@pytest.fixture(scope="module")
def cluster():
    with own_postgres() as running:
        yield running


@pytest.fixture
def quick(cluster):
    """A turnoutd whose jobs run every second, with a session on its database."""
    with own_turnout(cluster, workers=1, **QUICK) as turnout:
        turnout.database_session = connect(cluster, turnout)
        yield turnout
        turnout.database_session.close()


def value(turnout, statement, parameters=None):
    return turnout.database_session.execute(statement, parameters).fetchone()[0]


def ended_event(turnout):
    event = add_event(turnout.database_session, 10, starts_in="-3 hours")
    turnout.database_session.execute("update turnout.events set end_datetime = now() - interval '1 minute' where id = %s", (event,))
    return event


def status_of(turnout, event):
    return turnout.get(f"/api/events/{event}").json()["status"]


def everything_is_done_once_more(turnout):
    """Makes work for every job and waits until it is done."""
    session = turnout.database_session
    session.execute("insert into turnout.users (id, email, name) values (gen_random_uuid(), 'keys@example.com', 'Keys')"
                    " on conflict do nothing")
    session.execute("""
        insert into turnout.idempotency_keys (user_id, key, request_hash, outcome, created_at)
        select u.id, k.key, '', 'ok', k.at
        from turnout.users u, (values ('old', now() - interval '25 hours'), ('new', now() - interval '23 hours')) k (key, at)
        where u.email = 'keys@example.com'
        on conflict (user_id, key) do update set created_at = excluded.created_at""")
    # Of an event that is not there any more.
    session.execute("insert into turnout.outbox (kind, dedupe_key, event_id, registration_id, user_id)"
                    " select 'reminder', gen_random_uuid() || ':reminder:1', gen_random_uuid(), gen_random_uuid(), gen_random_uuid()")
    ended, running = ended_event(turnout), add_event(session, 10)
    newest = value(turnout, "select max(id) from turnout.changes")
    assert newest is not None, "events have made no changes: the test shows nothing"
    wait_until(lambda: status_of(turnout, ended) == "completed", "the event is completed")
    assert status_of(turnout, running) == "published"
    wait_until(lambda: value(turnout, "select count(*) from turnout.changes where id <= %s", (newest,)) == 0, "changes are pruned")
    wait_until(lambda: value(turnout, "select array_agg(key) from turnout.idempotency_keys") == ["new"], "old keys are pruned")
    wait_until(lambda: value(turnout, "select count(*) from turnout.outbox where kind = 'reminder'") == 0, "old mail is pruned")
    refused = turnout.post("/api/registrations", token=turnout.token("late@example.com"), json={"event_id": ended})
    assert (refused.status, refused.problem) == (409, "event-closed"), refused
    assert turnout.post("/api/registrations", token=turnout.token("late@example.com"), json={"event_id": running}).status == 201


def jobs_done_since(turnout, moment):
    rows = turnout.database_session.execute(
        "select distinct job from turnout.job_runs where outcome = 'done' and started_at > %s", (moment,)).fetchall()
    return {row[0] for row in rows}


def test_events_are_completed_old_rows_pruned_and_each_run_recorded(quick):
    everything_is_done_once_more(quick)
    wait_until(lambda: jobs_done_since(quick, datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)) == JOBS, "all have run")
    completed = value(quick, "select sum(rows) from turnout.job_runs where job = 'complete-events'")
    assert completed == 1
    assert value(quick, "select count(*) from turnout.job_runs where host is null or finished_at < started_at") == 0


def test_partitions_exist_for_the_years_that_the_configuration_names(quick):
    this_year = datetime.datetime.now(datetime.timezone.utc).year
    last = "select max(event_year) from turnout.event_years"
    # 2 and not the default of 3: what is there already stays.
    assert value(quick, last) == this_year + 3
    organizer = quick.token("organizer@example.com", role="organizer")
    fields = {"title": "Far", "capacity": 5, "start_datetime": f"{this_year + 5}-05-01T10:00:00Z",
              "end_datetime": f"{this_year + 5}-05-01T11:00:00Z"}
    assert quick.post("/api/events", token=organizer, json=fields).status == 422
    quick.restart(partition_years=5)
    wait_until(lambda: value(quick, last) == this_year + 5, "partitions are made")
    for parent in ("registrations", "survey_responses"):
        assert value(quick, "select to_regclass(%s) is not null", (f"turnout.{parent}_{this_year + 5}",))
    made = quick.post("/api/events", token=organizer, json=fields)
    assert made.status == 201, made
    assert quick.post(f"/api/events/{made.json()['id']}/publish", token=organizer).status == 200
    registered = quick.post("/api/registrations", token=quick.token("far@example.com"), json={"event_id": made.json()["id"]})
    assert registered.status == 201, registered


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_after_an_outage_all_jobs_go_on_by_themselves(quick, cluster, mode):
    everything_is_done_once_more(quick)
    scheduler = quick.processes("scheduler")[0]["pid"]
    quick.database_session.close()
    cluster.stop(mode)
    wait_until(lambda: all(quick.log_lines("a job failed", f"job={job}") for job in JOBS), "each job has tried in vain")
    cluster.start()
    quick.database_session = connect(cluster, quick)
    back = value(quick, "select now()")
    quick.wait_ready()
    everything_is_done_once_more(quick)
    wait_until(lambda: jobs_done_since(quick, back) == JOBS, "all have run since")
    assert quick.processes("scheduler")[0]["pid"] == scheduler


def test_a_scheduler_that_dies_at_work_leaves_the_work_to_its_successor(quick, cluster):
    with connect(cluster, quick) as holder:
        holder.autocommit = False
        holder.execute("lock table turnout.event_seats in exclusive mode")
        event = ended_event_under(holder)
        holder.execute("select 1")
        wait_until(lambda: backends(quick.database_session, quick, "wait_event_type = 'Lock' and query like '%%complete_ended%%'"),
                   "the job waits for a lock")
        victim = quick.kill("scheduler", how=signal.SIGKILL)
        wait_replaced(quick, "scheduler", victim)
        holder.commit()
    wait_until(lambda: status_of(quick, event) == "completed", "the event is completed")
    assert value(quick, "select count(*) from turnout.audit_log where action = 'event.completed' and entity_id = %s", (event,)) == 1


def ended_event_under(holder):
    event = add_event(holder, 10, starts_in="-3 hours")
    holder.execute("update turnout.events set end_datetime = now() - interval '1 minute' where id = %s", (event,))
    return event


def test_a_job_that_fails_says_so_and_tries_again(quick, cluster):
    """Partitions give up after two seconds when somebody is in the way."""
    quick.configure(partition_years=4)
    with connect(cluster, quick) as holder:
        holder.autocommit = False
        holder.execute("lock table turnout.event_years in exclusive mode")
        quick.restart()
        wait_until(lambda: value(quick, "select count(*) from turnout.job_runs where job = 'partitions' and outcome = 'failed'") > 0,
                   "the failure is recorded")
        assert "lock" in value(quick, "select error from turnout.job_runs where job = 'partitions' and outcome = 'failed' limit 1")
        quick.wait_logged("a job failed", "job=partitions")
        holder.rollback()
    year = datetime.datetime.now(datetime.timezone.utc).year + 4
    wait_until(lambda: value(quick, "select max(event_year) from turnout.event_years") == year, "it succeeds later")


def test_two_hosts_do_the_same_work_once(quick, cluster):
    """Two turnoutd on one database, both with jobs every second."""
    other = type(quick)(quick.options["database"], quick.options["database_owner"], workers=1, **QUICK)
    try:
        other.start()
        events = [ended_event(quick) for _ in range(30)]
        wait_until(lambda: value(quick, "select count(*) from turnout.events where status = 'completed'") == len(events), "completed")
        assert value(quick, "select count(*) from turnout.audit_log where action = 'event.completed'") == len(events)
        everything_is_done_once_more(quick)
        assert value(quick, "select count(*) from turnout.job_runs where outcome = 'failed'") == 0
    finally:
        other.remove()
    assert os.path.exists(quick.configuration_file)


def test_who_stops_it_in_the_middle_of_a_job_of_the_owner_sees_it_end_well(quick):
    session = quick.database_session
    session.execute("select pg_advisory_lock(42)")
    session.execute("create or replace function turnout.ensure_partitions(p_years_ahead integer default 3) returns integer"
                    " language sql as 'select pg_advisory_lock_shared(42); select 0'")
    wait_until(lambda: backends(session, quick, "wait_event = 'advisory'"), "the job waits")
    scheduler = quick.processes("scheduler")[0]["pid"]
    quick.ctl("stop", "--now")
    assert quick.process.wait(10) == 0
    ends = [line for line in quick.log_lines(f"child={scheduler}") if "child ended" in line or "child died" in line]
    assert len(ends) == 1 and 'cause="exit status 0"' in ends[0], ends
    assert not quick.log_lines("broken invariant")
