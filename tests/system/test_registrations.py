"""Registering, waiting, cancelling and coming back, as people meet it over HTTP. The rules alone, row by row and stepped against
each other, are in test_rules_*.py."""

import uuid

import pytest

from api import Person, etag, eventually, from_now, pages, set_event
from load import run_clients
from sql_harness import Database

OUTBOX = "select kind, generation from turnout.outbox where registration_id = %s order by id"
AUDIT = ("select action, actor_id::text, request_id, before ->> 'status', after ->> 'status' from turnout.audit_log"
         " where entity_id = %s order by id")
FIELDS = {"id", "event_id", "user_id", "status", "position", "registered_at", "cancelled_at", "checked_in_at"}


@pytest.fixture(scope="module", autouse=True)
def database(postgres, turnout):
    """The one under the daemon; consistent at the end."""
    under = Database(postgres, turnout.database)
    yield under
    under.assert_consistent()


@pytest.fixture(scope="module")
def organizer(turnout):
    return Person(turnout, "organizer")


@pytest.fixture()
def person(turnout):
    return Person(turnout)


@pytest.fixture()
def people(turnout):
    return [Person(turnout) for _ in range(5)]


@pytest.fixture()
def rows(database):
    """What is stored of registrations and mail; whatever refuses must leave it as it is."""
    def look():
        return database.rows("select (select count(*) from turnout.registrations), (select count(*) from turnout.outbox),"
                             " (select count(*) from turnout.audit_log where entity = 'registration')")
    return look


def refused(answer, status, problem):
    assert (answer.status, answer.problem) == (status, problem), answer
    return answer.json()


def registered(answer):
    """The body of a 201 or 200."""
    assert answer.status in (200, 201), answer
    return answer.json()


def state(who, registration):
    """Status and place of a registration now."""
    now = registered(who.registration(registration))
    return now["status"], now["position"]


# The decision table, from its first row to its last

def test_an_event_that_does_not_exist_is_not_found(organizer, person, rows):
    before = rows()
    refused(person.register({"id": str(uuid.uuid4())}), 404, "not-found")
    assert rows() == before
    assert person.register(organizer.event()).status == 201


def test_a_draft_is_not_found_by_others_and_not_published_for_its_organizer(organizer, person, rows):
    draft, before = organizer.draft(), rows()
    refused(person.register(draft), 404, "not-found")
    refused(organizer.register(draft), 409, "not-published")
    assert rows() == before
    organizer.post(f"/api/events/{draft['id']}/publish")
    assert person.register(draft).status == organizer.register(draft).status == 201


@pytest.mark.parametrize("status", ["cancelled", "completed"])
def test_an_event_that_is_over_is_closed(database, organizer, person, rows, status):
    event = organizer.event()
    set_event(database, event, status=status)
    before = rows()
    assert refused(person.register(event), 409, "event-closed")["event_status"] == status
    assert rows() == before
    set_event(database, event, status="published")
    assert person.register(event).status == 201


def test_asking_again_gives_200_and_the_same_row(database, organizer, people, rows):
    event = organizer.event(capacity=1)
    first, second = (who.register(event) for who in people[:2])
    assert (first.status, second.status) == (201, 201)
    before = rows()
    for who, answer in zip(people, (first, second)):
        again = who.register(event)
        assert (again.status, again.json()) == (200, answer.json())
        assert "location" not in again.headers
    assert rows() == before
    # Also when nobody new gets in any more.
    set_event(database, event, registration_closes_at=from_now(seconds=-5))
    assert people[0].register(event).status == 200
    refused(people[2].register(event), 409, "registration-closed")


def test_before_the_opening_the_answer_says_when_to_come_back(database, organizer, person, rows):
    event, before = organizer.event(registration_opens_at=from_now(hours=1)), rows()
    answer = person.register(event)
    assert refused(answer, 409, "not-open-yet")["opens_at"] == event["registration_opens_at"]
    assert 3500 < int(answer.headers["retry-after"]) <= 3600
    assert rows() == before
    set_event(database, event, registration_opens_at=from_now(seconds=-1))
    assert person.register(event).status == 201


