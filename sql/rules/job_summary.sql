-- The scheduler's record by job: the last run that was noted (when, for how long, how it ended, how many rows, on which host), and how
-- many of the last day's runs there were and failed. Locks nothing.
create or replace function turnout.job_summary()
returns table (job text, started_at timestamptz, took_ms bigint, outcome text, rows bigint, runs_day bigint, failed_day bigint,
  host text, error text)
language sql stable
as $$
  select l.job, l.started_at, (extract(epoch from l.finished_at - l.started_at) * 1000)::bigint, coalesce(l.outcome, 'running'), l.rows,
         d.runs, d.failed, l.host, l.error
  from (
    select distinct on (r.job) r.job, r.started_at, r.finished_at, r.outcome, r.rows, r.host, r.error
    from turnout.job_runs r
    order by r.job, r.started_at desc
  ) l
  cross join lateral (
    select count(*) as runs, count(*) filter (where r.outcome = 'failed') as failed
    from turnout.job_runs r
    where r.job = l.job and r.started_at > now() - interval '1 day'
  ) d
  order by l.job
$$;
