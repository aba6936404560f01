"""Events: what their fields may be, the status machine, versions, who may do what, and the pages of the list."""

import json
import uuid

import pytest

from sql_rules import Rules, from_now, new_id


@pytest.fixture()
def rules(database):
    with database.connect() as connection:
        yield Rules(connection)


def short(value):
    """A value as part of a test's name."""
    return ascii(value)[:24]


def pointers(answer):
    assert answer.outcome == "invalid_fields", answer
    return [error["pointer"] for error in answer.body["errors"]]


# Fields

WRONG = [
    ("title", ""), ("title", "x" * 256), ("title", None), ("title", 7), ("title", " \t\u3000\u00a0\u2003"), ("title", ["x"]),
    ("description", "x" * 20001), ("description", 1), ("venue", "x" * 256), ("venue", False),
    ("category", ""), ("category", "x" * 51), ("category", "Upper"), ("category", "a--b"), ("category", "-a"),
    ("category", "a\n"), ("category", "日本"), ("timezone", "FOO3"), ("timezone", "posix/Asia/Tokyo"), ("timezone", "asia/tokyo"),
    ("timezone", ""), ("timezone", 9), ("capacity", 0), ("capacity", 1000001), ("capacity", 1.5), ("capacity", "10"),
    ("capacity", None), ("capacity", True), ("capacity", -1), ("waitlist_limit", -1), ("waitlist_limit", "1"),
    ("department_limit", 0), ("department_limit", 1000001), ("waitlist_enabled", "true"), ("waitlist_enabled", 1),
    ("guests_allowed", "no"), ("organizer_ids", []), ("organizer_ids", None), ("organizer_ids", "x"),
    ("registration_opens_at", "soon"), ("registration_closes_at", 0), ("start_datetime", None), ("end_datetime", ""),
    ("id", "x"), ("version", 1), ("status", "published"), ("registered_count", 0), ("waitlisted_count", 0),
    ("created_at", None), ("updated_at", None), ("colour", "red"), ("Title", "x"), ("event_year", 2030), ("", 1),
]
RIGHT = [
    ("title", "x"), ("title", "x" * 255), ("title", "\U0001f389" * 255), ("title", " \u200b"), ("title", "\r\nBcc: x"),
    ("title", "عنوان ⁧‮"), ("description", ""), ("description", "字" * 20000), ("venue", "x" * 255), ("category", "a"),
    ("category", "x" * 50), ("category", "town-hall_2"), ("timezone", "Asia/Calcutta"), ("timezone", "UTC"),
    ("timezone", "America/Argentina/Buenos_Aires"), ("capacity", 1), ("capacity", 1000000), ("waitlist_limit", 0),
    ("waitlist_limit", None), ("department_limit", 1), ("department_limit", None), ("waitlist_enabled", False),
    ("guests_allowed", False), ("registration_opens_at", None),
]


@pytest.mark.parametrize("name, value", WRONG, ids=short)
def test_a_wrong_field_is_named_and_nothing_is_written(rules, name, value):
    assert pointers(rules.create(**{name: value})) == ["/" + name]
    event = rules.draft()
    before = rules.read(event, rules.organizer)
    assert pointers(rules.update(event, **{name: value})) == ["/" + name]
    assert rules.read(event, rules.organizer) == before


@pytest.mark.parametrize("name, value", RIGHT, ids=short)
def test_a_right_field_is_returned_as_sent(rules, name, value):
    created = rules.create(**{name: value})
    assert created.outcome == "created"
    assert created.body[name] == value
    updated = rules.update(rules.draft(title="Another"), **{name: value})
    assert updated.outcome in ("ok", "unchanged")
    assert updated.body[name] == value


@pytest.mark.parametrize("missing", ["title", "start_datetime", "end_datetime", "capacity"])
def test_a_new_event_needs_its_required_fields(rules, missing):
    assert pointers(rules.create(**{missing: ...})) == ["/" + missing]
    assert rules.create().outcome == "created"


def test_all_that_is_wrong_is_said_at_once_with_escaped_pointers(rules):
    answer = rules.create(title=1, capacity=..., **{"a/b~c": 1})
    assert sorted(pointers(answer)) == ["/a~1b~0c", "/capacity", "/title"]


@pytest.mark.parametrize("fields", ["[]", '"x"', "1", "null", "true"])
def test_fields_that_are_no_object_are_refused(rules, fields):
    answer = rules.call("select outcome, body, etag, ref from turnout.event_create('test', %s, %s, null, %s, %s)",
                        new_id(), rules.organizer, new_id(), fields)[0]
    assert pointers(answer) == [""]