def test_registration_closes_at_its_moment_or_at_the_start(database, organizer, people, rows):
    event = organizer.event()
    set_event(database, event, start_datetime=from_now(seconds=-1))
    before = rows()
    refused(people[0].register(event), 409, "registration-closed")
    assert rows() == before
    set_event(database, event, registration_closes_at=from_now(hours=1))
    assert people[0].register(event).status == 201
    set_event(database, event, registration_closes_at=from_now(seconds=-1))
    refused(people[1].register(event), 409, "registration-closed")


def test_guests_are_refused_where_they_are_not_allowed(turnout, organizer, person, rows):
    guest = Person(turnout, kind="guest")
    closed, open_to_all = organizer.event(guests_allowed=False), organizer.event()
    assert guest.get("/api/users/me").json()["kind"] == "guest"
    before = rows()
    assert refused(guest.register(closed), 403, "not-eligible")["rule"] == "guests_not_allowed"
    assert rows() == before
    assert person.register(closed).status == guest.register(open_to_all).status == 201


def test_a_free_seat_is_given(database, organizer, person):
    event = organizer.event()
    answer = person.register(event, headers={"X-Request-Id": "a-free-seat"})
    made = registered(answer)
    assert answer.status == 201 and set(made) == FIELDS
    assert (made["status"], made["position"], made["event_id"], made["user_id"]) == ("registered", None, event["id"], person.id)
    assert (made["cancelled_at"], made["checked_in_at"]) == (None, None)
    assert uuid.UUID(made["id"]).version == 7
    assert answer.headers["location"] == f"/api/registrations/{made['id']}"
    assert answer.headers["cache-control"] == "private, no-store"
    read = person.get(answer.headers["location"])
    assert (read.status, read.json(), read.headers["cache-control"]) == (200, made, "private, no-store")
    assert database.rows(OUTBOX, (made["id"],)) == [("confirmation", 1)]
    assert database.rows(AUDIT, (made["id"],)) == [("registration.registered", person.id, "a-free-seat", None, "registered")]
    assert eventually(organizer.read, event, "registered_count") == (1,)


def test_without_a_free_seat_one_waits_at_a_place(database, organizer, people):
    event = organizer.event(capacity=1)
    made = [registered(who.register(event, headers={"X-Request-Id": f"place-{n}"})) for n, who in enumerate(people)]
    assert [(one["status"], one["position"]) for one in made] == [("registered", None)] + [("waitlisted", n) for n in range(1, 5)]
    assert database.rows(OUTBOX, (made[2]["id"],)) == [("waitlisted", 1)]
    assert database.rows(AUDIT, (made[2]["id"],)) == [("registration.waitlisted", people[2].id, "place-2", None, "waitlisted")]
    assert eventually(organizer.read, event, "registered_count", "waitlisted_count") == (1, 4)


def test_a_department_at_its_limit_waits_while_others_are_seated(turnout, organizer):
    event = organizer.event(capacity=3, department_limit=1)
    sales, more_sales, works = (Person(turnout, department=name) for name in ("Sales", "Sales", "Works"))
    made = [registered(who.register(event)) for who in (sales, more_sales, works)]
    assert [one["status"] for one in made] == ["registered", "waitlisted", "registered"]


def test_without_a_waitlist_or_beyond_its_limit_the_event_is_full(organizer, people, rows):
    small = organizer.event(capacity=1, waitlist_limit=1)
    assert [who.register(small).status for who in people[:2]] == [201, 201]
    none = organizer.event(capacity=1, waitlist_enabled=False)
    assert people[0].register(none).status == 201
    before = rows()
    refused(people[2].register(small), 409, "event-full")
    refused(people[1].register(none), 409, "event-full")
    assert rows() == before
    organizer.patch(small, waitlist_limit=2)
    organizer.patch(none, waitlist_enabled=True)
    assert registered(people[2].register(small))["position"] == 2
    assert registered(people[1].register(none))["position"] == 1


