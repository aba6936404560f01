"""Calendars that people's programs read: an event's file, and everybody's own feed."""

import gzip

import pytest

from api import YEAR, Person, eventually
from cached import wait_coherent
from calendars import entries, is_at, parse
from metrics import grown, scrape
from sql_harness import wait_until


@pytest.fixture(scope="module")
def organizer(turnout):
    return Person(turnout, "organizer")


def path_of(event):
    return f"/api/events/{event['id']}/calendar.ics"


def read(who, event, **keywords):
    answer = who.get(path_of(event), **keywords)
    assert answer.status == 200, answer
    return answer


def entry_of(who, event):
    entry, = entries(parse(read(who, event).body))
    return entry


# Starts in local time by the clocks of the zone, on both sides of their changes; zones of odd offsets, and whose rules changed
# or are no rules.
MOMENTS = [
    ("Europe/Berlin", f"{YEAR}-03-27T09:00:00Z"), ("Europe/Berlin", f"{YEAR}-03-29T09:00:00Z"),
    ("Europe/Berlin", f"{YEAR}-10-30T22:30:00Z"), ("Europe/Berlin", f"{YEAR}-10-31T00:30:00Z"),
    ("Europe/Berlin", f"{YEAR}-10-31T01:30:00Z"), ("Europe/Berlin", f"{YEAR}-12-24T17:00:00Z"),
    ("America/New_York", f"{YEAR}-03-14T06:59:59Z"), ("America/New_York", f"{YEAR}-03-14T07:00:00Z"),
    ("America/New_York", f"{YEAR}-11-07T05:30:00Z"), ("Australia/Lord_Howe", f"{YEAR}-04-03T14:45:00Z"),
    ("Pacific/Easter", f"{YEAR}-09-05T05:00:00Z"), ("Asia/Tehran", f"{YEAR}-06-01T12:00:00Z"),
    ("Africa/Casablanca", f"{YEAR}-02-10T12:00:00Z"), ("Africa/Casablanca", f"{YEAR}-06-10T12:00:00Z"),
    ("Asia/Kathmandu", f"{YEAR}-01-01T00:00:00Z"), ("Asia/Gaza", f"{YEAR}-07-01T09:00:00Z"), ("Asia/Tokyo", f"{YEAR}-07-01T00:00:00Z"),
    ("America/Nuuk", f"{YEAR}-03-28T00:30:00Z"), ("Europe/Dublin", f"{YEAR}-01-15T20:00:00Z"),
    ("Africa/Windhoek", f"{YEAR}-01-15T20:00:00Z"), ("UTC", f"{YEAR}-05-05T05:05:05Z"),
]


@pytest.mark.parametrize("zone, start", MOMENTS)
def test_an_event_opens_at_the_right_instant(organizer, zone, start):
    end = start[:11] + "23:59:59Z"
    event = organizer.event(timezone=zone, start_datetime=start, end_datetime=end)
    calendar = parse(read(organizer, event).body)
    entry, = entries(calendar)
    assert is_at(calendar, entry, event) is True


def test_an_edit_and_a_cancellation_are_the_same_entry_anew(organizer):
    event = organizer.event(title="Before", venue="Hall 1", description="Bring\na pen", category="talk")
    first = entry_of(organizer, event)
    assert first["UID"] == f"{event['id']}@turnout" and first["STATUS"] == "CONFIRMED"
    assert (first["SUMMARY"], first["LOCATION"], first["DESCRIPTION"]) == ("Before", "Hall 1", "Bring\na pen")
    assert organizer.patch(event, title="After").status == 200
    assert eventually(lambda: str(entry_of(organizer, event)["SUMMARY"])) == "After"
    second = entry_of(organizer, event)
    assert organizer.post(f"/api/events/{event['id']}/cancel").status == 200
    assert eventually(lambda: str(entry_of(organizer, event)["STATUS"])) == "CANCELLED"
    third = entry_of(organizer, event)
    assert first["UID"] == second["UID"] == third["UID"]
    assert first["SEQUENCE"] < second["SEQUENCE"] < third["SEQUENCE"]
    assert first["DTSTAMP"].dt <= second["DTSTAMP"].dt <= third["DTSTAMP"].dt


HOSTILE = ['"\r\nBcc: x', "<script>alert(1)</script>", "日本語" * 85, "\u202eright to left\u202c", "a;b,c\\ :d\nEND:VEVENT"]


@pytest.mark.parametrize("title", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_title_stays_a_title(organizer, title):
    event = organizer.event(title=title, venue=title, description=title * 30)
    calendar = parse(read(organizer, event).body)
    entry, = entries(calendar)
    assert [component.name for component in calendar.walk()] == ["VCALENDAR", "VTIMEZONE", "STANDARD", "VEVENT"]
    assert "BCC" not in entry
    flat = title.replace("\r\n", " ").replace("\n", " ")
    assert (entry["SUMMARY"], entry["LOCATION"]) == (flat, flat)
    assert entry["DESCRIPTION"] == title.replace("\r\n", "\n") * 30


def test_what_is_not_public_has_no_calendar(turnout, organizer):
    draft = organizer.draft()
    nobody = {"id": "0193b5f0-1c2d-7abc-8def-0123456789ac"}
    assert [turnout.get(path_of(event), token).status for event in (draft, nobody) for token in (None, organizer.token)] == [404] * 4
    assert turnout.get(path_of({"id": "x"})).status == 404
    assert organizer.post(f"/api/events/{draft['id']}/publish").status == 200
    answer = turnout.get(path_of(draft))
    assert answer.status == 200 and answer.headers["content-type"] == "text/calendar; charset=utf-8"
    assert turnout.get(path_of(draft) + "?x=1").status == 422


def test_calendars_come_from_the_hot_cache(turnout, organizer):
    event = organizer.event(description="Pages, B-trees, the journal. " * 100)
    wait_until(lambda: hits_once(turnout, event), "the calendar is in the cache")
    answer = read(turnout, event)
    assert answer.headers["cache-control"].startswith("public, ") and answer.headers["etag"]
    again = turnout.get(path_of(event), headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", answer.headers["etag"])
    small = turnout.get(path_of(event), headers={"Accept-Encoding": "gzip"})
    assert small.headers["content-encoding"] == "gzip" and gzip.decompress(small.body) == answer.body
    # who registers changes nothing that a calendar shows; the publishing itself may still be rendered until it is behind the cache
    wait_coherent(turnout)
    before = scrape(turnout)
    person = Person(turnout)
    assert person.register(event).status == 201
    assert eventually(organizer.read, event, "registered_count") == (1,)
    assert read(turnout, event).body == answer.body
    assert grown(turnout, before, "cache_hits_total", pattern="calendar") == 1
    assert grown(turnout, before, "cache_renders_total", pattern="calendar") == 0


def hits_once(turnout, event):
    before = scrape(turnout)
    read(turnout, event)
    return grown(turnout, before, "cache_hits_total", pattern="calendar") == 1


def test_without_the_cache_calendars_are_the_same(turnout, new_turnout, organizer):
    event = organizer.event(timezone="Asia/Tokyo", description="The same bytes")
    cached = read(turnout, event)
    other = new_turnout(database=turnout.database, cache_size=0)
    plain = read(other, event)
    assert (plain.body, plain.headers["etag"]) == (cached.body, cached.headers["etag"])
    assert other.get(path_of(event), headers={"If-None-Match": cached.headers["etag"]}).status == 304
    assert other.get(path_of(organizer.draft())).status == 404
