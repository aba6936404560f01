-- Stored answers of writes that carried an Idempotency-Key: not the finished HTTP answer, as 0001 had it, but the row that the
-- rule answered, from which the server makes the same status, headers and body each time. So a key is stored where the answer
-- is decided, in the writing transaction, and SQL need not know what a header is. Nothing had been written to the old table.

drop table turnout.idempotency_keys;

create table turnout.idempotency_keys (
  -- The keys of a person go with the person.
  user_id uuid not null references turnout.users (id) on delete cascade,
  key text not null check (char_length(key) between 1 and 255),
  -- SHA-256 of what was asked: method, route, path, preconditions and body. The same key with another request is refused.
  request_hash bytea not null,
  outcome text not null,
  body text,
  etag text,
  ref text,
  created_at timestamptz not null default now(),
  primary key (user_id, key)
)
with (autovacuum_vacuum_scale_factor = 0.05);
create index idempotency_keys_created_idx on turnout.idempotency_keys (created_at);

-- An answer that has outlived its time and is not pruned yet is overwritten when its key is used again.
grant select, insert, update, delete on turnout.idempotency_keys to turnout_app;

-- One answer of several: `item` says of which, from 1; `replayed` that it was stored before.
create type turnout.item_answer as (item integer, outcome text, body text, etag text, ref text, replayed boolean);
