-- A write under an Idempotency-Key: the answer that is stored for the key, or the write that p_write names, whose answer is then
-- stored if it is a success, in the same transaction. Registering has a function of its own, register_many_with_keys.
--
-- p_request_hash says what was asked, p_keep how long answers count, p_resent that the connection was lost and this is the same
-- call again. With a key every write can be sent again: what the first try did stands under it.
--
-- Locks, in this order: the key (take_keys: tried, never waited for), what the write locks, key-share on the user
-- (keep_answers).
create or replace function turnout.write_with_key(p_write text, p_request_id text, p_action_id uuid, p_user_id uuid,
  p_role text, p_id uuid, p_if_version integer, p_fields jsonb, p_resent boolean, p_key text, p_request_hash bytea,
  p_keep interval, out outcome text, out body text, out etag text, out ref text, out replayed boolean)
language plpgsql
as $$
declare
  v_taken turnout.item_answer;
  v_written record;
begin
  select t.* into v_taken
  from turnout.take_keys(array[p_user_id], array[p_key], array[p_request_hash], p_keep, p_resent) t;
  if v_taken.outcome is not null then
    outcome := v_taken.outcome;
    body := v_taken.body;
    etag := v_taken.etag;
    ref := v_taken.ref;
    replayed := v_taken.replayed;
    return;
  end if;

  case p_write
    when 'event_create' then
      v_written := turnout.event_create(p_request_id, p_action_id, p_user_id, p_role, p_id, p_fields);
    when 'event_update' then
      v_written := turnout.event_update(p_request_id, p_action_id, p_user_id, p_role, p_id, p_if_version, p_fields);
    when 'event_delete' then
      v_written := turnout.event_delete(p_request_id, p_action_id, p_user_id, p_role, p_id);
    when 'event_publish' then
      v_written := turnout.event_publish(p_request_id, p_action_id, p_user_id, p_role, p_id);
    when 'event_cancel' then
      v_written := turnout.event_cancel(p_request_id, p_action_id, p_user_id, p_role, p_id);
    when 'registration_cancel' then
      v_written := turnout.registration_cancel(p_request_id, p_action_id, p_user_id, p_role, p_id, p_resent);
    when 'registration_transfer' then
      v_written := turnout.registration_transfer(p_request_id, p_action_id, p_user_id, p_role, p_id, p_fields ->> 'user',
                                                 p_resent);
    when 'calendar_feed_create' then
      v_written := turnout.calendar_feed_create(p_request_id, p_action_id, p_user_id, (p_fields ->> 'token_hash')::bytea);
    when 'calendar_feed_delete' then
      v_written := turnout.calendar_feed_delete(p_request_id, p_action_id, p_user_id);
    when 'register_list' then
      v_written := turnout.register_list(p_request_id, p_action_id, p_user_id, p_role, p_id, p_fields, p_resent);
  end case;
  outcome := v_written.outcome;
  body := v_written.body;
  etag := v_written.etag;
  ref := v_written.ref;
  replayed := false;
  perform turnout.keep_answers(array[p_user_id], array[p_key], array[p_request_hash],
                               array[(1, outcome, body, etag, ref, replayed)::turnout.item_answer]);
end
$$;
