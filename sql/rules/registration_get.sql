-- One registration with its live place on the waitlist, for its person and who manages its event; for anybody else it is
-- not_found. Locks nothing.
create or replace function turnout.registration_get(p_user_id uuid, p_role text, p_registration_id uuid,
  out outcome text, out body text, out etag text, out ref text)
language plpgsql stable
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_registration turnout.registrations;
begin
  select r.* into v_registration from turnout.registrations r where r.id = p_registration_id;
  if not found or (v_registration.user_id is distinct from p_user_id
                   and not turnout.may_manage_event(p_user_id, p_role, v_registration.event_id)) then
    outcome := 'not_found';
    return;
  end if;
  outcome := 'ok';
  body := turnout.registration_body(v_registration);
  ref := v_registration.id;
end
$$;
