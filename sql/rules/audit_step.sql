-- One small step of the round of all events, which all hosts share: goes on where the last step ended, whoever made it, or begins
-- a round where the last one ended p_interval ago. The round's place moves with the step's commit: a step that is cut off is
-- made again by the next.
--
-- Answers one row, or one for each drift that it found: whether there is more to do now, how many events it read, how many
-- findings are open over all events, when a round ended last (microseconds since 1970, null: never), and the drift.
-- Locks: an advisory lock of the transaction, tried: while another host makes a step there is nothing to do here but to come
-- again. Then rows of audit_findings, then audit_round.
create or replace function turnout.audit_step(p_rows integer, p_interval interval)
returns table (more boolean, events_read integer, open_findings bigint, round_ended bigint,
               event_id uuid, counter text, department text, stored bigint, counted bigint)
language plpgsql
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_round record;
  v_step record;
  v_drifts turnout.audit_drift[] := '{}';
begin
  more := true;
  events_read := 0;
  if pg_try_advisory_xact_lock(hashtextextended('turnout.audit_step', 0)) then
    select r.after_event, r.started_at, r.ended_at into v_round from turnout.audit_round r;
    more := v_round.started_at > coalesce(v_round.ended_at, '-infinity');
    if more is null or not more and v_round.ended_at + p_interval <= clock_timestamp() then
      v_round.started_at := clock_timestamp();
      more := true;
    end if;
    if more then
      select a.events_read, a.drifts, a.next_after into v_step
      from turnout.audit_events(v_round.after_event, p_rows, null) a;
      events_read := v_step.events_read;
      v_drifts := v_step.drifts;
      more := v_step.next_after is not null;
      if not more then
        v_round.ended_at := clock_timestamp();
        -- Of events that were deleted: no look at them can clear it any more.
        update turnout.audit_findings f
        set cleared_at = v_round.ended_at
        where f.cleared_at is null and f.last_seen_at < v_round.started_at;
      end if;
      update turnout.audit_round r
      set after_event = v_step.next_after, started_at = v_round.started_at, ended_at = v_round.ended_at;
    end if;
  end if;
  return query
    select audit_step.more, audit_step.events_read,
           (select count(*) from turnout.audit_findings f where f.cleared_at is null),
           (select turnout.microseconds(r.ended_at) from turnout.audit_round r), d.event_id, d.counter, d.department, d.stored,
           d.counted
    from (select) one
    left join unnest(v_drifts) d on true;
end
$$;
