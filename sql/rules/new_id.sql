-- A UUID of version 7 (RFC 9562): milliseconds since 1970, then random bits; for rows whose id no caller has made.
-- Locks nothing.
create or replace function turnout.new_id() returns uuid
language sql volatile parallel safe
as $$
  -- gen_random_uuid has the variant and 122 random bits in place; the first 48 bits become the time, the version 7.
  select encode(
    set_bit(set_bit(
      overlay(uuid_send(gen_random_uuid()) placing
              substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6),
      52, 1), 53, 1), 'hex')::uuid
$$;
