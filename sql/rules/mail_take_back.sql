-- Owes leased mail again whose mailer is gone, or has it dead where that was its last try; answers how many. Locks the rows, which
-- the caller holds already.
create or replace function turnout.mail_take_back(p_ids bigint[], p_attempts integer, p_why text) returns integer
language plpgsql
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_count integer;
begin
  update turnout.outbox o
  set state = case when o.attempts + 1 >= p_attempts then 'dead' else 'owed' end, leased_by = null, leased_until = null,
      attempts = o.attempts + 1, last_error = p_why
  where o.id = any (p_ids);
  get diagnostics v_count = row_count;
  return v_count;
end
$$;
