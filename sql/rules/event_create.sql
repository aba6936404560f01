-- Makes a draft under the id that the caller made. Only organizers and admins; who makes it becomes an organizer of it,
-- beside those named. Locks: by the foreign keys key-share on the organizers' users rows.
create or replace function turnout.event_create(p_request_id text, p_action_id uuid, p_user_id uuid, p_role text,
  p_event_id uuid, p_fields jsonb, out outcome text, out body text, out etag text, out ref text)
language plpgsql
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_fields record;
  v_event turnout.events;
  v_organizer_ids uuid[];
begin
  if p_user_id is null
     or coalesce(p_role, (select u.role from turnout.users u where u.id = p_user_id), '') not in ('organizer', 'admin')
  then
    outcome := 'forbidden';
    return;
  end if;
  v_fields := turnout.event_fields(p_fields, turnout.new_event());
  if v_fields.errors is not null then
    outcome := 'invalid_fields';
    body := turnout.errors_body(v_fields.errors);
    return;
  end if;
  v_event := v_fields.merged;
  v_event.id := p_event_id;
  v_organizer_ids := array(select unnest(v_fields.organizer_ids) union select p_user_id);
  perform turnout.insert_events(array[v_event], array_fill(p_event_id, array[cardinality(v_organizer_ids)]),
                                v_organizer_ids, p_user_id, p_request_id, p_action_id, 'event.created');
  outcome := 'created';
  ref := p_event_id;
  select b.body, b.etag into body, etag from turnout.event_body(p_event_id) b;
end
$$;
