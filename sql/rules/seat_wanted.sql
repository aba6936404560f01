-- Whether somebody waits for an event who could take a seat of it if promotions had not ended with its start: a guest where
-- guests are allowed or an employee, of a department below its limit. Locks nothing.
create or replace function turnout.seat_wanted(p_event_year smallint, p_event_id uuid, p_guests_allowed boolean,
  p_department_limit integer) returns boolean
language plpgsql stable
as $$
begin
  return exists (
    select
    from turnout.registrations w
    join turnout.users u on u.id = w.user_id
    left join turnout.event_department_counts c on c.event_id = w.event_id and c.department = coalesce(w.department, '')
    where w.event_year = p_event_year and w.event_id = p_event_id and w.status = 'waitlisted'
      and (p_guests_allowed or u.kind <> 'guest')
      and (p_department_limit is null or w.department is null or coalesce(c.registered, 0) < p_department_limit));
end
$$;
