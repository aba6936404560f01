-- What somebody writes who needs registrations and no engine: one transaction a registration, in one call of one function, so
-- that the seats row is held for no round trip of the client. It writes the rows that the engine writes, through the same
-- triggers and indexes, and decides the same of what a benchmark asks for: a free seat, the waitlist, full, not open.
-- Ids are by number, so that pgbench can name events and people.
create schema bench;
grant usage on schema bench to turnout_app;

create function bench.event_id(p_number integer) returns uuid
language sql immutable parallel safe
as $$
  select ('01980000-0000-7000-9000-' || lpad(to_hex(p_number), 12, '0'))::uuid
$$;

create function bench.person_id(p_number integer) returns uuid
language sql immutable parallel safe
as $$
  select ('01970000-0000-7000-8000-' || lpad(to_hex(p_number), 12, '0'))::uuid
$$;

create function bench.register(p_event integer, p_person integer) returns text
language plpgsql
as $$
declare
  v_event_id uuid := bench.event_id(p_event);
  v_user_id uuid := bench.person_id(p_person);
  v_id uuid := turnout.new_id();
  v_now timestamptz;
  v_status text;
  v_event record;
  v_user record;
begin
  select e.event_year, e.status, e.registration_opens_at, coalesce(e.registration_closes_at, e.start_datetime) as closes_at,
         e.waitlist_enabled, e.waitlist_limit, e.guests_allowed, s.capacity, s.registered_count, s.waitlisted_count,
         s.last_queue_no
  into v_event
  from turnout.event_seats s
  join turnout.events e on e.id = s.event_id
  where s.event_id = v_event_id
  for no key update of s;
  v_now := clock_timestamp();
  if v_event.status is distinct from 'published' or v_now < v_event.registration_opens_at or v_now >= v_event.closes_at then
    return case when v_event.status in ('cancelled', 'completed') then 'event_closed' else 'registration_closed' end;
  end if;
  select u.department, u.kind into v_user from turnout.users u where u.id = v_user_id;
  if v_user.kind = 'guest' and not v_event.guests_allowed then
    return 'not_eligible';
  end if;
  if v_event.registered_count < v_event.capacity then
    v_status := 'registered';
  elsif v_event.waitlist_enabled and v_event.waitlisted_count < coalesce(v_event.waitlist_limit, 1000000) then
    v_status := 'waitlisted';
  else
    return case when exists (select from turnout.registrations r
                             where r.event_id = v_event_id and r.user_id = v_user_id and r.event_year = v_event.event_year
                               and r.status <> 'cancelled') then 'existing' else 'full' end;
  end if;

  insert into turnout.registrations (event_year, id, event_id, user_id, status, queue_no, department, registered_at, seated_at,
    last_action_at, last_action_id)
  values (v_event.event_year, v_id, v_event_id, v_user_id, v_status, v_event.last_queue_no + 1, v_user.department, v_now,
    case v_status when 'registered' then v_now end, v_now, v_id)
  on conflict (event_id, user_id, event_year) do nothing;
  if not found then
    return 'existing';
  end if;
  update turnout.event_seats s
  set registered_count = s.registered_count + (v_status = 'registered')::integer,
      waitlisted_count = s.waitlisted_count + (v_status = 'waitlisted')::integer,
      last_queue_no = s.last_queue_no + 1
  where s.event_id = v_event_id;
  insert into turnout.event_department_counts as c (event_id, department, registered, waitlisted)
  values (v_event_id, coalesce(v_user.department, ''), (v_status = 'registered')::integer, (v_status = 'waitlisted')::integer)
  on conflict (event_id, department) do update
  set registered = c.registered + excluded.registered, waitlisted = c.waitlisted + excluded.waitlisted;
  insert into turnout.outbox (kind, dedupe_key, event_id, registration_id, user_id, generation)
  values (case v_status when 'registered' then 'confirmation' else 'waitlisted' end,
    v_id || ':' || case v_status when 'registered' then 'confirmation' else 'waitlisted' end || ':1',
    v_event_id, v_id, v_user_id, 1);
  insert into turnout.audit_log (actor_id, action, entity, entity_id, event_id, after, request_id, action_id)
  values (v_user_id, 'registration.' || v_status, 'registration', v_id, v_event_id,
    turnout.registration_json(v_id, v_event_id, v_user_id, v_status,
      case v_status when 'waitlisted' then v_event.waitlisted_count + 1 end, v_now, null, null)::jsonb,
    v_id::text, v_id);
  return v_status;
end
$$;

-- The arguments of a call of the engine's function, ready to be sent: a worker has them without asking PostgreSQL.
create unlogged table bench.calls (
  number integer primary key,
  kinds text[] not null,
  ids uuid[] not null,
  request_ids text[] not null,
  roles text[] not null,
  events uuid[] not null,
  people uuid[] not null
);
grant select on bench.calls to turnout_app;

-- The calls for p_people people and p_events events from number p_event on, p_size items each.
create procedure bench.make_calls(p_event integer, p_events integer, p_people integer, p_size integer)
language sql
as $$
  truncate bench.calls;
  insert into bench.calls (number, kinds, ids, request_ids, roles, events, people)
  select n.number, array_fill('register'::text, array[p_size]), array_agg(turnout.new_id()), array_agg(gen_random_uuid()::text),
         array_fill('participant'::text, array[p_size]),
         array_agg(bench.event_id(p_event + (random() * p_events)::integer % p_events)),
         array_agg(bench.person_id(((n.number * p_size + i.item)::bigint * 7919 % p_people)::integer))
  from generate_series(0, p_people / p_size - 1) n (number)
  cross join generate_series(0, p_size - 1) i (item)
  group by n.number
$$;
