-- Cancels a draft or a published event, with everybody on it: registrations and waitlist places become cancelled, the
-- counters go to zero, and each person is owed a mail. Anything else is wrong_status.
-- What people did themselves (registrations.last_action_*) stays: this is not theirs.
--
-- Locks, in this order: what lock_event locks (seats row, events row); then, under it, the event's registrations and
-- department counters. `busy` when somebody else holds the seats row.
create or replace function turnout.event_cancel(p_request_id text, p_action_id uuid, p_user_id uuid, p_role text,
  p_event_id uuid, out outcome text, out body text, out etag text, out ref text)
language plpgsql
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_lock record;
  v_now timestamptz;
  v_old turnout.events;
begin
  v_lock := turnout.lock_event(p_user_id, p_role, p_event_id);
  if v_lock.outcome is not null then
    outcome := v_lock.outcome;
    return;
  end if;
  v_old := v_lock.event;
  ref := p_event_id;
  if v_old.status not in ('draft', 'published') then
    outcome := 'wrong_status';
    body := format('{"event_status":"%s"}', v_old.status);
    return;
  end if;
  outcome := 'ok';
  v_now := clock_timestamp();
  update turnout.events e
  set status = 'cancelled', version = e.version + 1, updated_at = v_now
  where e.id = p_event_id;
  insert into turnout.audit_log (actor_id, action, entity, entity_id, event_id, before, after, request_id, action_id)
  values (p_user_id, 'event.cancelled', 'event', p_event_id, p_event_id,
          jsonb_build_object('status', v_old.status, 'version', v_old.version),
          jsonb_build_object('status', 'cancelled', 'version', v_old.version + 1), p_request_id, p_action_id);

  with old as materialized (
    select r.id, r.status, r.checked_in_at
    from turnout.registrations r
    where r.event_year = v_old.event_year and r.event_id = p_event_id and r.status in ('registered', 'waitlisted')
  ), written as (
    update turnout.registrations r
    set status = 'cancelled', seated_at = null, checked_in_at = null, cancelled_at = v_now
    from old
    where r.event_year = v_old.event_year and r.id = old.id
    returning r.id, r.user_id, r.generation, r.registered_at, r.cancelled_at,
              old.status as old_status, old.checked_in_at as old_checked_in_at
  ), owed as (
    insert into turnout.outbox (kind, dedupe_key, event_id, registration_id, user_id, generation)
    select 'event_cancelled', w.id || ':event_cancelled:' || w.generation, p_event_id, w.id, w.user_id, w.generation
    from written w
    on conflict (dedupe_key) do nothing
  )
  insert into turnout.audit_log (actor_id, action, entity, entity_id, event_id, before, after, request_id, action_id)
  select p_user_id, 'registration.event_cancelled', 'registration', w.id, p_event_id,
         turnout.registration_json(w.id, p_event_id, w.user_id, w.old_status, null, w.registered_at, null,
                                   w.old_checked_in_at)::jsonb,
         turnout.registration_json(w.id, p_event_id, w.user_id, 'cancelled', null, w.registered_at, w.cancelled_at,
                                   null)::jsonb,
         p_request_id, p_action_id
  from written w;

  update turnout.event_department_counts c
  set registered = 0, waitlisted = 0, checked_in = 0
  where c.event_id = p_event_id and (c.registered > 0 or c.waitlisted > 0);
  update turnout.event_seats s
  set registered_count = 0, waitlisted_count = 0, checked_in_count = 0
  where s.event_id = p_event_id and (s.registered_count > 0 or s.waitlisted_count > 0);
  select b.body, b.etag into body, etag from turnout.event_body(p_event_id) b;
end
$$;
