-- A registration that is stored, as JSON with its live place on the waitlist. Locks nothing.
-- The place is counted on registrations_waitlist_idx: one index-only scan over those who joined before.
create or replace function turnout.registration_body(p_registration turnout.registrations) returns text
language plpgsql stable
as $$
declare
  v_position bigint;
begin
  if p_registration.status = 'waitlisted' then
    select count(*) into v_position
    from turnout.registrations w
    where w.event_year = p_registration.event_year and w.event_id = p_registration.event_id
      and w.status = 'waitlisted' and w.queue_no <= p_registration.queue_no;
  end if;
  return turnout.registration_json(p_registration.id, p_registration.event_id, p_registration.user_id,
    p_registration.status, v_position, p_registration.registered_at, p_registration.cancelled_at,
    p_registration.checked_in_at);
end
$$;
