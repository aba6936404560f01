"""Handing a place to a colleague: the same seat, nobody who waits is passed, and whoever asks twice acts once."""

import pytest

from sql_harness import Session
from sql_rules import Rules, from_now, new_id

TRANSFER = "select outcome, body, etag, ref from turnout.registration_transfer('test', %s, %s, %s, %s, %s, %s)"
ROW = ("select status, queue_no, seated_at, generation, department from turnout.registrations"
       " where event_id = %s and user_id = %s")
OWED = "select kind, user_id, count(*) from turnout.outbox where event_id = %s and id > %s group by 1, 2 order by 1, 2"


@pytest.fixture()
def rules(database):
    with database.connect() as connection:
        yield Rules(connection)


def transfer(rules, registration, giver, to, action=None, role=None, resent=False):
    return rules.call(TRANSFER, action or new_id(), giver, role, registration, str(to), resent)[0]


def last_mail(database):
    return database.value("select coalesce(max(id), 0) from turnout.outbox")


def test_the_receiver_gets_the_very_seat_on_a_full_event_and_nobody_who_waits_is_passed(rules, database):
    event, people, colleague = rules.event(capacity=1), rules.people(3), rules.person()
    registration = rules.register(event, *people)[0].ref
    given, mail = database.rows(ROW, (event, people[0]))[0], last_mail(database)
    answer = transfer(rules, registration, people[0], colleague)
    assert (answer.outcome, answer.body["status"], answer.body["user_id"]) == ("ok", "registered", str(colleague))
    assert rules.states(event) == {people[0]: "cancelled", people[1]: "waitlisted", people[2]: "waitlisted", colleague: "registered"}
    assert rules.waiting(event) == people[1:] and rules.counts(event) == (1, 2)
    taken = database.rows(ROW, (event, colleague))[0]
    assert taken[:3] == given[:3], "same place, held since the same moment"
    assert database.rows(OWED, (event, mail)) == [("cancelled", people[0], 1), ("confirmation", colleague, 1)]
    logged = database.rows("select action, actor_id, after ->> 'status' from turnout.audit_log where event_id = %s"
                           " order by id desc limit 2", (event,))
    assert logged == [("registration.received", people[0], "registered"), ("registration.transferred", people[0], "cancelled")]
    # The place is the receiver's now: to keep, to give back, or to give up for those who wait.
    assert transfer(rules, answer.ref, colleague, people[0]).body["id"] == registration
    rules.cancel(registration, people[0])
    assert rules.waiting(event) == people[2:]


def test_a_receiver_who_waits_leaves_the_line_and_one_who_had_cancelled_comes_back(rules, database):
    event, people = rules.event(capacity=2), rules.people(5)
    refs = [answer.ref for answer in rules.register(event, *people)]
    rules.cancel(refs[4], people[4])
    assert transfer(rules, refs[0], people[0], people[3]).ref == refs[3]
    assert rules.waiting(event) == [people[2]] and rules.counts(event) == (2, 1)
    assert transfer(rules, refs[1], people[1], people[4]).ref == refs[4]
    assert database.rows(ROW, (event, people[4]))[0][3] == 2, "joined once more: mails of their own"
    assert rules.counts(event) == (2, 1)
    # A place in line is not given away with the seat: who has left stands where everybody stands who comes back.
    assert rules.register(event, people[0])[0].body["position"] == 2


def test_by_address_in_any_case_or_by_id_and_by_who_manages_the_event(rules, database):
    event, giver, colleague = rules.event(), rules.person(), rules.person()
    registration = rules.register(event, giver)[0].ref
    address = database.value("select email from turnout.users where id = %s", (colleague,))
    taken = transfer(rules, registration, giver, address.upper())
    assert (taken.outcome, taken.body["user_id"]) == ("ok", str(colleague))
    assert transfer(rules, taken.ref, rules.organizer, str(giver).upper()).outcome == "ok"
    stranger = rules.person(role="organizer")
    assert transfer(rules, registration, stranger, colleague).outcome == "not_found"
    assert transfer(rules, registration, stranger, colleague, role="admin").outcome == "ok"


