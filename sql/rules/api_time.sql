-- A moment as the API writes it: RFC 3339 in UTC, with microseconds only where there are any. Locks nothing.
-- Simple enough for PostgreSQL to inline it into the statements that call it.
create or replace function turnout.api_time(p_moment timestamptz) returns text
language sql stable strict parallel safe
as $$
  select replace(to_char(p_moment at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '.000000Z', 'Z')
$$;
