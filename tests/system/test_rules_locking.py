"""Every pair of operations, stepped against each other in both orders by plain SQL sessions: nobody deadlocks.

Each operation is its own transaction, as everywhere. The first one has done its work and not yet committed when the second one
starts; so the second either waits, is told that the event is busy and comes again, or is not concerned. Then the same with
both transactions held up at their first lock, and let go together.
"""

import json

import psycopg
import pytest

from sql_harness import Database, PrivatePostgres, Session
from sql_rules import (CANCEL, REGISTER, REGISTER_KEYED, UPDATE, Rules, from_now, new_id, register_arguments,
                       register_keyed_arguments)

KEYED_ROW = f"select outcome, body, etag, ref from ({REGISTER_KEYED}) k"
EVENT_ACTION = "select outcome, body, etag, ref from turnout.{}('test', %s, %s, null, %s)"
SEEN = "select outcome, body, role, ref from turnout.user_seen('https://id.example.com', %s, %s, 'New', 'Sales'," \
       " 'employee', 'en', 'UTC', true, null)"


class Scene:
    """Two events with a full house, a waitlist and somebody to do each thing."""

    def __init__(self, rules):
        # One commit for all of it: the pairs are many.
        with rules.connection.transaction():
            self._set(rules)

    def _set(self, rules):
        self.rules = rules
        self.events = sorted(rules.event(capacity=2) for _ in range(2))
        self.people = rules.people(6)
        self.refs = {}
        for event in self.events:
            answers = rules.register(event, *self.people[:4])
            self.refs[event] = [answer.ref for answer in answers]
        self.draft = rules.draft()
        # Imported people without an identity, who are registered and then come for the first time.
        self.emails = [rules.connection.execute("select email from turnout.users where id = %s", (person,)).fetchone()[0]
                       for person in self.people]

    def statement(self, operation, turn):
        """The operation as statement and parameters; `turn` (0 or 1) keeps two of the same kind apart."""
        one, other = self.events
        organizer, person = self.rules.organizer, self.people[4 + turn]
        if operation == "register":
            return REGISTER, register_arguments(one, person, wait=True)
        if operation == "register the same person":
            return REGISTER, register_arguments(one, self.people[4], wait=True)
        if operation == "register for both events":
            arguments = list(register_arguments(one, person, person, wait=True))
            arguments[5] = [one, other] if turn else [other, one]
            return REGISTER, arguments
        if operation == "register without waiting":
            return REGISTER, register_arguments(one, person)
        if operation == "register under the same key":
            return KEYED_ROW, register_keyed_arguments(one, (self.people[4], "key"))
        if operation == "prune keys":
            return "select turnout.prune_idempotency_keys('0')::text, null, null, null", ()
        if operation == "cancel":
            return CANCEL, ("test", new_id(), self.people[turn], None, self.refs[one][turn], False)
        if operation == "leave the waitlist":
            return CANCEL, ("test", new_id(), self.people[2 + turn], None, self.refs[one][2 + turn], False)
        if operation == "raise capacity":
            return UPDATE, (new_id(), organizer, None, one, None, json.dumps({"capacity": 3 + turn}))
        if operation == "lower capacity":
            return UPDATE, (new_id(), organizer, None, one, None, json.dumps({"capacity": 2}))
        if operation == "move the event":
            return UPDATE, (new_id(), organizer, None, one, None, json.dumps(
                {"start_datetime": from_now(days=8), "organizer_ids": [str(organizer), str(person)]}))
        if operation == "cancel the event":
            return EVENT_ACTION.format("event_cancel"), (new_id(), organizer, one)
        if operation == "publish":
            return EVENT_ACTION.format("event_publish"), (new_id(), organizer, self.draft)
        if operation == "delete the draft":
            return EVENT_ACTION.format("event_delete"), (new_id(), organizer, self.draft)
        if operation == "complete ended events":
            return "select turnout.complete_ended_events(10)::text, null, null, null", ()
        if operation == "new user":
            return SEEN, (f"new {self.people[0]}", f"new.{self.people[0]}@example.com")
        if operation == "first sight of an imported person":
            return SEEN, (f"imported {self.emails[4 + turn]}", self.emails[4 + turn])
        if operation == "first sight of somebody registered":
            return SEEN, (f"imported {self.emails[0]}", self.emails[0])
        if operation == "prune changes":
            return "select turnout.prune_changes('0')::text, null, null, null", ()
        raise AssertionError(operation)


OPERATIONS = ["register", "register the same person", "register for both events", "register without waiting", "cancel",
              "register under the same key", "prune keys", "leave the waitlist", "raise capacity", "lower capacity",
              "move the event", "cancel the event", "publish", "delete the draft", "complete ended events", "new user",
              "first sight of an imported person", "first sight of somebody registered", "prune changes"]


@pytest.fixture(scope="module")
def rules(database):
    with database.connect() as connection:
        yield Rules(connection)


@pytest.fixture(scope="module")
def sessions(database, postgres):
    made = [Session(database, name) for name in ("first", "second", "holder")]
    yield made
    for session in made:
        session.close()
    postgres.assert_no_deadlocks()


