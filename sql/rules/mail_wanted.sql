-- Whether a person wants mail of this kind: has not unsubscribed from its group. Locks nothing. Simple enough for PostgreSQL to
-- inline it into the statements that call it.
create or replace function turnout.mail_wanted(p_user_id uuid, p_kind text) returns boolean
language sql stable
as $$
  select not exists (
    select from turnout.mail_unsubscribed u
    where u.user_id = p_user_id and u.mail_group = turnout.mail_group(p_kind))
$$;
