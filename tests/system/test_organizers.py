"""Who manages an event: organizers named by an edit, and what they do for others."""

import uuid

import pytest

from api import Person, etag, eventually
from sql_harness import Database

LOG = ("select action, actor_id::text, before, after from turnout.audit_log where entity_id = %s and action = 'event.updated'"
       " order by id desc limit 1")


@pytest.fixture(scope="module", autouse=True)
def database(postgres, turnout):
    """The one under the daemon; consistent at the end."""
    under = Database(postgres, turnout.database)
    yield under
    under.assert_consistent()


@pytest.fixture(scope="module")
def organizer(turnout):
    return Person(turnout, "organizer")


@pytest.fixture(scope="module")
def other(turnout):
    return Person(turnout, "organizer")


@pytest.fixture(scope="module")
def person(turnout):
    return Person(turnout)


@pytest.fixture(scope="module")
def admin(turnout):
    return Person(turnout, "admin")


def roster(who, event):
    return who.get(f"/api/events/{event['id']}/registrations").status


def pointers(answer):
    assert (answer.status, answer.problem) == (422, "invalid-fields"), answer
    return [error["pointer"] for error in answer.json()["errors"]]


def test_an_edit_replaces_all_organizers_and_is_logged(database, organizer, other):
    event = organizer.event()
    assert roster(other, event) == 403
    tag = etag(event)
    before = database.value("select coalesce(max(id), 0) from turnout.changes")
    answer = organizer.patch(event, if_match=tag, organizer_ids=[organizer.id, other.id])
    assert answer.status == 200 and answer.json()["version"] == event["version"] + 1
    assert answer.json()["organizer_ids"] == sorted([organizer.id, other.id])
    assert roster(other, event) == roster(organizer, event) == 200
    assert {kind for kind, in database.rows("select kind from turnout.changes where id > %s and key = %s", (before, event["id"]))} \
        == {"event", "organizers"}
    action, actor, was, became = database.rows(LOG, (event["id"],))[0]
    assert (actor, was["organizer_ids"], became["organizer_ids"]) == (
        organizer.id, [organizer.id], sorted([organizer.id, other.id]))
    assert organizer.patch(event, if_match=tag, organizer_ids=[organizer.id]).status == 412
    # The same again changes nothing.
    same = organizer.patch(event, organizer_ids=[other.id, organizer.id])
    assert (same.status, same.json()["version"]) == (200, event["version"] + 1)


def test_an_organizer_may_leave_when_another_stays(organizer, other):
    event = organizer.event()
    assert pointers(organizer.patch(event, organizer_ids=[])) == ["/organizer_ids"]
    assert pointers(organizer.patch(event, organizer_ids=None)) == ["/organizer_ids"]
    left = organizer.patch(event, organizer_ids=[other.id])
    assert (left.status, left.json()["organizer_ids"]) == (200, [other.id])
    assert roster(organizer, event) == 403 and roster(other, event) == 200
    # Who has left can't come back by himself.
    assert organizer.patch(event, organizer_ids=[organizer.id]).status == 403
    assert other.patch(event, organizer_ids=[organizer.id]).status == 200


def test_an_admin_may_hand_over_any_event(organizer, other, admin, person):
    event = organizer.event()
    assert other.patch(event, organizer_ids=[other.id]).status == person.patch(event, organizer_ids=[person.id]).status == 403
    assert admin.patch(event, organizer_ids=[other.id]).status == 200
    assert roster(organizer, event) == 403 and roster(other, event) == 200
    draft = organizer.draft()
    assert other.patch(draft, organizer_ids=[other.id]).status == 404
    assert admin.patch(draft, organizer_ids=[other.id]).status == 200


def test_who_is_named_must_be_a_user_and_be_named_once(organizer, other, person):
    event = organizer.event()
    wrong = [other.id, str(uuid.uuid4()), other.id.upper(), "nobody", 5, None]
    assert pointers(organizer.patch(event, organizer_ids=wrong)) == [f"/organizer_ids/{place}" for place in range(1, 6)]
    assert pointers(organizer.patch(event, organizer_ids=[organizer.id] * 101)) == ["/organizer_ids"]
    assert eventually(organizer.read, event, "organizer_ids", "version") == ([organizer.id], event["version"])
    assert organizer.patch(event, organizer_ids=[organizer.id, other.id.upper()]).status == 200


def test_naming_somebody_gives_no_role(turnout, organizer, person):
    event = organizer.event()
    assert organizer.patch(event, organizer_ids=[organizer.id, person.id]).status == 200
    assert roster(person, event) == 403
    # The same person with the role in the token.
    promoted = turnout.token(person.email, "organizer")
    assert turnout.request("GET", f"/api/events/{event['id']}/registrations", promoted).status == 200


def test_organizers_change_while_somebody_registers(database, organizer, other, person):
    """An edit never takes the event's row from those who register: their foreign keys share it."""
    event = organizer.event()
    with database.connect(autocommit=False) as holder:
        holder.execute("select from turnout.events where id = %s for key share", (event["id"],))
        assert organizer.patch(event, organizer_ids=[organizer.id, other.id]).status == 200
        holder.rollback()
    assert person.register(event).status == 201


# For others

def test_an_organizer_registers_and_cancels_somebody_else_and_the_log_says_so(organizer, other, person):
    event = organizer.event()
    refused = other.register(event, user_id=person.id)
    assert (refused.status, refused.problem) == (403, "forbidden")
    answer = organizer.register(event, user_id=person.id)
    made = answer.json()
    assert (answer.status, made["user_id"], answer.headers["location"]) == (201, person.id, f"/api/registrations/{made['id']}")
    again = organizer.register(event, user_id=person.id)
    assert (again.status, again.json()) == (200, made)
    assert person.register(event, user_id=person.id).json() == person.registration(made).json() == made
    assert other.cancel(made).status == 404
    assert organizer.cancel(made).json()["status"] == "cancelled"
    entries = organizer.get(f"/api/events/{event['id']}/log?registration_id={made['id']}").json()["log"]
    assert [(entry["action"], entry["actor"]["id"]) for entry in entries] == [
        ("registration.cancelled", organizer.id), ("registration.registered", organizer.id)]
    assert entries[1]["after"]["user_id"] == person.id


def test_what_holds_for_a_person_holds_when_an_organizer_registers_them(turnout, organizer, person):
    event = organizer.event(capacity=1, waitlist_limit=0, guests_allowed=False)
    guest, nobody = Person(turnout, kind="guest"), str(uuid.uuid4())
    answer = organizer.register(event, user_id=guest.id)
    assert (answer.status, answer.problem, answer.json()["rule"]) == (403, "not-eligible", "guests_not_allowed")
    assert pointers(organizer.register(event, user_id=nobody)) == ["/user_id"]
    assert organizer.register(event, user_id=person.id).status == 201
    full = organizer.register(event, user_id=organizer.id)
    assert (full.status, full.problem) == (409, "event-full")
    # Who may not register others is told nothing of who exists.
    assert person.register(event, user_id=nobody).status == person.register(event, user_id=guest.id).status == 403
