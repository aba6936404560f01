-- statement by statement
-- The indexes of the roster and of an event's log, built while registrations go on.
--
-- registrations_roster_idx gives the people of an event in the order of joining, all of them (a merge of three) or of one
-- status, and counts who waits without a look at the table: so registrations_waitlist_idx, the same for the waitlist alone,
-- goes when the new one is there. event_year and user_id ride along for that, and for joins with names: inside a partition
-- every row is of one year, but a scan that could not see it in the index would look for it in the table.
-- audit_log_entity_idx gives the history of one registration, and of the event itself.
--
-- A partitioned table can't build its index concurrently: the parent gets an empty one, each partition its own, and these
-- are attached, under the names that PostgreSQL itself gives. Partitions that ensure_partitions makes in between have theirs.
select step.statement
from (
  select 1 as number, c.relname::text as name, format('drop index concurrently turnout.%I', c.relname) as statement
  from pg_catalog.pg_index i
  join pg_catalog.pg_class c on c.oid = i.indexrelid
  where c.relnamespace = 'turnout'::regnamespace and c.relkind = 'i' and not i.indisvalid
    and (c.relname = 'audit_log_entity_idx' or c.relname like 'registrations\_%\_event\_id\_status\_queue\_no\_event\_year\_user\_idx')
  union all
  select 2, '', 'create index if not exists registrations_roster_idx on only turnout.registrations '
                '(event_id, status, queue_no) include (event_year, user_id)'
  union all
  select p.number, c.relname,
         case p.number
           when 3 then format('create index concurrently if not exists %I on turnout.%I '
                              '(event_id, status, queue_no) include (event_year, user_id)', own.name, c.relname)
           else format('alter index turnout.registrations_roster_idx attach partition turnout.%I', own.name)
         end
  from pg_catalog.pg_inherits h
  join pg_catalog.pg_class c on c.oid = h.inhrelid
  cross join lateral (select c.relname || '_event_id_status_queue_no_event_year_user_idx' as name) own
  cross join (values (3), (4)) p (number)
  where h.inhparent = 'turnout.registrations'::regclass
    and not exists (
      select from pg_catalog.pg_inherits a
      join pg_catalog.pg_index i on i.indexrelid = a.inhrelid
      where a.inhparent = to_regclass('turnout.registrations_roster_idx') and i.indrelid = c.oid)
  union all
  select 5, '', 'drop index if exists turnout.registrations_waitlist_idx'
  union all
  select 6, '', 'create index concurrently if not exists audit_log_entity_idx on turnout.audit_log (entity_id, id)'
) step
order by step.number, step.name
