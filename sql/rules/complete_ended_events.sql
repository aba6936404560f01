-- Completes at most p_limit published events that have ended, and answers how many; called again until it is fewer than
-- asked for. Locks, in this order: seats rows in id order, those that somebody holds being skipped until next time; then
-- the events rows (no key update).
create or replace function turnout.complete_ended_events(p_limit integer) returns integer
language plpgsql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_now timestamptz := clock_timestamp();
  v_due uuid[];
  v_locked uuid[];
  v_completed integer;
begin
  v_due := array(
    select e.id
    from turnout.events e
    where e.status = 'published' and e.end_datetime <= v_now
    order by e.end_datetime
    limit p_limit);
  v_locked := array(
    select s.event_id
    from turnout.event_seats s
    where s.event_id = any (v_due)
    order by s.event_id
    for no key update skip locked);
  with completed as (
    update turnout.events e
    set status = 'completed', version = e.version + 1, updated_at = v_now
    -- Once more: it may have been moved or cancelled before its lock was ours.
    where e.id = any (v_locked) and e.status = 'published' and e.end_datetime <= v_now
    returning e.id, e.version
  )
  insert into turnout.audit_log (action, entity, entity_id, event_id, before, after)
  select 'event.completed', 'event', c.id, c.id,
         jsonb_build_object('status', 'published', 'version', c.version - 1),
         jsonb_build_object('status', 'completed', 'version', c.version)
  from completed c;
  get diagnostics v_completed = row_count;
  return v_completed;
end
$$;