# For others

def test_an_organizer_registers_others_for_their_own_event_only(turnout, database, organizer, people, rows):
    event, stranger, admin = organizer.event(), Person(turnout, "organizer"), Person(turnout, "admin")
    before = rows()
    for who in (stranger, people[1]):
        refused(who.register(event, user_id=people[0].id), 403, "forbidden")
    answer = refused(organizer.register(event, user_id=str(uuid.uuid4())), 422, "invalid-fields")
    assert [error["pointer"] for error in answer["errors"]] == ["/user_id"]
    assert rows() == before
    made = registered(organizer.register(event, user_id=people[0].id, headers={"X-Request-Id": "for-another"}))
    assert made["user_id"] == people[0].id
    assert state(people[0], made) == ("registered", None)
    assert database.rows(AUDIT, (made["id"],)) == [("registration.registered", organizer.id, "for-another", None, "registered")]
    assert registered(admin.register(event, user_id=people[1].id))["user_id"] == people[1].id
    assert people[2].register(event, user_id=people[2].id).status == 201


def test_other_peoples_registrations_are_not_found(turnout, organizer, people, rows):
    made = registered(people[0].register(organizer.event()))
    stranger, admin = Person(turnout, "organizer"), Person(turnout, "admin")
    before = rows()
    for who in (people[1], stranger):
        refused(who.registration(made), 404, "not-found")
        refused(who.cancel(made), 404, "not-found")
    refused(turnout.get(f"/api/registrations/{made['id']}"), 401, "unauthorized")
    refused(turnout.delete(f"/api/registrations/{made['id']}"), 401, "unauthorized")
    refused(people[0].registration({"id": str(uuid.uuid4())}), 404, "not-found")
    refused(people[0].registration({"id": "mine"}), 404, "not-found")
    assert rows() == before
    assert people[0].registration(made).json() == organizer.registration(made).json() == admin.registration(made).json() == made


def test_nobody_registers_without_a_token(turnout, organizer, person, rows):
    event, before = organizer.event(), rows()
    refused(turnout.post("/api/registrations", json={"event_id": event["id"]}), 401, "unauthorized")
    refused(turnout.get("/api/registrations"), 401, "unauthorized")
    assert rows() == before
    assert person.register(event).status == 201


@pytest.mark.parametrize("body, pointers", [
    ({}, "/event_id"), ({"event_id": None}, "/event_id"), ({"event_id": 7}, "/event_id"), ({"event_id": "soon"}, "/event_id"),
    ({"event_id": ..., "user_id": 7}, "/user_id"), ({"event_id": ..., "user_id": None}, "/user_id"),
    ({"event_id": ..., "status": "registered"}, "/status"), ({"event_id": ..., "a/b~": 1}, "/a~1b~0"),
    ({"user_id": "me", "colour": "red"}, "/user_id /colour /event_id"),
])
def test_an_order_names_an_event_and_at_most_a_user(organizer, person, rows, body, pointers):
    event = organizer.event()
    before = rows()
    answer = person.post("/api/registrations", json={name: event["id"] if value is ... else value for name, value in body.items()})
    assert [error["pointer"] for error in refused(answer, 422, "invalid-fields")["errors"]] == pointers.split()
    assert rows() == before
    assert person.register(event).status == 201


# Cancelling

def test_cancelling_frees_the_seat_and_is_idempotent(database, organizer, person):
    event = organizer.event()
    made = registered(person.register(event))
    first = person.cancel(made, headers={"X-Request-Id": "first-cancel"})
    gone = registered(first)
    assert (first.status, gone["status"], gone["id"]) == (200, "cancelled", made["id"])
    assert gone["cancelled_at"] >= made["registered_at"]
    again = person.cancel(made, headers={"X-Request-Id": "second-cancel"})
    assert (again.status, again.json()) == (200, gone)
    assert eventually(organizer.read, event, "registered_count") == (0,)
    assert database.rows(OUTBOX, (made["id"],)) == [("confirmation", 1), ("cancelled", 1)]
    assert database.rows(AUDIT, (made["id"],))[1:] == [
        ("registration.cancelled", person.id, "first-cancel", "registered", "cancelled")]


