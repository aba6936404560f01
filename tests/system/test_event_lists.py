"""The list of events: filters, search, order and pages. Some tests look at what the whole database lists, so most name a category of
their own and see nothing else."""

import itertools
import threading
import urllib.parse

import pytest

from api import YEAR, Person, event_fields, eventually, from_now, pages, set_event
from sql_harness import Database, wait_until

LIST_FIELDS = {"id", "title", "start_datetime", "end_datetime", "timezone", "venue", "category", "status", "capacity",
               "registered_count", "waitlisted_count"}

categories = (f"theme-{number}" for number in itertools.count(1))


@pytest.fixture(scope="module", autouse=True)
def database(postgres, turnout):
    """The one under the daemon; consistent at the end."""
    under = Database(postgres, turnout.database)
    yield under
    under.assert_consistent()


@pytest.fixture()
def category():
    """One that no other test uses."""
    return next(categories)


@pytest.fixture(scope="module")
def organizer(turnout):
    return Person(turnout, "organizer")


def at(day, hour=0):
    """Start and end of an event in next July."""
    return {"start_datetime": f"{YEAR}-07-{day:02}T{hour:02}:00:00Z", "end_datetime": f"{YEAR}-07-{day:02}T{hour:02}:30:00Z"}


def query(**parameters):
    return "/api/events?" + urllib.parse.urlencode(parameters, quote_via=urllib.parse.quote)


def listed(get, **parameters):
    """The titles of the first page, a moment after what was written last."""
    return eventually(listed_now, get, **parameters)


def listed_now(get, **parameters):
    answer = get(query(**parameters))
    assert answer.status == 200, answer
    return [event["title"] for event in answer.json()["events"]]


def refused(answer, parameter):
    assert (answer.status, answer.problem) == (422, "invalid-fields"), answer
    assert [error["parameter"] for error in answer.json()["errors"]] == [parameter]
    return True


def test_a_list_item_has_the_lists_fields_as_the_event_has_them(turnout, organizer, category):
    event = organizer.event(category=category, venue="Hall", timezone="Asia/Tokyo", capacity=1)
    for _ in range(2):
        Person(turnout).register(event)
    assert eventually(organizer.read, event, "registered_count", "waitlisted_count") == (1, 1)
    whole = organizer.read(event)
    assert eventually(lambda: turnout.get(query(category=category)).json()["events"]) == [{name: whole[name] for name in LIST_FIELDS}]


def test_an_empty_list_is_a_list(turnout, category):
    assert turnout.get(query(category=category)).json() == {"events": [], "next_cursor": None}


def test_events_come_by_start_and_then_by_id(turnout, organizer, category):
    for title, day in (("third", 3), ("first", 1), ("second", 2)):
        organizer.event(title=title, category=category, **at(day))
    same_start = [organizer.event(title=str(number), category=category, **at(4)) for number in range(3)]
    in_order = [event["title"] for event in sorted(same_start, key=lambda event: event["id"])]
    assert listed(turnout.get, category=category) == ["first", "second", "third", *in_order]


def test_the_list_shows_published_events_unless_another_status_is_asked_for(turnout, database, organizer, category):
    made = {status: organizer.event(title=status, category=category) for status in ("published", "cancelled", "completed")}
    organizer.draft(title="draft", category=category)
    organizer.post(f"/api/events/{made['cancelled']['id']}/cancel")
    set_event(database, made["completed"], status="completed")
    assert listed(turnout.get, category=category) == ["published"]
    for status in made:
        assert listed(turnout.get, category=category, status=status) == [status]
    assert refused(turnout.get(query(category=category, status="all")), "status")


def test_drafts_are_listed_to_their_organizers_and_to_admins_only(turnout, organizer, category):
    stranger, admin, person = Person(turnout, "organizer"), Person(turnout, "admin"), Person(turnout)
    organizer.draft(title="mine", category=category)
    stranger.draft(title="theirs", category=category)
    drafts = {"category": category, "status": "draft"}
    assert listed(organizer.get, **drafts) == ["mine"]
    assert listed(stranger.get, **drafts) == ["theirs"]
    assert sorted(listed_now(admin.get, **drafts)) == ["mine", "theirs"]
    assert listed_now(person.get, **drafts) == listed_now(turnout.get, **drafts) == []


