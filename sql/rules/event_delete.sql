-- Deletes a draft, which nobody but its organizers has seen; anything else is wrong_status: it can be cancelled.
-- Locks, in this order: what lock_event locks, then the rows deleted (organizers, seats, department counters, and the
-- events row itself for update: nothing but these refers to a draft).
create or replace function turnout.event_delete(p_request_id text, p_action_id uuid, p_user_id uuid, p_role text,
  p_event_id uuid, out outcome text, out body text, out etag text, out ref text)
language plpgsql
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_lock record;
  v_old turnout.events;
  v_organizer_ids uuid[];
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
  outcome := 'deleted';
  v_organizer_ids := array(select o.user_id from turnout.event_organizers o where o.event_id = p_event_id order by 1);
  delete from turnout.event_organizers o where o.event_id = p_event_id;
  delete from turnout.event_department_counts c where c.event_id = p_event_id;
  delete from turnout.event_seats s where s.event_id = p_event_id;
  delete from turnout.events e where e.id = p_event_id;
  insert into turnout.audit_log (actor_id, action, entity, entity_id, event_id, before, request_id, action_id)
  values (p_user_id, 'event.deleted', 'event', p_event_id, p_event_id,
          to_jsonb(v_old) || jsonb_build_object('organizer_ids', v_organizer_ids), p_request_id, p_action_id);
end
$$;
