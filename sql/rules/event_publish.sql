-- Publishes a draft; anything else is wrong_status. Locks, in this order: what lock_event locks.
create or replace function turnout.event_publish(p_request_id text, p_action_id uuid, p_user_id uuid, p_role text,
  p_event_id uuid, out outcome text, out body text, out etag text, out ref text)
language plpgsql
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_lock record;
  v_old turnout.events;
begin
  v_lock := turnout.lock_event(p_user_id, p_role, p_event_id);
  if v_lock.outcome is not null then
    outcome := v_lock.outcome;
    return;
  end if;
  v_old := v_lock.event;
  ref := p_event_id;
  if v_old.status <> 'draft' then
    outcome := 'wrong_status';
    body := format('{"event_status":"%s"}', v_old.status);
    return;
  end if;
  outcome := 'ok';
  update turnout.events e
  set status = 'published', version = e.version + 1, updated_at = clock_timestamp()
  where e.id = p_event_id;
  insert into turnout.audit_log (actor_id, action, entity, entity_id, event_id, before, after, request_id, action_id)
  values (p_user_id, 'event.published', 'event', p_event_id, p_event_id,
          jsonb_build_object('status', v_old.status, 'version', v_old.version),
          jsonb_build_object('status', 'published', 'version', v_old.version + 1), p_request_id, p_action_id);
  select b.body, b.etag into body, etag from turnout.event_body(p_event_id) b;
end
$$;
