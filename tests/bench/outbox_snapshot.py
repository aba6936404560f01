#!/usr/bin/python3
"""What a snapshot that somebody holds open costs the drain of the outbox, from which nothing can be vacuumed meanwhile.

    outbox_snapshot.py [--minutes N]

Two databases of one PostgreSQL; in one of them a transaction at repeatable read stays open. Both are drained by the rules alone, as the
mailer asks them, in turns of half a second, so that whatever else the machine does hits both alike. Nothing is sent: SMTP would hide
what the database costs. Ends with 1 where the drain beside the snapshot is below 90 % of the clean one.
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

FLOOR = 0.9
TURN = 0.5
PEOPLE, EVENTS = 200, 100
# As src/mailer/stream_outbox.c: letters of a lease, and how often its scan begins at the start again, in seconds and times its own length.
LEASE_MOST, RESCAN, RESCAN_SHARE = 100, 5, 100
# Results that are told together: the mailer waits at most 20 ms for them.
TOLD_TOGETHER = 20

LEASE = "select state, wait, place, id, letter from turnout.mail_lease('bench/1', %s, '1 minute', 0, 12, %s)"
DONE = ("select id, state from turnout.mail_done('bench/1', %s, array_fill('sent'::text, array[%s]), array_fill(null::text, array[%s]),"
        " 12, '1 minute', '4 hours')")
FILL = f"""
    insert into turnout.users (id, email, name)
    select gen_random_uuid(), 'person' || n || '@example.com', 'Person ' || n from generate_series(1, {PEOPLE}) n;
    insert into turnout.events (id, event_year, title, start_datetime, end_datetime, status, capacity)
    select gen_random_uuid(), extract(year from at at time zone 'UTC'), 'Event ' || n, at, at + interval '1 hour', 'published', {PEOPLE}
    from (select now() + interval '10 days') m (at), generate_series(1, {EVENTS}) n;
    insert into turnout.registrations (event_year, id, event_id, user_id, status, queue_no, registered_at, seated_at, last_action_at)
    select e.event_year, gen_random_uuid(), e.id, u.id, 'registered', row_number() over (partition by e.id), now(), now(), now()
    from turnout.events e, turnout.users u;
    vacuum analyze"""
OWE = """
    insert into turnout.outbox (kind, dedupe_key, event_id, registration_id, user_id, generation)
    select 'confirmation', r.id || ':bench:' || %s, r.event_id, r.id, r.user_id, r.generation from turnout.registrations r"""


class Outbox:
    """A database, and one mailer of it."""

    def __init__(self, postgres, name):
        self.name, self.rounds, self.place, self.rescan_at = name, 0, None, 0.0
        # Seconds of its own turns: the clock of its rescans.
        self.worked = 0.0
        migrate(postgres.create_database(name))
        self.admin = psycopg.connect(postgres.dsn(name, "postgres"), autocommit=True)
        for statement in FILL.split(";"):
            self.admin.execute(statement)
        self.connection = psycopg.connect(postgres.dsn(name, APP), autocommit=True)
        self.connection.prepare_threshold = 0
        self.holder = psycopg.connect(postgres.dsn(name, APP))
        self.holder.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ

    def hold(self):
        self.holder.execute("select count(*) from turnout.outbox")

    def owe(self):
        self.rounds += 1
        self.admin.execute(OWE, (self.rounds,))

    def lease(self):
        """The ids of letters; the seconds of a scan from the start, or None."""
        began, took = time.monotonic(), None
        if self.worked >= self.rescan_at:
            self.place = None
        rows = self.connection.execute(LEASE, (LEASE_MOST, self.place)).fetchall()
        if self.place is None:
            took = time.monotonic() - began
            self.rescan_at = self.worked + RESCAN + RESCAN_SHARE * took
        self.place = rows[0][2]
        return [row[3] for row in rows if row[0] == "mail"], took

    def drain(self, seconds):
        """Sends for so long; answers letters, seconds, and the longest scan from the start. Owing more takes no part in it."""
        sent, spent, longest = 0, 0.0, 0.0
        while spent < seconds:
            began = time.monotonic()
            ids, took = self.lease()
            longest = max(longest, took or 0.0)
            for at in range(0, len(ids), TOLD_TOGETHER):
                told = ids[at:at + TOLD_TOGETHER]
                rows = self.connection.execute(DONE, (told, len(told), len(told))).fetchall()
                assert {row[1] for row in rows} == {"sent"} and len(rows) == len(told), rows
            sent += len(ids)
            spent += time.monotonic() - began
            self.worked += time.monotonic() - began
            if not ids:
                self.owe()
        return sent, spent, longest

    def time_of(self, statement, parameters=None):
        began = time.monotonic()
        self.connection.execute(statement, parameters).fetchall()
        return time.monotonic() - began

    def close(self):
        for connection in (self.holder, self.connection, self.admin):
            connection.close()


def measure(postgres, minutes):
    """The ratio over the last third of the time."""
    outboxes = [Outbox(postgres, "clean"), Outbox(postgres, "held")]
    held = outboxes[1]
    for outbox in outboxes:
        outbox.owe()
        outbox.drain(TURN)
    held.hold()
    began, parts = time.monotonic(), []
    print(f"{'minutes':>8} {'clean/s':>9} {'held/s':>9} {'ratio':>7} {'sent while held':>16} {'scan from the start, ms':>24}")
    sent_held = 0
    while time.monotonic() - began < minutes * 60:
        until = time.monotonic() + minutes * 60 / 12
        sums = [[0, 0.0, 0.0], [0, 0.0, 0.0]]
        while time.monotonic() < until:
            for number, outbox in enumerate(outboxes):
                sent, spent, longest = outbox.drain(TURN)
                sums[number] = [sums[number][0] + sent, sums[number][1] + spent, max(sums[number][2], longest)]
        rates = [sent / spent for sent, spent, _ in sums]
        sent_held += sums[1][0]
        parts.append(rates[1] / rates[0])
        print(f"{(time.monotonic() - began) / 60:8.1f} {rates[0]:9.0f} {rates[1]:9.0f} {parts[-1]:7.2f} {sent_held:16}"
              f" {sums[0][2] * 1000:11.1f} {sums[1][2] * 1000:12.1f}", flush=True)
    for outbox in outboxes:
        while outbox.lease()[0]:
            pass
        empty, status = outbox.time_of(LEASE, (LEASE_MOST, outbox.place)), outbox.time_of("select due from turnout.mail_status()")
        print(f"{outbox.name}: asked while empty {empty * 1000:.1f} ms, its status {status * 1000:.1f} ms")
        outbox.close()
    return statistics.median(parts[-4:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="how long the snapshot is held (10)")
    wishes = parser.parse_args()
    postgres = PrivatePostgres(folder=tempfile.mkdtemp(prefix="tpb.", dir=real_disk()), settings=SETTINGS)
    postgres.made_folder = True
    try:
        postgres.start()
        ratio = measure(postgres, wishes.minutes)
    finally:
        postgres.remove()
    print(f"drain beside a snapshot held for {wishes.minutes:g} minutes: {ratio:.0%} of the clean one (at least {FLOOR:.0%})")
    return 0 if ratio >= FLOOR else 1


if __name__ == "__main__":
    sys.exit(main())
