-- Takes rows of a directory over into users: adds who is not there, updates who is there and differs, deletes nobody, and
-- touches no registration: statistics of what was stay with the department that it was. The rows have passed
-- users_import_check, are in the order of their keys (compared by bytes), and no two are of one person; the caller calls in
-- chunks, in that order, inside one transaction. Answers the rows that it added or updated, with what differs; with
-- p_dry_run those that it would have, and writes nothing.
--
-- Locks: an advisory lock of the transaction, tried, so that two imports never wait for each other in a circle (fails with
-- lock_not_available where there is another one); then, chunk by chunk in the order of their keys, the users rows that are
-- updated (no key update: registrations' key-share locks don't hold it up), and the new rows' entries in the unique
-- index: who meets a new person at first sight meanwhile waits for the commit.
create or replace function turnout.users_import(p_request_id text, p_actor_id uuid, p_rows jsonb, p_dry_run boolean)
returns table ("row" integer, outcome text, email text, before jsonb, after jsonb)
language plpgsql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_locked uuid[];
  v_missing integer;
  v_added integer;
begin
  if p_dry_run then
    return query
    select m.number, case when m.id is null then 'added' else 'updated' end, m.email, d.before, d.after
    from turnout.users_import_merged(p_rows) m
    cross join lateral turnout.json_changes(coalesce(m.before, '{}'), m.after) d
    where m.id is null or m.differs;
    return;
  end if;

  if not pg_try_advisory_xact_lock(hashtextextended('turnout.users_import', 0)) then
    raise exception using errcode = 'lock_not_available', message = 'another import of users is running';
  end if;
  loop
    v_locked := array(
      select u.id
      from turnout.users_import_merged(p_rows) m
      join turnout.users u on u.id = m.id
      where m.differs
      order by m.key collate "C"
      for no key update of u);

    return query
    with wanted as materialized (
      select m.number, m.id, m.name, m.department, m.kind, m.role, m.locale, m.timezone, m.before, m.after
      from turnout.users_import_merged(p_rows) m
      where m.differs and m.id = any (v_locked)
    ), updated as (
      update turnout.users u
      set name = w.name, department = w.department, kind = w.kind, role = w.role, locale = w.locale, timezone = w.timezone,
          updated_at = clock_timestamp()
      from wanted w
      where u.id = w.id
      returning w.number, u.id, u.email, w.before, w.after
    ), told as (
      select u.number, u.id, u.email, d.before, d.after
      from updated u
      cross join lateral turnout.json_changes(u.before, u.after) d
    ), logged as (
      insert into turnout.audit_log (actor_id, action, entity, entity_id, before, after, request_id)
      select p_actor_id, 'user.updated', 'user', t.id, t.before, t.after, p_request_id
      from told t
    )
    select t.number, 'updated', t.email, t.before, t.after
    from told t;

    select count(*) into v_missing from turnout.users_import_merged(p_rows) m where m.id is null;
    exit when v_missing = 0;
    return query
    with wanted as materialized (
      select m.number, m.key, m.email, m.name, m.department, m.kind, m.role, m.locale, m.timezone
      from turnout.users_import_merged(p_rows) m
      where m.id is null
    ), added as (
      insert into turnout.users (id, email, name, department, kind, role, locale, timezone)
      select turnout.new_id(), w.email, w.name, w.department, w.kind, w.role, w.locale, w.timezone
      from wanted w
      order by w.key collate "C"
      -- Somebody was met at first sight a moment ago: the next round updates the row.
      on conflict do nothing
      returning users.id, users.email, to_jsonb(users) as whole
    ), logged as (
      insert into turnout.audit_log (actor_id, action, entity, entity_id, after, request_id)
      select p_actor_id, 'user.imported', 'user', a.id, a.whole, p_request_id
      from added a
    )
    select w.number, 'added', a.email, null::jsonb, a.whole - 'id' - 'email' - 'issuer' - 'subject' - 'created_at' - 'updated_at'
    from added a
    join wanted w on w.email = a.email;
    get diagnostics v_added = row_count;
    exit when v_added = v_missing;
  end loop;
end
$$;
