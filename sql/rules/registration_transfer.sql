-- Hands the seat of a registration to a colleague (p_to: the id or the e-mail address of a user): the giver's registration
-- becomes cancelled, the receiver's takes its seat, with the moment since when it is held and its place in the order of
-- joining. No seat comes free on the way, so it works on a full event and passes nobody who waits. The receiver may be on the
-- waitlist, whose place is left, or have cancelled before. Both are owed a mail. By the registration's person, or who manages
-- its event; for anybody else it is not_found. Answers the receiver's registration.
--
-- Asked again it does not act twice: who has handed the seat to this receiver already is told of the receiver's registration
-- as it is. p_resent: the connection was lost and this is the same call again: what the audit log knows of the action is the
-- answer. An order that arrives after what one of the two did later (last_action_at against the start of this transaction)
-- is `busy`: who still waits for its answer comes again and is judged anew, an orphan does nothing.
--
-- Locks, in this order: the event's seats row (held by somebody else: `busy`, never waits); then, under it, the two
-- registrations, the department counters, key-share on the receiver's users row, and what promote_waiting locks: a department
-- that has handed a seat to another one may have room for somebody who waits.
create or replace function turnout.registration_transfer(p_request_id text, p_action_id uuid, p_user_id uuid, p_role text,
  p_registration_id uuid, p_to text, p_resent boolean, out outcome text, out body text, out etag text, out ref text)
language plpgsql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_now timestamptz;
  v_given turnout.registrations;
  v_taken turnout.registrations;
  v_event record;
  v_to record;
  v_seats record;
  v_after jsonb;
  v_taken_id uuid;
  v_generation integer;
  v_in_department integer;
