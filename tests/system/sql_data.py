"""Rows by the thousand for tests that need a database of some size: made by set-based SQL in seconds, the same each time.

The people of event number n are every third user from a place that depends on n; of them, every eleventh has cancelled, the
first `capacity` others are registered and the rest wait.
"""

import psycopg

FILL = """
insert into turnout.users (id, email, name, department)
select md5('user' || n)::uuid, 'user' || n || '@example.com', 'User ' || n,
       case when n % 25 > 0 then 'Department ' || n % 25 end
from generate_series(1, {users}) n;

insert into turnout.events (id, event_year, title, description, start_datetime, end_datetime, timezone, venue, category,
  status, capacity)
select md5('event' || n)::uuid, extract(year from start_at at time zone 'UTC'),
       case n % 3 when 0 then '全社会議 第' || n || '回' when 1 then 'Workshop no. ' || n else 'Town hall ' || n end,
       repeat('About event ' || n || '. ', 10), start_at, start_at + interval '2 hours', 'Asia/Tokyo',
       case n % 2 when 0 then '東京本社 ' || n % 40 || '階' else 'Room ' || n % 40 end,
       (array['training', 'social', 'sports', 'town-hall'])[1 + n % 4],
       case when start_at < now() then 'completed' when n % 20 = 0 then 'draft' else 'published' end,
       case when n = 1 then 200000 else 20 end
from (
  -- From about two years back to one ahead, evenly.
  select n, date_trunc('day', now()) - interval '680 days' + n * (interval '1040 days' / {events}) as start_at
  from generate_series(1, {events}) n
) places;

insert into turnout.event_organizers (event_id, user_id)
select md5('event' || n)::uuid, md5('user' || 1 + n % 50)::uuid from generate_series(1, {events}) n;

insert into turnout.registrations (event_year, id, event_id, user_id, status, queue_no, department, registered_at,
  seated_at, cancelled_at, last_action_at)
select p.event_year, md5(p.event_id::text || p.user_id)::uuid, p.event_id, p.user_id, p.status, p.place, p.department,
       p.at, case p.status when 'registered' then p.at end, case p.status when 'cancelled' then p.at end, p.at
from (
  select e.event_year, e.id as event_id, u.id as user_id, u.department, k as place,
         e.start_datetime - interval '30 days' + k * interval '1 minute' as at,
         case when k % 11 = 0 then 'cancelled'
              when k - k / 11 <= e.capacity then 'registered' else 'waitlisted' end as status
  from generate_series(1, {events}) n
  join turnout.events e on e.id = md5('event' || n)::uuid and e.status <> 'draft'
  cross join lateral generate_series(1, n % {most}) k
  join turnout.users u on u.id = md5('user' || 1 + (n * 97 + k * 3) % {users})::uuid
) p;

insert into turnout.event_seats (event_id, capacity, registered_count, waitlisted_count, last_queue_no)
select e.id, e.capacity, count(*) filter (where r.status = 'registered'),
       count(*) filter (where r.status = 'waitlisted'), coalesce(max(r.queue_no), 0)
from turnout.events e
left join turnout.registrations r on r.event_id = e.id
where not exists (select from turnout.event_seats s where s.event_id = e.id)
group by e.id;

insert into turnout.event_department_counts (event_id, department, registered, waitlisted)
select r.event_id, coalesce(r.department, ''), count(*) filter (where r.status = 'registered'),
       count(*) filter (where r.status = 'waitlisted')
from turnout.registrations r
where r.status <> 'cancelled'
      and not exists (select from turnout.event_department_counts c where c.event_id = r.event_id)
group by 1, 2;

insert into turnout.outbox (kind, dedupe_key, event_id, registration_id, user_id, generation)
select k.kind, r.id || ':' || k.kind || ':1', r.event_id, r.id, r.user_id, 1
from turnout.registrations r
cross join lateral (select case r.status when 'registered' then 'confirmation' else r.status end) k (kind)
on conflict (dedupe_key) do nothing;

insert into turnout.audit_log (actor_id, action, entity, entity_id, event_id, after, action_id)
select r.user_id, 'registration.' || r.status, 'registration', r.id, r.event_id, jsonb_build_object('status', r.status),
       md5('action' || r.id)::uuid
from turnout.registrations r;
"""


def fill(dsn, users, events, most):
    """Fills a database that has no such rows yet: about `events * most / 2` registrations. `dsn` is the owner's."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        with connection.transaction():
            connection.execute(FILL.format(users=users, events=events, most=most))
        connection.execute("vacuum analyze")
