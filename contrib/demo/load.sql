-- Demo data for turnout: a company's events of two years back and one ahead. Runs as turnout_owner on a migrated database
-- that holds no events yet, in one transaction:
--   psql -X -q -v ON_ERROR_STOP=1 -f contrib/demo/load.sql
-- How much is settable, for tests: -v users=200 -v months_back=2 -v months_ahead=1 -v events_per_month=20
-- -v registrations_per_month=400 -v seed=other (settings.sql has the defaults).
--
-- Locks: users, events, event_organizers, event_seats, event_department_counts and registrations, in this order; by inserts, but
-- events exclusively where its search index is made anew rather than fed row by row, and the last two, with users and events, where
-- keys and indexes are taken off and put back. So nobody else works on the database meanwhile.
\set ON_ERROR_STOP on
\set QUIET on
\pset tuples_only on
set temp_buffers = '256MB';
set client_min_messages = warning;

begin;
set local work_mem = '128MB';
set local maintenance_work_mem = '256MB';
set local jit = off;
\ir settings.sql
\ir words.sql
\ir users.sql
\ir events.sql
\ir registrations.sql
\ir counters.sql
\ir mail.sql
commit;
\set demo_step 'committed'
\ir progress.sql

-- Statistics for the planner, and the visibility map for index-only scans. Parents also get statistics over all partitions.
vacuum (analyze) turnout.users, turnout.events, turnout.event_organizers, turnout.event_seats,
  turnout.event_department_counts, turnout.registrations, turnout.changes, turnout.outbox;
\set demo_step 'vacuumed and analysed'
\ir progress.sql

select format('loaded in %s s', to_char(extract(epoch from clock_timestamp() - :'demo_began'::timestamptz), 'FM990.0'))
  as demo_line \gset
\echo :demo_line
