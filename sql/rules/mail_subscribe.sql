-- Unsubscribes a person from a group of mails (mail_group), or subscribes them again (p_wanted). The same again changes nothing, so
-- the call may be repeated. The body says how it stands now. No such person: not_found.
--
-- Locks the person's row of mail_unsubscribed, and key-share on the user.
create or replace function turnout.mail_subscribe(p_request_id text, p_user_id uuid, p_group text, p_wanted boolean,
  out outcome text, out body text, out etag text, out ref text)
language plpgsql
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_changed boolean;
begin
  if not exists (select from turnout.users u where u.id = p_user_id) then
    outcome := 'not_found';
    return;
  end if;
  if p_wanted then
    delete from turnout.mail_unsubscribed u where u.user_id = p_user_id and u.mail_group = p_group;
  else
    insert into turnout.mail_unsubscribed (user_id, mail_group) values (p_user_id, p_group) on conflict do nothing;
  end if;
  v_changed := found;
  if v_changed then
    insert into turnout.audit_log (actor_id, action, entity, entity_id, before, after, request_id)
    values (p_user_id, case when p_wanted then 'user.subscribed' else 'user.unsubscribed' end, 'user', p_user_id,
            jsonb_build_object(p_group, not p_wanted), jsonb_build_object(p_group, p_wanted), p_request_id);
  end if;
  outcome := 'ok';
  body := json_build_object('group', p_group, 'subscribed', p_wanted)::text;
end
$$;
