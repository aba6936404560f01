-- The people behind verified identities, each made at first sight; one commit however many they are. Each item is decided
-- as if it had come alone, after those before it. Known by (issuer, subject): nothing is written. Else by e-mail, where
-- the row that has it was imported and has no identity yet: it gets this one, unless the issuer says that the address is
-- unverified. Else a new row from the claims. An address that another identity holds is `forbidden`. `busy`: whoever had
-- the address keeps changing it.
--
-- Claims that don't fit what a user may hold are left out, never refused, but for the address, which names the person: an
-- unknown zone or locale, an over-long name. A role (the claim that wins, or null) is not stored: it is looked at in each
-- token again.
--
-- Goes in rounds: look who is known, then link or make the others, of those that share an identity or an address only the
-- first, and look again. A round decides at least the first that is left; strangers to each other take one.
--
-- Locks: the users rows that are linked, by e-mail (no key update: registrations' key-share locks don't hold it up); then
-- the new rows' entries in the unique indexes, by e-mail: where two connections meet the same new person at once, one waits
-- for the other's commit. p_wait: for so many milliseconds each at most, past it the call fails with 55P03 and nothing was
-- done; 0: as long as it takes.
create or replace function turnout.users_seen(p_issuers text[], p_subjects text[], p_emails text[], p_names text[],
  p_departments text[], p_kinds text[], p_locales text[], p_timezones text[], p_emails_verified boolean[], p_roles text[],
  p_wait integer)
returns table (item integer, outcome text, body text, role text, ref text)
language plpgsql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_refusals text[] := array_fill(null::text, array[cardinality(p_subjects)]);
  v_left integer[];
begin
  if p_wait > 0 then
    perform set_config('lock_timeout', p_wait::text, true);
  end if;
  for v_round in 1 .. cardinality(p_subjects) + 1 loop
    select array_agg(i.item::integer order by i.item) into v_left
    from unnest(p_issuers, p_subjects, v_refusals) with ordinality i (issuer, subject, refusal, item)
    left join turnout.users u on u.issuer = i.issuer and u.subject = i.subject
    where u.id is null and i.refusal is null;
    exit when v_left is null;

    with strangers as (
      select i.*, btrim(i.email) as address,
             case
               when i.email is null or char_length(btrim(i.email)) not between 3 and 254
                    or btrim(i.email) !~ '^[^@[:space:]]+@[^@[:space:]]+$'
                 then '{"detail":"The identity brings no usable e-mail address."}'
               when i.issuer is null or i.subject is null or char_length(i.issuer) not between 1 and 512
                    or char_length(i.subject) not between 1 and 512
                 then '{"detail":"The identity has no usable issuer and subject."}'
             end as refusal
      from unnest(p_issuers, p_subjects, p_emails, p_names, p_departments, p_kinds, p_locales, p_timezones, p_emails_verified)
        with ordinality i (issuer, subject, email, name, department, kind, locale, timezone, email_verified, item)
      where i.item = any (v_left)
    ), judged as materialized (
      select s.*
      from (
        select strangers.*,
               row_number() over (partition by issuer, subject order by strangers.item) as among_identity,
               row_number() over (partition by lower(address), refusal is null order by strangers.item) as among_address
        from strangers
      ) s
      where s.among_identity = 1 and (s.among_address = 1 or s.refusal is not null)
    ), holders as materialized (
      select j.item, u.id, u.issuer as held_by, j.issuer, j.subject, to_jsonb(u) as before,
             case
               when u.issuer is null and j.email_verified is false then '{"detail":"The e-mail address is not verified."}'
               when u.issuer <> j.issuer or u.subject <> j.subject
                 then '{"detail":"The e-mail address belongs to another identity."}'
             end as refusal
      from judged j
      join turnout.users u on lower(u.email) = lower(j.address)
      where j.refusal is null
      order by lower(u.email)
      for no key update of u
    ), linked as (
      update turnout.users u
      set issuer = h.issuer, subject = h.subject, updated_at = clock_timestamp()
      from holders h
      where u.id = h.id and h.held_by is null and h.refusal is null
      returning u.id, to_jsonb(u) as after, h.before
    ), made as (
      insert into turnout.users as u (id, issuer, subject, email, name, department, kind, locale, timezone)
      select turnout.new_id(), j.issuer, j.subject, j.address,
             coalesce(nullif(left(btrim(j.name), 255), ''), split_part(j.address, '@', 1)),
             nullif(left(btrim(j.department), 255), ''),
             case when j.kind = 'guest' then 'guest' else 'employee' end,
             case when j.locale ~ '^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,8}$' then j.locale else 'en' end,
             coalesce((select z.name from turnout.time_zones z where z.name = j.timezone), 'UTC')
      from judged j
      where j.refusal is null and not exists (select from holders h where h.item = j.item)
      order by lower(j.address)
      -- Without a target: a conflict of the identity (met twice at once) counts like one of the address. The next round
      -- sees who it was.
      on conflict do nothing
      returning u.id, to_jsonb(u) as after
    ), logged as (
      insert into turnout.audit_log (actor_id, action, entity, entity_id, before, after)
      select l.id, 'user.linked', 'user', l.id, l.before, l.after from linked l
      union all
      select m.id, 'user.created', 'user', m.id, null, m.after from made m
    )
    select array_agg(coalesce(r.refusal, j.refusal, h.refusal) order by r.item) into v_refusals
    from unnest(v_refusals) with ordinality r (refusal, item)
    left join judged j on j.item = r.item
    left join holders h on h.item = r.item;
  end loop;

  return query
  select i.item::integer, case when i.refusal is not null then 'forbidden' when u.id is null then 'busy' else 'ok' end,
         i.refusal, case when i.refusal is null then coalesce(i.role, u.role) end, u.id::text
  from unnest(p_issuers, p_subjects, p_roles, v_refusals) with ordinality i (issuer, subject, role, refusal, item)
  left join turnout.users u on u.issuer = i.issuer and u.subject = i.subject and i.refusal is null
  order by i.item;
end
$$;
