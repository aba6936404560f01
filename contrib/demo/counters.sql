-- The seats row and the department counters, counted from the registrations that are about to be written, and then these.
-- Seats first, as everywhere: the lock order.

-- The keys and indexes of registrations, and the foreign keys of the department counters, are taken off and put back: that sorts once
-- and checks all rows in one query each, instead of row by row. Their definitions are read from the catalogue.
with parts as (
  select conname::text as name, case contype when 'f' then 3 else 1 end as stage,
         format('alter table %s drop constraint %I', conrelid::regclass, conname) as off,
         format('alter table %s add constraint %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) as on_again
  from pg_constraint
  where conparentid = 0
    and ((conrelid = 'turnout.registrations'::regclass and contype in ('p', 'u', 'f'))
         or (conrelid = 'turnout.event_department_counts'::regclass and contype = 'f'))
  union all
  -- `on only` would leave out the partitions.
  select indexrelid::regclass::text, 2, format('drop index %s', indexrelid::regclass),
         replace(pg_get_indexdef(indexrelid), ' ON ONLY ', ' ON ')
  from pg_index i
  where indrelid = 'turnout.registrations'::regclass
    and not exists (select from pg_constraint c where c.conindid = i.indexrelid and c.contype in ('p', 'u'))
)
select string_agg(off, '; ' order by stage desc, name) as demo_keys_off,
       string_agg(on_again, '; ' order by stage, name) as demo_keys_on
from parts \gset
:demo_keys_off;

insert into turnout.event_seats (event_id, capacity, registered_count, waitlisted_count, checked_in_count, last_queue_no)
select events.id, events.capacity, coalesce(registered, 0), coalesce(waitlisted, 0), coalesce(checked_in, 0), events.joined
from demo_events events
left join (
  select event_number,
         count(*) filter (where status = 'registered') as registered,
         count(*) filter (where status = 'waitlisted') as waitlisted,
         count(checked_in_at) as checked_in
  from demo_registrations
  group by event_number
) as counts on counts.event_number = events.number
order by events.id;

-- '' stands for people without a department.
insert into turnout.event_department_counts (event_id, department, registered, waitlisted, checked_in)
select event_id, coalesce(department, ''),
       count(*) filter (where status = 'registered'),
       count(*) filter (where status = 'waitlisted'),
       count(checked_in_at)
from demo_registrations
where status <> 'cancelled'
group by event_id, coalesce(department, '')
order by event_id, coalesce(department, '');

select format('counters of %s events', count(*)) as demo_step from turnout.event_seats \gset
\ir progress.sql

insert into turnout.registrations
  (event_year, id, event_id, user_id, status, queue_no, department, registered_at, seated_at, cancelled_at, checked_in_at, last_action_at)
select event_year, id, event_id, user_id, status, queue_no, department, registered_at, seated_at, cancelled_at, checked_in_at,
       last_action_at
from demo_registrations
order by registered_at, id;

:demo_keys_on;

select format('%s registrations, %s of them waiting', count(*), count(*) filter (where status = 'waitlisted')) as demo_step
from demo_registrations \gset
\ir progress.sql
