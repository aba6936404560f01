"""The decision table of the registration engine, row by row. Each refusal has a twin beside it that is accepted."""

import uuid

import pytest

from sql_rules import CANCEL, Rules, from_now, new_id, register_arguments, REGISTER


@pytest.fixture()
def rules(database):
    with database.connect() as connection:
        yield Rules(connection)


def test_no_such_event_is_not_found(rules):
    person = rules.person()
    assert rules.register(new_id(), person)[0].outcome == "not_found"
    assert rules.register(rules.event(), person)[0].outcome == "registered"


def test_a_draft_is_not_found_by_others_and_not_published_for_its_own(rules):
    person, admin, draft = rules.person(), rules.person(role="admin"), rules.draft()
    stranger = rules.person(role="organizer")
    assert rules.register(draft, person)[0].outcome == "not_found"
    assert rules.register(draft, stranger)[0].outcome == "not_found"
    assert rules.register(draft, rules.organizer)[0].outcome == "not_published"
    assert rules.register(draft, admin)[0].outcome == "not_published"
    rules.publish(draft)
    assert rules.register(draft, person)[0].outcome == "registered"
    assert rules.register(draft, rules.organizer)[0].outcome == "registered"


@pytest.mark.parametrize("status", ["cancelled", "completed"])
def test_an_event_that_is_over_is_closed(rules, status):
    event, person = rules.event(), rules.person()
    rules.set_event(event, status=status)
    refused = rules.register(event, person)[0]
    assert (refused.outcome, refused.body) == ("event_closed", {"event_status": status})
    rules.set_event(event, status="published")
    assert rules.register(event, person)[0].outcome == "registered"


def test_asking_again_gives_the_same_row(rules):
    event, first, second = rules.event(capacity=1), rules.person(), rules.person()
    registered, waitlisted = rules.register(event, first, second)
    assert (registered.outcome, waitlisted.outcome) == ("registered", "waitlisted")
    again = rules.register(event, first, second)
    assert [answer.outcome for answer in again] == ["existing", "existing"]
    assert [answer.body for answer in again] == [registered.body, waitlisted.body]
    assert [answer.ref for answer in again] == [registered.ref, waitlisted.ref]


def test_asking_again_is_answered_even_when_registration_has_closed(rules):
    event, person, late = rules.event(), rules.person(), rules.person()
    rules.register(event, person)
    rules.set_event(event, registration_closes_at=from_now(seconds=-5))
    assert rules.register(event, person)[0].outcome == "existing"
    assert rules.register(event, late)[0].outcome == "registration_closed"


def test_registration_opens_at_its_moment(rules):
    opens = from_now(hours=1)
    event, person = rules.event(registration_opens_at=opens), rules.person()
    refused = rules.register(event, person)[0]
    assert refused.outcome == "not_open_yet"
    assert refused.body["opens_at"] == opens
    assert 3590 < refused.body["retry_after"] <= 3600
    rules.set_event(event, registration_opens_at=from_now(seconds=-2))
    assert rules.register(event, person)[0].outcome == "registered"


def test_registration_closes_at_its_moment_or_at_the_start(rules):
    event, person = rules.event(), rules.person()
    rules.set_event(event, start_datetime=from_now(seconds=-2))
    assert rules.register(event, person)[0].outcome == "registration_closed"
    rules.set_event(event, registration_closes_at=from_now(hours=1))
    assert rules.register(event, person)[0].outcome == "registered"
    rules.set_event(event, registration_closes_at=from_now(seconds=-2))
    refused = rules.register(event, rules.person())[0]
    assert refused.outcome == "registration_closed"
    assert set(refused.body) == {"closed_at"}


def test_guests_are_refused_where_they_are_not_allowed(rules):
    event, guest, employee = rules.event(guests_allowed=False), rules.person(kind="guest"), rules.person()
    refused, accepted = rules.register(event, guest, employee)
    assert (refused.outcome, refused.body) == ("not_eligible", {"rule": "guests_not_allowed"})
    assert accepted.outcome == "registered"
    assert rules.register(rules.event(), guest)[0].outcome == "registered"


def test_somebody_without_a_users_row_is_not_eligible(rules):
    event = rules.event()
    refused = rules.register(event, new_id())[0]
    assert (refused.outcome, refused.body) == ("not_eligible", {"rule": "user_unknown"})
    refused = rules.register(event, new_id(), actor=rules.organizer)[0]
    assert refused.outcome == "invalid_fields"
    assert refused.body["errors"][0]["pointer"] == "/user_id"
    assert rules.register(event, rules.person())[0].outcome == "registered"


def test_seats_then_waitlist_then_full(rules):
    event = rules.event(capacity=2, waitlist_limit=2)
    answers = rules.register(event, *rules.people(5))
    assert [answer.outcome for answer in answers] == ["registered", "registered", "waitlisted", "waitlisted", "full"]
    assert [answer.body and answer.body["position"] for answer in answers] == [None, None, 1, 2, None]
    assert rules.counts(event) == (2, 2)


