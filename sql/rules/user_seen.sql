-- The person behind a verified identity, made at first sight: turnout.users_seen for one, with the person as JSON. For plain
-- SQL and for daemons of before that one, which may run beside newer ones. Locks: what users_seen does, waiting as long as it takes.
create or replace function turnout.user_seen(p_issuer text, p_subject text, p_email text, p_name text, p_department text,
  p_kind text, p_locale text, p_timezone text, p_email_verified boolean, p_role text,
  out outcome text, out body text, out role text, out ref text)
language plpgsql
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
  select s.outcome, s.body, s.role, s.ref
  into outcome, body, role, ref
  from turnout.users_seen(array[p_issuer], array[p_subject], array[p_email], array[p_name], array[p_department],
                          array[p_kind], array[p_locale], array[p_timezone], array[p_email_verified], array[p_role], 0) s;
  -- A statement of its own: the one above does not see whom it has made.
  if outcome = 'ok' then
    select turnout.user_body(u, p_role) into body from turnout.users u where u.id = ref::uuid;
  end if;
end
$$;