MOMENTS = {
    # With any offset in, in UTC out; microseconds only where there are some.
    "2027-03-01T10:00:00Z": "2027-03-01T10:00:00Z",
    "2027-03-01t10:00:00z": "2027-03-01T10:00:00Z",
    "2027-03-01T10:00:00.000Z": "2027-03-01T10:00:00Z",
    "2027-03-01T10:00:00.25+09:00": "2027-03-01T01:00:00.250000Z",
    "2027-03-01T00:00:00.123456789-05:30": "2027-03-01T05:30:00.123456Z",
    "2027-02-28T23:59:59-00:00": "2027-02-28T23:59:59Z",
    "2028-02-29T00:00:00+14:00": "2028-02-28T10:00:00Z",
}
NO_MOMENTS = ["2027-03-01T10:00:00", "2027-03-01 10:00:00Z", "2027-03-01", "2027-02-29T00:00:00Z", "2027-13-01T00:00:00Z",
              "2027-00-10T00:00:00Z", "2027-01-00T00:00:00Z", "2027-01-01T24:00:00Z", "2027-01-01T00:60:00Z",
              "2027-01-01T00:00:60Z", "2027-01-01T00:00:00+24:00", "2027-01-01T00:00:00+09", "2027-01-01T00:00:00+0900",
              "2027-01-01T00:00:00.Z", "1969-12-31T23:59:59Z", "2201-01-01T00:00:00Z", "now", "infinity", "tomorrow", "20270101",
              "２０２７-01-01T00:00:00Z", "2027-01-01T00:00:00Z\n", " 2027-01-01T00:00:00Z", "12027-01-01T00:00:00Z"]


@pytest.mark.parametrize("sent", MOMENTS)
def test_moments_are_taken_with_an_offset_and_given_in_utc(rules, sent):
    created = rules.create(start_datetime=sent, end_datetime="2028-03-01T00:00:00Z" if sent > "2028" else
                           "2027-03-20T00:00:00Z")
    assert created.outcome == "created", created
    assert created.body["start_datetime"] == MOMENTS[sent]


@pytest.mark.parametrize("sent", NO_MOMENTS)
def test_what_is_no_moment_is_refused(rules, sent):
    assert pointers(rules.create(start_datetime=sent)) == ["/start_datetime"]
    assert rules.page(start=sent).outcome == "invalid_fields"


def test_moments_are_read_the_same_whatever_the_session_is_set_to(rules, database):
    with database.connect() as connection:
        connection.execute("set timezone = 'Asia/Tokyo'; set datestyle = 'SQL, DMY'; set intervalstyle = 'postgres_verbose'")
        elsewhere = Rules(connection)
        created = elsewhere.create(start_datetime="2027-06-01T00:00:00Z", end_datetime="2027-06-02T00:00:00Z")
        assert created.body["start_datetime"] == "2027-06-01T00:00:00Z"
        event = uuid.UUID(created.ref)
        elsewhere.publish(event)
        registered = elsewhere.register(event, elsewhere.person())[0]
        assert registered.body["registered_at"].endswith("Z")
        listed = elsewhere.page(start="2027-06-01T00:00:00Z", to="2027-06-01T00:00:01Z").items
        assert [item["start_datetime"] for item in listed] == ["2027-06-01T00:00:00Z"]


def test_the_fields_are_held_against_each_other(rules):
    start, end = from_now(days=5), from_now(days=5, hours=1)
    assert pointers(rules.create(start_datetime=start, end_datetime=start)) == ["/end_datetime"]
    assert pointers(rules.create(start_datetime="2027-01-01T00:00:00Z", end_datetime="2027-02-01T00:00:01Z")) == ["/end_datetime"]
    assert rules.create(start_datetime="2027-01-01T00:00:00Z", end_datetime="2027-02-01T00:00:00Z").outcome == "created"
    assert pointers(rules.create(start_datetime=start, end_datetime=end, registration_opens_at=start)) \
        == ["/registration_opens_at"]
    assert pointers(rules.create(start_datetime=start, end_datetime=end, registration_closes_at=from_now(days=6))) \
        == ["/registration_closes_at"]
    created = rules.create(start_datetime=start, end_datetime=end, registration_opens_at=from_now(days=1),
                           registration_closes_at=from_now(days=2))
    assert created.outcome == "created"
    event = uuid.UUID(created.ref)
    # A patch is held against the fields that it leaves alone.
    assert pointers(rules.update(event, registration_opens_at=from_now(days=3))) == ["/registration_opens_at"]
    assert rules.update(event, registration_opens_at=from_now(days=3), registration_closes_at=None).outcome == "ok"
    assert pointers(rules.update(event, end_datetime=from_now(days=4))) == ["/end_datetime"]


