-- A moment as microseconds since 1970, the form in which list cursors carry it: exact, where seconds in a double are not.
-- Locks nothing.
create or replace function turnout.microseconds(p_moment timestamptz) returns bigint
language sql immutable strict parallel safe
as $$
  select (extract(epoch from p_moment) * 1000000)::bigint
$$;
