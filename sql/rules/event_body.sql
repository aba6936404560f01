-- An event as JSON, its fields in the order of the documentation, and its entity tag. Reads events, event_seats and
-- event_organizers in one snapshot; locks nothing. No row where there is no such event.
create or replace function turnout.event_body(p_event_id uuid, out body text, out etag text)
language plpgsql stable
as $$
begin
  select row_to_json(b)::text, b.version || '.' || b.registered_count || '.' || b.waitlisted_count
  into body, etag
  from (
    select e.id, e.title, e.description, turnout.api_time(e.start_datetime) as start_datetime,
           turnout.api_time(e.end_datetime) as end_datetime, e.timezone, e.venue, e.category, e.status, s.capacity,
           s.registered_count, s.waitlisted_count, turnout.api_time(e.registration_opens_at) as registration_opens_at,
           turnout.api_time(e.registration_closes_at) as registration_closes_at, e.waitlist_enabled, e.waitlist_limit,
           e.guests_allowed, e.department_limit, coalesce(e.reminders, turnout.reminders_default()) as reminders,
           array(select o.user_id from turnout.event_organizers o where o.event_id = e.id order by o.user_id)
             as organizer_ids,
           e.version, turnout.api_time(e.created_at) as created_at, turnout.api_time(e.updated_at) as updated_at
    from turnout.events e
    join turnout.event_seats s on s.event_id = e.id
    where e.id = p_event_id
  ) b;
end
$$;
