-- Why somebody may not look at or write what is for those who manage an event: not_found where the caller may not know of
-- it (a draft of others, or none at all), else forbidden; null: the caller manages it. Locks nothing.
create or replace function turnout.event_refusal(p_user_id uuid, p_role text, p_event_id uuid) returns text
language plpgsql stable
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_manages boolean := turnout.may_manage_event(p_user_id, p_role, p_event_id);
  v_status text;
begin
  select e.status into v_status from turnout.events e where e.id = p_event_id;
  return case
    when v_status is null or (v_status = 'draft' and not v_manages) then 'not_found'
    when not v_manages then 'forbidden'
  end;
end
$$;
