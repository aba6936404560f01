-- The moments at which people are reminded of an event, all before its start: p_reminders as the event has it (null: the default).
-- A time of day is the clock's on the wall of the event's zone: where the clocks go forward over it, the same time by the old
-- offset; where it comes twice, the later one. Locks nothing.
create or replace function turnout.reminder_moments(p_start timestamptz, p_timezone text, p_reminders jsonb)
returns setof timestamptz
language plpgsql stable
as $$
begin
  return query
  select distinct m.moment
  from jsonb_array_elements(coalesce(p_reminders, turnout.reminders_default())) r (reminder)
  cross join lateral (
    select case when r.reminder ? 'minutes_before' then p_start - make_interval(mins => (r.reminder ->> 'minutes_before')::integer)
                else ((p_start at time zone p_timezone)::date - (r.reminder ->> 'days_before')::integer
                      + (r.reminder ->> 'time')::time) at time zone p_timezone end
  ) m (moment)
  where m.moment < p_start;
end
$$;
