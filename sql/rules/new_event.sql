-- An event before any field is named: the defaults, and id null, by which event_fields knows a new one. Locks nothing.
create or replace function turnout.new_event() returns turnout.events
language plpgsql
as $$
declare
  v_event turnout.events;
begin
  v_event.description := '';
  v_event.timezone := 'UTC';
  v_event.venue := '';
  v_event.category := 'general';
  v_event.status := 'draft';
  v_event.waitlist_enabled := true;
  v_event.guests_allowed := true;
  v_event.version := 1;
  v_event.created_at := clock_timestamp();
  v_event.updated_at := v_event.created_at;
  return v_event;
end
$$;