def test_an_organizer_may_cancel_a_registration_of_their_event(database, organizer, person):
    made = registered(person.register(organizer.event()))
    assert registered(organizer.cancel(made))["status"] == "cancelled"
    assert state(person, made) == ("cancelled", None)
    assert database.rows(AUDIT, (made["id"],))[1][1] == organizer.id


def test_cancelling_promotes_the_first_in_line(database, organizer, people):
    event = organizer.event(capacity=1)
    made = [registered(who.register(event)) for who in people[:3]]
    people[0].cancel(made[0], headers={"X-Request-Id": "makes-room"})
    assert state(people[1], made[1]) == ("registered", None)
    assert state(people[2], made[2]) == ("waitlisted", 1)
    assert database.rows(OUTBOX, (made[1]["id"],)) == [("waitlisted", 1), ("promoted", 1)]
    assert database.rows(AUDIT, (made[1]["id"],))[1] == (
        "registration.promoted", people[0].id, "makes-room", "waitlisted", "registered")
    assert eventually(organizer.read, event, "registered_count", "waitlisted_count") == (1, 1)


def test_a_place_moves_up_when_somebody_before_leaves_the_waitlist(organizer, people):
    event = organizer.event(capacity=1)
    made = [registered(who.register(event)) for who in people]
    assert state(people[4], made[4]) == ("waitlisted", 4)
    people[2].cancel(made[2])
    assert [state(people[n], made[n]) for n in (1, 3, 4)] == [("waitlisted", 1), ("waitlisted", 2), ("waitlisted", 3)]
    # Asking again and the list of one's own say the same.
    assert people[4].register(event).json()["position"] == 3
    assert people[4].get("/api/registrations").json()["registrations"][0]["position"] == 3


def test_who_comes_back_joins_the_end_of_the_queue_with_the_same_registration(database, organizer, people):
    event = organizer.event(capacity=1)
    made = [registered(who.register(event)) for who in people[:4]]
    people[1].cancel(made[1])
    back = people[1].register(event)
    assert back.status == 201
    assert (back.json()["id"], back.json()["status"], back.json()["position"]) == (made[1]["id"], "waitlisted", 3)
    assert back.json()["cancelled_at"] is None and back.json()["registered_at"] > made[1]["registered_at"]
    people[0].cancel(made[0])
    assert [state(people[n], made[n]) for n in (2, 3, 1)] == [("registered", None), ("waitlisted", 1), ("waitlisted", 2)]
    assert database.rows(OUTBOX, (made[1]["id"],)) == [("waitlisted", 1), ("cancelled", 1), ("waitlisted", 2)]


def test_a_newcomer_does_not_pass_who_is_waiting(organizer, people):
    event = organizer.event(capacity=1)
    made = [registered(who.register(event)) for who in people[:2]]
    people[0].cancel(made[0])
    newcomer = registered(people[2].register(event))
    assert (newcomer["status"], newcomer["position"]) == ("waitlisted", 1)
    assert state(people[1], made[1]) == ("registered", None)


def test_nobody_is_promoted_after_registration_closed(database, organizer, people):
    event = organizer.event(capacity=1)
    made = [registered(who.register(event)) for who in people[:2]]
    set_event(database, event, registration_closes_at=from_now(seconds=-1))
    assert registered(people[0].cancel(made[0]))["status"] == "cancelled"
    assert state(people[1], made[1]) == ("waitlisted", 1)
    # Re-opened, the free seat goes to who is waiting at once.
    organizer.patch(event, registration_closes_at=None)
    assert state(people[1], made[1]) == ("registered", None)


