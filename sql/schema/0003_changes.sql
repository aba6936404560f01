-- What is out of date: one row per thing that a cached body shows and that has changed, written by statement-level triggers
-- in the transaction that changes it, and the doorbell NOTIFY turnout_changes (empty payload; PostgreSQL itself sends
-- equal notifications of one transaction once).
--
-- The trigger functions stand here, with their triggers, and not in sql/rules: a trigger can't be made before its function,
-- and schema files run first.

create table turnout.changes (
  id bigint generated always as identity primary key,
  -- Readers ask for what committed since their last snapshot, so a row carries its transaction.
  xid xid8 not null default pg_current_xact_id(),
  kind turnout.change_kind not null,
  -- The event's id, the user's for `user`, null for `all`.
  key uuid,
  -- For `event`: what places it on list pages, {"category", "status", "start" (µs since 1970), "id"}, null where it did not
  -- exist before or does not after. Else null.
  before jsonb,
  after jsonb,
  -- When it was written; only for pruning.
  at timestamptz not null default clock_timestamp(),
  check ((kind = 'all') = (key is null))
)
-- A belt: written at one end, pruned at the other. Thresholds are counts, as the table's size says nothing.
with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
      autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 20000,
      autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 20000);
create index changes_xid_idx on turnout.changes (xid);

-- How far the pruning has gone: rows of transactions below this xid may be missing. A reader whose last snapshot had an
-- xmin below it can't trust what it reads and starts over.
create table turnout.changes_pruned (
  xid xid8 not null,
  at timestamptz not null default now()
);
create unique index changes_pruned_one_row on turnout.changes_pruned ((true));
insert into turnout.changes_pruned (xid) values (pg_current_xact_id());

-- ---------------------------------------------------------------------------------------------------------------------

-- What places an event on the pages of the list.
create function turnout.event_place(p_id uuid, p_category text, p_status text, p_start timestamptz) returns jsonb
language sql immutable parallel safe
as $$
  select jsonb_build_object('id', p_id, 'category', p_category, 'status', p_status,
                            'start', (extract(epoch from p_start) * 1000000)::bigint)
$$;

create function turnout.changes_from_events() returns trigger
language plpgsql
as $$
begin
  case tg_op
    when 'INSERT' then
      insert into turnout.changes (kind, key, after)
      select 'event', n.id, turnout.event_place(n.id, n.category, n.status, n.start_datetime)
      from new_rows n;
    when 'UPDATE' then
      insert into turnout.changes (kind, key, before, after)
      select 'event', coalesce(n.id, o.id),
             case when o.id is not null then turnout.event_place(o.id, o.category, o.status, o.start_datetime) end,
             case when n.id is not null then turnout.event_place(n.id, n.category, n.status, n.start_datetime) end
      from new_rows n full join old_rows o on o.id = n.id;
    when 'DELETE' then
      insert into turnout.changes (kind, key, before)
      select 'event', o.id, turnout.event_place(o.id, o.category, o.status, o.start_datetime)
      from old_rows o;
  end case;
  if found then
    notify turnout_changes;
  end if;
  return null;
end
$$;

-- Public pages show capacity, registered and waitlisted; a check-in or an answered survey is the dashboard's alone.
create function turnout.changes_from_event_seats() returns trigger
language plpgsql
as $$
begin
  case tg_op
    when 'INSERT' then
      insert into turnout.changes (kind, key) select 'seats', n.event_id from new_rows n;
    when 'UPDATE' then
      insert into turnout.changes (kind, key)
      select case when n.capacity = o.capacity and n.registered_count = o.registered_count
                       and n.waitlisted_count = o.waitlisted_count then 'stats' else 'seats' end,
             n.event_id
      from new_rows n left join old_rows o on o.event_id = n.event_id;
    when 'DELETE' then
      insert into turnout.changes (kind, key) select 'seats', o.event_id from old_rows o;
  end case;
  if found then
    notify turnout_changes;
  end if;
  return null;
