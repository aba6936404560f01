-- The highest migration that has been applied. Locks nothing.
create or replace function turnout.schema_version() returns integer
language sql stable
as $$
  select max(version) from turnout.migrations
$$;
