-- The tables that everything else stands on. Written for PostgreSQL 15, server encoding UTF8, a server built with ICU.
--
-- Before this file runs, turnoutctl migrate has made the schema `turnout` and the table turnout.migrations; it runs
-- every file of this folder once, as turnout_owner, each in a transaction of its own. The role turnout_app must exist.
-- A file that has landed is never edited: what it made is changed by a later file.

-- ---------------------------------------------------------------------------------------------------------------------
-- Functions that columns, CHECKs and indexes depend on. They are here and not in sql/rules because replacing one of them
-- would silently falsify what is stored: a new version is a new migration that rebuilds the index.

-- Text as it is compared by searches: compatibility forms unified (full-width Latin, half-width katakana), lower case by
-- Unicode's rules whatever the locale of the database, and the Greek final sigma as any other.
create function turnout.search_fold(p_text text) returns text
language sql immutable strict parallel safe
as $$
  select translate(lower(normalize(p_text, NFKC) collate "und-x-icu"), 'ς', 'σ')
$$;

-- Every single character and every pair of neighbours of the folded text; the index wants them neither sorted nor once only.
-- A substring of one or two characters is found by them exactly, a longer one nearly; trigrams (pg_trgm) find nothing for
-- 会議, which is a word in Japanese.
create function turnout.search_grams(p_text text) returns text[]
language plpgsql immutable strict parallel safe
as $$
declare
  v_letters text[] := string_to_array(turnout.search_fold(p_text), null);
begin
  return v_letters || array(
    select letter || next_letter
    from unnest(v_letters, v_letters[2:]) pairs (letter, next_letter)
    where next_letter is not null);
end
$$;

-- ---------------------------------------------------------------------------------------------------------------------
-- Lists of words, as domains: PostgreSQL parses a table's CHECKs from their stored text again in every statement that
-- writes the table, which for the tables of the registration path was a tenth of the statement; a domain's are cached.

create domain turnout.person_kind as text check (value in ('employee', 'guest'));
create domain turnout.person_role as text check (value in ('participant', 'organizer', 'admin'));
create domain turnout.event_status as text check (value in ('draft', 'published', 'cancelled', 'completed'));
create domain turnout.registration_status as text check (value in ('registered', 'waitlisted', 'cancelled'));
create domain turnout.mail_kind as text check (value in ('confirmation', 'waitlisted', 'promoted', 'cancelled', 'changed',
                                                         'event_cancelled', 'reminder', 'survey_invitation'));
create domain turnout.mail_state as text check (value in ('owed', 'leased', 'sent', 'dead', 'dropped'));
create domain turnout.audit_entity as text check (value in ('user', 'event', 'registration'));
create domain turnout.change_kind as text check (value in ('event', 'seats', 'organizers', 'stats', 'user', 'all'));

-- ---------------------------------------------------------------------------------------------------------------------
-- Small tables of names

-- PostgreSQL accepts FOO3 as a time zone; this table says what we accept. Names without a slash are UTC and GMT only:
-- EST or Japan are abbreviations or old aliases that no browser sends.
create table turnout.time_zones (
  name text primary key
);
insert into turnout.time_zones (name)
select name
from pg_catalog.pg_timezone_names
where name !~ '^(posix|right)/' and (name like '%/%' or name in ('UTC', 'GMT'))
order by name;

-- The years that have partitions. An event's year is a foreign key to here, so that no event can stand in a year where
-- nobody could register.
create table turnout.event_years (
  event_year smallint primary key check (event_year between 1970 and 2200)
);

-- The rules (sql/rules) that are installed. One row: written by turnoutctl migrate together with the functions.
create table turnout.rules (
  checksum text not null,
  applied_at timestamptz not null default now()
);
create unique index rules_one_row on turnout.rules ((true));

-- ---------------------------------------------------------------------------------------------------------------------
-- People

