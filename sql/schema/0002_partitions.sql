-- Registrations and survey answers, a partition a year, and the function that makes partitions.
--
-- The keys begin with the column that is looked up; event_year comes last because a unique key of a partitioned table has
-- to hold it and because inside one partition it is a constant that tells an index nothing. So the primary key also finds
-- a row by its id alone, one probe per partition.

create table turnout.registrations (
  event_year smallint not null,
  id uuid not null,
  event_id uuid not null,
  user_id uuid not null references turnout.users (id),
  status turnout.registration_status not null,
  -- Taken from event_seats.last_queue_no whenever the person joins; who comes back joins at the end.
  queue_no bigint not null,
  -- How often the person has joined. Mail is owed once per (registration, kind, generation).
  generation integer not null default 1,
  -- The person's department when they joined, null for none: counters need no join, a renamed department rewrites nothing.
  department text,
  -- When the person joined; when they got their seat; when they left; when they came through the door.
  registered_at timestamptz not null,
  seated_at timestamptz,
  cancelled_at timestamptz,
  checked_in_at timestamptz,
  -- The last thing the person did here themselves (joined or cancelled): moment by clock_timestamp(), and the worker's id
  -- of it. An order that began before that moment and arrives after it is an orphan and changes nothing.
  last_action_at timestamptz not null,
  last_action_id uuid,
  primary key (id, event_year),
  unique (event_id, user_id, event_year),
  foreign key (event_year, event_id) references turnout.events (event_year, id),
  check ((status = 'registered') = (seated_at is not null)),
  check ((status = 'cancelled') = (cancelled_at is not null)),
  check (checked_in_at is null or status = 'registered')
) partition by range (event_year);
create index registrations_waitlist_idx on turnout.registrations (event_id, queue_no) where status = 'waitlisted';
create index registrations_user_idx on turnout.registrations (user_id, registered_at, id);

create table turnout.survey_responses (
  event_year smallint not null,
  id uuid not null,
  event_id uuid not null,
  user_id uuid not null references turnout.users (id),
  responses jsonb not null check (jsonb_typeof(responses) = 'object'),
  created_at timestamptz not null default now(),
  primary key (id, event_year),
  unique (event_id, user_id, event_year),
  foreign key (event_year, event_id) references turnout.events (event_year, id)
) partition by range (event_year);
create index survey_responses_user_idx on turnout.survey_responses (user_id);

-- Makes the partitions that are missing, from two years back to p_years_ahead ahead, and answers how many.
-- Only turnout_owner can: it is DDL.
--
-- Locks, each only for the moment of the attaching and given up after two seconds (the caller tries again later):
-- event_years and the parent (share update exclusive: readers and writers go on), then events and users (share row
-- exclusive: their writers wait), for the foreign keys. Created apart and attached, because `create table … partition of`
-- would lock the parent against everybody.
create function turnout.ensure_partitions(p_years_ahead integer default 3) returns integer
language plpgsql
set lock_timeout = '2s'
as $$
declare
  v_this_year integer := extract(year from now() at time zone 'UTC');
  v_year integer;
  v_parent text;
  v_child text;
  v_made integer := 0;
begin
  if p_years_ahead is null or p_years_ahead not between 0 and 100 then
    raise exception 'ensure_partitions: years ahead must be 0 to 100' using errcode = 'invalid_parameter_value';
  end if;
  -- Two hosts may ask at once: the second one waits here, and then finds nothing to do.
  lock table turnout.event_years in share update exclusive mode;
  for v_year in v_this_year - 2 .. v_this_year + p_years_ahead loop
    foreach v_parent in array array['registrations', 'survey_responses'] loop
      v_child := format('%s_%s', v_parent, v_year);
      continue when to_regclass(format('turnout.%I', v_child)) is not null;
      -- Registrations are updated in place about once (a cancel, a check-in); answers never.
      execute format(
        'create table turnout.%I (like turnout.%I including defaults including constraints) with (fillfactor = %s, '
        'autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02)',
        v_child, v_parent, case v_parent when 'registrations' then 85 else 100 end);
      execute format('alter table turnout.%I attach partition turnout.%I for values from (%s) to (%s)',
                     v_parent, v_child, v_year, v_year + 1);
      v_made := v_made + 1;
    end loop;
    insert into turnout.event_years (event_year) values (v_year) on conflict (event_year) do nothing;
  end loop;
  return v_made;
end
$$;
revoke execute on function turnout.ensure_partitions(integer) from public;

select turnout.ensure_partitions(3);

-- No delete: a registration is for ever. Nothing on the partitions: they are reached through their parents only.
grant select, insert, update on turnout.registrations to turnout_app;
grant select, insert on turnout.survey_responses to turnout_app;