def test_a_start_beyond_the_last_partition_is_refused(rules, database):
    last = database.value("select max(event_year) from turnout.event_years")
    late = {"start_datetime": f"{last + 1}-01-01T00:00:00Z", "end_datetime": f"{last + 1}-01-01T01:00:00Z"}
    fine = {"start_datetime": f"{last}-12-31T23:00:00Z", "end_datetime": f"{last + 1}-01-01T01:00:00Z"}
    assert pointers(rules.create(**late)) == ["/start_datetime"]
    assert pointers(rules.create(start_datetime="2001-01-01T00:00:00Z", end_datetime="2001-01-01T01:00:00Z")) == ["/start_datetime"]
    assert rules.create(**fine).outcome == "created"
    event = rules.draft()
    assert pointers(rules.update(event, **late)) == ["/start_datetime"]
    assert rules.update(event, **fine).outcome == "ok"
    # The year is only a partition key: it stays when the event moves, and people can register.
    assert database.value("select event_year from turnout.events where id = %s", (event,)) < last
    rules.publish(event)
    assert rules.register(event, rules.person())[0].outcome == "registered"


def test_a_merge_patch_takes_null_back_to_the_default(rules):
    event = rules.draft(description="x", venue="y", category="z", timezone="Asia/Tokyo", waitlist_enabled=False,
                        waitlist_limit=3, guests_allowed=False, department_limit=2)
    answer = rules.update(event, description=None, venue=None, category=None, timezone=None, waitlist_enabled=None,
                          waitlist_limit=None, guests_allowed=None, department_limit=None)
    defaults = {"description": "", "venue": "", "category": "general", "timezone": "UTC", "waitlist_enabled": True,
                "waitlist_limit": None, "guests_allowed": True, "department_limit": None}
    assert {name: answer.body[name] for name in defaults} == defaults


def test_the_fields_come_in_the_order_of_the_documentation(rules):
    assert list(rules.create().body) == [
        "id", "title", "description", "start_datetime", "end_datetime", "timezone", "venue", "category", "status", "capacity",
        "registered_count", "waitlisted_count", "registration_opens_at", "registration_closes_at", "waitlist_enabled",
        "waitlist_limit", "guests_allowed", "department_limit", "reminders", "organizer_ids", "version", "created_at",
        "updated_at"]


# Who may do what

def test_only_organizers_and_admins_make_events(rules):
    assert rules.create(rules.person()).outcome == "forbidden"
    assert rules.create(rules.person(), role="organizer").outcome == "created"
    assert rules.create(rules.person(role="admin")).outcome == "created"
    assert rules.create(rules.organizer, role="participant").outcome == "forbidden"


def test_whoever_makes_an_event_is_its_organizer_beside_those_named(rules):
    other = rules.person(role="organizer")
    event = rules.draft(organizer_ids=[str(other)])
    assert set(rules.read(event, other).body["organizer_ids"]) == {str(other), str(rules.organizer)}
    assert pointers(rules.update(event, organizer_ids=[str(other), str(new_id()), "x", 3])) \
        == ["/organizer_ids/1", "/organizer_ids/2", "/organizer_ids/3"]
    assert pointers(rules.update(event, organizer_ids=[str(other), str(rules.organizer), str(other).upper()])) \
        == ["/organizer_ids/2"]
    handed_over = rules.update(event, organizer_ids=[str(other).upper()])
    assert (handed_over.outcome, handed_over.body["organizer_ids"]) == ("ok", [str(other)])
    assert rules.update(event, title="Mine no more").outcome == "not_found"
    assert rules.update(event, person=other, title="Yours").outcome == "ok"


def test_others_drafts_are_not_found_and_others_events_forbidden(rules):
    person, stranger, admin = rules.person(), rules.person(role="organizer"), rules.person(role="admin")
    draft, published = rules.draft(), rules.event()
    for caller in (None, person, stranger):
        assert rules.read(draft, caller).outcome == "not_found"
        assert rules.read(published, caller).outcome == "ok"
    for caller in (person, stranger):
        for write in (lambda event: rules.update(event, person=caller, title="x"), lambda event: rules.publish(event, caller),
                      lambda event: rules.cancel_event(event, caller), lambda event: rules.delete(event, caller)):
            assert write(draft).outcome == "not_found"
            assert write(published).outcome == "forbidden"
            assert write(new_id()).outcome == "not_found"
    assert rules.read(draft, admin).outcome == rules.read(draft, rules.organizer).outcome == "ok"
    assert rules.update(draft, person=admin, title="By an admin").outcome == "ok"
    assert rules.update(published, title="By its organizer").outcome == "ok"


