-- A person for the hot cache: what user_get answers, with the version of the snapshot. Locks nothing.
create or replace function turnout.cache_user(p_user_id uuid, p_role text) returns turnout.cached_answer
language plpgsql stable
as $$
declare
  v_answer turnout.cached_answer;
begin
  select g.outcome, g.body, g.etag, null, null, null, s.epoch, s.xmax, cardinality(s.in_progress)
  into v_answer
  from turnout.user_get(p_user_id, p_role) g
  cross join turnout.cache_snapshot() s;
  return v_answer;
end
$$;
