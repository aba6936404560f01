-- The moment that an RFC 3339 text names, or null where it names none that we take: an offset is required, years are 1970
-- to 2200 (of the UTC moment), and second 60 is refused, as PostgreSQL has no such moment. Locks nothing.
-- Never raises, and knows no `now`, `infinity` or session time zone, all of which a cast to timestamptz would heed.
create or replace function turnout.parse_time(p_text text) returns timestamptz
language plpgsql immutable strict parallel safe
as $$
declare
  v_part text[] := regexp_match(p_text,
    '^(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(\.\d{1,18})?(?:[Zz]|([+-])(\d\d):(\d\d))$');
  v_year integer := v_part[1];
  v_month integer := v_part[2];
  v_day integer := v_part[3];
  v_offset interval := '0';
  v_moment timestamptz;
begin
  -- A year beyond each end, as the offset may move the moment over it.
  if v_part is null or v_year not between 1969 and 2201 or v_month not between 1 and 12 or v_day < 1
     or v_part[4] > '23' or v_part[5] > '59' or v_part[6] > '59' or v_part[9] > '23' or v_part[10] > '59' then
    return null;
  end if;
  if v_day > extract(day from make_date(v_year, v_month, 1) + interval '1 month - 1 day') then
    return null;
  end if;
  if v_part[8] is not null then
    v_offset := make_interval(hours => (v_part[8] || v_part[9])::integer, mins => (v_part[8] || v_part[10])::integer);
  end if;
  -- Digits past the microsecond are dropped: rounding up could reach the next year.
  v_moment := (make_timestamp(v_year, v_month, v_day, v_part[4]::integer, v_part[5]::integer, v_part[6]::integer)
               + make_interval(secs => coalesce(left(v_part[7], 7), '0')::double precision) - v_offset) at time zone 'UTC';
  if extract(year from v_moment at time zone 'UTC') not between 1970 and 2200 then
    return null;
  end if;
  return v_moment;
end
$$;