# Status and version

def test_the_status_machine(rules, database):
    def event_in(status):
        event = rules.draft()
        if status != "draft":
            rules.publish(event)
        if status == "cancelled":
            rules.cancel_event(event)
        if status == "completed":
            rules.set_event(event, start_datetime=from_now(hours=-3), end_datetime=from_now(hours=-1))
            database.rows("select turnout.complete_ended_events(100)")
        return event

    outcomes = {
        "draft": {"publish": "ok", "cancel_event": "ok", "delete": "deleted"},
        "published": {"publish": "wrong_status", "cancel_event": "ok", "delete": "wrong_status"},
        "cancelled": {"publish": "wrong_status", "cancel_event": "wrong_status", "delete": "wrong_status"},
        "completed": {"publish": "wrong_status", "cancel_event": "wrong_status", "delete": "wrong_status"},
    }
    for status, expected in outcomes.items():
        for action, outcome in expected.items():
            answer = getattr(rules, action)(event_in(status))
            assert answer.outcome == outcome, (status, action)
            if outcome == "wrong_status":
                assert answer.body == {"event_status": status}
    for status in ("cancelled", "completed"):
        assert rules.update(event_in(status), title="x").outcome == "wrong_status"


def test_every_edit_and_status_change_raises_the_version(rules):
    event = rules.draft()
    assert rules.read(event, rules.organizer).etag == "1.0.0"
    assert rules.update(event, title="Two", if_version=1).etag == "2.0.0"
    assert rules.publish(event).etag == "3.0.0"
    rules.register(event, rules.person())
    assert rules.read(event).etag == "3.1.0"
    # A registration spoils no edit; another edit does.
    assert rules.update(event, title="Four", if_version=3).etag == "4.1.0"
    conflict = rules.update(event, title="Five", if_version=3)
    assert (conflict.outcome, conflict.body, conflict.etag) == ("version_conflict", {"version": 4}, "4.1.0")
    assert rules.update(event, title="Five", if_version=None).body["version"] == 5
    unchanged = rules.update(event, title="Five")
    assert (unchanged.outcome, unchanged.etag) == ("unchanged", "5.1.0")
    assert rules.cancel_event(event).etag == "6.0.0"


def test_deleting_a_draft_leaves_nothing_but_the_audit_log(rules, database):
    event = rules.draft()
    deleted = rules.delete(event)
    assert (deleted.outcome, deleted.body, deleted.ref) == ("deleted", None, str(event))
    assert rules.read(event, rules.organizer).outcome == "not_found"
    for table in ("event_seats", "event_organizers", "event_department_counts"):
        assert database.rows(f"select event_id from turnout.{table} where event_id = %s", (event,)) == []
    assert [row[0] for row in database.rows("select action from turnout.audit_log where event_id = %s order by id", (event,))] \
        == ["event.created", "event.deleted"]


def test_the_audit_log_tells_what_an_edit_changed(rules, database):
    event = rules.draft(title="Before", capacity=5)
    rules.update(event, title="After", capacity=6)
    before, after = database.rows("select before - 'updated_at', after - 'updated_at' from turnout.audit_log"
                                  " where event_id = %s and action = 'event.updated'", (event,))[0]
    assert before == {"title": "Before", "capacity": 5, "version": 1}
    assert after == {"title": "After", "capacity": 6, "version": 2}


def test_a_new_time_or_place_owes_everybody_on_a_published_event_a_mail(rules, database):
    event, people = rules.event(capacity=1), rules.people(3)
    refs = [answer.ref for answer in rules.register(event, *people)]
    rules.cancel(refs[2], people[2])
    owed = "select user_id, generation from turnout.outbox where event_id = %s and kind = 'changed' order by id"
    rules.update(event, description="No reason to write to anybody")
    assert database.rows(owed, (event,)) == []
    rules.update(event, venue="Another room")
    assert sorted(database.rows(owed, (event,))) == sorted((person, 4) for person in people[:2])


