-- Reads the rows of a directory without writing: for each row its number (from 1) and its key, by which rows of one file
-- are compared and in whose order users_import wants them; and a line more for each thing that is wrong with it, which has
-- a JSON pointer instead of the key. Locks nothing.
create or replace function turnout.users_import_check(p_rows jsonb)
returns table ("row" integer, key text, pointer text, detail text)
language plpgsql stable
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  c_control constant text := '[\u0001-\u001f\u007f-\u009f\u2028\u2029]';
begin
  return query
  select g.number, g.key, null, null
  from turnout.users_import_given(p_rows) g;
  return query
  select g.number, null, e.pointer, e.detail
  from turnout.users_import_given(p_rows) g
  cross join lateral (
    values
      (1, '/email', case
        when g.email is null then 'must be given'
        when char_length(g.email) not between 3 and 254 or g.email ~ c_control
             or g.email !~ '^[^@[:space:]<>()\[\]\\,;:"]+@[^@[:space:]<>()\[\]\\,;:"]+$' then 'must be an e-mail address' end),
      (2, '/name', case when char_length(g.name) > 255 or g.name ~ c_control
        then 'must have at most 255 characters and no control characters' end),
      (3, '/department', case when char_length(g.department) > 255 or g.department ~ c_control
        then 'must have at most 255 characters and no control characters' end),
      (4, '/kind', case when g.kind not in ('employee', 'guest') then 'must be employee or guest' end),
      (5, '/role', case when g.role not in ('participant', 'organizer', 'admin')
        then 'must be participant, organizer or admin' end),
      (6, '/locale', case when g.locale !~ '^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,8}$' then 'must be a language tag' end),
      (7, '/timezone', case
        when g.timezone is not null and not exists (select from turnout.time_zones z where z.name = g.timezone)
        then 'must be the name of a time zone' end)) e (place, pointer, detail)
  where e.detail is not null
  order by g.number, e.place;
end
$$;
