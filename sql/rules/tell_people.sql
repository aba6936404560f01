-- Owes people of an event, those of p_ids, a mail that it has changed: once each for a version of the event. Who joined after
-- the edit (p_since) knew. Locks nothing.
create or replace function turnout.tell_people(p_event_year smallint, p_event_id uuid, p_ids uuid[], p_version integer,
  p_since timestamptz) returns void
language plpgsql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
begin
  insert into turnout.outbox (kind, dedupe_key, event_id, registration_id, user_id, generation)
  select 'changed', r.id || ':changed:' || p_version, p_event_id, r.id, r.user_id, p_version
  from turnout.registrations r
  where r.event_year = p_event_year and r.id = any (p_ids) and r.registered_at <= p_since
  on conflict (dedupe_key) do nothing;
end
$$;