def test_from_is_inclusive_and_to_is_exclusive(turnout, organizer, category):
    for day in range(1, 6):
        organizer.event(title=f"{day}", category=category, **at(day))
    start, end = at(2)["start_datetime"], at(4)["start_datetime"]
    assert listed(turnout.get, category=category, **{"from": start}) == ["2", "3", "4", "5"]
    assert listed(turnout.get, category=category, to=end) == ["1", "2", "3"]
    assert listed(turnout.get, category=category, to=end, **{"from": start}) == ["2", "3"]
    assert listed(turnout.get, category=category, to=end, **{"from": f"{YEAR}-07-02T09:00:00+09:00"}) == ["2", "3"]
    assert listed(turnout.get, category=category, to=start, **{"from": end}) == []


@pytest.mark.parametrize("parameter", ["from", "to"])
@pytest.mark.parametrize("wrong", ["yesterday", "2027-07-01", "2027-07-01T00:00:00", "", "2027-07-01T00:00:00 09:00"])
def test_a_range_that_is_no_time_is_refused(turnout, parameter, wrong):
    assert refused(turnout.get(query(**{parameter: wrong})), parameter)
    assert turnout.get(query(**{parameter: "2027-07-01T00:00:00+09:00"})).status == 200


def test_search_finds_titles_venues_and_descriptions_in_any_case(turnout, organizer, category):
    organizer.event(title="Quarterly Review", category=category, **at(1))
    organizer.event(title="Lunch", venue="Review room", category=category, **at(2))
    organizer.event(title="Walk", description="We REVIEW the garden.", category=category, **at(3))
    organizer.event(title="Preview", category=category, **at(4))
    organizer.event(title="Other", category=category, **at(5))
    assert listed(turnout.get, category=category, q="review") == ["Quarterly Review", "Lunch", "Walk", "Preview"]
    assert listed(turnout.get, category=category, q="ly re") == ["Quarterly Review"]
    assert listed(turnout.get, category=category, q="re vi") == []


@pytest.mark.parametrize("q, found", [
    ("会議", ["全社会議 第1回", "経営会議"]), ("会", ["全社会議 第1回", "経営会議"]), ("社会", ["全社会議 第1回"]), ("会社", []),
    ("第１回", ["全社会議 第1回"]), ("ﾊﾟｰﾃｨｰ", ["忘年パーティー"]), ("パーティー", ["忘年パーティー"]), ("東京本社", ["経営会議"]),
    ("STRASSE", []), ("straße", ["Straße"]), ("ÉTÉ", ["Fête de l’été"]), ("ΛΌΓΟΣ", ["ο λόγος"]), ("مرحبا", ["مرحبا بالعالم"]),
])
def test_search_reads_other_scripts(turnout, organizer, q, found):
    if not listed_now(turnout.get, category="scripts"):
        for day, title in enumerate(["全社会議 第1回", "経営会議", "忘年パーティー", "Straße", "Fête de l’été", "ο λόγος",
                                     "مرحبا بالعالم"], 1):
            organizer.event(title=title, category="scripts", venue="東京本社" if title == "経営会議" else "", **at(day))
    assert listed(turnout.get, category="scripts", q=q) == found


@pytest.mark.parametrize("q", ["%", "_", "\\", "'", "\"", "a%' or 'x", ".*", "$1", "\x01", "😀"])
def test_search_takes_every_character_as_itself(turnout, organizer, category, q):
    organizer.event(title=f"with {q} inside", category=category)
    organizer.event(title="without", category=category)
    assert listed(turnout.get, category=category, q=q) == [f"with {q} inside"]


def test_search_does_not_reach_from_the_title_into_the_venue(turnout, organizer, category):
    organizer.event(title="Red", venue="Room", category=category)
    assert listed(turnout.get, category=category, q="red") == ["Red"]
    for q in ("redr", "red r", "dr"):
        assert listed(turnout.get, category=category, q=q) == []


def test_wrong_filters_are_refused_by_name(turnout, category):
    for parameter, wrong in (("q", "x" * 201), ("category", "No Slug"), ("category", "x" * 51), ("category", ""), ("status", ""),
                             ("limit", "0"), ("limit", "101"), ("limit", "ten"), ("limit", "-1"), ("limit", "1.0"), ("limit", ""),
                             ("limit", " 5"), ("limit", "99999999999999999999"), ("colour", "red"), ("Limit", "5"),
                             ("cursor", ""), ("cursor", "x"), ("cursor", "x" * 55), ("cursor", "x" * 3000)):
        assert refused(turnout.get(query(**{parameter: wrong})), parameter)
    for parameter, right in (("q", "x" * 200), ("category", category), ("status", "published"), ("limit", "1"), ("limit", "100")):
        assert turnout.get(query(**{parameter: right})).status == 200


