-- Forgets stored answers older than p_keep, and answers how many. Locks the rows deleted, which are only ever inserted and
-- read by others.
create or replace function turnout.prune_idempotency_keys(p_keep interval) returns bigint
language plpgsql
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  -- As a value: a function of the clock can't be looked up in an index.
  v_before timestamptz := clock_timestamp() - p_keep;
  v_deleted bigint;
begin
  delete from turnout.idempotency_keys k where k.created_at < v_before;
  get diagnostics v_deleted = row_count;
  return v_deleted;
end
$$;
