-- What is still to do for many people of an event, after the write that began it: a step of it is done in that write, the others
-- by the scheduler, each in a short transaction, so that nobody waits for the event while 100,000 rows are written. Nearly
-- always empty.

create table turnout.event_work (
  event_id uuid not null references turnout.events (id),
  -- cancel: registrations of a cancelled event are to be cancelled; changed: people are to be told of an edit; promote: there
  -- may be more free seats and people waiting who may take them.
  kind text not null check (kind in ('cancel', 'changed', 'promote')),
  -- Everybody up to this place in the order of joining (queue_no) has been dealt with; nothing to `promote`.
  after_place bigint not null default 0,
  -- Of the event, as it was written; `changed` is owed once per person and version.
  version integer not null,
  -- In whose name it is done, and by which request and action.
  actor_id uuid,
  request_id text,
  action_id uuid,
  asked_at timestamptz not null default clock_timestamp(),
  primary key (event_id, kind)
)
-- A handful of rows, rewritten with each step.
with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);

grant select, insert, update, delete on turnout.event_work to turnout_app;
