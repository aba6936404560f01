-- Cancels a registration: frees exactly the seat or waitlist place that it held, and in the same transaction gives a freed
-- seat to the first waiting person who may take it; both are owed a mail. By its person, or who manages its event; for
-- anybody else it is not_found. Idempotent: a cancelled one is answered as it is.
--
-- p_resent: the connection was lost and this is the same call again. Where the audit log knows the action, its answer is
-- given again and nothing is done, even if the person has come back since. An order that arrives after what the person did
-- later leaves the row as it is (last_action_at against the start of this transaction).
-- Refused when it would rewrite history: the event is completed or over, or the person has come through the door.
--
-- Locks, in this order: the event's seats row (held by somebody else: `busy`, never waits); then, under it, the
-- registration, the department counter, and what promote_waiting locks.
create or replace function turnout.registration_cancel(p_request_id text, p_action_id uuid, p_user_id uuid, p_role text,
  p_registration_id uuid, p_resent boolean, out outcome text, out body text, out etag text, out ref text)
language plpgsql
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_now timestamptz;
  v_old turnout.registrations;
  v_after jsonb;
  v_waiting integer;
  v_event_status text;
  v_event_end timestamptz;
begin
  select r.* into v_old from turnout.registrations r where r.id = p_registration_id;
  if not found or (v_old.user_id is distinct from p_user_id
                   and not turnout.may_manage_event(p_user_id, p_role, v_old.event_id)) then
    outcome := 'not_found';
    return;
  end if;
  ref := v_old.id;

  if p_resent then
    select a.after into v_after
    from turnout.audit_log a
    where a.action_id = p_action_id and a.entity_id = p_registration_id and a.action = 'registration.cancelled';
    if found then
      outcome := 'ok';
      body := turnout.registration_json(v_old.id, v_old.event_id, v_old.user_id, 'cancelled', null,
        (v_after ->> 'registered_at')::timestamptz, (v_after ->> 'cancelled_at')::timestamptz, null);
      return;
    end if;
  end if;

  select s.waitlisted_count into v_waiting
  from turnout.event_seats s
  where s.event_id = v_old.event_id
  for no key update skip locked;
  if not found then
    outcome := 'busy';
    return;
  end if;
  v_now := clock_timestamp();

  -- Read again: now nobody else can change it.
  select r.* into v_old
  from turnout.registrations r
  where r.event_year = v_old.event_year and r.id = p_registration_id;
  if v_old.status = 'cancelled' or v_old.last_action_at > transaction_timestamp() then
    outcome := 'ok';
    body := turnout.registration_body(v_old);
    return;
  end if;
  select e.status, e.end_datetime into v_event_status, v_event_end from turnout.events e where e.id = v_old.event_id;
  if v_event_status = 'completed' or v_event_end <= v_now then
    outcome := 'event_closed';
    body := '{"event_status":"completed"}';
    return;
  elsif v_old.checked_in_at is not null then
    outcome := 'event_closed';
    body := '{"detail":"Whoever has come through the door has attended."}';
    return;
  end if;

  outcome := 'ok';
  body := turnout.registration_json(v_old.id, v_old.event_id, v_old.user_id, 'cancelled', null, v_old.registered_at, v_now,
                                    null);
  with written as (
    update turnout.registrations r
    set status = 'cancelled', seated_at = null, cancelled_at = v_now, last_action_at = v_now, last_action_id = p_action_id
    where r.event_year = v_old.event_year and r.id = v_old.id
  ), counted as (
    update turnout.event_seats s
    set registered_count = s.registered_count - (v_old.status = 'registered')::integer,
        waitlisted_count = s.waitlisted_count - (v_old.status = 'waitlisted')::integer
    where s.event_id = v_old.event_id
  ), counted_by_department as (
    update turnout.event_department_counts c
    set registered = c.registered - (v_old.status = 'registered')::integer,
        waitlisted = c.waitlisted - (v_old.status = 'waitlisted')::integer
    where c.event_id = v_old.event_id and c.department = coalesce(v_old.department, '')
  ), owed as (
    insert into turnout.outbox (kind, dedupe_key, event_id, registration_id, user_id, generation)
    values ('cancelled', v_old.id || ':cancelled:' || v_old.generation, v_old.event_id, v_old.id, v_old.user_id,
            v_old.generation)
    on conflict (dedupe_key) do nothing
  )
  insert into turnout.audit_log (actor_id, action, entity, entity_id, event_id, before, after, request_id, action_id)
  values (p_user_id, 'registration.cancelled', 'registration', v_old.id, v_old.event_id,
          turnout.registration_json(v_old.id, v_old.event_id, v_old.user_id, v_old.status, null, v_old.registered_at, null,
                                    null)::jsonb,
          body::jsonb, p_request_id, p_action_id);

  if v_old.status = 'registered' and v_waiting > 0 then
    perform turnout.promote_waiting(v_old.event_id, p_user_id, p_request_id, p_action_id);
  end if;
end
$$;
