-- register_many for orders of which some or all carry an Idempotency-Key: registration_batch_with_keys for those who have only
-- that to ask. Locks what that locks.
create or replace function turnout.register_many_with_keys(
  p_action_ids uuid[], p_registration_ids uuid[], p_request_ids text[], p_actor_ids uuid[], p_roles text[],
  p_event_ids uuid[], p_user_ids uuid[], p_resent boolean, p_keys text[], p_request_hashes bytea[], p_keep interval,
  p_wait boolean default false)
returns setof turnout.item_answer
language plpgsql
as $$
declare
  c_for_ever constant integer := 2147483647; -- milliseconds, 24 days
begin
  return query
  select b.item, b.outcome, b.body, b.etag, case when b.outcome <> 'busy' then b.ref end, b.replayed
  from turnout.registration_batch_with_keys(array_fill('register'::text, array[cardinality(p_event_ids)]), p_action_ids,
    p_registration_ids, p_request_ids, p_actor_ids, p_roles, p_event_ids, p_user_ids, p_resent, p_keys, p_request_hashes,
    p_keep, case when p_wait then c_for_ever else 0 end) b;
end
$$;
