-- Brings audit_findings up to date for events that were audited just now: what differs is seen once more, or for the first time;
-- what was open and differs no more is cleared. Locks rows of audit_findings, in the order of their key.
create or replace function turnout.audit_note(p_events uuid[], p_drifts turnout.audit_drift[]) returns void
language plpgsql
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
begin
  -- Nearly always nothing was found, and nothing is open: then nothing is written.
  if exists (select from turnout.audit_findings f where f.cleared_at is null and f.event_id = any (p_events)) then
    update turnout.audit_findings f
    set cleared_at = clock_timestamp()
    where f.cleared_at is null and f.event_id = any (p_events)
      and not exists (
        select
        from unnest(p_drifts) d
        where d.event_id = f.event_id and d.counter = f.counter and d.department is not distinct from f.department);
  end if;
  if cardinality(p_drifts) > 0 then
    insert into turnout.audit_findings as f (event_id, counter, department, stored, counted)
    select d.event_id, d.counter, d.department, d.stored, d.counted
    from unnest(p_drifts) d
    order by d.event_id, d.counter, d.department
    on conflict (event_id, counter, department) where cleared_at is null
    do update set stored = excluded.stored, counted = excluded.counted, last_seen_at = excluded.last_seen_at,
                  times_seen = f.times_seen + 1;
  end if;
end
$$;
