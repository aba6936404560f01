-- Takes an event for writing by somebody who must manage it, and answers with the row; the beginning of every event_*
-- function that writes. outcome: null when the event is taken, else what to answer: not_found (also for drafts of others),
-- forbidden, busy (somebody else holds the event, or has just deleted it: come again). Never waits.
--
-- Locks, in this order: the seats row, then the events row (no key update). Who writes an events row holds its seats row, so
-- the second lock is free, but where somebody edits by hand.
create or replace function turnout.lock_event(p_user_id uuid, p_role text, p_event_id uuid,
  out outcome text, out event turnout.events)
language plpgsql
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
begin
  outcome := turnout.event_refusal(p_user_id, p_role, p_event_id);
  if outcome is not null then
    return;
  end if;
  perform from turnout.event_seats s where s.event_id = p_event_id for no key update skip locked;
  if not found then
    outcome := 'busy';
    return;
  end if;
  select e.* into event from turnout.events e where e.id = p_event_id for no key update skip locked;
  if not found then
    outcome := 'busy';
  end if;
end
$$;