create table turnout.users (
  id uuid primary key,
  issuer text check (char_length(issuer) between 1 and 512),
  subject text check (char_length(subject) between 1 and 512),
  email text not null check (char_length(email) between 3 and 254 and email ~ '^[^@[:space:]]+@[^@[:space:]]+$'),
  name text not null check (char_length(name) between 1 and 255),
  department text check (char_length(department) between 1 and 255),
  kind turnout.person_kind not null default 'employee',
  role turnout.person_role not null default 'participant',
  locale text not null default 'en' check (locale ~ '^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,8}$'),
  timezone text not null default 'UTC' references turnout.time_zones (name),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  check ((issuer is null) = (subject is null))
) with (fillfactor = 90);
-- Both unique indexes are an expression or partial on purpose: only then is giving an imported person an identity an
-- update that leaves the key alone, which does not wait for the key-share locks of that person's registrations.
create unique index users_email_key on turnout.users (lower(email));
create unique index users_identity_key on turnout.users (issuer, subject) where issuer is not null;
create index users_timezone_idx on turnout.users (timezone);

-- ---------------------------------------------------------------------------------------------------------------------
-- Events

create table turnout.events (
  id uuid primary key,
  -- The UTC year of the first start. Only a partition key: it stays when the event moves.
  event_year smallint not null references turnout.event_years (event_year),
  title text not null check (char_length(title) between 1 and 255),
  description text not null default '' check (char_length(description) <= 20000),
  start_datetime timestamptz not null,
  end_datetime timestamptz not null,
  timezone text not null default 'UTC' references turnout.time_zones (name),
  venue text not null default '' check (char_length(venue) <= 255),
  category text not null default 'general'
    check (char_length(category) between 1 and 50 and category ~ '^[a-z0-9]+([-_][a-z0-9]+)*$'),
  status turnout.event_status not null default 'draft',
  -- As it was last edited. The one that decides is event_seats.capacity; a write sets both.
  capacity integer not null check (capacity between 1 and 1000000),
  registration_opens_at timestamptz,
  registration_closes_at timestamptz,
  waitlist_enabled boolean not null default true,
  waitlist_limit integer check (waitlist_limit between 0 and 1000000),
  guests_allowed boolean not null default true,
  department_limit integer check (department_limit between 1 and 1000000),
  version integer not null default 1 check (version >= 1),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (event_year, id),
  check (end_datetime > start_datetime and end_datetime - start_datetime <= interval '31 days'),
  check (registration_opens_at < coalesce(registration_closes_at, start_datetime)),
  check (registration_closes_at <= end_datetime)
)
-- Rows are edited seldom but share-locked by every registration, and a completed event is an update of its row.
with (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02);
-- The two orders of the list: every list names one status, some also a category.
create index events_status_start_idx on turnout.events (status, start_datetime, id);
create index events_status_category_start_idx on turnout.events (status, category, start_datetime, id);
create index events_ending_idx on turnout.events (end_datetime) where status = 'published';
create index events_timezone_idx on turnout.events (timezone);
-- The separator keeps pairs from reaching from the title into the venue. Collation C: comparing by a language's rules would
-- cost more than all the rest. fastupdate off: every search reads the pending list of a fast-updated index in full.
create index events_search_idx on turnout.events
  using gin (turnout.search_grams(title || E'\x1f' || venue || E'\x1f' || description) collate "C")
  with (fastupdate = off);
-- No statistics of the expression: making them would cost 0.1 ms a row at every ANALYZE, and the default estimate is right.
alter index turnout.events_search_idx alter column 1 set statistics 0;

create table turnout.event_organizers (
  event_id uuid not null references turnout.events (id),
  user_id uuid not null references turnout.users (id),
  primary key (event_id, user_id)
);
create index event_organizers_user_idx on turnout.event_organizers (user_id, event_id);

-- The hot row of an event. Its lock is the one that orders everything that happens to the event: who holds it may write
-- the event's other rows, nobody else does.
create table turnout.event_seats (
  event_id uuid primary key references turnout.events (id),
  capacity integer not null check (capacity between 1 and 1000000),
  registered_count integer not null default 0,
  waitlisted_count integer not null default 0,
  checked_in_count integer not null default 0,
  survey_count integer not null default 0,
  -- The last number given out to somebody who joined; queue order is the order of these.
  last_queue_no bigint not null default 0,
  check (registered_count between 0 and capacity),
  check (waitlisted_count >= 0),
  check (checked_in_count between 0 and registered_count),
  check (survey_count >= 0)
)
-- A row is rewritten once per registration batch. With the page a quarter full each new version finds room beside the
-- old one (HOT: no index is touched, the old one is pruned by the next visitor).
with (fillfactor = 25, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500,
      autovacuum_analyze_scale_factor = 0.2);

