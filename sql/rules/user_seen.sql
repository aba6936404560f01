-- The person behind a verified identity, made at first sight. Known by (issuer, subject): nothing is written. Else by
-- e-mail, where the row that has it was imported and has no identity yet: it gets this one, unless the issuer says that
-- the address is unverified. Else a new row from the claims. An address that another identity holds is `forbidden`.
--
-- Claims that don't fit what a user may hold are left out, never refused, but for the address, which names the person: an
-- unknown zone or locale, an over-long name. p_role (the claim that wins, or null) is not stored: it is looked at in each
-- token again.
--
-- Locks: the users row that is linked (no key update: registrations' key-share locks don't hold it up), or the new row's
-- entries in the unique indexes; where two connections meet the same new person at once, one waits for the other's commit.
create or replace function turnout.user_seen(p_issuer text, p_subject text, p_email text, p_name text, p_department text,
  p_kind text, p_locale text, p_timezone text, p_email_verified boolean, p_role text,
  out outcome text, out body text, out role text, out ref text)
language plpgsql
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_user turnout.users;
  v_old jsonb;
  v_email text := btrim(p_email);
begin
  select u.* into v_user from turnout.users u where u.issuer = p_issuer and u.subject = p_subject;
  if not found then
    if v_email is null or char_length(v_email) not between 3 and 254
       or v_email !~ '^[^@[:space:]]+@[^@[:space:]]+$' then
      outcome := 'forbidden';
      body := '{"detail":"The identity brings no usable e-mail address."}';
      return;
    elsif p_issuer is null or p_subject is null or char_length(p_issuer) not between 1 and 512
          or char_length(p_subject) not between 1 and 512 then
      outcome := 'forbidden';
      body := '{"detail":"The identity has no usable issuer and subject."}';
      return;
    end if;

    insert into turnout.users (id, issuer, subject, email, name, department, kind, locale, timezone)
    select turnout.new_id(), p_issuer, p_subject, v_email,
           coalesce(nullif(left(btrim(p_name), 255), ''), split_part(v_email, '@', 1)),
           nullif(left(btrim(p_department), 255), ''),
           case when p_kind = 'guest' then 'guest' else 'employee' end,
           case when p_locale ~ '^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,8}$' then p_locale else 'en' end,
           coalesce((select z.name from turnout.time_zones z where z.name = p_timezone), 'UTC')
    -- Without a target: a conflict of the identity (met twice at once) counts like one of the address.
    on conflict do nothing
    returning id into v_user.id;

    if v_user.id is null then
      -- Somebody has the address or, since the first look, the identity.
      select u.* into v_user from turnout.users u where u.issuer = p_issuer and u.subject = p_subject;
      if not found then
        select u.* into v_user from turnout.users u where lower(u.email) = lower(v_email) for no key update;
        if not found then
          -- Whoever had it has just changed it.
          outcome := 'busy';
          return;
        elsif v_user.issuer is null and p_email_verified is false then
          outcome := 'forbidden';
          body := '{"detail":"The e-mail address is not verified."}';
          return;
        elsif v_user.issuer is null then
          v_old := to_jsonb(v_user);
          update turnout.users u
          set issuer = p_issuer, subject = p_subject, updated_at = clock_timestamp()
          where u.id = v_user.id
          returning u.* into v_user;
          insert into turnout.audit_log (actor_id, action, entity, entity_id, before, after)
          values (v_user.id, 'user.linked', 'user', v_user.id, v_old, to_jsonb(v_user));
        elsif v_user.issuer <> p_issuer or v_user.subject <> p_subject then
          outcome := 'forbidden';
          body := '{"detail":"The e-mail address belongs to another identity."}';
          return;
        end if;
      end if;
    else
      select u.* into v_user from turnout.users u where u.id = v_user.id;
      insert into turnout.audit_log (actor_id, action, entity, entity_id, after)
      values (v_user.id, 'user.created', 'user', v_user.id, to_jsonb(v_user));
    end if;
  end if;
  outcome := 'ok';
  body := turnout.user_body(v_user, p_role);
  role := coalesce(p_role, v_user.role);
  ref := v_user.id;
end
$$;
