-- When people are reminded of an event: null is the default (09:00 of the day before), an empty list never. The rule
-- reminder_moments knows the form. The check is not looked at for rows that are there: they have none.
alter table turnout.events add column reminders jsonb;
alter table turnout.events add constraint events_reminders_check check (jsonb_typeof(reminders) = 'array') not valid;

-- What has been owed for sure, so that it need not be looked at again: it saves work and decides nothing. A row is made when a
-- moment is first found due; from then on everybody who had a seat before that moment is in the table, or in a transaction that was
-- under way (before_xid). Once all of these have ended, one more look is complete.
create table turnout.reminder_marks (
  event_id uuid primary key,
  due_at timestamptz not null,
  before_xid xid8 not null,
  complete boolean not null default false
)
with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.1);

grant select, insert, update, delete on turnout.reminder_marks to turnout_app;
