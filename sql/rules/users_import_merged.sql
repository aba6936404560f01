-- What the rows of a directory mean for the people there are: each row with its person's as it is (`id` null: nobody has
-- the address) and as it would be. Only what the row gives changes; the address keeps its spelling. Locks nothing.
create or replace function turnout.users_import_merged(p_rows jsonb)
returns table (number integer, key text, email text, id uuid, differs boolean, name text, department text, kind text,
               role text, locale text, timezone text, before jsonb, after jsonb)
language sql stable
as $$
  select m.number, m.key, m.email, m.id, m.before <> m.after, m.after ->> 'name', m.after ->> 'department',
         m.after ->> 'kind', m.after ->> 'role', m.after ->> 'locale', m.after ->> 'timezone', m.before, m.after
  from (
    select g.number, g.key, g.email, u.id,
           case when u.id is not null then jsonb_build_object('name', u.name, 'department', u.department, 'kind', u.kind,
             'role', u.role, 'locale', u.locale, 'timezone', u.timezone) end as before,
           jsonb_build_object(
             'name', coalesce(g.name, u.name, split_part(g.email, '@', 1)),
             'department', case when g.gives_department then g.department else u.department end,
             'kind', coalesce(g.kind, u.kind, 'employee'),
             'role', coalesce(g.role, u.role, 'participant'),
             'locale', coalesce(g.locale, u.locale, 'en'),
             'timezone', coalesce(g.timezone, u.timezone, 'UTC')) as after
    from turnout.users_import_given(p_rows) g
    left join turnout.users u on lower(u.email) = g.key
  ) m
$$;
