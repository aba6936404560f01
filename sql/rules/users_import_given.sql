-- The rows of a directory as the functions of users_import read them: an array of objects with texts. White space around a
-- value is none of it. A field that is absent or empty is not given, but for the department: there empty says that the
-- person has none. `key` is what the unique index of addresses compares. Locks nothing.
create or replace function turnout.users_import_given(p_rows jsonb)
returns table (number integer, key text, email text, name text, department text, gives_department boolean, kind text,
               role text, locale text, timezone text)
language sql stable
as $$
  select r.number::integer, lower(btrim(r.email)), nullif(btrim(r.email), ''), nullif(btrim(r.name), ''),
         nullif(btrim(r.department), ''), r.department is not null, nullif(btrim(r.kind), ''), nullif(btrim(r.role), ''),
         nullif(btrim(r.locale), ''), nullif(btrim(r.timezone), '')
  from rows from (jsonb_to_recordset(p_rows) as (email text, name text, department text, kind text, role text, locale text,
                                                 timezone text))
       with ordinality r (email, name, department, kind, role, locale, timezone, number)
$$;
