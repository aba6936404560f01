-- registration_batch for items of which some or all carry an Idempotency-Key (null: none), whose scope is who acts. Those whose
-- key has an answer already, or is refused, are answered without a look at the event; the others are decided together, as
-- ever, and the successes among them stored, in the same transaction. `busy` without a ref waits for a key, not for an event.
--
-- Locks, in this order: the keys (take_keys: tried, never waited for), what registration_batch locks, key-share on the users
-- who act (keep_answers).
create or replace function turnout.registration_batch_with_keys(
  p_kinds text[], p_action_ids uuid[], p_registration_ids uuid[], p_request_ids text[], p_actor_ids uuid[],
  p_roles text[], p_event_ids uuid[], p_user_ids uuid[], p_resent boolean, p_keys text[], p_request_hashes bytea[],
  p_keep interval, p_wait integer)
returns setof turnout.item_answer
language plpgsql
as $$
declare
  v_taken turnout.item_answer[];
  v_going integer[];
  v_decided turnout.item_answer[];
begin
  v_taken := array(select t from turnout.take_keys(p_actor_ids, p_keys, p_request_hashes, p_keep, p_resent) t);
  v_going := array(select t.item from unnest(v_taken) t where t.outcome is null order by t.item);
  if v_going <> '{}' then
    v_decided := array(
      select (v_going[b.item], b.outcome, b.body, b.etag, b.ref, false)::turnout.item_answer
      from turnout.registration_batch(
        array(select p_kinds[i] from unnest(v_going) i), array(select p_action_ids[i] from unnest(v_going) i),
        array(select p_registration_ids[i] from unnest(v_going) i), array(select p_request_ids[i] from unnest(v_going) i),
        array(select p_actor_ids[i] from unnest(v_going) i), array(select p_roles[i] from unnest(v_going) i),
        array(select p_event_ids[i] from unnest(v_going) i), array(select p_user_ids[i] from unnest(v_going) i),
        p_resent, p_wait) b);
    perform turnout.keep_answers(p_actor_ids, p_keys, p_request_hashes, v_decided);
  end if;
  return query
  select a.item, a.outcome, a.body, a.etag, a.ref, a.replayed
  from unnest(v_taken || v_decided) a
  where a.outcome is not null
  order by a.item;
end
$$;
