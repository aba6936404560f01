-- What the hot caches of all hosts have in common: which run of the database a cached body was rendered in.

-- The first part of the version of every cached body, read in the snapshot that renders it. Each refresher raises it after
-- each connect, before it renders anything (turnout.cache_begin): a server that crashed hands out transaction ids again, and
-- only this row tells snapshots of before from those of after.
create table turnout.cache_epoch (
  epoch bigint not null,
  at timestamptz not null default now()
);
create unique index cache_epoch_one_row on turnout.cache_epoch ((true));
insert into turnout.cache_epoch (epoch) values ((extract(epoch from clock_timestamp()) * 1000)::bigint);

-- Unlogged on purpose: a recovery after a crash empties it, and a standby or a restored backup never had it. Who finds another
-- witness than the last time, or none, knows that what was read since may have been undone.
create unlogged table turnout.cache_witness (
  id uuid not null default gen_random_uuid()
);
create unique index cache_witness_one_row on turnout.cache_witness ((true));

-- One answer of the statements that render for the cache: what the rule answered, where the next page begins and which events
-- this one shows, and the version of its snapshot.
create type turnout.cached_answer as (outcome text, body text, etag text, next_start bigint, next_id uuid, ids uuid[],
                                      epoch bigint, xmax xid8, in_progress integer);

grant select, update on turnout.cache_epoch to turnout_app;
grant select, insert on turnout.cache_witness to turnout_app;
