-- statement by statement
-- What all mailers together keep to: one row, whatever their number. Its lock makes leases take turns, so that a rate is exact
-- over all hosts. And an index of dead letters, few among many rows, built while mail is owed.
--
-- paused_at, paused_by: turnoutctl mail pause. next_send_at: when the next message would be due if each came exactly in its turn
-- (the theoretical arrival of GCRA). slow_*: the server wants less of us: nothing until then, and after it the fewer at once the
-- higher the step. The row is rewritten by every lease.
select step.statement
from (
  select 1 as number, 'create table if not exists turnout.mail_stream ('
    '  paused_at timestamptz,'
    '  paused_by text,'
    '  next_send_at timestamptz not null default now(),'
    '  slow_step integer not null default 0 check (slow_step between 0 and 9),'
    '  slow_until timestamptz,'
    '  slow_reason text'
    ') with (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500)' as statement
  union all
  select 2, 'create unique index if not exists mail_stream_one_row on turnout.mail_stream ((true))'
  union all
  select 3, 'insert into turnout.mail_stream default values on conflict do nothing'
  union all
  select 4, 'grant select, update on turnout.mail_stream to turnout_app'
  union all
  select 5, format('drop index concurrently turnout.%I', c.relname)
  from pg_catalog.pg_index i
  join pg_catalog.pg_class c on c.oid = i.indexrelid
  where c.relnamespace = 'turnout'::regnamespace and not i.indisvalid and c.relname = 'outbox_dead_idx'
  union all
  select 6, 'create index concurrently if not exists outbox_dead_idx on turnout.outbox (id) where state = ''dead'''
) step
order by step.number
