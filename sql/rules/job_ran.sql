-- Notes a run of a job that is over: how long it took, one word for how it ended, the rows it concerned, what went wrong or null.
-- For jobs that run often and mostly find nothing to do: a run that did is noted afterwards. Locks nothing that exists.
create or replace function turnout.job_ran(p_job text, p_host text, p_took interval, p_outcome text, p_rows bigint, p_error text)
returns void
language sql
as $$
  insert into turnout.job_runs (job, host, started_at, finished_at, outcome, rows, error)
  values (p_job, p_host, clock_timestamp() - p_took, clock_timestamp(), p_outcome, p_rows, p_error)
$$;
