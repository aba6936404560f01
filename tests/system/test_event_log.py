"""The log of an event over HTTP: who did what, for its organizers."""

import uuid

import pytest

from api import Person, pages
from sql_harness import Database


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
def person(turnout):
    return Person(turnout, name="Anna")


def log(who, event, query=""):
    return who.get(f"/api/events/{event['id']}/log{query}")


@pytest.fixture(scope="module")
def story(organizer, person):
    """An event of one seat: taken, waited for, given up and moved up to, and edited in between."""
    event = organizer.event(capacity=1)
    taken = person.register(event, headers={"X-Request-Id": "log-taken"}).json()
    waiting = organizer.register(event).json()
    organizer.patch(event, venue="Hall", headers={"X-Request-Id": "log-edit"})
    person.cancel(taken, headers={"X-Request-Id": "log-gone"})
    return event, taken, waiting


def test_the_log_tells_what_happened_newest_first(organizer, person, story):
    event, taken, waiting = story
    answer = log(organizer, event)
    assert answer.status == 200 and answer.headers["cache-control"] == "private, no-store"
    entries = answer.json()["log"]
    assert [entry["action"] for entry in entries] == [
        "registration.promoted", "registration.cancelled", "event.updated", "registration.waitlisted", "registration.registered",
        "event.published", "event.created"]
    assert all(set(entry) == {"at", "actor", "action", "entity", "entity_id", "before", "after", "request_id"} for entry in entries)
    moved_up, gone, edit, joined, first = entries[:5]
    # Who gave up the seat moved the next one up, by the same request.
    assert moved_up["actor"] == gone["actor"] == first["actor"] == {"id": person.id, "name": "Anna"}
    assert (moved_up["entity_id"], moved_up["request_id"], gone["request_id"]) == (waiting["id"], "log-gone", "log-gone")
    assert (moved_up["before"], moved_up["after"]) == ({"status": "waitlisted"}, {"status": "registered"})
    assert set(gone["after"]) == {"status", "cancelled_at"}
    assert (edit["before"]["venue"], edit["after"]["venue"], edit["request_id"]) == ("", "Hall", "log-edit")
    assert set(edit["after"]) == {"venue", "version", "updated_at"}
    assert (first["before"], first["after"]["id"], first["request_id"]) == (None, taken["id"], "log-taken")
    assert joined["after"]["position"] == 1


def test_the_log_is_for_organizers_and_admins(turnout, organizer, person, story):
    event, draft = story[0], organizer.draft()
    for who in (person, Person(turnout, "organizer")):
        assert (log(who, event).status, log(who, event).problem) == (403, "forbidden")
        assert (log(who, draft).status, log(who, draft).problem) == (404, "not-found")
    for who in (organizer, Person(turnout, "admin")):
        assert log(who, event).status == 200
        assert [entry["action"] for entry in log(who, draft).json()["log"]] == ["event.created"]
        assert log(who, {"id": str(uuid.uuid4())}).status == 404
    assert turnout.get(f"/api/events/{event['id']}/log").status == 401


@pytest.mark.parametrize("query", ["", "entity=event", "entity=registration"])
def test_pages_put_together_are_the_whole(organizer, story, query):
    path = f"/api/events/{story[0]['id']}/log?{query}"
    whole = [entry for body in pages(organizer.get, path + "&limit=100" * bool(query)) for entry in body["log"]]
    by_twos = [entry for body in pages(organizer.get, path + "&" * bool(query) + "limit=2") for entry in body["log"]]
    assert by_twos == whole and len(whole) == {"": 7, "entity=event": 3, "entity=registration": 4}[query]


def test_the_history_of_one_registration(organizer, story):
    event, taken, _ = story
    entries = log(organizer, event, f"?registration_id={taken['id']}").json()["log"]
    assert [entry["action"] for entry in entries] == ["registration.cancelled", "registration.registered"]
    for query, parameter in (("?registration_id=x", "registration_id"), ("?entity=user", "entity"), ("?limit=0", "limit"),
                             ("?cursor=x", "cursor"), ("?action=x", "action")):
        refused = log(organizer, event, query)
        assert (refused.status, [error["parameter"] for error in refused.json()["errors"]]) == (422, [parameter])


def test_a_cursor_belongs_to_its_event_and_filters(organizer, story):
    cursor = log(organizer, story[0], "?limit=1").json()["next_cursor"]
    assert log(organizer, organizer.event(), f"?cursor={cursor}").status == 422
    assert log(organizer, story[0], f"?entity=event&cursor={cursor}").status == 422
    assert log(organizer, story[0], f"?cursor={cursor}").status == 200


def test_nothing_of_who_people_are_to_the_identity_provider_is_told(organizer, story, database):
    body = log(organizer, story[0], "?limit=100").body.decode()
    issuer, subject = database.rows("select issuer, subject from turnout.users where id = %s", (organizer.id,))[0]
    assert issuer not in body and subject not in body and "action_id" not in body and "event_year" not in body
