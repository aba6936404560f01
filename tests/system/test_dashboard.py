"""The statistics of an event: who may read them, what they count, and that they follow."""

import uuid

import pytest

from api import Person
from sql_harness import Database, wait_until

FIELDS = ["total_registrations", "waitlisted_count", "checked_in_count", "survey_response_rate", "registrations_by_department"]
NOTHING = {"total_registrations": 0, "waitlisted_count": 0, "checked_in_count": 0, "survey_response_rate": 0,
           "registrations_by_department": []}


@pytest.fixture(scope="module")
def organizer(turnout):
    return Person(turnout, "organizer")


def path_of(event):
    return f"/api/dashboard/events/{event['id']}/stats"


def stats(who, event):
    answer = who.get(path_of(event))
    assert answer.status == 200, answer
    return answer.json()


def becomes(who, event, expected):
    """A change shows a moment later."""
    wait_until(lambda: stats(who, event) == expected, f"the statistics are {expected}; they are {stats(who, event)}")


def group(department, count, checked_in=0):
    return {"department": department, "count": count, "checked_in_count": checked_in}


def test_an_event_without_anybody_has_zeros(organizer):
    for event in (organizer.event(), organizer.draft()):
        answer = organizer.get(path_of(event))
        assert answer.status == 200 and list(answer.json()) == FIELDS
        assert answer.json() == NOTHING
        assert b"NaN" not in answer.body and b"null" not in answer.body


def test_only_those_who_manage_the_event_may_read_them(turnout, organizer):
    admin, other, participant = Person(turnout, "admin"), Person(turnout, "organizer"), Person(turnout)
    event, draft = organizer.event(), organizer.draft()
    for one in (event, draft):
        assert stats(organizer, one) == stats(admin, one) == NOTHING
    # The second time the body is there already, and who asks is looked at all the same.
    for _ in range(2):
        refused = turnout.get(path_of(event))
        assert (refused.status, refused.problem) == (401, "unauthorized")
        for stranger in (other, participant):
            refused = stranger.get(path_of(event))
            assert (refused.status, refused.problem) == (403, "forbidden")
            refused = stranger.get(path_of(draft))
            assert (refused.status, refused.problem) == (404, "not-found")
    for unknown in (f"/api/dashboard/events/{uuid.uuid4()}/stats", "/api/dashboard/events/none/stats"):
        assert organizer.get(unknown).status == 404
    assert organizer.get(path_of(event) + "?colour=red").problem == "invalid-fields"


def test_who_stops_managing_the_event_is_refused_the_next_time(turnout, organizer):
    second = Person(turnout, "organizer")
    event = organizer.event()
    assert second.get(path_of(event)).status == 403
    assert organizer.patch(event, organizer_ids=[organizer.id, second.id]).status == 200
    assert stats(second, event) == NOTHING
    assert organizer.patch(event, organizer_ids=[organizer.id]).status == 200
    assert second.get(path_of(event)).status == 403
    assert stats(organizer, event) == NOTHING


def test_they_count_who_holds_a_seat_by_department_and_nobody_else(turnout, organizer):
    event = organizer.event(capacity=4)
    people = [Person(turnout, department=department) for department in ("Sales", "Sales", "Research")] + [Person(turnout)]
    made = [person.register(event).json() for person in people]
    waiting = [Person(turnout, department="Sales") for _ in range(2)]
    for person in waiting:
        assert person.register(event).json()["status"] == "waitlisted"
    expected = {**NOTHING, "total_registrations": 4, "waitlisted_count": 2,
                "registrations_by_department": [group("Research", 1), group("Sales", 2), group(None, 1)]}
    becomes(organizer, event, expected)
    # Whoever cancels is in no total; the first who waits comes in.
    assert people[2].cancel(made[2]).status == 200
    becomes(organizer, event, {**expected, "waitlisted_count": 1,
                               "registrations_by_department": [group("Sales", 3), group(None, 1)]})


def test_they_count_check_ins_and_answers_of_those_checked_in(turnout, organizer, postgres):
    event = organizer.event()
    for department in ("Sales", "Sales", "Research"):
        Person(turnout, department=department).register(event)
    becomes(organizer, event, {**NOTHING, "total_registrations": 3,
                               "registrations_by_department": [group("Research", 1), group("Sales", 2)]})
    database = Database(postgres, turnout.database)
    with database.connect("postgres", autocommit=False) as session:
        session.execute("update turnout.registrations set checked_in_at = now() where event_id = %s and department = 'Sales'",
                        (event["id"],))
        session.execute("update turnout.event_seats set checked_in_count = 2, survey_count = 1 where event_id = %s", (event["id"],))
        session.execute("update turnout.event_department_counts set checked_in = 2 where event_id = %s and department = 'Sales'",
                        (event["id"],))
    becomes(organizer, event, {"total_registrations": 3, "waitlisted_count": 0, "checked_in_count": 2, "survey_response_rate": 0.5,
                               "registrations_by_department": [group("Research", 1), group("Sales", 2, 2)]})


def test_who_holds_them_is_told_that_they_are_still_right(organizer):
    event = organizer.event()
    first = organizer.get(path_of(event))
    assert first.headers["cache-control"] == "private, no-cache"
    wait_until(lambda: organizer.get(path_of(event), headers={"If-None-Match": first.headers["etag"]}).status == 304, "304")
    head = organizer.request("HEAD", path_of(event))
    assert (head.status, head.body, head.headers["etag"]) == (200, b"", first.headers["etag"])
    organizer.register(event)
    wait_until(lambda: organizer.get(path_of(event), headers={"If-None-Match": first.headers["etag"]}).status == 200, "they change")


def test_those_of_a_cancelled_event_stay(turnout, organizer):
    event = organizer.event()
    Person(turnout, department="Sales").register(event)
    becomes(organizer, event, {**NOTHING, "total_registrations": 1, "registrations_by_department": [group("Sales", 1)]})
    assert organizer.post(f"/api/events/{event['id']}/cancel").status == 200
    assert organizer.get(path_of(event)).status == 200
