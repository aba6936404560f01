-- Whether a person wants mail of this kind: nobody can unsubscribe yet. Locks nothing.
create or replace function turnout.mail_wanted(p_user_id uuid, p_kind text) returns boolean
language sql stable
as $$
  select true
$$;
