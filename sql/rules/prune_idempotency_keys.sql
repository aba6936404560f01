-- Forgets stored answers older than p_keep, the oldest 10,000 at most, and answers how many; to be called again until there are
-- none. A key that is used again while its old answer is being deleted waits for this transaction, so it is short. Locks the
-- rows deleted; those that another host deletes are skipped.
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
  delete from turnout.idempotency_keys k
  where k.ctid = any (array(
    select o.ctid
    from turnout.idempotency_keys o
    where o.created_at < v_before
    order by o.created_at
    limit 10000
    for update skip locked));
  get diagnostics v_deleted = row_count;
  return v_deleted;
end
$$;