def test_ended_events_are_completed_in_limited_batches(rules, database):
    database.rows("select turnout.complete_ended_events(1000)")
    events = [rules.event() for _ in range(5)]
    running, draft = rules.event(), rules.draft()
    for event in [*events, draft]:
        rules.set_event(event, start_datetime=from_now(hours=-3), end_datetime=from_now(hours=-1))
    rules.set_event(running, start_datetime=from_now(hours=-3))
    assert [database.value("select turnout.complete_ended_events(2)") for _ in range(4)] == [2, 2, 1, 0]
    assert {rules.read(event).body["status"] for event in events} == {"completed"}
    assert {rules.read(event).body["version"] for event in events} == {3}
    assert rules.read(running).body["status"] == "published"
    assert rules.read(draft, rules.organizer).body["status"] == "draft"


# The list

def all_pages(rules, limit, **filters):
    after, seen = (None, None), []
    while True:
        page = rules.page(limit=limit, after=after, **filters)
        assert page.outcome == "ok" and len(page.items) <= limit
        seen += page.items
        if page.next_id is None:
            return seen
        assert len(page.items) == limit
        after = (page.next_start, page.next_id)


def test_paging_shows_each_event_once_in_order(rules):
    start, end = "2027-02-01T10:00:00Z", "2027-02-01T11:00:00Z"
    # Many at the same moment, so that the id has to part them.
    events = [rules.event(category="paging", start_datetime=start, end_datetime=end) for _ in range(7)]
    events += [rules.event(category="paging", start_datetime=f"2027-02-01T10:00:00.00000{n}Z", end_datetime=end)
               for n in range(1, 6)]
    for limit in (1, 3, 12, 100):
        seen = [item["id"] for item in all_pages(rules, limit, category="paging")]
        assert seen == [str(event) for event in sorted(events[:7])] + [str(event) for event in events[7:]]


def test_the_list_filters_by_category_status_and_range(rules):
    march = [rules.event(category="filters", start_datetime=f"2027-03-{day:02}T00:00:00Z",
                         end_datetime=f"2027-03-{day:02}T01:00:00Z") for day in (1, 2, 3)]
    cancelled = rules.event(category="filters")
    rules.cancel_event(cancelled)

    def listed(**filters):
        return [uuid.UUID(item["id"]) for item in rules.page(**filters).items]
    assert listed(category="filters") == march
    assert listed(category="filters", status="cancelled") == [cancelled]
    # `from` takes its moment in, `to` leaves it out.
    assert listed(category="filters", start="2027-03-02T00:00:00Z", to="2027-03-03T00:00:00Z") == [march[1]]
    assert listed(category="filters", start="2027-03-02T00:00:00.000001Z") == [march[2]]
    assert listed(category="filters", start="2027-03-03T00:00:00Z", to="2027-03-01T00:00:00Z") == []
    first = rules.page(category="filters", start="2027-03-01T00:00:00Z", limit=1)
    assert listed(category="filters", start="2027-03-01T00:00:00Z", after=(first.next_start, first.next_id)) == march[1:]


def test_wrong_parameters_are_named(rules):
    page = rules.page(category="No Slug", status="open", start="yesterday", to="2027", q="x" * 201, limit=0)
    assert page.outcome == "invalid_fields"
    assert [error["parameter"] for error in page.items["errors"]] == ["from", "to", "status", "category", "q", "limit"]
    assert rules.page(category="slug", status="cancelled", start=from_now(), to=from_now(), q="x" * 200, limit=1).outcome == "ok"


def test_drafts_are_listed_to_their_organizers_and_to_admins(rules):
    stranger, admin = rules.person(role="organizer"), rules.person(role="admin")
    drafts = [rules.draft(category="drafts", title=title) for title in ("One", "Two")]

    def listed(person, **filters):
        return {uuid.UUID(item["id"]) for item in rules.page(person, status="draft", category="drafts", **filters).items}
    assert listed(rules.organizer) == listed(admin) == set(drafts)
    assert listed(rules.organizer, q="two") == listed(admin, q="two") == {drafts[1]}
    for caller in (None, rules.person(), stranger):
        assert listed(caller) == set()
    assert listed(rules.organizer, role="participant") == set()
    assert rules.page(category="drafts").items == []


