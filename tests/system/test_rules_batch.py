"""Registrations and cancels of many people and events in one call: each is told what it would be told alone."""

import uuid

import psycopg
import pytest

from sql_rules import Rules, comes, leaves, new_id


@pytest.fixture()
def rules(database):
    with database.connect() as connection:
        yield Rules(connection)


def outcomes(answers):
    return [answer.outcome for answer in answers]


def registered(rules, event, *people):
    """The registrations of people who have just registered."""
    return [uuid.UUID(answer.ref) for answer in rules.register(event, *people)]


def test_a_call_registers_and_cancels_at_several_events_and_answers_in_the_order_of_asking(rules):
    one, two = rules.event(capacity=1), rules.event(capacity=1)
    here, there, new, late = rules.people(4)
    mine, theirs = registered(rules, one, here)[0], registered(rules, two, there)[0]
    answers = rules.batch(comes(one, new), leaves(mine, here), comes(two, late), leaves(theirs, new), comes(new_id(), new))
    assert outcomes(answers) == ["registered", "ok", "waitlisted", "not_found", "not_found"]
    assert answers[1].body["status"] == "cancelled" and answers[1].ref == str(mine)
    assert rules.states(one) == {here: "cancelled", new: "registered"}
    assert rules.states(two) == {there: "registered", late: "waitlisted"}


def test_a_seat_that_a_cancel_frees_goes_to_who_waits_and_not_to_who_comes_in_the_same_call(rules):
    event = rules.event(capacity=1)
    seated, waiting, new = rules.people(3)
    registration = registered(rules, event, seated, waiting)[0]
    answers = rules.batch(comes(event, new), leaves(registration, seated))
    assert outcomes(answers) == ["waitlisted", "ok"]
    assert rules.states(event) == {seated: "cancelled", waiting: "registered", new: "waitlisted"}


def test_who_leaves_and_comes_in_one_call_comes_with_the_next(rules):
    event, person, other = rules.event(), rules.person(), rules.person()
    registration = registered(rules, event, person)[0]
    come = comes(event, person)
    answers = rules.batch(come, leaves(registration, person), comes(event, other))
    assert outcomes(answers) == ["busy", "ok", "registered"]
    assert answers[0].ref == str(event)
    assert outcomes(rules.batch(come)) == ["registered"]


def test_a_stranger_who_tries_to_cancel_delays_nobody(rules):
    event, person, stranger = rules.event(), rules.person(), rules.person()
    registration = registered(rules, event, person)[0]
    assert outcomes(rules.batch(leaves(registration, stranger), comes(event, person))) == ["not_found", "existing"]


def test_events_that_somebody_else_holds_are_busy_by_name_and_the_others_go_on(rules, database):
    held, free = rules.event(), rules.event()
    mine, theirs, new = rules.people(3)
    registration, other = registered(rules, held, mine)[0], registered(rules, free, theirs)[0]
    orders = [comes(held, new), comes(free, new), leaves(registration, mine), leaves(other, theirs), leaves(registration, new)]
    with database.connect(autocommit=False) as holder:
        holder.execute("select from turnout.event_seats where event_id = %s for update", (held,))
        answers = rules.batch(*orders)
        assert outcomes(answers) == ["busy", "registered", "busy", "ok", "not_found"]
        assert answers[0].ref == answers[2].ref == str(held)
    assert outcomes(rules.batch(*orders)) == ["registered", "existing", "ok", "ok", "not_found"]


def test_a_call_that_waits_gives_up_after_its_time_and_has_done_nothing(rules, database):
    held, free, person = rules.event(), rules.event(), rules.person()
    with database.connect(autocommit=False) as holder:
        holder.execute("select from turnout.event_seats where event_id = %s for update", (held,))
        with pytest.raises(psycopg.errors.LockNotAvailable):
            rules.batch(comes(free, person), comes(held, person), wait=20)
    assert rules.states(free) == rules.states(held) == {}
    assert outcomes(rules.batch(comes(free, person), comes(held, person), wait=20)) == ["registered", "registered"]
    assert rules.connection.execute("show lock_timeout").fetchone() == ("0",)


def test_a_kind_that_nobody_knows_is_refused_as_a_whole(rules):
    event, person = rules.event(), rules.person()
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        rules.batch(comes(event, person), comes(event, rules.person())._replace(kind="remove"))
    assert rules.states(event) == {}
    assert outcomes(rules.batch(comes(event, person))) == ["registered"]


def test_an_empty_call_is_answered_by_nothing(rules):
    assert rules.batch() == [] and rules.batch_keyed() == []


# Several orders of one person, several people at one place

def test_who_may_not_register_somebody_spoils_nothing_for_who_may(rules):
    event, person, stranger = rules.event(), rules.person(), rules.person()
    answers = rules.batch(comes(event, person, actor=stranger), comes(event, person), comes(event, person, actor=rules.organizer))
    assert outcomes(answers) == ["forbidden", "registered", "existing"]
    assert answers[1].body == answers[2].body


def test_a_cancel_asked_twice_is_one_cancel_and_both_are_told(rules, database):
    event, person, waiting, stranger = rules.event(capacity=1), *rules.people(3)
    registration = registered(rules, event, person, waiting)[0]
    answers = rules.batch(leaves(registration, stranger), leaves(registration, person), leaves(registration, rules.organizer))
    assert outcomes(answers) == ["not_found", "ok", "ok"]
    assert answers[1] == answers[2]
    assert rules.states(event) == {person: "cancelled", waiting: "registered"}
    assert database.rows("select action, actor_id from turnout.audit_log where entity_id = %s order by id", (registration,)) == [
        ("registration.registered", person), ("registration.cancelled", person)]


