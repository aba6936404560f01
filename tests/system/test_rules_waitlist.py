"""Who gets a seat that comes free: in order, once, and nobody who could not take it stands in the way."""

import itertools
import uuid

import pytest

from sql_harness import Session
from sql_rules import CANCEL, REGISTER, Rules, from_now, new_id, register_arguments


@pytest.fixture()
def rules(database):
    with database.connect() as connection:
        yield Rules(connection)


@pytest.fixture()
def session(database):
    """Makes sessions that are closed at the end, oldest first, so that none is left waiting for another."""
    made = []

    def make(name):
        made.append(Session(database, name))
        return made[-1]
    yield make
    for one in made:
        if one.waiting_for == 0:
            one.rollback()
        one.close()


def test_cancelling_promotes_the_first_in_line(rules, database):
    event, people = rules.event(capacity=1), rules.people(4)
    answers = rules.register(event, *people)
    rules.cancel(answers[0].ref, people[0])
    assert rules.states(event) == dict(zip(people, ["cancelled", "registered", "waitlisted", "waitlisted"]))
    assert rules.registration(answers[2].ref, people[2]).body["position"] == 1
    assert rules.registration(answers[3].ref, people[3]).body["position"] == 2
    owed = database.rows("select kind, user_id from turnout.outbox where event_id = %s order by id", (event,))
    assert owed == [("confirmation", people[0]), ("waitlisted", people[1]), ("waitlisted", people[2]),
                    ("waitlisted", people[3]), ("cancelled", people[0]), ("promoted", people[1])]


def test_leaving_the_waitlist_promotes_nobody_and_moves_the_others_up(rules):
    event, people = rules.event(capacity=1), rules.people(4)
    answers = rules.register(event, *people)
    rules.cancel(answers[1].ref, people[1])
    assert rules.counts(event) == (1, 2)
    assert rules.waiting(event) == people[2:]
    assert rules.registration(answers[3].ref, people[3]).body["position"] == 2


def test_whoever_comes_back_joins_at_the_end(rules, database):
    event, people = rules.event(capacity=1), rules.people(3)
    answers = rules.register(event, *people)
    rules.cancel(answers[1].ref, people[1])
    back = rules.register(event, people[1])[0]
    assert (back.outcome, back.ref, back.body["position"]) == ("waitlisted", answers[1].ref, 2)
    assert rules.waiting(event) == [people[2], people[1]]
    rules.cancel(answers[0].ref, people[0])
    assert rules.register(event, people[0])[0].outcome == "waitlisted"
    assert rules.waiting(event) == [people[1], people[0]]
    # Each time they join they are owed a mail of its own.
    owed = database.rows("select kind, generation from turnout.outbox where user_id = %s order by id", (people[1],))
    assert owed == [("waitlisted", 1), ("cancelled", 1), ("waitlisted", 2)]


def test_a_cancel_racing_a_cancel_frees_one_seat_and_promotes_one_person(rules, session):
    event, people = rules.event(capacity=1), rules.people(3)
    registration = rules.register(event, *people)[0].ref
    one, two = session("one"), session("two")
    order = ("test", new_id(), people[0], None, registration, False)
    assert one.run(CANCEL, order)[0][0] == "ok"
    # The other one meets the lock: told to come again, it finds the registration cancelled.
    assert two.run(CANCEL, order)[0][0] == "busy"
    two.rollback()
    one.commit()
    assert two.run(CANCEL, order)[0][0] == "ok"
    two.commit()
    assert rules.states(event) == dict(zip(people, ["cancelled", "registered", "waitlisted"]))
    assert rules.counts(event) == (1, 1)


def test_two_seats_freed_at_once_go_to_the_first_two(rules, session):
    event, people = rules.event(capacity=2), rules.people(5)
    refs = [answer.ref for answer in rules.register(event, *people)]
    one, two = session("one"), session("two")
    one.run(CANCEL, ("test", new_id(), people[0], None, refs[0], False))
    # Waits for the seats row and registers nobody new before those who wait.
    newcomer = rules.person()
    two.begin(REGISTER, register_arguments(event, newcomer, wait=True))
    assert two.settle() == "blocked"
    one.run(CANCEL, ("test", new_id(), people[1], None, refs[1], False))
    one.commit()
    assert two.end()[0][0] == "waitlisted"
    two.commit()
    assert rules.waiting(event) == [people[4], newcomer]
    assert rules.states(event)[people[2]] == rules.states(event)[people[3]] == "registered"


