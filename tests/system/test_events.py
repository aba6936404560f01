"""Events one at a time: making, reading, editing, publishing, cancelling and deleting them. Lists are in test_event_lists.py."""

import uuid

import pytest

from api import YEAR, Person, etag, event_fields, eventually, from_now
from sql_harness import Database, wait_until

DEFAULTS = {"description": "", "timezone": "UTC", "venue": "", "category": "general", "status": "draft", "registered_count": 0,
            "waitlisted_count": 0, "registration_opens_at": None, "registration_closes_at": None, "waitlist_enabled": True,
            "waitlist_limit": None, "guests_allowed": True, "department_limit": None, "reminders": [{"days_before": 1, "time": "09:00"}],
            "version": 1}


@pytest.fixture(scope="module", autouse=True)
def database(postgres, turnout):
    """The one under the daemon; consistent at the end."""
    under = Database(postgres, turnout.database)
    yield under
    under.assert_consistent()


@pytest.fixture()
def organizer(turnout):
    return Person(turnout, "organizer")


@pytest.fixture()
def admin(turnout):
    return Person(turnout, "admin")


@pytest.fixture()
def person(turnout):
    return Person(turnout)


@pytest.fixture()
def stored(database):
    """What is stored of events: whatever refuses must leave it as it is."""
    def look():
        return database.rows("select id, version, status, title, capacity from turnout.events order by id")
    return look


def errors(answer):
    """The pointers of a 422; each has a detail."""
    assert (answer.status, answer.problem) == (422, "invalid-fields"), answer
    assert all(error["detail"] for error in answer.json()["errors"])
    return {error["pointer"] for error in answer.json()["errors"]}


# Making and reading

def test_a_new_event_is_a_draft_with_defaults_and_can_be_read_where_location_says(organizer):
    fields = event_fields(title="Kick-off")
    made = organizer.post("/api/events", json=fields)
    assert made.status == 201
    event = made.json()
    assert {name: event[name] for name in [*fields, *DEFAULTS]} == {**DEFAULTS, **fields}
    assert event["organizer_ids"] == [organizer.id]
    assert uuid.UUID(event["id"]).version == 7
    assert made.headers["location"] == f"/api/events/{event['id']}"
    assert made.headers["etag"] == '"1.0.0"'
    read = organizer.get(made.headers["location"])
    assert (read.status, read.json(), read.headers["etag"]) == (200, event, made.headers["etag"])


def test_every_field_comes_back_as_it_was_sent(organizer, person):
    fields = event_fields(
        title="Grand opening", description="Line\nline\t\"quoted\" \\ / é 漢",
        start_datetime=f"{YEAR}-03-01T08:00:00.250000Z", end_datetime=f"{YEAR}-03-02T08:00:00Z", timezone="Asia/Tokyo",
        venue="東京本社 12階", category="town-hall_2", capacity=1000000, registration_opens_at=f"{YEAR}-01-01T00:00:00Z",
        registration_closes_at=f"{YEAR}-03-01T00:00:00Z", waitlist_enabled=False, waitlist_limit=0, guests_allowed=False,
        department_limit=3, reminders=[{"minutes_before": 90}, {"days_before": 0, "time": "08:00"}], organizer_ids=sorted([organizer.id, person.id]))
    event = organizer.draft(**fields)
    assert {name: event[name] for name in fields} == fields


@pytest.mark.parametrize("sent, stored_as", [
    (f"{YEAR}-03-01T09:00:00+09:00", f"{YEAR}-03-01T00:00:00Z"),
    (f"{YEAR}-03-01T00:00:00-05:30", f"{YEAR}-03-01T05:30:00Z"),
    (f"{YEAR}-03-01t00:00:00.000z", f"{YEAR}-03-01T00:00:00Z"),
    (f"{YEAR}-03-01T00:00:00.1234567Z", f"{YEAR}-03-01T00:00:00.123456Z"),
])
def test_times_with_any_offset_come_back_in_utc(organizer, sent, stored_as):
    event = organizer.draft(start_datetime=sent, end_datetime=f"{YEAR}-03-02T00:00:00Z")
    assert event["start_datetime"] == stored_as


