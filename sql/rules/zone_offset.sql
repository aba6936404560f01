-- How far the clocks of a zone are from UTC at a moment, as "+09:00". Locks nothing.
create or replace function turnout.zone_offset(p_moment timestamptz, p_timezone text) returns text
language sql stable strict parallel safe
as $$
  select case when o.minutes < 0 then '-' else '+' end || to_char(abs(o.minutes) / 60, 'FM00') || ':'
         || to_char(abs(o.minutes) % 60, 'FM00')
  from (
    select (extract(epoch from (p_moment at time zone p_timezone) - (p_moment at time zone 'UTC')) / 60)::integer
  ) o (minutes)
$$;
