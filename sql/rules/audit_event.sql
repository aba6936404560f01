-- Counts the rows of one event and compares: how many rows were read, and each counter that differs. One statement, so one
-- snapshot: counters and rows are written by the same transactions, and whoever sees one sees the other, however many people
-- register meanwhile. No lock is needed, and none is taken. A department without a counter has counted none.
-- The year is not asked for: with it, a plan made where one event had most of a year's rows read all of that year each time.
create or replace function turnout.audit_event(p_event_id uuid,
  out rows_read bigint, out drifts turnout.audit_drift[])
language plpgsql stable
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
begin
  with department as materialized (
    select coalesce(r.department, '') as name, count(*) as rows_read,
           count(*) filter (where r.status = 'registered') as registered,
           count(*) filter (where r.status = 'waitlisted') as waitlisted,
           count(r.checked_in_at) filter (where r.status = 'registered') as checked_in
    from turnout.registrations r
    where r.event_id = p_event_id
    group by 1
  ), total as (
    select coalesce(sum(d.rows_read), 0) as rows_read, coalesce(sum(d.registered), 0) as registered,
           coalesce(sum(d.waitlisted), 0) as waitlisted, coalesce(sum(d.checked_in), 0) as checked_in,
           (select count(*) from turnout.survey_responses s where s.event_id = p_event_id)
             as answered
    from department d
  ), compared as (
    select c.counter, null as department, c.stored, c.counted
    from total t
    -- An event that was deleted meanwhile has no rows, and nothing to compare.
    cross join (select from turnout.events e where e.id = p_event_id) existing
    left join turnout.event_seats s on s.event_id = p_event_id
    cross join lateral (values ('registered_count', s.registered_count, t.registered),
                               ('waitlisted_count', s.waitlisted_count, t.waitlisted),
                               ('checked_in_count', s.checked_in_count, t.checked_in),
                               ('survey_count', s.survey_count, t.answered)) c (counter, stored, counted)
    where c.stored is distinct from c.counted
    union all
    select c.counter, coalesce(k.department, d.name), c.stored, c.counted
    from (select n.department, n.registered, n.waitlisted, n.checked_in
          from turnout.event_department_counts n where n.event_id = p_event_id) k
    full join department d on d.name = k.department
    cross join lateral (values ('registered', coalesce(k.registered, 0), coalesce(d.registered, 0)),
                               ('waitlisted', coalesce(k.waitlisted, 0), coalesce(d.waitlisted, 0)),
                               ('checked_in', coalesce(k.checked_in, 0), coalesce(d.checked_in, 0))) c (counter, stored, counted)
    where c.stored <> c.counted
  )
  select t.rows_read + t.answered,
         array(select row (p_event_id, c.counter, c.department, c.stored, c.counted)::turnout.audit_drift
               from compared c order by c.department nulls first, c.counter)
  into rows_read, drifts
  from total t;
end
$$;