@pytest.mark.parametrize("wrong", ["2027-03-01", "2027-03-01T00:00:00", "2027-02-29T00:00:00Z", "2027-03-01T24:00:00Z",
                                   "2027-03-01T00:00:60Z", "2027-13-01T00:00:00Z", "2027-03-01 00:00:00Z", "now", "infinity", "",
                                   "2027-03-01T00:00:00+25:00", "0000-03-01T00:00:00Z", "99999-03-01T00:00:00Z", 1, None, {}])
def test_a_start_that_is_no_time_with_offset_is_refused(organizer, stored, wrong):
    before = stored()
    assert errors(organizer.post("/api/events", json=event_fields(start_datetime=wrong))) == {"/start_datetime"}
    assert stored() == before
    organizer.draft(start_datetime=f"{YEAR}-03-01T00:00:00Z", end_datetime=f"{YEAR}-03-01T01:00:00Z")


def test_only_organizers_and_admins_make_events(turnout, organizer, admin, person, stored):
    before = stored()
    refused = person.post("/api/events", json=event_fields())
    assert (refused.status, refused.problem) == (403, "forbidden")
    assert turnout.post("/api/events", json=event_fields()).status == 401
    assert stored() == before
    organizer.draft()
    admin.draft()


# Of one fixed day, as the tables below name moments around it.
FIXED = {"start_datetime": f"{YEAR}-07-10T10:00:00Z", "end_datetime": f"{YEAR}-07-10T12:00:00Z"}
REFUSED_FIELDS = {
    "title": ["", " ", "\u3000\n", "x" * 256, 7, None, ["x"]],
    "description": ["x" * 20001, 7, {}],
    "venue": ["x" * 256, False],
    "category": ["", "Town", "a b", "a--b", "-a", "a" * 51, "é", 1],
    "timezone": ["FOO3", "Nowhere/City", "asia/tokyo", "EST", "", "+09:00", 9],
    "capacity": [0, -1, 1.5, 1000001, 1e30, "10", True, None],
    "end_datetime": [f"{YEAR}-07-10T10:00:00Z", f"{YEAR}-07-09T12:00:00Z", f"{YEAR}-08-10T10:00:01Z"],
    "registration_opens_at": [f"{YEAR}-07-10T10:00:00Z", "soon", 5],
    "registration_closes_at": [f"{YEAR}-07-10T12:00:01Z", "later", False],
    "waitlist_enabled": ["yes", 1, []],
    "waitlist_limit": [-1, 1000001, "1", 0.5],
    "guests_allowed": ["no", 0],
    "department_limit": [0, 1000001, "1"],
    "reminders": [{}, "09:00", [{}], [{"days_before": 1}], [{"time": "09:00"}], [{"days_before": 31, "time": "09:00"}],
                  [{"days_before": -1, "time": "09:00"}], [{"days_before": 1, "time": "9:00"}], [{"days_before": 1, "time": "24:00"}],
                  [{"days_before": 1, "time": 9}], [{"minutes_before": 0}], [{"minutes_before": 43201}], [{"minutes_before": 1.5}],
                  [{"minutes_before": 5, "time": "09:00"}], [{"minutes_before": 5}] * 2, [None], ["x"],
                  [{"minutes_before": n} for n in range(1, 7)]],
}
ACCEPTED_FIELDS = {
    "title": ["x", "x" * 255, "\u3000x"], "description": ["x" * 20000, "", None], "venue": ["x" * 255, None],
    "category": ["a", "a" * 50, "town-hall", None], "timezone": ["Asia/Tokyo", "UTC", None], "capacity": [1, 1000000, 10.0, 1e1],
    "end_datetime": [f"{YEAR}-07-10T10:00:01Z", f"{YEAR}-08-10T10:00:00Z"], "registration_opens_at": [f"{YEAR}-07-10T09:59:59Z", None],
    "registration_closes_at": [f"{YEAR}-07-10T09:00:00Z", f"{YEAR}-07-10T12:00:00Z", None],
    "waitlist_enabled": [False, None], "waitlist_limit": [0, 1000000, None], "guests_allowed": [False, None],
    "department_limit": [1, 1000000, None],
    "reminders": [[], None, [{"days_before": 0, "time": "00:00"}, {"days_before": 30, "time": "23:59"}],
                  [{"minutes_before": n} for n in (1, 43200, 2, 3, 4)]],
}


