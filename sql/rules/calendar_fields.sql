-- What calendars show of an event, as JSON; moments in UTC. It holds no counts: an event that people register for needs no new
-- calendar. Locks nothing.
create or replace function turnout.calendar_fields(p_event turnout.events) returns json
language sql stable
as $$
  select json_build_object('id', p_event.id, 'title', p_event.title, 'description', p_event.description,
                           'venue', p_event.venue, 'category', p_event.category, 'status', p_event.status,
                           'timezone', p_event.timezone, 'version', p_event.version,
                           'start', turnout.api_time(p_event.start_datetime), 'end', turnout.api_time(p_event.end_datetime),
                           'updated_at', turnout.api_time(p_event.updated_at))
$$;
