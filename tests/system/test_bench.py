"""What the benchmarks compare with is no straw man, and they still run: the short forms of tests/bench."""

import os
import subprocess
import sys

import pytest

import nginx
from server import programs
from sql_harness import TOP

BENCH = TOP / "tests" / "bench"
# What one person's registration leaves in each table, apart from ids of its own and moments.
LEFT = """
    select r.event_year, r.user_id, r.status::text, r.queue_no, r.generation, r.department, r.seated_at is null, r.cancelled_at,
           r.last_action_id is null, s.registered_count, s.waitlisted_count, s.last_queue_no, c.department, c.registered, c.waitlisted,
           o.kind::text, replace(o.dedupe_key, r.id::text, ''), o.user_id, o.generation, o.state::text, a.actor_id, a.action,
           a.entity::text, a.entity_id = r.id, a.before, a.after - array['id', 'event_id', 'registered_at'],
           (select count(*) from turnout.changes ch where ch.key = r.event_id)
    from turnout.registrations r
    join turnout.event_seats s on s.event_id = r.event_id
    left join turnout.event_department_counts c on c.event_id = r.event_id
    left join turnout.outbox o on o.registration_id = r.id
    left join turnout.audit_log a on a.entity_id = r.id
    where r.event_id = bench.event_id(%s)
    order by r.queue_no, a.id, o.id"""
ENGINE = """
    select b.outcome from turnout.registration_batch(array['register'], array[turnout.new_id()], array[turnout.new_id()], array['request'],
      array[bench.person_id(%(person)s)], array['participant'], array[bench.event_id(%(event)s)], array[bench.person_id(%(person)s)],
      false, 0) b"""
HAND_WRITTEN = "select bench.register(%(event)s, %(person)s)"
# Events that differ in what they say to the third person; the same ones again for the other way.
EVENTS = [{"capacity": 5}, {"capacity": 2}, {"capacity": 1, "waitlist_limit": 1}, {"capacity": 2, "waitlist_enabled": False},
          {"capacity": 5, "status": "cancelled"}]


@pytest.fixture(scope="module")
def bench(database):
    with database.connect("postgres") as connection:
        connection.execute((BENCH / "hand_written.sql").read_text(encoding="utf-8"))
        connection.execute("insert into turnout.users (id, email, name, department) select bench.person_id(n), 'person' || n ||"
                           " '@example.com', 'Person ' || n, 'Department' from generate_series(0, 9) n")
        for number, event in enumerate(EVENTS + EVENTS):
            values = {"status": "published", "waitlist_limit": None, "waitlist_enabled": True, **event, "number": number}
            connection.execute("""
                insert into turnout.events (id, event_year, title, start_datetime, end_datetime, status, capacity, waitlist_limit,
                                            waitlist_enabled)
                select bench.event_id(%(number)s), extract(year from at at time zone 'UTC'), 'Event', at, at + interval '1 hour', %(status)s,
                       %(capacity)s, %(waitlist_limit)s, %(waitlist_enabled)s from (select now() + interval '30 days') m (at)""", values)
            connection.execute("insert into turnout.event_seats (event_id, capacity) values (bench.event_id(%(number)s), %(capacity)s)", values)
            connection.execute("insert into turnout.event_organizers (event_id, user_id) values (bench.event_id(%(number)s), bench.person_id(9))",
                               values)
        yield connection


@pytest.mark.parametrize("event", range(len(EVENTS)))
def test_the_transaction_that_pgbench_runs_decides_and_writes_what_the_engine_does(bench, event):
    told, left = [], []
    for statement, number in ((HAND_WRITTEN, event), (ENGINE, len(EVENTS) + event)):
        told.append([bench.execute(statement, {"event": number, "person": person}).fetchone()[0] for person in (1, 2, 3, 2)])
        left.append(bench.execute(LEFT, (number,)).fetchall())
    assert told[0] == told[1]
    assert left[0] == left[1] and bool(left[0]) == ("status" not in EVENTS[event])


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.nosan
@pytest.mark.skipif(nginx.program() is None, reason="nginx is not installed")
def test_a_short_rush_ends_with_everybody_told_what_the_database_says(turnout, capsys):
    command = [sys.executable, BENCH / "rush.py", "--rounds", "1", "--users", "200", "--seats", "50", "--waiting", "100", "--within", "0.5",
               "--calm", "0.1", "--connections", "50"]
    done = subprocess.run(command, env={**os.environ, "TURNOUT_BIN": str(programs())}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=120, check=False)
    with capsys.disabled():
        print("\n" + done.stdout)
    assert done.returncode == 0
    assert "50 times 201 registered" in done.stdout and "100 times 201 waitlisted" in done.stdout and "50 times 409 event-full" in done.stdout
