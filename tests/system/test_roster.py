"""The roster of an event over HTTP. Which people it shows, and in which order, is in test_rules_roster.py."""

import uuid
from urllib.parse import quote

import pytest

from api import Person, pages
from sql_harness import Database
from sql_rules import Rules


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
def event(organizer, database):
    """Seats for eight, and twelve people: the last four wait, the second has left, so that the first of them moved up."""
    made = organizer.event(capacity=8)
    names = ["Ångström, Anders", "Anna 1", "Anna 2", "ANNA 3", "anna_4", "Anna%5", "佐藤 遥", "佐藤 葵", "Straße", "Anna 6", "Zoë", "Anna 7"]
    with database.connect() as connection:
        rules = Rules(connection)
        people = [rules.person(name=name) for name in names]
        answers = rules.register(made["id"], *people)
        rules.cancel(answers[1].ref, people[1])
    return made


def roster(who, event, query=""):
    return who.get(f"/api/events/{event['id']}/registrations{query}")


def names(bodies):
    return [row["user"]["name"] for body in bodies for row in body["registrations"]]


def test_an_organizer_sees_everybody_with_who_they_are(organizer, event):
    answer = roster(organizer, event)
    assert answer.status == 200 and answer.headers["cache-control"] == "private, no-store"
    rows = answer.json()["registrations"]
    assert answer.json()["next_cursor"] is None and "link" not in answer.headers
    assert [row["status"] for row in rows] == ["registered", "cancelled", *["registered"] * 7, *["waitlisted"] * 3]
    assert [row["position"] for row in rows] == [None] * 9 + [1, 2, 3]
    for row in rows:
        assert set(row["user"]) == {"id", "name", "email", "department", "kind"} and row["user"]["id"] == row["user_id"]
        own = organizer.get(f"/api/registrations/{row['id']}").json()
        assert {name: row[name] for name in own} == own


def test_the_roster_is_for_organizers_and_admins(turnout, organizer, event):
    draft, other = organizer.draft(), Person(turnout, "organizer")
    person, admin = Person(turnout), Person(turnout, "admin")
    for who in (other, person):
        assert (roster(who, event).status, roster(who, event).problem) == (403, "forbidden")
        assert (roster(who, draft).status, roster(who, draft).problem) == (404, "not-found")
    for who in (organizer, admin):
        assert roster(who, event).status == 200
        assert roster(who, draft).json() == {"registrations": [], "next_cursor": None}
        assert roster(who, {"id": str(uuid.uuid4())}).status == 404
    assert turnout.get(f"/api/events/{event['id']}/registrations").status == 401


@pytest.mark.parametrize("query", ["", "name=", "name=anna", "status=registered", "status=waitlisted&name=ann"])
def test_pages_put_together_are_the_whole(organizer, event, query):
    path = f"/api/events/{event['id']}/registrations"
    whole = names(pages(organizer.get, path + "?" + query + "&limit=100" * bool(query)))
    by_twos = names(pages(organizer.get, path + "?" + query + "&" * bool(query) + "limit=2"))
    assert by_twos == whole and len(whole) == {"": 12, "name=": 12, "name=anna": 7, "status=registered": 8}.get(query, 2)


@pytest.mark.parametrize("name, expected", [
    ("ångs", {"Ångström, Anders"}), ("angström", {"Ångström, Anders"}), ("strasse", {"Straße"}), ("佐藤", {"佐藤 遥", "佐藤 葵"}),
    ("ａｎｎａ ３", {"ANNA 3"}), ("anna_", {"anna_4"}), ("anna%", {"Anna%5"}), ("%", set()), ("zoe", {"Zoë"}),
])
def test_people_are_found_by_how_their_name_begins(organizer, event, name, expected):
    assert set(names([roster(organizer, event, "?name=" + quote(name)).json()])) == expected


def test_a_status_filters(organizer, event):
    assert names([roster(organizer, event, "?status=cancelled").json()]) == ["Anna 1"]
    assert names([roster(organizer, event, "?status=waitlisted").json()]) == ["Anna 6", "Zoë", "Anna 7"]
    refused = roster(organizer, event, "?status=gone&name=" + "x" * 256)
    assert (refused.status, [error["parameter"] for error in refused.json()["errors"]]) == (422, ["status", "name"])


def test_a_cursor_belongs_to_its_event_and_filters(organizer, event):
    other = organizer.event()
    cursor = roster(organizer, event, "?limit=1&name=anna").json()["next_cursor"]
    for where, query in ((other, "name=anna"), (event, "name=ann"), (event, "name=anna&status=registered"), (event, "")):
        refused = roster(organizer, where, f"?{query}&cursor={cursor}" if query else f"?cursor={cursor}")
        assert (refused.status, [error["parameter"] for error in refused.json()["errors"]]) == (422, ["cursor"])
    assert roster(organizer, event, f"?limit=7&name=anna&cursor={cursor}").status == 200
    for limit, status in (("0", 422), ("101", 422), ("1", 200), ("100", 200)):
        assert roster(organizer, event, f"?limit={limit}").status == status


def test_the_answer_is_json_whatever_is_accepted(organizer, event):
    for accept in ("text/csv", "application/json", "*/*"):
        answer = organizer.get(f"/api/events/{event['id']}/registrations", headers={"Accept": accept})
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