def test_raising_the_capacity_promotes_as_many_as_fit(rules):
    event, people = rules.event(capacity=1), rules.people(5)
    rules.register(event, *people)
    raised = rules.update(event, capacity=3)
    assert (raised.outcome, raised.body["registered_count"], raised.body["waitlisted_count"]) == ("ok", 3, 2)
    assert raised.etag == "3.3.2"
    assert rules.waiting(event) == people[3:]


def test_lowering_the_capacity_below_the_count_is_refused_with_the_count(rules):
    event = rules.event(capacity=5)
    rules.register(event, *rules.people(3))
    refused = rules.update(event, capacity=2)
    assert (refused.outcome, refused.body) == ("capacity_below_count", {"count": 3})
    assert rules.read(event).body["capacity"] == 5
    assert rules.update(event, capacity=3).outcome == "ok"


def test_a_newcomer_never_takes_a_seat_that_somebody_waiting_could_have(rules, database):
    event, people = rules.event(capacity=1), rules.people(2)
    rules.register(event, *people)
    # Capacity raised behind the rules' back, so that a seat is free while somebody waits.
    database.rows("update turnout.event_seats set capacity = 2 where event_id = %s", (event,))
    rules.set_event(event, capacity=2)
    newcomer = rules.person()
    assert rules.register(event, newcomer)[0].outcome == "waitlisted"
    assert rules.states(event)[people[1]] == "registered"


def test_after_the_start_nobody_is_promoted_and_nobody_passes_those_who_wait(rules, database):
    event, people = rules.event(capacity=1), rules.people(2)
    registration = rules.register(event, *people)[0].ref
    rules.set_event(event, start_datetime=from_now(minutes=-5), end_datetime=from_now(hours=1),
                    registration_closes_at=from_now(hours=1))
    rules.cancel(registration, people[0])
    assert rules.states(event)[people[1]] == "waitlisted"
    assert rules.register(event, rules.person())[0].outcome == "waitlisted"
    # Nobody waiting: a seat that is free at the door may be taken.
    for person in rules.waiting(event):
        rules.cancel(rules.mine(person).items[0]["id"], person)
    assert rules.register(event, rules.person())[0].outcome == "registered"


def test_a_cancel_after_closing_promotes_nobody_until_registration_opens_again(rules):
    event, people = rules.event(capacity=1), rules.people(2)
    registration = rules.register(event, *people)[0].ref
    rules.set_event(event, registration_closes_at=from_now(seconds=-1))
    rules.cancel(registration, people[0])
    assert rules.states(event)[people[1]] == "waitlisted"
    reopened = rules.update(event, registration_closes_at=from_now(days=1))
    assert reopened.body["registered_count"] == 1
    assert rules.states(event)[people[1]] == "registered"


def test_moving_the_start_later_promotes(rules):
    event, people = rules.event(capacity=1), rules.people(2)
    registration = rules.register(event, *people)[0].ref
    rules.set_event(event, start_datetime=from_now(seconds=-1), end_datetime=from_now(hours=1))
    rules.cancel(registration, people[0])
    assert rules.states(event)[people[1]] == "waitlisted"
    moved = rules.update(event, start_datetime=from_now(days=1), end_datetime=from_now(days=1, hours=1))
    assert moved.outcome == "ok"
    assert rules.states(event)[people[1]] == "registered"


# Limits

def test_who_cannot_take_the_seat_blocks_nobody(rules):
    event = rules.event(capacity=3, department_limit=1)
    sales = [rules.person("Sales") for _ in range(3)]
    works = [rules.person("Works") for _ in range(2)]
    refs = dict(zip(sales + works, (answer.ref for answer in rules.register(event, *sales, *works))))
    assert rules.counts(event) == (2, 3)
    assert rules.waiting(event) == [sales[1], sales[2], works[1]]
    # A seat is free, and nobody waiting may take it: a newcomer of another department may.
    assert rules.register(event, rules.person("Legal"))[0].outcome == "registered"
    # The seat that Works frees goes to Works, past two people of Sales who were there before.
    rules.cancel(refs[works[0]], works[0])
    assert rules.states(event)[works[1]] == "registered"
    assert rules.waiting(event) == sales[1:]
    rules.cancel(refs[sales[0]], sales[0])
    assert rules.waiting(event) == sales[2:]


