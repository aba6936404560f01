-- Audits the events that come after p_after by their id (null: from the first), until p_rows rows were read or no event is left;
-- an event counts as 25 rows beside its own, for what it costs to look at one. An event is read whole, however large: that is
-- the bound of one call. Or, where p_only is given, audits that one. Each event has a snapshot of its own: at read committed,
-- as each statement of a volatile function has. Notes what it found, and what it found no more, in audit_findings; corrects
-- nothing: a counter that drifted is a bug that somebody has to look at.
--
-- Answers how many events and rows were read, the drifts, and after which event to go on (null: all were seen).
-- Locks: rows of audit_findings of these events.
create or replace function turnout.audit_events(p_after uuid, p_rows integer, p_only uuid,
  out events_read integer, out rows_read bigint, out drifts turnout.audit_drift[], out next_after uuid)
language plpgsql
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  c_event_cost constant integer := 25;
  v_event record;
  v_one record;
  v_seen uuid[] := '{}';
  v_left bigint := p_rows;
begin
  events_read := 0;
  rows_read := 0;
  drifts := '{}';
  for v_event in
    select e.id
    from turnout.events e
    where e.id > coalesce(p_after, '00000000-0000-0000-0000-000000000000') and p_only is null
       or e.id = p_only
    order by e.id
    limit p_rows / c_event_cost + 1
  loop
    select a.rows_read, a.drifts into v_one from turnout.audit_event(v_event.id) a;
    v_seen := v_seen || v_event.id;
    events_read := events_read + 1;
    rows_read := rows_read + v_one.rows_read;
    drifts := drifts || v_one.drifts;
    v_left := v_left - c_event_cost - v_one.rows_read;
    if v_left <= 0 then
      next_after := v_event.id;
      exit;
    end if;
  end loop;
  if p_only is not null then
    next_after := null;
  end if;
  perform turnout.audit_note(v_seen, drifts);
end
$$;