def test_a_parameter_stands_once(turnout):
    assert refused(turnout.get("/api/events?limit=5&limit=5"), "limit")
    assert refused(turnout.get("/api/events?q=a&%71=b"), "q")
    assert turnout.get("/api/events?limit=5&q=a").status == 200


def test_several_wrong_filters_are_named_together(turnout):
    answer = turnout.get(query(colour="red", shape="round", limit=5))
    assert {error["parameter"] for error in answer.json()["errors"]} == {"colour", "shape"}
    answer = turnout.get(query(status="x", category="X", to="x", **{"from": "x"}))
    assert {error["parameter"] for error in answer.json()["errors"]} == {"status", "category", "from", "to"}


# Pages

@pytest.fixture(scope="module")
def many(turnout, organizer):
    """25 events of the category `pages`, two at each start, so that pages also end between equals; their ids in order."""
    made = [organizer.event(title=f"Page event {number}", category="pages", **at(1 + number // 2)) for number in range(25)]
    in_order = [event["id"] for event in sorted(made, key=lambda event: (event["start_datetime"], event["id"]))]
    assert eventually(lambda: [event["id"] for event in turnout.get(query(category="pages", limit=100)).json()["events"]]) == in_order
    return in_order


@pytest.mark.parametrize("limit", [1, 2, 7, 12, 13, 24, 25, 26, 100])
def test_pages_of_any_size_show_each_event_once_in_order(turnout, many, limit):
    assert eventually(lambda: [event["id"] for page in pages(turnout.get, query(category="pages", limit=limit))
                               for event in page["events"]]) == many
    found = pages(turnout.get, query(category="pages", limit=limit))
    assert [len(page["events"]) for page in found[:-1]] == [limit] * (len(found) - 1)


def test_a_page_holds_fifty_by_default(turnout, organizer):
    for number in range(51):
        organizer.event(title=str(number), category="fifty-one")
    assert eventually(lambda: [len(page["events"]) for page in pages(turnout.get, query(category="fifty-one"))]) == [50, 1]


def test_pages_go_on_under_every_filter(turnout, many):
    filters = {"category": "pages", "status": "published", "from": at(2)["start_datetime"], "to": at(12)["start_datetime"],
               "q": "page event"}
    found = pages(turnout.get, query(**filters, limit=3).replace(":", "%3A"))
    assert [event["id"] for page in found for event in page["events"]] == many[2:22]


def test_pages_of_drafts_go_on(turnout, category):
    owner = Person(turnout, "organizer")
    drafts = [owner.draft(category=category, **at(day))["id"] for day in range(1, 6)]
    found = pages(owner.get, query(category=category, status="draft", limit=2))
    assert [event["id"] for page in found for event in page["events"]] == drafts


def test_the_limit_may_change_between_pages(turnout, many):
    first = turnout.get(query(category="pages", limit=3)).json()
    second = turnout.get(query(category="pages", limit=5, cursor=first["next_cursor"])).json()
    assert [event["id"] for event in second["events"]] == many[3:8]


@pytest.mark.parametrize("other", [
    {}, {"category": "page"}, {"category": "pages", "q": "event"}, {"category": "pages", "status": "completed"},
    {"category": "pages", "from": at(1)["start_datetime"]}, {"q": "pages"}])
def test_a_cursor_belongs_to_the_filters_that_it_came_from(turnout, many, other):
    cursor = turnout.get(query(category="pages", limit=3)).json()["next_cursor"]
    assert refused(turnout.get(query(**other, limit=3, cursor=cursor)), "cursor")
    # Published events are what a list without a status shows: the same list.
    for same in ({}, {"status": "published"}):
        own = turnout.get(query(category="pages", limit=3, cursor=cursor, **same))
        assert [event["id"] for event in own.json()["events"]] == many[3:6]


def test_a_cursor_that_was_tampered_with_is_refused_at_every_character(turnout, many):
    cursor = turnout.get(query(category="pages", limit=3)).json()["next_cursor"]
    for place, letter in enumerate(cursor):
        other = "A" if letter != "A" else "B"
        assert refused(turnout.get(query(category="pages", cursor=cursor[:place] + other + cursor[place + 1:])), "cursor")
    for wrong in (cursor[:-1], cursor + "A", cursor + "=", " " + cursor, cursor.swapcase()):
        assert refused(turnout.get(query(category="pages", cursor=wrong)), "cursor")
    assert turnout.get(query(category="pages", limit=3, cursor=cursor)).status == 200


def test_a_cursor_of_ones_registrations_does_not_open_the_list_of_events(turnout, organizer):
    person = Person(turnout)
    for _ in range(2):
        person.register(organizer.event())
    cursor = person.get("/api/registrations?limit=1").json()["next_cursor"]
    assert refused(person.get(query(cursor=cursor)), "cursor")
    assert person.get(f"/api/registrations?limit=1&cursor={cursor}").status == 200


def test_a_list_that_did_not_change_is_answered_304(turnout, organizer, category):
    event = organizer.event(title="First", category=category)
    assert listed(turnout.get, category=category) == ["First"]
    first = turnout.get(query(category=category))
    tag = {"If-None-Match": first.headers["etag"]}
    same = turnout.get(query(category=category), headers=tag)
    assert (same.status, same.body, same.headers["etag"]) == (304, b"", first.headers["etag"])
    assert same.headers["cache-control"] == first.headers["cache-control"] and same.headers["vary"] == first.headers["vary"]
    organizer.patch(event, title="Changed")
    changed = wait_until(lambda: (answer := turnout.get(query(category=category), headers=tag)).status == 200 and answer, "it has changed")
    assert changed.json()["events"][0]["title"] == "Changed"
    Person(turnout).register(event)
    tag = {"If-None-Match": changed.headers["etag"]}
    assert eventually(lambda: turnout.get(query(category=category), headers=tag).status) == 200


class Churn:
    """Two people who add, edit, move and cancel events for as long as somebody reads."""

    def __init__(self, turnout, category, staying, moving):
        self.turnout, self.category = turnout, category
        self.staying, self.moving = staying, moving
        self.stop = threading.Event()
        self.counts = {"added": 0, "renamed": 0, "moved": 0, "cancelled": 0}
        self.failures = []
        self.threads = [threading.Thread(target=self._guarded, args=(work,)) for work in (self._add, self._edit)]

    def _guarded(self, work):
        organizer = Person(self.turnout, "admin")
        try:
            for number in itertools.count():
                if self.stop.is_set():
                    return
                work(organizer, number)
        except Exception as error:
            self.failures.append(error)

    def _add(self, organizer, number):
        event = organizer.event(title="Added", category=self.category, **at(1 + number % 28, number % 24))
        self.counts["added"] += 1
        if number % 3 == 0:
            assert organizer.post(f"/api/events/{event['id']}/cancel").status == 200
            self.counts["cancelled"] += 1

    def _edit(self, organizer, number):
        event = self.staying[number % len(self.staying)]
        assert organizer.patch(event, title=f"Renamed {number}", capacity=10 + number % 5).status == 200
        self.counts["renamed"] += 1
        moved = organizer.patch(self.moving[number % len(self.moving)], **at(1 + number * 7 % 28, number * 5 % 24))
        assert moved.status == 200
        self.counts["moved"] += 1

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()
        self.turnout.disconnect()


def test_paging_shows_each_event_that_stays_published_and_does_not_move_exactly_once_while_others_are_added_and_edited(
        turnout, organizer, category):
    staying = [organizer.event(title=f"Stays {number}", category=category, **at(1 + number % 28, number % 24))
               for number in range(150)]
    moving = [organizer.event(title="Moves", category=category, **at(1 + number % 28, 12)) for number in range(30)]
    churn = Churn(turnout, category, staying, moving)
    wanted = {event["id"]: event["start_datetime"] for event in staying}
    rounds = 0
    with churn:
        while not churn.failures and (rounds < 12 or min(churn.counts.values()) < 30):
            found = [event for page in pages(turnout.get, query(category=category, limit=20)) for event in page["events"]]
            places = [(event["start_datetime"], event["id"]) for event in found]
            assert places == sorted(set(places))
            seen = [event["id"] for event in found if event["id"] in wanted]
            assert len(seen) == len(wanted) and set(seen) == set(wanted)
            rounds += 1
    assert churn.failures == []
    print(f"\n{rounds} times through all pages while {churn.counts}")


def test_the_default_list_is_one_of_published_events_from_all_categories(turnout, organizer):
    made = {organizer.event(category=category, start_datetime=from_now(minutes=30), end_datetime=from_now(hours=1))["id"]
            for category in ("one-kind", "another-kind")}
    soon = turnout.get(query(to=from_now(minutes=31))).json()["events"]
    assert made <= {event["id"] for event in soon}
    assert organizer.post("/api/events", json=event_fields(category="one-kind")).status == 201