@pytest.mark.parametrize("field", REFUSED_FIELDS)
def test_a_wrong_value_is_refused_by_its_pointer_and_writes_nothing(organizer, stored, field):
    event = organizer.draft(**FIXED)
    before = stored()
    for wrong in REFUSED_FIELDS[field]:
        assert errors(organizer.post("/api/events", json=event_fields(**{**FIXED, field: wrong}))) == {f"/{field}"}, wrong
        assert errors(organizer.patch(event, **{field: wrong})) == {f"/{field}"}, wrong
    assert stored() == before
    for right in ACCEPTED_FIELDS[field]:
        organizer.draft(**{**FIXED, field: right})
        assert organizer.patch(event, **{field: right}).status == 200, right


@pytest.mark.parametrize("field, value", [
    ("colour", "red"), ("a/b~c", 1), ("", 1), ("status", "published"), ("id", "0198a4d4-9f51-7b44-9f6c-3b6f5f0d7a11"), ("registered_count", 0),
    ("waitlisted_count", 0), ("version", 1), ("created_at", "2027-01-01T00:00:00Z"), ("updated_at", "2027-01-01T00:00:00Z"),
])
def test_an_unknown_or_readonly_field_is_refused_by_its_pointer(organizer, stored, field, value):
    event, pointer = organizer.draft(), "/" + field.replace("~", "~0").replace("/", "~1")
    before = stored()
    assert errors(organizer.post("/api/events", json={**event_fields(), field: value})) == {pointer}
    assert errors(organizer.patch(event, **{field: value})) == {pointer}
    assert stored() == before
    organizer.draft()
    assert organizer.patch(event, title="Renamed").status == 200


def test_all_that_is_wrong_is_named_at_once(organizer, person):
    answer = organizer.post("/api/events", json={"title": "", "capacity": 0, "colour": 1,
                                                 "organizer_ids": [person.id, str(uuid.uuid4()), "nobody", 5]})
    assert errors(answer) == {"/title", "/capacity", "/colour", "/organizer_ids/1", "/organizer_ids/2", "/organizer_ids/3",
                              "/start_datetime", "/end_datetime"}


@pytest.mark.parametrize("field", ["title", "start_datetime", "end_datetime", "capacity"])
def test_a_required_field_may_not_be_missing(organizer, field):
    assert errors(organizer.post("/api/events", json=event_fields(**{field: ...}))) == {f"/{field}"}
    organizer.draft()


def test_a_start_beyond_the_last_partition_is_refused(organizer):
    far = {"start_datetime": "2199-01-01T00:00:00Z", "end_datetime": "2199-01-01T01:00:00Z"}
    assert errors(organizer.post("/api/events", json=event_fields(**far))) == {"/start_datetime"}
    organizer.draft(start_datetime=f"{YEAR + 1}-01-01T00:00:00Z", end_datetime=f"{YEAR + 1}-01-01T01:00:00Z")


# Who sees what

def test_a_draft_is_hidden_from_everybody_but_its_organizers_and_admins(turnout, organizer, admin, person):
    draft, stranger = organizer.draft(), Person(turnout, "organizer")
    path = f"/api/events/{draft['id']}"
    for hidden in (person.get(path), stranger.get(path), turnout.get(path), person.patch(draft, title="x"),
                   stranger.patch(draft, title="x"), stranger.delete(path), stranger.post(f"{path}/publish"),
                   stranger.post(f"{path}/cancel"), person.post(f"{path}/cancel")):
        assert (hidden.status, hidden.problem) == (404, "not-found")
    assert organizer.get(path).json() == admin.get(path).json() == draft
    organizer.post(f"{path}/publish")
    for who in (turnout, person, stranger):
        assert eventually(lambda: who.get(path).status) == 200  # pylint: disable=cell-var-from-loop


def test_an_event_that_is_no_id_or_does_not_exist_is_not_found(turnout, organizer):
    event = organizer.event()
    for wrong in (str(uuid.uuid4()), "7", "all", event["id"][:-1], event["id"] + "0", "%F0%9F%98%80"):
        assert turnout.get(f"/api/events/{wrong}").problem == "not-found", wrong
    assert turnout.get(f"/api/events/{event['id'].upper()}").json() == event