@pytest.mark.parametrize("receiver", ["00000000-0000-7000-8000-000000000000", "nobody@example.com", "", "x"])
def test_to_nobody_known_is_refused(rules, receiver):
    event, giver = rules.event(), rules.person()
    refused = transfer(rules, rules.register(event, giver)[0].ref, giver, receiver)
    assert (refused.outcome, refused.body["errors"][0]["pointer"]) == ("invalid_fields", "/user")
    assert rules.states(event) == {giver: "registered"}


def test_only_a_seat_can_be_handed_on_and_only_to_who_has_none(rules):
    event, people, colleague = rules.event(capacity=2), rules.people(3), rules.person()
    refs = [answer.ref for answer in rules.register(event, *people)]
    waiting = transfer(rules, refs[2], people[2], colleague)
    assert (waiting.outcome, waiting.body) == ("not_registered", {"registration_status": "waitlisted"})
    assert transfer(rules, refs[0], people[0], people[1]).outcome == "already_registered"
    assert transfer(rules, refs[0], people[0], people[0]).outcome == "already_registered"
    rules.cancel(refs[0], people[0])
    gone = transfer(rules, refs[0], people[0], colleague)
    assert (gone.outcome, gone.body) == ("not_registered", {"registration_status": "cancelled"})
    assert transfer(rules, refs[1], people[1], colleague).outcome == "ok"


def test_until_the_event_begins_and_also_after_registration_has_closed(rules, database):
    event, people = rules.event(), rules.people(4)
    first, second, third, _ = [answer.ref for answer in rules.register(event, *people)]
    colleagues = rules.people(3)
    rules.set_event(event, registration_closes_at=from_now(seconds=-1))
    assert transfer(rules, first, people[0], colleagues[0]).outcome == "ok"
    checked_in = "update turnout.registrations set checked_in_at = %s where id = %s"
    database.rows(checked_in, (from_now(), second))
    assert "door" in transfer(rules, second, people[1], colleagues[1]).body["detail"]
    database.rows(checked_in, (None, second))
    assert transfer(rules, second, people[1], colleagues[1]).outcome == "ok"
    rules.set_event(event, start_datetime=from_now(seconds=-1))
    begun = transfer(rules, third, people[2], colleagues[2])
    assert (begun.outcome, "closed_at" in begun.body) == ("registration_closed", True)
    rules.set_event(event, start_datetime=from_now(hours=-2), end_datetime=from_now(seconds=-1))
    over = transfer(rules, third, people[2], colleagues[2])
    assert (over.outcome, over.body) == ("event_closed", {"event_status": "completed"})
    for status in ("cancelled", "completed"):
        rules.set_event(event, status=status)
        assert transfer(rules, third, people[2], colleagues[2]).body == {"event_status": status}


def test_a_guest_gets_a_place_only_where_guests_may(rules):
    giver, guest, event = rules.person(), rules.person(kind="guest"), rules.event(guests_allowed=False)
    registration = rules.register(event, giver)[0].ref
    refused = transfer(rules, registration, giver, guest)
    assert (refused.outcome, refused.body) == ("not_eligible", {"rule": "guests_not_allowed"})
    rules.update(event, guests_allowed=True)
    assert transfer(rules, registration, giver, guest).outcome == "ok"


def test_the_limit_is_that_of_the_receivers_department(rules, database):
    event = rules.event(capacity=5, department_limit=1)
    sales, works, other_sales, other_works, nowhere = (
        rules.person("Sales"), rules.person("Works"), rules.person("Sales"), rules.person("Works"), rules.person(None))
    refs = [answer.ref for answer in rules.register(event, sales, works)]
    refused = transfer(rules, refs[0], sales, other_works)
    assert (refused.outcome, refused.body) == ("not_eligible", {"rule": "department_limit", "department_limit": 1})
    # Within the department nobody is added, and who belongs to none counts nowhere.
    taken = transfer(rules, refs[0], sales, other_sales)
    assert taken.outcome == "ok"
    assert transfer(rules, refs[1], works, nowhere).outcome == "ok"
    assert transfer(rules, taken.ref, other_sales, other_works).outcome == "ok"
    counters = "select department, registered, waitlisted from turnout.event_department_counts where event_id = %s order by 1"
    assert database.rows(counters, (event,)) == [("", 1, 0), ("Sales", 0, 0), ("Works", 1, 0)]