def test_without_a_waitlist_the_event_is_full(rules):
    event = rules.event(capacity=1, waitlist_enabled=False)
    assert [a.outcome for a in rules.register(event, *rules.people(2))] == ["registered", "full"]
    rules.update(event, waitlist_enabled=True)
    assert rules.register(event, rules.person())[0].outcome == "waitlisted"


def test_a_department_at_its_limit_waits_while_others_are_seated(rules):
    event = rules.event(capacity=3, department_limit=1)
    sales, more_sales, works = rules.person("Sales"), rules.person("Sales"), rules.person("Works")
    assert [a.outcome for a in rules.register(event, sales, more_sales, works)] == ["registered", "waitlisted", "registered"]
    # People without a department belong to none that could have too many; the last seat is theirs, once.
    alone = [rules.person(None) for _ in range(2)]
    assert [a.outcome for a in rules.register(event, *alone)] == ["registered", "waitlisted"]


def test_only_who_manages_the_event_registers_somebody_else(rules):
    event, person, colleague = rules.event(), rules.person(), rules.person()
    stranger, admin = rules.person(role="organizer"), rules.person(role="admin")
    assert rules.register(event, person, actor=colleague)[0].outcome == "forbidden"
    assert rules.register(event, person, actor=stranger)[0].outcome == "forbidden"
    assert rules.register(event, person, actor=rules.organizer)[0].outcome == "registered"
    assert rules.register(event, colleague, actor=admin)[0].outcome == "registered"


def test_the_role_claim_wins_over_the_table(rules):
    event, person, other = rules.event(), rules.person(), rules.person()
    assert rules.register(event, other, actor=person, role="admin")[0].outcome == "registered"
    demoted = rules.register(event, rules.person(), actor=rules.organizer, role="participant")[0]
    assert demoted.outcome == "forbidden"


def test_a_batch_decides_in_the_order_of_arrival_over_several_events(rules, database):
    one, two, closed = rules.event(capacity=1), rules.event(capacity=1), rules.event()
    rules.set_event(closed, status="cancelled")
    people = rules.people(6)
    events = [two, one, two, new_id(), one, closed]
    rows = rules.connection.execute(
        "select item, outcome from turnout.register_many(%s::uuid[], %s::uuid[], %s::text[], %s::uuid[], %s::text[],"
        " %s::uuid[], %s::uuid[], false)",
        ([new_id() for _ in people], [new_id() for _ in people], ["r"] * 6, people, [None] * 6, events, people)).fetchall()
    assert rows == [(1, "registered"), (2, "registered"), (3, "waitlisted"), (4, "not_found"), (5, "waitlisted"),
                    (6, "event_closed")]


def test_a_repeated_order_in_one_batch_is_answered_as_existing(rules):
    event, person = rules.event(capacity=1), rules.person()
    answers = rules.register(event, person, rules.person(), person)
    assert [answer.outcome for answer in answers] == ["registered", "waitlisted", "existing"]
    assert answers[2].body == answers[0].body and answers[2].ref == answers[0].ref


def test_an_empty_batch_is_answered_by_nothing(rules):
    assert rules.register(rules.event()) == []


def test_an_event_whose_seats_row_is_held_is_busy_and_the_others_go_on(rules, database):
    held, free, closed = rules.event(), rules.event(), rules.event()
    rules.set_event(closed, status="cancelled")
    person = rules.person()
    with database.connect(autocommit=False) as holder:
        holder.execute("select from turnout.event_seats where event_id = any(%s) for update", ([held, closed],))
        assert rules.register(held, person)[0].outcome == "busy"
        assert rules.register(free, person)[0].outcome == "registered"
        # What nobody can change any more is known without the lock.
        assert rules.register(closed, person)[0].outcome == "event_closed"
        assert rules.update(held, capacity=11).outcome == "busy"
        assert rules.cancel_event(held).outcome == "busy"
    assert rules.register(held, person)[0].outcome == "registered"


def test_the_answer_says_what_is_stored(rules, database):
    event, person = rules.event(), rules.person("Ärzte")
    registration = new_id()
    arguments = list(register_arguments(event, person))
    arguments[1] = [registration]
    answer = rules.call(REGISTER, *arguments)[0]
    assert list(answer.body) == ["id", "event_id", "user_id", "status", "position", "registered_at", "cancelled_at",
                                 "checked_in_at"]
    assert answer.ref == answer.body["id"] == str(registration)
    assert rules.registration(registration, person).body == answer.body
    stored = database.rows("select department, generation, last_action_id from turnout.registrations where id = %s",
                           (registration,))
    assert stored == [("Ärzte", 1, arguments[0][0])]


# Sent again after a lost connection

def test_a_registration_sent_again_is_answered_as_the_first_time(rules):
    event, person, action = rules.event(capacity=1), rules.person(), new_id()
    first = rules.register(event, person, action=action)[0]
    again = rules.register(event, person, action=action, resent=True)[0]
    assert first.outcome == "registered"
    assert again == first
    # Without the mark it is somebody who asks a second time.
    assert rules.register(event, person, action=action)[0].outcome == "existing"


