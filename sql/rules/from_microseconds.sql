-- The moment of so many microseconds since 1970; the other direction of turnout.microseconds. Locks nothing.
-- Numbers beyond what timestamptz holds give its ends, as a cursor may have been tampered with before it was signed.
create or replace function turnout.from_microseconds(p_microseconds bigint) returns timestamptz
language sql immutable strict parallel safe
as $$
  select case
    when p_microseconds > 9000000000000000 then timestamptz 'infinity'
    when p_microseconds < -9000000000000000 then timestamptz '-infinity'
    else timestamptz '1970-01-01 00:00:00+00' + (p_microseconds / 1000000) * interval '1 second'
         + (p_microseconds % 1000000) * interval '1 microsecond'
  end
$$;
