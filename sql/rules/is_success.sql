-- Whether an outcome is answered with a 2xx; these, and only these, are stored under an Idempotency-Key. Locks nothing.
create or replace function turnout.is_success(p_outcome text) returns boolean
language sql immutable strict parallel safe
as $$
  select p_outcome in ('ok', 'created', 'unchanged', 'deleted', 'registered', 'waitlisted', 'existing')
$$;
