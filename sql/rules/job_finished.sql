-- Notes how a run ended: an outcome of one word, the rows it concerned, and what went wrong or null. Locks the run's row.
create or replace function turnout.job_finished(p_run bigint, p_outcome text, p_rows bigint, p_error text) returns void
language sql
as $$
  update turnout.job_runs
  set finished_at = clock_timestamp(), outcome = p_outcome, rows = p_rows, error = p_error
  where id = p_run
$$;