def test_a_department_that_has_handed_on_a_seat_has_room_for_who_waits(rules):
    event = rules.event(capacity=3, department_limit=1)
    sales, waiting, works = rules.person("Sales"), rules.person("Sales"), rules.person("Works")
    registration = rules.register(event, sales, waiting)[0].ref
    assert rules.waiting(event) == [waiting]
    assert transfer(rules, registration, sales, works).outcome == "ok"
    assert rules.states(event) == {sales: "cancelled", works: "registered", waiting: "registered"}


def test_who_asks_again_is_told_of_what_was_done_and_nothing_is_done_twice(rules, database):
    event, giver, colleague, other = rules.event(), rules.person(), rules.person(), rules.person()
    registration, action = rules.register(event, giver)[0].ref, new_id()
    first = transfer(rules, registration, giver, colleague, action=action)
    mail = last_mail(database)
    assert transfer(rules, registration, giver, colleague) == first
    assert transfer(rules, registration, giver, other).outcome == "not_registered"
    # The same call sent again over a new connection is told what it did, whatever has happened since.
    rules.cancel(first.ref, colleague)
    assert transfer(rules, registration, giver, colleague, action=action, resent=True) == first
    assert transfer(rules, registration, giver, colleague).body["status"] == "cancelled"
    # Who has come back since gives away another seat.
    rules.register(event, giver)
    assert transfer(rules, registration, giver, colleague).body["status"] == "registered"
    assert database.rows(OWED, (event, mail)) == sorted(
        [("cancelled", colleague, 1), ("cancelled", giver, 1), ("confirmation", colleague, 1), ("confirmation", giver, 1)])


def test_the_same_key_gives_the_same_answer(rules):
    event, giver, colleague, other = rules.event(), rules.person(), rules.person(), rules.person()
    registration = rules.register(event, giver)[0].ref
    first = rules.keyed("registration_transfer", "key", giver, registration, fields={"user": str(colleague)})
    assert (first.outcome, first.replayed) == ("ok", False)
    again = rules.keyed("registration_transfer", "key", giver, registration, fields={"user": str(colleague)})
    assert again[:4] == first[:4] and again.replayed
    assert rules.keyed("registration_transfer", "key", giver, registration, fields={"user": str(other)}).outcome == "key_reused"


def test_while_somebody_holds_the_event_it_is_busy_and_an_order_left_behind_does_nothing(rules, database):
    event, giver, colleague = rules.event(), rules.person(), rules.person()
    registration = rules.register(event, giver)[0].ref
    holder, orphan = Session(database, "holder"), Session(database, "orphan")
    try:
        holder.run("select from turnout.event_seats where event_id = %s for update", (event,))
        assert transfer(rules, registration, giver, colleague).outcome == "busy"
        holder.rollback()
        # The transaction begins here and does its work only after the giver has left and come back.
        orphan.run("select transaction_timestamp()")
        rules.cancel(registration, giver)
        rules.register(event, giver)
        assert orphan.run(TRANSFER, (new_id(), giver, None, registration, str(colleague), False))[0][0] == "busy"
        orphan.commit()
        assert rules.states(event) == {giver: "registered"}
        # Nor does one that the receiver's own later cancel has overtaken.
        transferred = transfer(rules, registration, giver, colleague)
        rules.register(event, giver)
        orphan.run("select transaction_timestamp()")
        rules.cancel(transferred.ref, colleague)
        assert orphan.run(TRANSFER, (new_id(), giver, None, registration, str(colleague), False))[0][0] == "busy"
        orphan.commit()
        assert rules.states(event) == {giver: "registered", colleague: "cancelled"}
        assert transfer(rules, registration, giver, colleague).outcome == "ok"
    finally:
        for session in (holder, orphan):
            session.close()
