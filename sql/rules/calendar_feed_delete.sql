-- Takes a person's calendar feed away: its address is worth nothing from then on. There was none: the same answer.
--
-- Locks the person's row of calendar_feeds.
create or replace function turnout.calendar_feed_delete(p_request_id text, p_action_id uuid, p_user_id uuid,
  out outcome text, out body text, out etag text, out ref text)
language plpgsql
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
begin
  delete from turnout.calendar_feeds f where f.user_id = p_user_id;
  if found then
    insert into turnout.audit_log (actor_id, action, entity, entity_id, request_id, action_id)
    values (p_user_id, 'user.calendar_feed_deleted', 'user', p_user_id, p_request_id, p_action_id);
  end if;
  outcome := 'deleted';
end
$$;
