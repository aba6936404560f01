-- What the auditor found: counters that did not say what the rows say, and where its round of all events stands.

-- One counter of one event that differs: a column of event_seats (department is null), or of event_department_counts.
create type turnout.audit_drift as (event_id uuid, counter text, department text, stored bigint, counted bigint);

-- No foreign key: it outlives the event, as the audit log does. A finding is open until a later look finds the two figures equal;
-- one that comes back is another row.
create table turnout.audit_findings (
  id bigint generated always as identity primary key,
  event_id uuid not null,
  counter text not null,
  department text,
  -- As last seen: the counter, null where its row is missing, and the number of rows.
  stored bigint,
  counted bigint not null,
  first_seen_at timestamptz not null default clock_timestamp(),
  last_seen_at timestamptz not null default clock_timestamp(),
  times_seen integer not null default 1,
  cleared_at timestamptz
);
create unique index audit_findings_open_key on turnout.audit_findings (event_id, counter, department) nulls not distinct
  where cleared_at is null;

-- One row, shared by all hosts: after which event the round of all events goes on, and when the last one began and ended. One is
-- under way while it began later than one ended.
create table turnout.audit_round (
  after_event uuid,
  started_at timestamptz,
  ended_at timestamptz
);
create unique index audit_round_one_row on turnout.audit_round ((true));
insert into turnout.audit_round default values;

grant select, insert, update on turnout.audit_findings to turnout_app;
grant select, update on turnout.audit_round to turnout_app;
