-- What the calendar of a public event is made of (calendar_fields), for the hot cache, with the version of the snapshot. Drafts:
-- not_found. Locks nothing.
create or replace function turnout.cache_calendar(p_event_id uuid) returns turnout.cached_answer
language plpgsql stable
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_answer turnout.cached_answer;
begin
  select case when e.status <> 'draft' then 'ok' else 'not_found' end,
         case when e.status <> 'draft' then turnout.calendar_fields(e)::text end, null, null, null, null,
         s.epoch, s.xmax, cardinality(s.in_progress)
  into v_answer
  from turnout.cache_snapshot() s
  left join turnout.events e on e.id = p_event_id;
  return v_answer;
end
$$;