def test_a_waitlist_place_sent_again_keeps_the_position_it_was_told(rules):
    event, person, action = rules.event(capacity=1), rules.person(), new_id()
    seated = rules.register(event, rules.person())[0]
    first = rules.register(event, person, action=action)[0]
    assert first.outcome == "waitlisted"
    rules.cancel(seated.ref, uuid.UUID(seated.body["user_id"]))
    assert rules.states(event)[person] == "registered"
    assert rules.register(event, person, action=action, resent=True)[0] == first


def test_a_registration_that_never_arrived_is_done_when_sent_again(rules):
    event, person = rules.event(), rules.person()
    assert rules.register(event, person, resent=True)[0].outcome == "registered"


def test_a_registration_sent_again_after_a_later_cancel_stays_cancelled(rules):
    event, person, action = rules.event(), rules.person(), new_id()
    first = rules.register(event, person, action=action)[0]
    rules.cancel(first.ref, person)
    assert rules.register(event, person, action=action, resent=True)[0] == first
    assert rules.states(event)[person] == "cancelled"


def test_a_cancel_sent_again_does_not_cancel_who_came_back(rules):
    event, person, action = rules.event(), rules.person(), new_id()
    registration = rules.register(event, person)[0].ref
    first = rules.cancel(registration, person, action=action)
    assert rules.register(event, person)[0].outcome == "registered"
    again = rules.cancel(registration, person, action=action, resent=True)
    assert again == first
    assert rules.states(event)[person] == "registered"
    # A new order does cancel.
    assert rules.cancel(registration, person).body["status"] == "cancelled"
    assert rules.states(event)[person] == "cancelled"


# Cancelling

def test_cancelling_is_idempotent_and_other_peoples_are_not_found(rules):
    event, person, other = rules.event(), rules.person(), rules.person()
    registration = rules.register(event, person)[0].ref
    assert rules.cancel(registration, other).outcome == "not_found"
    assert rules.cancel(new_id(), person).outcome == "not_found"
    assert rules.registration(registration, other).outcome == "not_found"
    first = rules.cancel(registration, person)
    assert (first.outcome, first.body["status"]) == ("ok", "cancelled")
    assert rules.cancel(registration, person) == first
    assert rules.registration(registration, person).body == first.body


def test_organizers_and_admins_may_cancel_and_read_registrations_of_their_events(rules):
    event, admin, stranger = rules.event(), rules.person(role="admin"), rules.person(role="organizer")
    one, two = rules.register(event, *rules.people(2))
    assert rules.cancel(one.ref, stranger).outcome == "not_found"
    assert rules.registration(one.ref, rules.organizer).outcome == "ok"
    assert rules.cancel(one.ref, rules.organizer).outcome == "ok"
    assert rules.cancel(two.ref, admin).outcome == "ok"


def test_what_has_happened_cannot_be_cancelled(rules, database):
    event, person, attended = rules.event(), rules.person(), rules.person()
    mine, theirs = rules.register(event, person, attended)
    database.rows("update turnout.registrations set checked_in_at = now() where id = %s", (theirs.ref,))
    database.rows("update turnout.event_seats set checked_in_count = 1 where event_id = %s", (event,))
    database.rows("update turnout.event_department_counts set checked_in = 1 where event_id = %s", (event,))
    assert rules.cancel(theirs.ref, attended).outcome == "event_closed"
    rules.set_event(event, status="completed")
    assert rules.cancel(mine.ref, person).outcome == "event_closed"
    rules.set_event(event, status="published")
    assert rules.cancel(mine.ref, person).outcome == "ok"


def test_my_registrations_come_newest_first_in_pages(rules):
    person, full = rules.person(), rules.event(capacity=1)
    rules.register(full, rules.person())
    events = [rules.event() for _ in range(4)] + [full]
    for event in events:
        rules.register(event, person)
    first = rules.mine(person, limit=2)
    second = rules.mine(person, limit=2, after=(first.next_start, first.next_id))
    third = rules.mine(person, limit=2, after=(second.next_start, second.next_id))
    assert [len(page.items) for page in (first, second, third)] == [2, 2, 1]
    assert third.next_start is None and third.next_id is None
    listed = [item["event_id"] for page in (first, second, third) for item in page.items]
    assert listed == [str(event) for event in reversed(events)]
    assert (first.items[0]["status"], first.items[0]["position"]) == ("waitlisted", 1)
    # A page that ends exactly at the last row has no next one.
    assert rules.mine(person, limit=5).next_id is None


def test_every_write_is_in_the_audit_log_with_its_request(rules, database):
    event, person, action = rules.event(), rules.person(), new_id()
    registration = rules.register(event, person)[0]
    rules.call(CANCEL, "request-7", action, person, None, registration.ref, False)
    rows = database.rows("select action, actor_id, request_id, before ->> 'status', after ->> 'status' from turnout.audit_log"
                         " where event_id = %s and entity = 'registration' order by id", (event,))
    assert rows == [("registration.registered", person, "test", None, "registered"),
                    ("registration.cancelled", person, "request-7", "registered", "cancelled")]
