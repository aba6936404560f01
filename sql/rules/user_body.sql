-- A person as JSON, with the role that holds for this caller. Locks nothing.
create or replace function turnout.user_body(p_user turnout.users, p_role text) returns text
language plpgsql stable
as $$
begin
  return (
    select row_to_json(b)::text
    from (
      select p_user.id, p_user.name, p_user.email, p_user.department, p_user.kind,
             coalesce(p_role, p_user.role) as role, p_user.locale, p_user.timezone
    ) b);
end
$$;
