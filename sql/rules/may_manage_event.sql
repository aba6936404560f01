-- Whether a person may manage an event: an admin any, an organizer those that are theirs. A role claim (p_role) wins over
-- the users table's; without a user nobody may. Reads users and event_organizers, locks nothing.
create or replace function turnout.may_manage_event(p_user_id uuid, p_role text, p_event_id uuid) returns boolean
language plpgsql stable
as $$
declare
  v_role text := p_role;
begin
  if p_user_id is null then
    return false;
  end if;
  if v_role is null then
    select u.role into v_role from turnout.users u where u.id = p_user_id;
  end if;
  return coalesce(v_role = 'admin', false)
    or (coalesce(v_role = 'organizer', false)
        and exists (select from turnout.event_organizers o where o.event_id = p_event_id and o.user_id = p_user_id));
end
$$;