begin
  select r.* into v_given from turnout.registrations r where r.id = p_registration_id;
  if not found or (v_given.user_id is distinct from p_user_id
                   and not turnout.may_manage_event(p_user_id, p_role, v_given.event_id)) then
    outcome := 'not_found';
    return;
  end if;

  if p_to ~ '^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$' then
    select u.id, u.kind, u.department into v_to from turnout.users u where u.id = p_to::uuid;
  else
    select u.id, u.kind, u.department into v_to from turnout.users u where lower(u.email) = lower(p_to);
  end if;
  if not found then
    outcome := 'invalid_fields';
    body := '{"errors":[{"pointer":"/user","detail":"must be the id or the e-mail address of a user"}]}';
    return;
  end if;

  if p_resent then
    select a.after into v_after
    from turnout.audit_log a
    where a.action_id = p_action_id and a.event_id = v_given.event_id and a.action = 'registration.received';
    if found then
      outcome := 'ok';
      ref := v_after ->> 'id';
      body := turnout.registration_json((v_after ->> 'id')::uuid, v_given.event_id, (v_after ->> 'user_id')::uuid,
        'registered', null, (v_after ->> 'registered_at')::timestamptz, null, null);
      return;
    end if;
  end if;

  select s.registered_count < s.capacity as has_free, s.waitlisted_count into v_seats
  from turnout.event_seats s
  where s.event_id = v_given.event_id
  for no key update skip locked;
  if not found then
    outcome := 'busy';
    return;
  end if;
  v_now := clock_timestamp();

  -- Read again: now nobody else can change them.
  select r.* into v_given
  from turnout.registrations r
  where r.event_year = v_given.event_year and r.id = p_registration_id;
  select r.* into v_taken
  from turnout.registrations r
  where r.event_year = v_given.event_year and r.event_id = v_given.event_id and r.user_id = v_to.id;
  if v_given.last_action_at > transaction_timestamp() or v_taken.last_action_at > transaction_timestamp() then
    outcome := 'busy';
    return;
  end if;
  if v_given.status = 'cancelled' and v_taken.id is not null and exists (
       select
       from turnout.audit_log a
       where a.action_id = v_given.last_action_id and a.entity_id = v_taken.id and a.action = 'registration.received') then
    outcome := 'ok';
    ref := v_taken.id;
    body := turnout.registration_body(v_taken);
    return;
  end if;

  select e.status, e.start_datetime, e.end_datetime, e.guests_allowed, e.department_limit into v_event
  from turnout.events e
  where e.id = v_given.event_id;
  if v_event.status <> 'published' then
    outcome := 'event_closed';
    body := format('{"event_status":"%s"}', v_event.status);
    return;
  elsif v_event.end_datetime <= v_now then
    outcome := 'event_closed';
    body := '{"event_status":"completed"}';
    return;
  elsif v_given.checked_in_at is not null then
    outcome := 'event_closed';
    body := '{"detail":"Whoever has come through the door has attended."}';
    return;
  elsif v_event.start_datetime <= v_now then
    outcome := 'registration_closed';
    body := format('{"closed_at":"%s","detail":"The event has begun: a place can be handed on until then."}',
                   turnout.api_time(v_event.start_datetime));
    return;
  elsif v_given.status <> 'registered' then
    outcome := 'not_registered';
    body := format('{"registration_status":"%s"}', v_given.status);
    return;
  elsif v_taken.status = 'registered' then
    outcome := 'already_registered';
    return;
  elsif v_to.kind = 'guest' and not v_event.guests_allowed then
    outcome := 'not_eligible';
    body := '{"rule":"guests_not_allowed"}';
    return;
  end if;
  -- In the giver's own department nobody is added.
  if v_event.department_limit is not null and v_to.department is not null
     and v_to.department is distinct from v_given.department then
    select c.registered into v_in_department
    from turnout.event_department_counts c
    where c.event_id = v_given.event_id and c.department = v_to.department;
    if v_in_department >= v_event.department_limit then
      outcome := 'not_eligible';
      body := format('{"rule":"department_limit","department_limit":%s}', v_event.department_limit);
      return;
    end if;
  end if;

  outcome := 'ok';
  v_taken_id := coalesce(v_taken.id, turnout.new_id());
  v_generation := coalesce(v_taken.generation, 0) + 1;
  ref := v_taken_id;
  body := turnout.registration_json(v_taken_id, v_given.event_id, v_to.id, 'registered', null, v_now, null, null);

  -- The two change places in the order of joining; who was not on the event gives the giver a new one, at the end. The row of
  -- the seats is written even where its counts stay: the statistics by department hang on it.
  update turnout.event_seats s
  set waitlisted_count = s.waitlisted_count - (v_taken.status is not distinct from 'waitlisted')::integer,
      last_queue_no = s.last_queue_no + (v_taken.id is null)::integer
  where s.event_id = v_given.event_id
  returning case when v_taken.id is null then s.last_queue_no else v_taken.queue_no end as given_queue_no,
            v_seats.has_free as has_free, s.waitlisted_count
  into v_seats;
  update turnout.registrations r
  set status = 'cancelled', seated_at = null, cancelled_at = v_now, queue_no = v_seats.given_queue_no,
      last_action_at = v_now, last_action_id = p_action_id
  where r.event_year = v_given.event_year and r.id = v_given.id;
  insert into turnout.registrations as r (event_year, id, event_id, user_id, status, queue_no, generation, department,
    registered_at, seated_at, last_action_at, last_action_id)
  values (v_given.event_year, v_taken_id, v_given.event_id, v_to.id, 'registered', v_given.queue_no, v_generation,
          v_to.department, v_now, v_given.seated_at, v_now, p_action_id)
  on conflict (event_id, user_id, event_year) do update
  set status = excluded.status, queue_no = excluded.queue_no, generation = excluded.generation,
      department = excluded.department, registered_at = excluded.registered_at, seated_at = excluded.seated_at,
      cancelled_at = null, last_action_at = excluded.last_action_at, last_action_id = excluded.last_action_id;

  update turnout.event_department_counts c
  set registered = c.registered - 1
  where c.event_id = v_given.event_id and c.department = coalesce(v_given.department, '');
  if v_taken.status = 'waitlisted' then
    update turnout.event_department_counts c
    set waitlisted = c.waitlisted - 1
    where c.event_id = v_given.event_id and c.department = coalesce(v_taken.department, '');
  end if;
  insert into turnout.event_department_counts as c (event_id, department, registered)
  values (v_given.event_id, coalesce(v_to.department, ''), 1)
  on conflict (event_id, department) do update
  set registered = c.registered + 1;

  insert into turnout.outbox (kind, dedupe_key, event_id, registration_id, user_id, generation)
  values ('cancelled', v_given.id || ':cancelled:' || v_given.generation, v_given.event_id, v_given.id, v_given.user_id,
          v_given.generation),
         ('confirmation', v_taken_id || ':confirmation:' || v_generation, v_given.event_id, v_taken_id, v_to.id, v_generation)
  on conflict (dedupe_key) do nothing;
  insert into turnout.audit_log (actor_id, action, entity, entity_id, event_id, before, after, request_id, action_id)
  values (p_user_id, 'registration.transferred', 'registration', v_given.id, v_given.event_id,
          turnout.registration_json(v_given.id, v_given.event_id, v_given.user_id, 'registered', null,
                                    v_given.registered_at, null, null)::jsonb,
          turnout.registration_json(v_given.id, v_given.event_id, v_given.user_id, 'cancelled', null,
                                    v_given.registered_at, v_now, null)::jsonb
            || jsonb_build_object('transferred_to', v_taken_id),
          p_request_id, p_action_id),
         (p_user_id, 'registration.received', 'registration', v_taken_id, v_given.event_id,
          case when v_taken.id is not null then
            turnout.registration_json(v_taken.id, v_taken.event_id, v_taken.user_id, v_taken.status, null,
                                      v_taken.registered_at, v_taken.cancelled_at, null)::jsonb end,
          body::jsonb || jsonb_build_object('transferred_from', v_given.id), p_request_id, p_action_id);

  if v_seats.has_free and v_seats.waitlisted_count > 0 then
    perform turnout.promote_waiting(v_given.event_id, p_user_id, p_request_id, p_action_id);
  end if;
end
$$;
