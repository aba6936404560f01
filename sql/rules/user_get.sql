-- A person by id; p_role is the role claim that wins over the table's, or null. Locks nothing.
create or replace function turnout.user_get(p_user_id uuid, p_role text,
  out outcome text, out body text, out etag text, out ref text)
language plpgsql stable
as $$
declare
  v_user turnout.users;
begin
  select u.* into v_user from turnout.users u where u.id = p_user_id;
  if not found then
    outcome := 'not_found';
    return;
  end if;
  outcome := 'ok';
  body := turnout.user_body(v_user, p_role);
  ref := v_user.id;
end
$$;