def test_an_organizer_cannot_edit_another_ones_event_but_an_admin_can(turnout, organizer, admin, person, stored):
    event, stranger = organizer.event(), Person(turnout, "organizer")
    path, before = f"/api/events/{event['id']}", stored()
    for who in (stranger, person):
        for refused in (who.patch(event, title="Mine"), who.delete(path), who.post(f"{path}/publish"), who.post(f"{path}/cancel")):
            assert (refused.status, refused.problem) == (403, "forbidden")
    for refused in (turnout.delete(path), turnout.post(f"{path}/cancel"),
                    turnout.patch(path, json={"title": "x"}, headers={"If-Match": "*"})):
        assert (refused.status, refused.problem) == (401, "unauthorized")
    assert stored() == before
    assert admin.patch(event, title="By an admin").json()["title"] == "By an admin"
    assert organizer.patch(event, title="By its organizer").json()["title"] == "By its organizer"


def test_organizers_can_hand_an_event_over(turnout, organizer, person):
    other = Person(turnout, "organizer")
    event = organizer.event()
    assert other.patch(event, title="Not yet").status == 403
    changed = organizer.patch(event, organizer_ids=[other.id, person.id])
    assert changed.json()["organizer_ids"] == sorted([other.id, person.id])
    assert other.patch(event, title="Now").status == 200
    assert organizer.patch(event, title="No longer").status == 403
    assert person.patch(event, title="Named, but a participant").status == 403


# Editing

def test_an_edit_needs_if_match(organizer, stored):
    event = organizer.draft()
    before = stored()
    refused = organizer.patch(event, if_match=None, title="Blind")
    assert (refused.status, refused.problem) == (428, "precondition-required")
    assert stored() == before
    edited = organizer.patch(event, if_match=etag(event), title="With its tag")
    assert (edited.status, edited.json()["title"], edited.json()["version"]) == (200, "With its tag", 2)
    assert edited.headers["etag"] == '"2.0.0"'
    assert organizer.patch(event, if_match="*", title="Whatever it is").json()["version"] == 3


@pytest.mark.parametrize("stale", ['"1.0.0"', '"1"', 'W/"2.0.0"', '"3.0.0"', '"two"', '""', '"0.0.0"', '"99999999999.0.0"'])
def test_an_edit_of_another_version_is_refused(organizer, stored, stale):
    event = organizer.patch(organizer.draft(), title="Second version").json()
    before = stored()
    refused = organizer.patch(event, if_match=stale, title="Third")
    # An empty tag is no tag that was ever given; the others name a version that is not this one.
    assert (refused.status, refused.problem) in [(412, "version-conflict"), (400, "bad-request")][:2 if stale == '""' else 1]
    assert stored() == before
    assert organizer.patch(event, if_match='"2.0.0"', title="Third").status == 200


@pytest.mark.parametrize("suffix", ["-gz", "-br"])
def test_the_tag_of_a_compressed_variant_is_as_good_as_the_plain_one(organizer, suffix):
    event = organizer.draft()
    assert organizer.patch(event, if_match=f'"1.0.0{suffix}"', title="Second").status == 200
    assert organizer.patch(event, if_match=f'"1.0.0{suffix}"', title="Third").status == 412


def test_a_registration_in_between_spoils_no_edit(organizer, person):
    event = organizer.event()
    tag = etag(event)
    assert person.register(event).status == 201
    assert eventually(lambda: etag(person.read(event))) != tag
    edited = organizer.patch(event, if_match=tag, venue="Room 2")
    assert (edited.status, edited.json()["venue"], edited.json()["registered_count"]) == (200, "Room 2", 1)
    # Another edit in between does.
    assert organizer.patch(event, if_match=tag, venue="Room 3").status == 412


def test_an_edit_that_changes_nothing_makes_no_new_version(organizer):
    event = organizer.event(title="Same")
    same = organizer.patch(event, title="Same", timezone="UTC")
    assert (same.status, same.json()) == (200, event)
    assert organizer.patch(event).json() == event
    assert organizer.patch(event, title="Other").json()["version"] == event["version"] + 1


def test_null_takes_a_field_back_to_its_default(organizer):
    event = organizer.draft(venue="Hall", waitlist_limit=5, registration_opens_at=from_now(days=1), category="social")
    defaults = {"venue": "", "waitlist_limit": None, "registration_opens_at": None, "category": "general"}
    edited = organizer.patch(event, **dict.fromkeys(defaults)).json()
    assert {name: edited[name] for name in defaults} == defaults


