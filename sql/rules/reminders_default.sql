-- When people are reminded of an event that says nothing else: at 09:00 of the day before, in its zone. Locks nothing.
create or replace function turnout.reminders_default() returns jsonb
language sql immutable parallel safe
as $$
  select '[{"days_before": 1, "time": "09:00"}]'::jsonb
$$;
