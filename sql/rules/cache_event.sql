-- One public event for the hot cache: what event_get answers to a caller without a token, with the version of the snapshot.
-- Locks nothing.
create or replace function turnout.cache_event(p_event_id uuid) returns turnout.cached_answer
language plpgsql stable
as $$
declare
  v_answer turnout.cached_answer;
begin
  select g.outcome, g.body, g.etag, null, null, null, s.epoch, s.xmax, cardinality(s.in_progress)
  into v_answer
  from turnout.event_get(null, null, p_event_id) g
  cross join turnout.cache_snapshot() s;
  return v_answer;
end
$$;