def test_raising_the_department_limit_promotes_the_first_who_now_may(rules):
    event = rules.event(capacity=3, department_limit=1)
    people = [rules.person("Sales") for _ in range(4)]
    rules.register(event, *people)
    assert rules.counts(event) == (1, 3)
    rules.update(event, department_limit=2)
    assert rules.waiting(event) == people[2:]
    rules.update(event, department_limit=None)
    assert rules.waiting(event) == people[3:]


def test_the_department_is_the_one_at_the_time_of_joining(rules, database):
    event, person = rules.event(capacity=5, department_limit=1), rules.person("Sales")
    registration = rules.register(event, person)[0].ref
    database.rows("update turnout.users set department = 'Works' where id = %s", (person,))
    assert rules.register(event, rules.person("Sales"))[0].outcome == "waitlisted"
    assert rules.register(event, rules.person("Works"))[0].outcome == "registered"
    rules.cancel(registration, person)
    # Who comes back comes from where they are now, and Works has its one already.
    assert rules.register(event, person)[0].outcome == "waitlisted"
    rows = database.rows("select department, registered, waitlisted from turnout.event_department_counts"
                         " where event_id = %s order by 1", (event,))
    assert rows == [("Sales", 1, 0), ("Works", 1, 1)]


def test_guests_who_wait_are_passed_over_while_guests_are_not_allowed(rules):
    event, first, guest, employee = rules.event(capacity=1), rules.person(), rules.person(kind="guest"), rules.person()
    refs = [answer.ref for answer in rules.register(event, first, guest, employee)]
    rules.update(event, guests_allowed=False)
    rules.cancel(refs[0], first)
    assert rules.states(event) == {first: "cancelled", guest: "waitlisted", employee: "registered"}
    rules.update(event, guests_allowed=True, capacity=2)
    assert rules.states(event)[guest] == "registered"


def test_a_place_on_the_waitlist_comes_free_again(rules):
    event, people = rules.event(capacity=1, waitlist_limit=1), rules.people(4)
    answers = rules.register(event, *people)
    assert [answer.outcome for answer in answers] == ["registered", "waitlisted", "full", "full"]
    rules.cancel(answers[1].ref, people[1])
    assert rules.register(event, people[2])[0].outcome == "waitlisted"
    rules.update(event, waitlist_limit=2)
    assert rules.register(event, people[3])[0].outcome == "waitlisted"


@pytest.mark.parametrize("seed", range(6))
def test_promotion_gives_what_going_through_the_queue_one_by_one_gives(rules, seed):
    """A queue of every mixture of departments, against the plain algorithm in Python."""
    departments = ["Sales", "Works", None, "Legal"]
    event = rules.event(capacity=1, department_limit=1 + seed % 3)
    people = [rules.person(departments[(n * 7 + seed * n * n) % 4]) for n in range(24)]
    rules.register(event, rules.person("Board"), *people)
    assert rules.counts(event) == (1, 24)
    capacity, limit = 4 + 3 * seed, 1 + seed % 3
    by_department = {person: rules.connection.execute(
        "select department from turnout.users where id = %s", (person,)).fetchone()[0] for person in people}
    taken, expected = {}, []
    for person in people:
        department = by_department[person]
        if len(expected) < capacity - 1 and (department is None or taken.get(department, 0) < limit):
            taken[department] = taken.get(department, 0) + 1
            expected.append(person)
    rules.update(event, capacity=capacity)
    assert [person for person in people if rules.states(event)[person] == "registered"] == expected


# The event ends for everybody