def test_the_body_of_an_edit_may_be_a_merge_patch(organizer):
    event = organizer.draft()
    for media_type in ("application/merge-patch+json", "application/json; charset=utf-8"):
        edited = organizer.patch(event, headers={"Content-Type": media_type}, title=media_type)
        assert edited.json()["title"] == media_type
    refused = organizer.patch(event, headers={"Content-Type": "application/json-patch+json"}, title="Patch")
    assert (refused.status, refused.problem) == (415, "unsupported-media-type")
    assert "application/merge-patch+json" in refused.headers["accept-patch"]


def test_capacity_cannot_go_below_the_registered_count(turnout, organizer, stored):
    event = organizer.event(capacity=5)
    for _ in range(3):
        assert Person(turnout).register(event).status == 201
    before = stored()
    refused = organizer.patch(event, capacity=2)
    assert (refused.status, refused.problem, refused.json()["count"]) == (409, "capacity-below-count", 3)
    assert stored() == before
    assert organizer.patch(event, capacity=3).json()["capacity"] == 3
    assert eventually(organizer.read, event, "capacity") == (3,)


def test_more_capacity_goes_to_who_is_waiting(turnout, organizer):
    event = organizer.event(capacity=1)
    people = [Person(turnout) for _ in range(4)]
    made = [who.register(event).json() for who in people]
    assert [one["position"] for one in made] == [None, 1, 2, 3]
    edited = organizer.patch(event, capacity=3).json()
    assert (edited["registered_count"], edited["waitlisted_count"]) == (3, 1)
    assert [who.registration(one).json()["status"] for who, one in zip(people, made)] == ["registered"] * 3 + ["waitlisted"]
    assert people[3].registration(made[3]).json()["position"] == 1


# The status machine

STEPS = {"publish": "published", "cancel": "cancelled"}
ALLOWED = {("draft", "publish"), ("draft", "cancel"), ("draft", "delete"), ("published", "cancel"), ("draft", "patch"),
           ("published", "patch")}


def step(organizer, event, name):
    path = f"/api/events/{event['id']}"
    if name == "patch":
        return organizer.patch(event, venue="Elsewhere")
    return organizer.delete(path) if name == "delete" else organizer.post(f"{path}/{name}")


@pytest.mark.parametrize("status", ["draft", "published", "cancelled", "completed"])
@pytest.mark.parametrize("name", ["publish", "cancel", "delete", "patch"])
def test_each_status_allows_its_own_steps_only(database, organizer, stored, status, name):
    event = organizer.draft()
    database.rows("update turnout.events set status = %s where id = %s", (status, event["id"]))
    before = stored()
    answer = step(organizer, event, name)
    if (status, name) not in ALLOWED:
        assert (answer.status, answer.problem, answer.json()["event_status"]) == (409, "wrong-status", status)
        assert stored() == before
    elif name == "delete":
        assert (answer.status, answer.body) == (204, b"")
        assert organizer.get(f"/api/events/{event['id']}").status == 404
        assert len(stored()) == len(before) - 1
    else:
        assert answer.status == 200
        assert (answer.json()["status"], answer.json()["version"]) == (STEPS.get(name, status), event["version"] + 1)


def test_cancelling_an_event_cancels_everybody_and_owes_each_a_mail(turnout, database, organizer):
    event = organizer.event(capacity=1)
    seated, waiting = Person(turnout), Person(turnout)
    made = [who.register(event).json() for who in (seated, waiting)]
    cancelled = organizer.post(f"/api/events/{event['id']}/cancel", headers={"X-Request-Id": "the-end"}).json()
    assert (cancelled["status"], cancelled["registered_count"], cancelled["waitlisted_count"]) == ("cancelled", 0, 0)
    for who, one in zip((seated, waiting), made):
        assert who.registration(one).json()["status"] == "cancelled"
    assert database.rows("select user_id::text from turnout.outbox where event_id = %s and kind = 'event_cancelled' order by 1",
                         (event["id"],)) == sorted([(seated.id,), (waiting.id,)])
    assert database.rows("select action, count(*) from turnout.audit_log where event_id = %s and request_id = 'the-end'"
                         " group by 1 order by 1", (event["id"],)) == [("event.cancelled", 1), ("registration.event_cancelled", 2)]


