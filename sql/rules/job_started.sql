-- Notes that a job of the scheduler begins, and answers the run's id. Locks nothing that exists.
create or replace function turnout.job_started(p_job text, p_host text) returns bigint
language sql
as $$
  insert into turnout.job_runs (job, host) values (p_job, p_host) returning id
$$;
