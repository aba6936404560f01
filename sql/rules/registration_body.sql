-- A registration that is stored, as JSON with its live place on the waitlist. Locks nothing.
create or replace function turnout.registration_body(p_registration turnout.registrations) returns text
language plpgsql stable
as $$
begin
  return turnout.registration_json(p_registration.id, p_registration.event_id, p_registration.user_id,
    p_registration.status,
    case when p_registration.status = 'waitlisted' then
      turnout.waitlist_place(p_registration.event_year, p_registration.event_id, p_registration.queue_no) end,
    p_registration.registered_at, p_registration.cancelled_at, p_registration.checked_in_at);
end
$$;
