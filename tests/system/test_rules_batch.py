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