def test_cancelling_the_event_cancels_everybody_and_owes_everybody_a_mail(rules, database):
    event, people = rules.event(capacity=2), rules.people(4)
    answers = rules.register(event, *people)
    rules.cancel(answers[3].ref, people[3])
    cancelled = rules.cancel_event(event)
    assert (cancelled.outcome, cancelled.body["status"], cancelled.etag) == ("ok", "cancelled", "3.0.0")
    assert set(rules.states(event).values()) == {"cancelled"}
    owed = database.rows("select user_id from turnout.outbox where event_id = %s and kind = 'event_cancelled'", (event,))
    assert sorted(row[0] for row in owed) == sorted(people[:3])
    assert rules.register(event, people[0])[0].outcome == "event_closed"
    assert rules.cancel(answers[0].ref, people[0]).body["status"] == "cancelled"


# Orders that were left behind

def test_an_order_left_behind_does_not_undo_a_later_cancel(rules, session):
    """A batch is held up by the lock of one of its events; meanwhile a person of the other one registers, and cancels."""
    held, event = sorted([rules.event(), rules.event()])
    person, other = rules.person(), rules.person()
    holder, orphan = session("holder"), session("orphan")
    holder.run("select from turnout.event_seats where event_id = %s for update", (held,))
    batch = list(register_arguments(event, person, other, wait=True))
    batch[5] = [event, held]
    orphan.begin(REGISTER, batch)
    assert orphan.settle() == "blocked"
    registration = rules.register(event, person)[0].ref
    assert rules.cancel(registration, person).body["status"] == "cancelled"
    holder.commit()
    answers = orphan.end()
    orphan.commit()
    assert [answer[0] for answer in answers] == ["existing", "registered"]
    assert answers[0][3] == registration and '"status":"cancelled"' in answers[0][1]
    assert rules.states(event) == {person: "cancelled"}
    # An order that is made after the cancel does bring the person back.
    assert rules.register(event, person)[0].outcome == "registered"


def test_a_cancel_left_behind_does_not_cancel_who_came_back(rules, session):
    event, person = rules.event(), rules.person()
    registration = rules.register(event, person)[0].ref
    orphan = session("orphan")
    # The transaction begins here and does its work only after the person has left and come back.
    orphan.run("select transaction_timestamp()")
    rules.cancel(registration, person)
    assert rules.register(event, person)[0].outcome == "registered"
    answer = orphan.run(CANCEL, ("test", new_id(), person, None, registration, False))[0]
    orphan.commit()
    assert answer[0] == "ok" and '"status":"registered"' in answer[1]
    assert rules.states(event) == {person: "registered"}
    assert rules.cancel(registration, person).body["status"] == "cancelled"


def test_being_promoted_is_nothing_the_person_did(rules, session):
    """A promotion between an order's beginning and its arrival does not make the order an orphan."""
    event, people = rules.event(capacity=1), rules.people(2)
    refs = [answer.ref for answer in rules.register(event, *people)]
    late = session("late")
    late.run("select transaction_timestamp()")
    rules.cancel(refs[0], people[0])
    assert rules.states(event)[people[1]] == "registered"
    late.run(CANCEL, ("test", new_id(), people[1], None, refs[1], False))
    late.commit()
    assert rules.states(event)[people[1]] == "cancelled"


def test_many_at_once_never_oversell(rules, database, session):
    """Thirty people through six sessions that wait for each other, ten seats, and every third one leaves again."""
    event, people = rules.event(capacity=10), rules.people(30)
    sessions = [session(f"client {n}") for n in range(6)]
    for client, person in zip(itertools.cycle(sessions), people):
        client.begin("begin")
        client.begin(REGISTER, register_arguments(event, person, wait=True))
        client.begin("commit")
    for _ in range(5):
        for client in sessions:
            client.end(), client.end(), client.end()
    assert rules.counts(event) == (10, 20)
    order = [row[0] for row in database.rows(
        "select user_id from turnout.registrations where event_id = %s order by queue_no", (event,))]
    for person in order[::3]:
        rules.cancel(uuid.UUID(rules.mine(person).items[0]["id"]), person)
    # Ten were cancelled, and of the seats among them each went to the first who still waited.
    left = [person for n, person in enumerate(order) if n % 3]
    assert [person for person in left if rules.states(event)[person] == "registered"] == left[:10]
