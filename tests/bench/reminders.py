#!/usr/bin/python3
"""What one due moment costs: 50 events of 200 people, all to be reminded now, by the rule and by the loop that it stands for.

    reminders.py [--rounds N] [--events N] [--people N]

The loop asks for the events, for each event's people, and owes each person's mail by a statement of its own: in a transaction of its own
(what was owed stays owed if the loop dies), and all in one. Both write the same rows to the same PostgreSQL in turns; SMTP has no part
in it. Ends with 1 where they differ in what they owe, or where the rule takes longer than either loop.
"""

import argparse
import pathlib
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))

import psycopg  # noqa: E402  pylint: disable=wrong-import-position

from durable import SETTINGS, real_disk  # noqa: E402  pylint: disable=wrong-import-position
from sql_harness import APP, PrivatePostgres, migrate  # noqa: E402  pylint: disable=wrong-import-position

# Due five minutes ago, ten hours before the start. The other events are over, or their moment is still to come.
FILL = """
    insert into turnout.users (id, email, name)
    select gen_random_uuid(), 'person' || n || '@example.com', 'Person ' || n from generate_series(1, {people}) n;
    insert into turnout.events (id, event_year, title, start_datetime, end_datetime, status, capacity, reminders)
    select gen_random_uuid(), extract(year from k.at at time zone 'UTC'), k.title, k.at, k.at + interval '2 hours', k.status, {people},
           '[{{"minutes_before": 605}}]'
    from (select 'due', now() + interval '10 hours', 'published', n from generate_series(1, {events}) n
          union all
          select 'later', now() + interval '2 days', 'published', n from generate_series(1, 1000) n
          union all
          select 'over', now() - make_interval(mins => 5 * n), 'completed', n from generate_series(1, 20000) n) k (title, at, status, n);
    insert into turnout.registrations (event_year, id, event_id, user_id, status, queue_no, registered_at, seated_at, last_action_at)
    select e.event_year, gen_random_uuid(), e.id, u.id, 'registered', row_number() over (partition by e.id), now() - interval '1 hour',
           now() - interval '1 hour', now() - interval '1 hour'
    from turnout.events e, turnout.users u where e.title = 'due';
    vacuum analyze"""
DUE_EVENTS = """
    select e.id, e.event_year, max(m.moment)
    from turnout.events e, turnout.reminder_moments(e.start_datetime, e.timezone, e.reminders) m (moment)
    where e.status = 'published' and e.start_datetime > now() and e.start_datetime < now() + interval '32 days' and m.moment <= now()
    group by e.id, e.event_year"""
PEOPLE_OF = ("select id, user_id from turnout.registrations where event_year = %s and event_id = %s and status = 'registered'"
             " and seated_at <= %s")
OWE_ONE = """
    insert into turnout.outbox (kind, dedupe_key, event_id, registration_id, user_id, due_at)
    values ('reminder', %s || ':reminder:' || extract(epoch from %s::timestamptz)::bigint, %s, %s, %s, %s)
    on conflict (dedupe_key) do nothing"""


class Client:
    """A connection that counts what it was asked: each is one round trip, and prepared, as the server prepares its own."""

    def __init__(self, dsn):
        self.connection = psycopg.connect(dsn, autocommit=True)
        self.statements = 0

    def ask(self, statement, parameters=()):
        self.statements += 1
        return self.connection.execute(statement, parameters, prepare=True)

    def rule(self):
        owed = self.ask("select turnout.owe_reminders()").fetchone()[0]
        self.ask("select turnout.job_ran('reminders', 'bench', '1 s', 'done', %s::bigint, null)", (owed,))

    def loop(self):
        for event, year, due_at in self.ask(DUE_EVENTS).fetchall():
            for registration, person in self.ask(PEOPLE_OF, (year, event, due_at)).fetchall():
                self.ask(OWE_ONE, (registration, due_at, event, registration, person, due_at))

    def loop_in_one(self):
        with self.connection.transaction():
            self.loop()


def measure(postgres, wishes):
    """Seconds and statements of each way, by round."""
    migrate(postgres.create_database("reminders"))
    admin = psycopg.connect(postgres.dsn("reminders", "postgres"), autocommit=True)
    for statement in FILL.format(people=wishes.people, events=wishes.events).split(";"):
        admin.execute(statement)
    ways = {"one statement": Client.rule, "loop, a commit each": Client.loop, "loop, one commit": Client.loop_in_one}
    figures = {name: [] for name in ways}
    again = []
    for _ in range(wishes.rounds):
        keys = {}
        for name, way in ways.items():
            admin.execute("truncate turnout.outbox, turnout.reminder_marks")
            client = Client(postgres.dsn("reminders", APP))
            began = time.monotonic()
            way(client)
            figures[name].append((time.monotonic() - began, client.statements))
            keys[name] = {row[0] for row in admin.execute("select dedupe_key from turnout.outbox").fetchall()}
            if way is Client.rule:
                # The second run after it looks at everybody once more; from then on the mark saves that.
                client.rule()
                began = time.monotonic()
                client.rule()
                again.append(time.monotonic() - began)
            client.connection.close()
        if any(owed != keys["one statement"] or len(owed) != wishes.events * wishes.people for owed in keys.values()):
            sys.exit(f"not the same mail is owed: { {name: len(owed) for name, owed in keys.items()} }")
    admin.close()
    return figures, statistics.median(again)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often each way is tried (5)")
    parser.add_argument("--events", type=int, default=50, help="events that are due (50)")
    parser.add_argument("--people", type=int, default=200, help="people of each (200)")
    wishes = parser.parse_args()
    postgres = PrivatePostgres(folder=tempfile.mkdtemp(prefix="tpb.", dir=real_disk()), settings=SETTINGS)
    postgres.made_folder = True
    try:
        postgres.start()
        figures, again = measure(postgres, wishes)
    finally:
        postgres.remove()
    print(f"{wishes.events} events of {wishes.people} people, {wishes.rounds} rounds; seconds are the median, the least and the most")
    print(f"{'way':<22} {'statements':>10} {'seconds':>9} {'least':>9} {'most':>9} {'mails/s':>9}")
    medians = {}
    for name, rounds in figures.items():
        seconds = [one[0] for one in rounds]
        medians[name] = statistics.median(seconds)
        print(f"{name:<22} {rounds[0][1]:>10} {medians[name]:9.3f} {min(seconds):9.3f} {max(seconds):9.3f}"
              f" {wishes.events * wishes.people / medians[name]:9.0f}")
    print(f"asked again when all is owed: {again * 1000:.1f} ms")
    return 0 if medians["one statement"] == min(medians.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