-- The same counts by department. '' stands for people without one.
create table turnout.event_department_counts (
  event_id uuid not null references turnout.events (id),
  department text not null,
  registered integer not null default 0 check (registered >= 0),
  waitlisted integer not null default 0 check (waitlisted >= 0),
  checked_in integer not null default 0,
  primary key (event_id, department),
  check (checked_in between 0 and registered)
)
with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);

-- ---------------------------------------------------------------------------------------------------------------------
-- Mail that is owed. No foreign keys: the mailer checks each row against the registration before it sends, rows stay
-- until the event has ended, and a year's partitions can leave without asking here. One row per dedupe key, for ever:
-- '<registration>:<kind>:<generation or due moment>'.

create table turnout.outbox (
  id bigint generated always as identity primary key,
  kind turnout.mail_kind not null,
  dedupe_key text not null unique,
  event_id uuid not null,
  registration_id uuid not null,
  user_id uuid not null,
  -- Of the registration for what happens to it, of the event (its version) for `changed`; null for reminders.
  generation integer,
  due_at timestamptz not null default now(),
  state turnout.mail_state not null default 'owed',
  leased_by text,
  leased_until timestamptz,
  attempts integer not null default 0,
  next_attempt_at timestamptz not null default now(),
  last_error text,
  created_at timestamptz not null default now(),
  sent_at timestamptz,
  check ((state = 'leased') = (leased_by is not null and leased_until is not null))
)
-- Each row is updated two or three times in its life (leased, sent), and none of the columns of dedupe_key change.
with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000,
      autovacuum_analyze_scale_factor = 0.05);
create index outbox_owed_idx on turnout.outbox (next_attempt_at, id) where state = 'owed';
create index outbox_leased_idx on turnout.outbox (leased_until) where state = 'leased';
create index outbox_event_idx on turnout.outbox (event_id);

-- ---------------------------------------------------------------------------------------------------------------------
-- Who did what. Append-only (turnout_app may not update or delete), without foreign keys: it outlives what it tells of.

create table turnout.audit_log (
  id bigint generated always as identity primary key,
  at timestamptz not null default clock_timestamp(),
  actor_id uuid,
  action text not null,
  entity turnout.audit_entity not null,
  entity_id uuid not null,
  event_id uuid,
  before jsonb,
  after jsonb,
  request_id text,
  -- The worker's id of the write; a statement sent again after a lost connection finds here what it did.
  action_id uuid
)
-- Only ever appended to: vacuum by inserts keeps the visibility map and freezes early, nothing else is needed.
with (autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
create index audit_log_event_idx on turnout.audit_log (event_id, id);
create index audit_log_action_idx on turnout.audit_log (action_id) where action_id is not null;

-- ---------------------------------------------------------------------------------------------------------------------
-- Stored answers of writes that carried an Idempotency-Key

create table turnout.idempotency_keys (
  user_id uuid not null references turnout.users (id),
  key text not null check (char_length(key) between 1 and 255),
  -- Of method, route and body: the same key with another request is refused.
  request_hash bytea not null,
  status smallint not null check (status between 200 and 299),
  headers bytea not null,
  body bytea not null,
  created_at timestamptz not null default now(),
  primary key (user_id, key)
)
with (autovacuum_vacuum_scale_factor = 0.05);
create index idempotency_keys_created_idx on turnout.idempotency_keys (created_at);

-- ---------------------------------------------------------------------------------------------------------------------
-- What the scheduler did. A record: it decides nothing.

create table turnout.job_runs (
  id bigint generated always as identity primary key,
  job text not null check (char_length(job) between 1 and 100),
  host text not null,
  started_at timestamptz not null default clock_timestamp(),
  finished_at timestamptz,
  outcome text,
  rows bigint,
  error text,
  check ((finished_at is null) = (outcome is null))
);
create index job_runs_job_idx on turnout.job_runs (job, started_at desc);

-- ---------------------------------------------------------------------------------------------------------------------

grant usage on schema turnout to turnout_app;
grant select on turnout.migrations, turnout.rules, turnout.time_zones, turnout.event_years to turnout_app;
grant select, insert, update on turnout.users, turnout.job_runs to turnout_app;
grant select, insert, update, delete on turnout.events, turnout.event_organizers, turnout.event_seats,
  turnout.event_department_counts, turnout.outbox to turnout_app;
grant select, insert on turnout.audit_log to turnout_app;
grant select, insert, delete on turnout.idempotency_keys to turnout_app;