def test_seats_freed_together_go_to_the_first_in_line_each_in_the_name_of_who_left(rules, database):
    event = rules.event(capacity=3)
    first, second, third, *waiting = rules.people(8)
    mine = registered(rules, event, first, second, third, *waiting)
    orders = [leaves(mine[2], third), leaves(mine[4], waiting[1]), leaves(mine[0], first)]
    assert outcomes(rules.batch(*orders)) == ["ok"] * 3
    assert rules.waiting(event) == waiting[3:]
    assert database.rows("select entity_id, actor_id, action_id from turnout.audit_log where event_id = %s"
                         " and action = 'registration.promoted' order by id", (event,)) == [
        (mine[3], third, orders[0].action), (mine[5], first, orders[2].action)]
    assert database.rows("select registration_id from turnout.outbox where event_id = %s and kind = 'promoted' order by id",
                         (event,)) == [(mine[3],), (mine[5],)]


def test_seats_freed_at_several_events_are_given_at_each(rules):
    events = [rules.event(capacity=1) for _ in range(4)]
    limited = rules.event(capacity=2, department_limit=1)
    seated, waiting = rules.people(2)
    mine = [registered(rules, event, seated, waiting)[0] for event in events]
    sales, works, more_sales, more_works = (rules.person(name) for name in ("Sales", "Works", "Sales", "Works"))
    theirs = registered(rules, limited, sales, works, more_sales, more_works)
    answers = rules.batch(*(leaves(registration, seated) for registration in mine), leaves(theirs[1], works))
    assert outcomes(answers) == ["ok"] * 5
    assert all(rules.states(event) == {seated: "cancelled", waiting: "registered"} for event in events)
    # The first in line is of a department that has its seat already, and blocks nobody.
    assert rules.states(limited) == {sales: "registered", works: "cancelled", more_sales: "waitlisted", more_works: "registered"}


# Sent again after a lost connection

def test_a_call_sent_again_is_answered_as_the_first_time_whatever_happened_since(rules):
    event, person, new, other = rules.event(capacity=1), *rules.people(3)
    registration = registered(rules, event, person)[0]
    orders = [leaves(registration, person), leaves(registration, rules.organizer), comes(event, new), comes(event, new, actor=rules.organizer)]
    first = rules.batch(*orders)
    assert outcomes(first) == ["ok", "ok", "registered", "existing"]
    rules.cancel(uuid.UUID(first[2].ref), new)
    rules.register(event, person, other)
    assert rules.batch(*orders, resent=True) == first
    assert rules.states(event) == {person: "registered", new: "cancelled", other: "waitlisted"}
    # Without the mark they are new orders.
    assert outcomes(rules.batch(*orders)) == ["ok", "ok", "waitlisted", "existing"]


def test_a_call_that_never_arrived_is_done_when_sent_again(rules):
    event, person, new = rules.event(), *rules.people(2)
    registration = registered(rules, event, person)[0]
    assert outcomes(rules.batch(leaves(registration, person), comes(event, new), resent=True)) == ["ok", "registered"]


# With Idempotency-Keys

def test_items_with_and_without_keys_share_a_call(rules):
    event, full = rules.event(), rules.event(capacity=1, waitlist_enabled=False)
    person, other, new, late = rules.people(4)
    registration = registered(rules, event, person)[0]
    registered(rules, full, other)
    orders = [leaves(registration, person, key="leave"), comes(event, other), comes(event, new, key="come"), comes(full, late, key="full"),
              comes(event, late, actor=new, key="come")]
    first = rules.batch_keyed(*orders)
    assert outcomes(first) == ["ok", "registered", "registered", "full", "key_in_use"]
    again = rules.batch_keyed(*orders)
    assert outcomes(again) == ["ok", "existing", "registered", "full", "registered"]
    assert [answer.replayed for answer in again] == [True, False, True, False, True]
    assert (again[0].body, again[2].body) == (first[0].body, first[2].body)
    assert late not in rules.states(event)
    other_request = comes(full, new, key="come")
    assert outcomes(rules.batch_keyed(other_request, other_request._replace(key="new"))) == ["key_reused", "full"]


def test_a_busy_item_with_a_key_names_its_event_and_keeps_its_key_free(rules, database):
    held, person = rules.event(), rules.person()
    order = comes(held, person, key="mine")
    with database.connect(autocommit=False) as holder:
        holder.execute("select from turnout.event_seats where event_id = %s for update", (held,))
        busy = rules.batch_keyed(order)[0]
        assert (busy.outcome, busy.ref) == ("busy", str(held))
        with pytest.raises(psycopg.errors.LockNotAvailable):
            rules.batch_keyed(order, wait=20)
    assert rules.batch_keyed(order, wait=20)[0].outcome == "registered"


def test_a_call_sent_again_while_its_first_try_holds_the_key_waits_for_that_and_not_for_the_event(rules, database):
    event, person = rules.event(), rules.person()
    order = comes(event, person, key="mine")
    with database.connect(autocommit=False) as first_try:
        told = Rules(first_try).batch_keyed(order)[0]
        busy = rules.batch_keyed(order, resent=True)[0]
        assert (busy.outcome, busy.ref) == ("busy", None)
    again = rules.batch_keyed(order, resent=True)[0]
    assert (again.outcome, again.body, again.replayed) == ("registered", told.body, True)
