-- Gives a person a calendar feed: the hash of the token in its address takes the place of an older one's. The body holds the
-- action's id, of which whoever knows the hosts' key makes the token; the token itself is stored nowhere. The same action again
-- changes nothing.
--
-- Locks the person's row of calendar_feeds, and key-share on the user.
create or replace function turnout.calendar_feed_create(p_request_id text, p_action_id uuid, p_user_id uuid, p_token_hash bytea,
  out outcome text, out body text, out etag text, out ref text)
language plpgsql
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_created_at timestamptz;
begin
  insert into turnout.calendar_feeds as f (user_id, token_hash, created_at)
  values (p_user_id, p_token_hash, clock_timestamp())
  on conflict (user_id) do update
  set token_hash = excluded.token_hash, created_at = excluded.created_at
  where f.token_hash <> excluded.token_hash
  returning f.created_at into v_created_at;
  if found then
    insert into turnout.audit_log (actor_id, action, entity, entity_id, request_id, action_id)
    values (p_user_id, 'user.calendar_feed_created', 'user', p_user_id, p_request_id, p_action_id);
  else
    select f.created_at into v_created_at from turnout.calendar_feeds f where f.user_id = p_user_id;
  end if;
  outcome := 'created';
  ref := '';
  body := json_build_object('id', p_action_id, 'created_at', turnout.api_time(v_created_at))::text;
end
$$;
