"""The demo data: what a newcomer sees first, and what other tests stand on."""

import psycopg
import pytest

from demo import load_demo
from sql_harness import OWNER

COUNTERS = """
select s.event_id
from turnout.event_seats s
left join (
  select event_id, count(*) filter (where status = 'registered') as registered,
         count(*) filter (where status = 'waitlisted') as waitlisted, count(checked_in_at) as checked_in
  from turnout.registrations group by event_id
) r on r.event_id = s.event_id
where (s.registered_count, s.waitlisted_count, s.checked_in_count)
      is distinct from (coalesce(r.registered, 0), coalesce(r.waitlisted, 0), coalesce(r.checked_in, 0))
"""

DEPARTMENTS = """
select event_id, department
from (
  select event_id, department, registered, waitlisted, checked_in
  from turnout.event_department_counts where registered + waitlisted > 0
) d
full join (
  select event_id, coalesce(department, '') as department, count(*) filter (where status = 'registered') as registered,
         count(*) filter (where status = 'waitlisted') as waitlisted, count(checked_in_at) as checked_in
  from turnout.registrations where status <> 'cancelled' group by 1, 2
) r using (event_id, department)
where (d.registered, d.waitlisted, d.checked_in) is distinct from (r.registered, r.waitlisted, r.checked_in)
"""

FINGERPRINT = """
select md5(string_agg(id::text, ',' order by id)) from turnout.users
union all
select md5(string_agg(id || title || venue || (start_datetime at time zone timezone)::time, ',' order by id)) from turnout.events
union all
select md5(string_agg(id || event_id::text || user_id, ',' order by id)) from turnout.registrations
"""


@pytest.fixture(scope="module")
def demo(postgres, make_database):
    dsn = postgres.dsn(make_database(), OWNER)
    load_demo(dsn)
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield connection


def test_counters_equal_rows(demo):
    assert demo.execute(COUNTERS).fetchall() == []
    assert demo.execute(DEPARTMENTS).fetchall() == []


def test_events_are_in_every_state_and_some_are_full_with_people_waiting(demo):
    states = dict(demo.execute("select status, count(*) from turnout.events group by status").fetchall())
    assert set(states) == {"draft", "published", "cancelled", "completed"}
    full, waiting, half_empty, all_events = demo.execute("""
        select count(*) filter (where registered_count = capacity), count(*) filter (where waitlisted_count > 0),
               count(*) filter (where registered_count * 2 <= capacity), count(*) from turnout.event_seats""").fetchone()
    assert full >= waiting > 0
    assert half_empty > all_events / 2
    assert demo.execute("""select count(*) from turnout.event_seats
        where waitlisted_count > 0 and registered_count < capacity""").fetchone() == (0,)


def test_nobody_is_registered_where_the_rules_would_have_refused(demo):
    assert demo.execute("""
        select count(*)
        from turnout.registrations r
        join turnout.events e on e.id = r.event_id
        join turnout.users u on u.id = r.user_id
        where e.status = 'draft' or (u.kind = 'guest' and not e.guests_allowed) or r.registered_at < e.registration_opens_at
           or r.registered_at >= coalesce(e.registration_closes_at, e.start_datetime) or r.registered_at > now()""").fetchone() == (0,)


def test_the_people_of_the_development_tokens_are_there(demo):
    assert demo.execute("""select email, role from turnout.users
        where email in ('participant@example.com', 'organizer@example.com', 'admin@example.com') order by email""").fetchall() == [
            ("admin@example.com", "admin"), ("organizer@example.com", "organizer"), ("participant@example.com", "participant")]
    assert demo.execute("""
        select count(*) > 0
        from turnout.event_organizers o
        join turnout.users u on u.id = o.user_id and u.email = 'organizer@example.com'
        join turnout.events e on e.id = o.event_id and e.status = 'published' and e.start_datetime > now()""").fetchone() == (True,)


def test_the_same_seed_gives_the_same_rows_and_another_seed_others(postgres, make_database, demo):
    prints = []
    for seed in ("turnout", "other"):
        dsn = postgres.dsn(make_database(), OWNER)
        load_demo(dsn, seed=seed)
        with psycopg.connect(dsn) as connection:
            prints.append(connection.execute(FINGERPRINT).fetchall())
    assert prints[0] == demo.execute(FINGERPRINT).fetchall()
    assert all(same != other for same, other in zip(*prints))


def test_constraints_and_indexes_are_as_the_migrations_made_them(postgres, make_database, demo):
    catalogue = """
        select 'constraint', conrelid::regclass::text, conname::text, pg_get_constraintdef(oid), convalidated::text
        from pg_constraint where connamespace = 'turnout'::regnamespace
        union all
        select 'index', i.indrelid::regclass::text, i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid),
               string_agg(a.attstattarget::text, ',' order by a.attnum)
        from pg_index i join pg_class c on c.oid = i.indexrelid and c.relnamespace = 'turnout'::regnamespace
        join pg_attribute a on a.attrelid = i.indexrelid
        group by i.indrelid, i.indexrelid
        order by 1, 2, 3, 4"""
    with psycopg.connect(postgres.dsn(make_database(), OWNER)) as untouched:
        assert demo.execute(catalogue).fetchall() == untouched.execute(catalogue).fetchall()
