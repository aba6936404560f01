-- Cancels registrations and waitlist places of a cancelled event, those of p_ids: the rows, the counters, a mail owed to each
-- person and the audit log, in the name of who cancelled the event. Once each: who is cancelled already is left alone. What
-- people did themselves (registrations.last_action_*) stays: this is not theirs.
--
-- The caller holds the event's seats row. Locks: that row again, the registrations, the department counters.
create or replace function turnout.cancel_people(p_event_year smallint, p_event_id uuid, p_ids uuid[], p_actor_id uuid,
  p_request_id text, p_action_id uuid) returns void
language plpgsql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_now timestamptz := clock_timestamp();
begin
  with old as materialized (
    select r.id, r.status, r.department, r.checked_in_at
    from turnout.registrations r
    where r.event_year = p_event_year and r.id = any (p_ids) and r.status in ('registered', 'waitlisted')
  ), written as (
    update turnout.registrations r
    set status = 'cancelled', seated_at = null, checked_in_at = null, cancelled_at = v_now
    from old
    where r.event_year = p_event_year and r.id = old.id
    returning r.id, r.user_id, r.generation, r.registered_at, r.cancelled_at,
              old.status as old_status, old.checked_in_at as old_checked_in_at
  ), counted as (
    update turnout.event_seats s
    set registered_count = s.registered_count - o.registered, waitlisted_count = s.waitlisted_count - o.waitlisted,
        checked_in_count = s.checked_in_count - o.checked_in
    from (
      select count(*) filter (where old.status = 'registered') as registered,
             count(*) filter (where old.status = 'waitlisted') as waitlisted, count(old.checked_in_at) as checked_in
      from old
    ) o
    where s.event_id = p_event_id and o.registered + o.waitlisted > 0
  ), counted_by_department as (
    update turnout.event_department_counts c
    set registered = c.registered - o.registered, waitlisted = c.waitlisted - o.waitlisted,
        checked_in = c.checked_in - o.checked_in
    from (
      select coalesce(old.department, '') as department, count(*) filter (where old.status = 'registered') as registered,
             count(*) filter (where old.status = 'waitlisted') as waitlisted, count(old.checked_in_at) as checked_in
      from old
      group by 1
    ) o
    where c.event_id = p_event_id and c.department = o.department
  ), owed as (
    insert into turnout.outbox (kind, dedupe_key, event_id, registration_id, user_id, generation)
    select 'event_cancelled', w.id || ':event_cancelled:' || w.generation, p_event_id, w.id, w.user_id, w.generation
    from written w
    on conflict (dedupe_key) do nothing
  )
  insert into turnout.audit_log (actor_id, action, entity, entity_id, event_id, before, after, request_id, action_id)
  select p_actor_id, 'registration.event_cancelled', 'registration', w.id, p_event_id,
         turnout.registration_json(w.id, p_event_id, w.user_id, w.old_status, null, w.registered_at, null,
                                   w.old_checked_in_at)::jsonb,
         turnout.registration_json(w.id, p_event_id, w.user_id, 'cancelled', null, w.registered_at, w.cancelled_at,
                                   null)::jsonb,
         p_request_id, p_action_id
  from written w;
end
$$;