def test_what_is_over_cannot_be_cancelled(database, organizer, person):
    event = organizer.event()
    made = registered(person.register(event))
    set_event(database, event, status="completed")
    assert refused(person.cancel(made), 409, "event-closed")["event_status"] == "completed"
    assert state(person, made) == ("registered", None)
    set_event(database, event, status="published")
    assert person.cancel(made).status == 200


def test_every_registration_changes_the_events_tag_but_not_its_version(organizer, people):
    event = organizer.event(capacity=1)
    made = registered(people[0].register(event))
    # The third promotes who waited.
    for tag, change in (('"2.1.0"', lambda: people[1].register(event)), ('"2.1.1"', lambda: people[0].cancel(made)),
                        ('"2.1.0"', lambda: people[0].register(event)), ('"2.1.1"', lambda: None)):
        assert eventually(lambda: organizer.get(f"/api/events/{event['id']}").headers["etag"]) == tag
        change()


# One's own list

def test_my_registrations_come_newest_first_in_pages(organizer, person):
    events = [organizer.event(title=str(number)) for number in range(7)]
    made = [registered(person.register(event)) for event in events]
    person.cancel(made[3])
    for limit in (1, 3, 7, 100):
        found = pages(person.get, f"/api/registrations?limit={limit}")
        listed = [one for page in found for one in page["registrations"]]
        assert [one["id"] for one in listed] == [one["id"] for one in reversed(made)]
        assert [one["status"] for one in listed if one["id"] == made[3]["id"]] == ["cancelled"]
    assert pages(person.get, "/api/registrations")[0]["registrations"] == listed


def test_my_list_holds_nobody_elses(organizer, people):
    event = organizer.event()
    made = [registered(who.register(event)) for who in people[:2]]
    for who, one in zip(people, made):
        assert who.get("/api/registrations").json() == {"registrations": [one], "next_cursor": None}
    assert people[2].get("/api/registrations").json() == {"registrations": [], "next_cursor": None}


def test_a_cursor_of_my_list_is_mine_alone(organizer, people):
    for event in [organizer.event() for _ in range(3)]:
        for who in people[:2]:
            who.register(event)
    cursor = people[0].get("/api/registrations?limit=1").json()["next_cursor"]
    path = f"/api/registrations?limit=1&cursor={cursor}"
    answer = refused(people[1].get(path), 422, "invalid-fields")
    assert [error["parameter"] for error in answer["errors"]] == ["cursor"]
    assert people[0].get(path).status == 200


@pytest.mark.parametrize("wrong", ["limit=0", "limit=101", "limit=x", "cursor=x", "event_id=x", "status=registered",
                                   "limit=1&limit=2"])
def test_my_list_refuses_wrong_parameters(person, wrong):
    answer = refused(person.get(f"/api/registrations?{wrong}"), 422, "invalid-fields")
    assert [error["parameter"] for error in answer["errors"]] == [wrong.partition("=")[0]]
    assert person.get("/api/registrations?limit=100").status == 200


# Many at once

def test_everybody_at_once_gets_exactly_the_seats_and_a_place_each(turnout, organizer):
    event = organizer.event(capacity=20)
    people = [Person(turnout) for _ in range(60)]

    async def script(client, number):
        answers = [await client.post("/api/registrations", {"event_id": event["id"]}, token=people[number].token)
                   for _ in range(2)]
        return [(answer.status, answer.json()["status"], answer.json()["position"]) for answer in answers]

    answers = run_clients(turnout.port, len(people), script)
    assert [(first[0], second[0]) for first, second in answers] == [(201, 200)] * 60
    assert sum(first[1] == "registered" for first, _ in answers) == 20
    assert sorted(first[2] for first, _ in answers if first[1] == "waitlisted") == list(range(1, 41))
    assert all(first == (201, *second[1:]) for first, second in answers)
