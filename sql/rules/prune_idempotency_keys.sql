-- Forgets stored answers older than p_keep, and answers how many. Locks the rows deleted, which are only ever inserted and
-- read by others.
create or replace function turnout.prune_idempotency_keys(p_keep interval) returns bigint
language plpgsql
set enable_seqscan = off
as $$
declare
  v_deleted bigint;
begin
  delete from turnout.idempotency_keys k where k.created_at < clock_timestamp() - p_keep;
  get diagnostics v_deleted = row_count;
  return v_deleted;
end
$$;
