-- What is wrong with the reminders of an event as a client sends them, or null. Never raises. Locks nothing.
create or replace function turnout.reminders_error(p_value jsonb) returns text
language plpgsql immutable
as $$
begin
  if jsonb_typeof(p_value) <> 'array' or jsonb_array_length(p_value) > 5 then
    return 'must be a list of at most 5 reminders';
  end if;
  if exists (
    select from jsonb_array_elements(p_value) r (reminder)
    where case
      when jsonb_typeof(r.reminder) <> 'object' then true
      when r.reminder ? 'minutes_before' then
        r.reminder - 'minutes_before' <> '{}'
        or turnout.json_whole_number(r.reminder -> 'minutes_before', 1, 43200) is null
      else
        r.reminder - 'days_before' - 'time' <> '{}'
        or turnout.json_whole_number(coalesce(r.reminder -> 'days_before', 'null'), 0, 30) is null
        or jsonb_typeof(r.reminder -> 'time') is distinct from 'string'
        or r.reminder ->> 'time' !~ '^([01][0-9]|2[0-3]):[0-5][0-9]$'
    end)
  then
    return 'must each be {"days_before": 0 to 30, "time": "HH:MM"} or {"minutes_before": 1 to 43200}';
  end if;
  if (select count(*) <> count(distinct r.reminder) from jsonb_array_elements(p_value) r (reminder)) then
    return 'must name each moment once';
  end if;
  return null;
end
$$;
