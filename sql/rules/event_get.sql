-- One event, for everybody; a draft only for who manages it, for anybody else it is not_found. Locks nothing.
create or replace function turnout.event_get(p_user_id uuid, p_role text, p_event_id uuid,
  out outcome text, out body text, out etag text, out ref text)
language plpgsql stable
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_status text;
begin
  select e.status into v_status from turnout.events e where e.id = p_event_id;
  if not found or (v_status = 'draft' and not turnout.may_manage_event(p_user_id, p_role, p_event_id)) then
    outcome := 'not_found';
    return;
  end if;
  outcome := 'ok';
  ref := p_event_id;
  select b.body, b.etag into body, etag from turnout.event_body(p_event_id) b;
end
$$;