end
$$;

-- For the tables where a row says only "this thing looks different now". First argument: the kind; second: the column
-- that names the thing. Several changed rows of one thing are one change.
create function turnout.changes_from_rows() returns trigger
language plpgsql
as $$
begin
  case tg_argv[0]
    when 'user' then
      if tg_op = 'DELETE' then
        insert into turnout.changes (kind, key) select 'user', o.id from old_rows o;
      else
        insert into turnout.changes (kind, key) select 'user', n.id from new_rows n;
      end if;
    else
      if tg_op = 'DELETE' then
        insert into turnout.changes (kind, key) select distinct tg_argv[0], o.event_id from old_rows o;
      else
        insert into turnout.changes (kind, key) select distinct tg_argv[0], n.event_id from new_rows n;
      end if;
  end case;
  if found then
    notify turnout_changes;
  end if;
  return null;
end
$$;

-- Everything may be out of date: a table was emptied, or a migration or new rules change what bodies look like.
create function turnout.changes_of_everything() returns trigger
language plpgsql
as $$
begin
  insert into turnout.changes (kind) values ('all');
  notify turnout_changes;
  return null;
end
$$;

create trigger changes_insert after insert on turnout.events
  referencing new table as new_rows for each statement execute function turnout.changes_from_events();
create trigger changes_update after update on turnout.events
  referencing old table as old_rows new table as new_rows for each statement execute function turnout.changes_from_events();
create trigger changes_delete after delete on turnout.events
  referencing old table as old_rows for each statement execute function turnout.changes_from_events();
create trigger changes_truncate after truncate on turnout.events
  for each statement execute function turnout.changes_of_everything();

create trigger changes_insert after insert on turnout.event_seats
  referencing new table as new_rows for each statement execute function turnout.changes_from_event_seats();
create trigger changes_update after update on turnout.event_seats
  referencing old table as old_rows new table as new_rows
  for each statement execute function turnout.changes_from_event_seats();
create trigger changes_delete after delete on turnout.event_seats
  referencing old table as old_rows for each statement execute function turnout.changes_from_event_seats();
create trigger changes_truncate after truncate on turnout.event_seats
  for each statement execute function turnout.changes_of_everything();

-- The department counters change only together with their event's seats row, in one transaction, and that row's change
-- already says that the statistics are out of date: triggers of their own would say it twice, on the hottest path.
create trigger changes_truncate after truncate on turnout.event_department_counts
  for each statement execute function turnout.changes_of_everything();

create trigger changes_insert after insert on turnout.event_organizers
  referencing new table as new_rows for each statement execute function turnout.changes_from_rows('organizers');
create trigger changes_update after update on turnout.event_organizers
  referencing new table as new_rows for each statement execute function turnout.changes_from_rows('organizers');
create trigger changes_delete after delete on turnout.event_organizers
  referencing old table as old_rows for each statement execute function turnout.changes_from_rows('organizers');
create trigger changes_truncate after truncate on turnout.event_organizers
  for each statement execute function turnout.changes_of_everything();

create trigger changes_insert after insert on turnout.users
  referencing new table as new_rows for each statement execute function turnout.changes_from_rows('user');
create trigger changes_update after update on turnout.users
  referencing new table as new_rows for each statement execute function turnout.changes_from_rows('user');
create trigger changes_delete after delete on turnout.users
  referencing old table as old_rows for each statement execute function turnout.changes_from_rows('user');
create trigger changes_truncate after truncate on turnout.users
  for each statement execute function turnout.changes_of_everything();

-- The two tables that turnoutctl migrate writes when it changes something.
create trigger changes_of_everything after insert on turnout.migrations
  for each statement execute function turnout.changes_of_everything();
create trigger changes_of_everything after insert or update on turnout.rules
  for each statement execute function turnout.changes_of_everything();

grant select, insert, delete on turnout.changes to turnout_app;
grant select, update on turnout.changes_pruned to turnout_app;
