"""A daemon that sends mail to a sink of the test, and what the outbox says of it."""

import contextlib

import psycopg

from conftest import run_turnout
from smtp import Sink
from sql_harness import wait_until

# A mailer that looks often and tries again soon.
QUICK = {"mail_interval": "50ms", "ping_interval": "50ms", "event_work_interval": "50ms", "mail_retry_min": "100ms", "mail_retry_max": "1s"}


class Post:
    """A database with mail that is owed, and the sink that it goes to."""

    def __init__(self, postgres, name, sink=None, **options):
        self.postgres, self.name = postgres, name
        self.sink = sink or Sink()
        self.turnouts = []
        self.options = {**QUICK, **self.sink.options, **options}
        self.database = None
        self.reconnect()

    def reconnect(self):
        """The test's own session, anew: PostgreSQL was away."""
        if self.database is not None:
            self.database.close()
        self.database = psycopg.connect(self.postgres.dsn(self.name, "postgres"), autocommit=True)

    def daemon(self, start=True, **options):
        """One more of them on this database."""
        one = run_turnout(self.postgres, self.name, **{**self.options, **options})
        self.turnouts.append(one)
        return one.start() if start else one

    def rows(self, statement, *parameters):
        return self.database.execute(statement, parameters).fetchall()

    def states(self):
        """How many rows of the outbox are in which state."""
        return dict(self.rows("select state::text, count(*) from turnout.outbox group by 1"))

    def owe(self, people, start="3 days", title="Party"):
        """An event and people who are registered for it, each owed a confirmation: by SQL, in one go. Answers their addresses."""
        event, = self.rows("""
            with event as (
              insert into turnout.events (id, event_year, title, start_datetime, end_datetime, status, capacity, version)
              select gen_random_uuid(), extract(year from now() + %s::interval), %s, now() + %s::interval,
                     now() + %s::interval + interval '2 hours', 'published', %s, 2
              returning id, event_year
            ), seats as (
              insert into turnout.event_seats (event_id, capacity, registered_count, last_queue_no)
              select e.id, %s, %s, %s from event e
            ), departments as (
              insert into turnout.event_department_counts (event_id, department, registered) select e.id, '', %s from event e
            )
            select e.id, e.event_year from event e""", start, title, start, start, people, people, people, people, people)
        return [row[0] for row in self.rows("""
            with person as (
              insert into turnout.users (id, email, name)
              select gen_random_uuid(), 'guest' || n || '-' || replace(%s::text, '-', '') || '@example.com', 'Guest ' || n
              from generate_series(1, %s) n
              returning id, email
            ), registration as (
              insert into turnout.registrations (event_year, id, event_id, user_id, status, queue_no, registered_at, seated_at, last_action_at)
              select %s, gen_random_uuid(), %s, p.id, 'registered', row_number() over (), now(), now(), now() from person p
              returning id, user_id
            ), owed as (
              insert into turnout.outbox (kind, dedupe_key, event_id, registration_id, user_id, generation)
              select 'confirmation', r.id || ':confirmation:1', %s, r.id, r.user_id, 1 from registration r
            )
            select email from person""", event[0], people, event[1], event[0], event[0])]

    def settle(self, patience=60):
        """Until nothing is owed any more."""
        wait_until(lambda: not self.rows("select from turnout.outbox where state in ('owed', 'leased') limit 1"),
                   f"all mail is settled, now {self.states()}", patience)

    def close(self):
        for turnout in self.turnouts:
            turnout.remove()
        self.sink.stop()
        self.database.close()


@contextlib.contextmanager
def post(postgres, name, sink=None, **options):
    one = Post(postgres, name, sink, **options)
    try:
        yield one
    finally:
        one.close()