def test_every_write_of_an_event_is_in_the_audit_log_with_its_request(database, organizer):
    event = organizer.post("/api/events", json=event_fields(title="One"), headers={"X-Request-Id": "made"}).json()
    organizer.patch(event, title="Two", headers={"X-Request-Id": "edited"})
    organizer.post(f"/api/events/{event['id']}/publish", headers={"X-Request-Id": "published"})
    rows = database.rows("select action, actor_id::text, request_id, before ->> 'title', after ->> 'title', after ->> 'status'"
                         " from turnout.audit_log where event_id = %s order by id", (event["id"],))
    assert rows == [("event.created", organizer.id, "made", None, "One", "draft"),
                    ("event.updated", organizer.id, "edited", "One", "Two", None),
                    ("event.published", organizer.id, "published", None, None, "published")]


@pytest.mark.parametrize("name", ["publish", "cancel"])
def test_a_step_takes_no_fields(organizer, name):
    event = organizer.draft()
    path = f"/api/events/{event['id']}/{name}"
    assert errors(organizer.post(path, json={"notify": True, "a/b": 1})) == {"/notify", "/a~1b"}
    assert organizer.post(path, body=b"[]", headers={"Content-Type": "application/json"}).problem == "invalid-json"
    assert organizer.post(f"{path}?notify=yes").problem == "invalid-fields"
    assert organizer.post(path, json={}).status == 200


# Caches

def test_an_unchanged_event_is_answered_304_and_a_changed_one_whole(turnout, organizer, person):
    event = organizer.event()
    path = f"/api/events/{event['id']}"
    first = turnout.get(path)
    tag = first.headers["etag"]
    for tags in (tag, f'"other", {tag}', f"W/{tag}", "*"):
        same = turnout.get(path, headers={"If-None-Match": tags})
        assert (same.status, same.body, same.headers["etag"]) == (304, b"", tag), tags
        assert same.headers["cache-control"] == first.headers["cache-control"]
        assert same.headers["vary"] == first.headers["vary"]
    for tags in ('"other"', '"2.0"', tag.strip('"'), ""):
        assert turnout.get(path, headers={"If-None-Match": tags}).status == 200, tags
    person.register(event)
    changed = wait_until(lambda: (answer := turnout.get(path, headers={"If-None-Match": tag})).status == 200 and answer, "it has changed")
    assert (changed.status, changed.json()["registered_count"], changed.headers["etag"]) == (200, 1, '"2.1.0"')


def test_only_what_came_without_a_token_may_be_kept_by_shared_caches(turnout, organizer, person):
    event = organizer.event()
    for path in (f"/api/events/{event['id']}", "/api/events"):
        shared, own = turnout.get(path), person.get(path)
        assert shared.headers["cache-control"].startswith("public, max-age=")
        assert "stale-while-revalidate" in shared.headers["cache-control"] and "stale-if-error" in shared.headers["cache-control"]
        assert own.headers["cache-control"].startswith("private")
        assert "authorization" in shared.headers["vary"].lower()
    assert person.get("/api/users/me").headers["cache-control"] == "private, no-store"
    assert person.get("/api/registrations").headers["cache-control"] == "private, no-store"
    # A 404 may be of a draft that is published the moment after.
    assert turnout.get(f"/api/events/{organizer.draft()['id']}").headers["cache-control"] == "no-store"


def test_no_cache_remembers_that_something_was_not_there(turnout, organizer):
    draft = organizer.draft()
    path = f"/api/events/{draft['id']}"
    hidden = turnout.get(path)
    assert (hidden.status, hidden.headers["cache-control"]) == (404, "no-store")
    assert organizer.post(f"{path}/publish").status == 200
    shown = wait_until(lambda: (answer := turnout.get(path)).status == 200 and answer, "it is shown")
    assert "no-store" not in shown.headers["cache-control"]


def test_head_says_what_get_would_say_without_the_body(turnout, organizer):
    event = organizer.event()
    path = f"/api/events/{event['id']}"
    read, head = turnout.get(path), turnout.request("HEAD", path)
    assert (head.status, head.body) == (200, b"")
    for name in ("content-length", "content-type", "etag", "cache-control", "vary"):
        assert head.headers[name] == read.headers[name]
    assert turnout.request("HEAD", "/api/events/none").status == 404


@pytest.mark.parametrize("path", ["", "/publish", "/cancel"])
def test_an_unknown_parameter_is_refused(organizer, path):
    event = organizer.draft()
    target = f"/api/events/{event['id']}{path}"
    send = organizer.post if path else organizer.get
    refused = send(f"{target}?fields=title")
    assert (refused.status, refused.problem) == (422, "invalid-fields")
    assert refused.json()["errors"][0]["parameter"] == "fields"
    assert send(target).status == 200
