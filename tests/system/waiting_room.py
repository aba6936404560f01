"""Registrations that wait: one or more workers, people and events, and a lock that keeps a call in flight."""

import contextlib

import psycopg

from api import Person
from conftest import run_turnout
from metrics import scrape
from sql_harness import wait_until
from traffic import add_event


@contextlib.contextmanager
def daemon(postgres, name, **options):
    """A turnoutd on a migrated database."""
    turnout = run_turnout(postgres, name, **options)
    try:
        yield turnout.start()
    finally:
        turnout.remove()


class Place:
    """People and events of a daemon. With one worker all that is sent meets in it."""

    def __init__(self, turnout, postgres, threads, people=8):
        self.turnout = turnout
        self.postgres = postgres
        self.threads = threads
        self.database = psycopg.connect(postgres.dsn(turnout.database, "postgres"), autocommit=True)
        self.events = [add_event(self.database, 1000) for _ in range(3)]
        self.people = [Person(turnout) for _ in range(people)]
        for person in self.people:
            assert person.id

    def figure(self, name, **labels):
        return scrape(self.turnout).sum(name, **labels)

    def register(self, person, event=None):
        return person.register({"id": event or self.events[0]})

    def begin(self, person, event=None):
        return self.threads.submit(self.register, person, event)

    @contextlib.contextmanager
    def held_up(self, statement="lock table turnout.event_seats in exclusive mode", *parameters):
        """Whoever wants a seat waits, also who would skip a held row."""
        with psycopg.connect(self.postgres.dsn(self.turnout.database, "postgres")) as holder:
            holder.execute(statement, parameters)
            yield holder
            holder.rollback()

    def wait(self, waiting, in_flight=1):
        wait_until(lambda: (self.figure("orders_in_flight"), self.figure("orders_waiting")) == (in_flight, waiting),
                   f"{in_flight} in flight and {waiting} behind")

    def begin_all(self, people, event=None):
        """The first is in flight when the others come."""
        first = self.begin(people[0], event)
        self.wait(0)
        return [first, *(self.begin(person, event) for person in people[1:])]

    def rows(self, person):
        return self.database.execute("select status::text from turnout.registrations where user_id = %s", (person.id,)).fetchall()

    def close(self):
        self.database.close()


def answers(begun):
    return [one.result(60) for one in begun]