def test_the_list_finds_text_anywhere_in_title_venue_and_description(rules):
    hall = rules.event(category="text", title="四半期 全社会議", venue="東京本社 Größer Saal", description="Ｔｅａｍ　ﾃﾞｰﾀ")
    other = rules.event(category="text", title="Budget 100%_off", venue="Room \\ 7", description="ΟΔΟΣ Straße")

    def found(q):
        return {uuid.UUID(item["id"]) for item in rules.page(category="text", q=q).items}
    for q in ("会議", "議", "全社会議", "期 全", "東京", "本社 G", "GRÖSSER"[:3], "größer saal", "team", "データ", "TEAM デ"):
        assert found(q) == {hall}, q
    for q in ("%", "_", "100%_OFF", "\\", "budget", "οδος", "οδοσ", "Σ", "straße", "dge"):
        assert found(q) == {other}, q
    assert found("r") == {hall, other}
    for q in ("会社", "xyz", "議東", "off room"):
        assert found(q) == set(), q
    rules.update(hall, title="改名")
    assert found("会議") == set() and found("改名") == {hall}
    assert found("") == {hall, other}


# Import

def test_an_import_is_written_whole_or_not_at_all(rules, database):
    def imported(*rows, actor=None):
        return rules.connection.execute("select \"row\", pointer, detail from turnout.events_import('import', %s, %s)",
                                        (actor, json.dumps(rows))).fetchall()
    email = database.value("select email from turnout.users where id = %s", (rules.organizer,))
    good = {"title": "Imported", "start_datetime": from_now(days=3), "end_datetime": from_now(days=4), "capacity": 5,
            "category": "imported", "organizers": [email.upper()]}
    past = {"start_datetime": from_now(days=-3), "end_datetime": from_now(days=-2)}
    wrong = [{**good, "title": ""}, 7, {**good, "status": "open"}, {**good, "organizers": ["nobody@example.com"]},
             {**good, "organizers": []}, {**good, "status": "completed"}, {**good, "id": str(new_id())}]
    assert [(row, pointer) for row, pointer, _ in imported(good, *wrong)] == [
        (2, "/title"), (3, ""), (4, "/status"), (5, "/organizers/0"), (6, "/organizers"), (7, "/status"), (8, "/id")]
    assert rules.page(category="imported").items == []
    assert imported(good, {**good, "status": "published"}, {**good, **past, "status": "completed"},
                    {**good, "status": "cancelled", "organizers": [], "organizer_ids": [str(rules.organizer)]}) == []
    assert [len(rules.page(rules.organizer, category="imported", status=status).items)
            for status in ("draft", "published", "completed", "cancelled")] == [1, 1, 1, 1]
    published = rules.page(category="imported").items[0]["id"]
    assert rules.register(uuid.UUID(published), rules.person())[0].outcome == "registered"
    assert imported({**good, "organizers": []}, actor=rules.organizer) == []


# People

def test_an_identity_is_made_a_user_once_and_found_again(rules, database):
    first = rules.seen("s1", "New.Person@example.com", name="  New  ", timezone="Mars/Base", locale="x", department=" ")
    assert first.outcome == "ok"
    assert first.body == {"id": first.ref, "name": "New", "email": "New.Person@example.com", "department": None,
                          "kind": "employee", "role": "participant", "locale": "en", "timezone": "UTC"}
    again = rules.seen("s1", "other@example.com", role="admin")
    assert (again.ref, again.body["role"], again.etag) == (first.ref, "admin", "admin")
    refused = rules.seen("s2", "NEW.PERSON@example.com")
    assert refused.outcome == "forbidden"
    assert rules.seen("s2", "another.person@example.com").outcome == "ok"
    actions = database.rows("select action from turnout.audit_log where entity = 'user' and entity_id = %s", (first.ref,))
    assert actions == [("user.created",)]


def test_an_imported_person_gets_the_first_identity_with_a_verified_address(rules, database):
    person = rules.person()
    email = database.value("select email from turnout.users where id = %s", (person,))
    assert rules.seen(f"link {person}", email.upper(), verified=False).outcome == "forbidden"
    linked = rules.seen(f"link {person}", email.upper(), verified=None)
    assert (linked.outcome, linked.ref) == ("ok", str(person))
    assert rules.seen(f"other {person}", email).outcome == "forbidden"
    assert rules.seen(f"link {person}", email, verified=False).ref == str(person)


@pytest.mark.parametrize("email", [None, "", "nobody", "two words@example.com", "@", "x" * 250 + "@example.com"],
                         ids=short)
def test_an_identity_without_an_address_is_forbidden(rules, email):
    assert rules.seen(f"no address {email}", email).outcome == "forbidden"
    assert rules.seen(f"address {email}", f"{uuid.uuid4()}@example.com").outcome == "ok"
