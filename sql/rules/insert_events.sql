-- Writes new events that event_fields has read: the rows, their seats, their organizers (pairs of event and user) and the
-- audit log's lines, a statement for each table. Shared by event_create and events_import, and not called otherwise.
-- Locks: nothing that exists but, by the foreign keys, key-share on the organizers' users rows.
create or replace function turnout.insert_events(p_events turnout.events[], p_organized_ids uuid[], p_organizer_ids uuid[],
  p_actor_id uuid, p_request_id text, p_action_id uuid, p_action text) returns void
language plpgsql
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
begin
  insert into turnout.events (id, event_year, title, description, start_datetime, end_datetime, timezone, venue, category,
    status, capacity, registration_opens_at, registration_closes_at, waitlist_enabled, waitlist_limit, guests_allowed,
    department_limit, reminders, version, created_at, updated_at)
  select e.id, e.event_year, e.title, e.description, e.start_datetime,
         e.end_datetime, e.timezone, e.venue, e.category, e.status, e.capacity, e.registration_opens_at,
         e.registration_closes_at, e.waitlist_enabled, e.waitlist_limit, e.guests_allowed, e.department_limit, e.reminders, e.version,
         e.created_at, e.updated_at
  from unnest(p_events) e;
  insert into turnout.event_seats (event_id, capacity) select e.id, e.capacity from unnest(p_events) e;
  insert into turnout.event_organizers (event_id, user_id)
  select o.event_id, o.user_id from unnest(p_organized_ids, p_organizer_ids) o (event_id, user_id);
  insert into turnout.audit_log (actor_id, action, entity, entity_id, event_id, after, request_id, action_id)
  select p_actor_id, p_action, 'event', e.id, e.id,
         to_jsonb(e) || jsonb_build_object('organizer_ids', o.user_ids), p_request_id, p_action_id
  from unnest(p_events) e
  join (
    select event_id, jsonb_agg(user_id order by user_id) as user_ids
    from unnest(p_organized_ids, p_organizer_ids) o (event_id, user_id)
    group by event_id
  ) o on o.event_id = e.id;
end
$$;
