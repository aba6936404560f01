-- Takes the Idempotency-Keys of several writes before they begin; arrays in, an answer for each item out, in their order.
-- outcome null: there is no key, or it is taken for this transaction: write, then keep_answers. Else what to answer: the answer
-- that is stored, as it was; `key_reused` where it was stored for another request; `key_in_use` while another transaction works
-- under the key (also for the second item with one key of the same call). Answers older than p_keep count as absent.
--
-- p_resent: the connection was lost and this is the same call again. Then who holds the key may be our own first try, so that it
-- is `busy`: come again, and find what it did.
--
-- Locks: the keys, as advisory locks of the transaction, tried and never waited for; one entry of PostgreSQL's lock table each.
-- A stored answer is found without one, so that many who ask for it at once all get it. Who has taken the lock looks once
-- more, as a statement of its own: what the holder before committed is seen by the snapshot that comes after it.
create or replace function turnout.take_keys(p_user_ids uuid[], p_keys text[], p_request_hashes bytea[], p_keep interval,
  p_resent boolean)
returns setof turnout.item_answer
language plpgsql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_since timestamptz := clock_timestamp() - p_keep;
  v_taken bigint[];
begin
  with new_keys as materialized (
    select distinct on (k.user_id, k.key) k.item, k.user_id, k.key
    from unnest(p_user_ids, p_keys) with ordinality k (user_id, key, item)
    where k.key is not null
      and not exists (
        select from turnout.idempotency_keys s where s.user_id = k.user_id and s.key = k.key and s.created_at > v_since)
    order by k.user_id, k.key, k.item
  )
  select array_agg(n.item) into v_taken
  from new_keys n
  where pg_try_advisory_xact_lock(hashtextextended(n.user_id || ' ' || n.key, 0));

  return query
  select k.item::integer,
         case
           when k.key is null then null
           when s.request_hash = k.request_hash then s.outcome
           when s.request_hash is not null then 'key_reused'
           when k.item = any (v_taken) then null
           when p_resent then 'busy'
           else 'key_in_use'
         end,
         case when s.request_hash = k.request_hash then s.body end,
         case when s.request_hash = k.request_hash then s.etag end,
         case when s.request_hash = k.request_hash then s.ref end,
         coalesce(s.request_hash = k.request_hash, false)
  from unnest(p_user_ids, p_keys, p_request_hashes) with ordinality k (user_id, key, request_hash, item)
  left join turnout.idempotency_keys s on s.user_id = k.user_id and s.key = k.key and s.created_at > v_since
  order by k.item;
end
$$;
