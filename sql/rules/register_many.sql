-- Registers people for events, all of them by one call: registration_batch for those who have only that to ask. p_wait true
-- waits for seats rows that somebody else holds, for as long as it takes. Locks what registration_batch locks.
create or replace function turnout.register_many(
  p_action_ids uuid[], p_registration_ids uuid[], p_request_ids text[], p_actor_ids uuid[], p_roles text[],
  p_event_ids uuid[], p_user_ids uuid[], p_resent boolean, p_wait boolean default false)
returns table (item integer, outcome text, body text, etag text, ref text)
language plpgsql
as $$
#variable_conflict use_column
declare
  c_for_ever constant integer := 2147483647; -- milliseconds, 24 days
begin
  return query
  select b.item, b.outcome, b.body, b.etag, case when b.outcome <> 'busy' then b.ref end
  from turnout.registration_batch(array_fill('register'::text, array[cardinality(p_event_ids)]), p_action_ids,
    p_registration_ids, p_request_ids, p_actor_ids, p_roles, p_event_ids, p_user_ids, p_resent,
    case when p_wait then c_for_ever else 0 end) b;
end
$$;