def drain(pending):
    """Ends the transactions that sessions have begun, whichever is through first; one that is told that the event is busy
    comes again, as a worker does."""
    while pending:
        for session, order in list(pending):
            if session.settle() == "done":
                answers = session.end()
                session.commit()
                if answers and answers[0][0] == "busy":
                    session.begin(*order)
                else:
                    pending.remove((session, order))


@pytest.mark.parametrize("second", OPERATIONS)
def test_no_pair_of_operations_deadlocks(rules, sessions, second):
    first_session, second_session, _ = sessions
    for first in OPERATIONS:
        scene = Scene(rules)
        one, two = scene.statement(first, 0), scene.statement(second, 1)
        first_session.run(*one)
        second_session.begin(*two)
        second_session.settle()
        first_session.commit()
        drain([(second_session, two)])


@pytest.mark.parametrize("second", ["register", "register for both events"])
def test_operations_held_up_at_the_same_lock_and_let_go_do_not_deadlock(rules, sessions, second):
    first_session, second_session, holder = sessions
    for first in OPERATIONS:
        scene = Scene(rules)
        holder.run("select from turnout.event_seats where event_id = any(%s) order by event_id for update", (scene.events,))
        orders = scene.statement(first, 0), scene.statement(second, 1)
        for session, order in zip((first_session, second_session), orders):
            session.begin(*order)
            session.settle()
        holder.commit()
        drain([(first_session, orders[0]), (second_session, orders[1])])


def test_two_batches_over_the_same_events_in_opposite_order_wait_and_never_deadlock(rules, sessions):
    first_session, second_session, _ = sessions
    events = [rules.event(capacity=100) for _ in range(12)]
    for _ in range(10):
        people = rules.people(2)
        orders = []
        for person, order in zip(people, (events, events[::-1])):
            arguments = list(register_arguments(events[0], *[person] * 12, wait=True))
            arguments[5] = order
            orders.append(arguments)
        first_session.begin(REGISTER, orders[0])
        second_session.begin(REGISTER, orders[1])
        drain([(first_session, (REGISTER, orders[0])), (second_session, (REGISTER, orders[1]))])
        assert all(len(rules.mine(person).items) == 12 for person in people)


def test_an_edit_does_not_wait_for_registrations_that_share_lock_the_event(rules, sessions, database):
    """Rows of events are never locked stronger than no key update: the foreign key of a registration passes."""
    scene = Scene(rules)
    event = scene.events[0]
    first_session, second_session, _ = sessions
    first_session.run("select from turnout.events where id = %s for key share", (event,))
    assert rules.update(event, title="Edited meanwhile").outcome == "ok"
    assert rules.cancel_event(event).outcome == "ok"
    first_session.commit()
    # Somebody's hand on the row itself is not waited for either.
    first_session.run("select from turnout.events where id = %s for update", (scene.events[1],))
    assert rules.update(scene.events[1], title="Edited meanwhile").outcome == "busy"
    first_session.commit()
    assert rules.update(scene.events[1], title="Edited after").outcome == "ok"
    # The twin that would have to wait: a key update.
    first_session.run("select from turnout.events where id = %s for key share", (event,))
    second_session.begin("select from turnout.events where id = %s for update", (event,))
    assert second_session.settle() == "blocked"
    first_session.commit()
    second_session.end()
    second_session.commit()


def test_a_statement_that_does_not_wait_never_waits_for_a_seats_row(rules, sessions, database):
    """What a worker sends on a shared connection is answered at once, whoever holds the event."""
    scene = Scene(rules)
    first_session, second_session, _ = sessions
    first_session.run("select from turnout.event_seats where event_id = any(%s) for update", (scene.events,))
    for operation in ("register without waiting", "cancel", "leave the waitlist", "raise capacity", "move the event",
                      "cancel the event"):
        assert second_session.run(*scene.statement(operation, 0))[0][0] == "busy", operation
        second_session.commit()
    assert second_session.run(*scene.statement("complete ended events", 0))[0][0] == "0"
    second_session.commit()
    first_session.commit()
    for operation in ("register without waiting", "cancel", "leave the waitlist", "raise capacity", "move the event",
                      "cancel the event"):
        expected = "registered" if operation == "register without waiting" else "ok"
        answer = second_session.run(*scene.statement(operation, 0))[0][0]
        assert answer == expected or (operation.startswith("register") and answer == "waitlisted"), operation
        second_session.commit()


def test_the_harness_sees_a_deadlock_when_there_is_one():
    """The twin of all the above: locks taken in opposite orders are caught, in a cluster whose log nobody else reads."""
    server = PrivatePostgres().start()
    try:
        other = Database.migrated(server, "deadlock")
        made = [Session(other, name) for name in ("one", "two")]
        with other.connect() as connection:
            people = Rules(connection).people(2)
        lock = "select from turnout.users where id = %s for update"
        for session, person in zip(made, people):
            session.run(lock, (person,))
        made[0].begin(lock, (people[1],))
        assert made[0].settle() == "blocked"
        made[1].begin(lock, (people[0],))
        caught = 0
        for session in made[::-1]:
            try:
                session.end()
            except psycopg.errors.DeadlockDetected:
                caught += 1
            session.rollback()
        assert caught == 1
        with pytest.raises(AssertionError):
            server.assert_no_deadlocks()
        for session in made:
            session.close()
    finally:
        server.remove()


