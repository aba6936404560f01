-- Owes everybody the reminder that is due and not yet owed, in one statement, and answers how many: for each published event that
-- has not begun, to those who had their seat before the newest of its moments that has passed. The dedupe key, registration and
-- moment, makes it once, however often this runs and on however many hosts; a moment that was missed is caught up until the
-- start, and of several that were missed the newest is told. An event that moves has other moments. A seat that was handed over
-- keeps its age (seated_at), but its new owner has it from registered_at on.
--
-- reminder_marks only save the look at people who have all been owed theirs. Locks nothing that exists but reminder_marks' rows, in
-- the order of the events, after the rows that it inserts, in the order of the registrations.
create or replace function turnout.owe_reminders() returns bigint
language plpgsql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_now timestamptz := clock_timestamp();
  -- No moment is further from the start: 30 days before, by the clock on the wall.
  v_last timestamptz := v_now + interval '32 days';
  v_owed bigint;
begin
  with due as materialized (
    select e.id, e.event_year, m.due_at
    from turnout.events e
    cross join lateral (
      select max(t.moment)
      from turnout.reminder_moments(e.start_datetime, e.timezone, e.reminders) t (moment)
      where t.moment <= v_now
    ) m (due_at)
    left join turnout.reminder_marks k on k.event_id = e.id
    where e.status = 'published' and e.start_datetime > v_now and e.start_datetime <= v_last and m.due_at is not null
      and not (k.complete and k.due_at = m.due_at) is true
  ), owed as (
    insert into turnout.outbox (kind, dedupe_key, event_id, registration_id, user_id, due_at)
    select 'reminder', r.id || ':reminder:' || extract(epoch from d.due_at)::bigint, d.id, r.id, r.user_id, d.due_at
    from due d
    join turnout.registrations r on r.event_year = d.event_year and r.event_id = d.id and r.status = 'registered'
    where r.seated_at <= d.due_at and r.registered_at <= d.due_at
    order by r.id
    on conflict (dedupe_key) do nothing
    returning id
  ), marked as (
    insert into turnout.reminder_marks as k (event_id, due_at, before_xid)
    -- Not the snapshot's xmax: what is under way may be above that, but never above an id that is made now.
    select d.id, d.due_at, pg_current_xact_id()
    from due d
    order by d.id
    on conflict (event_id) do update
    set due_at = excluded.due_at,
        before_xid = case when k.due_at = excluded.due_at then k.before_xid else excluded.before_xid end,
        complete = k.due_at = excluded.due_at and pg_snapshot_xmin(pg_current_snapshot()) >= k.before_xid
    returning k.event_id
  )
  select count(*) into v_owed from owed;
  return v_owed;
end
$$;
