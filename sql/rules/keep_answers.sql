-- Stores the answers of writes under their Idempotency-Keys, which take_keys has taken in the same transaction. The arrays are
-- those of take_keys; p_answers are the items that were written for. A refusal is not stored: the key is free again with the end
-- of the transaction. Nor is the answer for somebody who is not, or no longer, in the users table: one such item must not fail
-- its neighbours.
--
-- Locks, behind everything that the write has locked: key-share on the users rows, as the foreign key does.
create or replace function turnout.keep_answers(p_user_ids uuid[], p_keys text[], p_request_hashes bytea[],
  p_answers turnout.item_answer[]) returns void
language plpgsql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
begin
  insert into turnout.idempotency_keys as s (user_id, key, request_hash, outcome, body, etag, ref)
  select u.id, k.key, k.request_hash, a.outcome, a.body, a.etag, a.ref
  from unnest(p_answers) a
  join unnest(p_user_ids, p_keys, p_request_hashes) with ordinality k (user_id, key, request_hash, item) on k.item = a.item
  join turnout.users u on u.id = k.user_id
  where k.key is not null and turnout.is_success(a.outcome)
  for key share of u
  on conflict (user_id, key) do update
  set request_hash = excluded.request_hash, outcome = excluded.outcome, body = excluded.body, etag = excluded.etag,
      ref = excluded.ref, created_at = excluded.created_at;
end
$$;
