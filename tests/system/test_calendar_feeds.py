"""Everybody's own calendar, which programs read by a secret address."""

import pytest

from api import Person, from_now
from calendars import entries, is_at, parse
from reloading import reload
from server import NO_LIMITS
from sql_harness import Database, wait_until

FEED = "/api/users/me/calendar-feed"


@pytest.fixture(scope="module")
def organizer(turnout):
    return Person(turnout, "organizer")


@pytest.fixture(scope="module")
def rows(postgres, turnout):
    return Database(postgres, turnout.database).rows


def new_feed(person, **keywords):
    """The address of a new feed, as a path."""
    answer = person.post(FEED, **keywords)
    assert answer.status == 201 and answer.headers["cache-control"] == "private, no-store", answer
    return answer.json()["url"]


def read(turnout, path):
    answer = turnout.get(path)
    assert answer.status == 200 and answer.headers["content-type"] == "text/calendar; charset=utf-8", answer
    assert answer.headers["cache-control"] == "private, no-store"
    return parse(answer.body)


def titles(turnout, path):
    return sorted((str(entry["SUMMARY"]), str(entry["STATUS"])) for entry in entries(read(turnout, path)))


def test_a_feed_shows_ones_own_events_at_the_right_instants(turnout, organizer):
    person, other = Person(turnout), Person(turnout)
    feed = new_feed(person)
    assert entries(read(turnout, feed)) == []
    mine = {title: organizer.event(title=title, timezone=zone, capacity=1, start_datetime=from_now(days=days),
                                   end_datetime=from_now(days=days, hours=3))
            for title, zone, days in (("Tokyo", "Asia/Tokyo", 3), ("Berlin", "Europe/Berlin", 4), ("Again", "Europe/Berlin", 200))}
    left, full, others = organizer.event(title="Left"), organizer.event(title="Full", capacity=1), organizer.event(title="Others'")
    for event in (others, full):
        assert other.register(event).status == 201
    for event in (*mine.values(), full, left):
        assert person.register(event).status == 201
    assert person.cancel(person.register(left).json()).status == 200
    calendar = read(turnout, feed)
    assert str(calendar["X-WR-CALNAME"]) == str(calendar["NAME"]) == "Events"
    assert sorted(str(zone["TZID"]) for zone in calendar.walk("VTIMEZONE")) == ["Asia/Tokyo", "Europe/Berlin", "UTC"]
    found = {str(entry["SUMMARY"]): entry for entry in entries(calendar)}
    assert {title: str(entry["STATUS"]) for title, entry in found.items()} == {
        "Tokyo": "CONFIRMED", "Berlin": "CONFIRMED", "Again": "CONFIRMED", "Full": "TENTATIVE"}
    for title, event in mine.items():
        assert is_at(calendar, found[title], event) is True
        assert found[title]["UID"] == f"{event['id']}@turnout"
    # who comes back has a newer entry
    before = found["Tokyo"]["SEQUENCE"]
    person.cancel(person.register(mine["Tokyo"]).json())
    assert person.register(mine["Tokyo"]).json()["status"] == "registered"
    again, = [entry for entry in entries(read(turnout, feed)) if entry["SUMMARY"] == "Tokyo"]
    assert again["SEQUENCE"] > before


def test_a_feed_forgets_what_is_long_over_and_what_was_cancelled(turnout, organizer, rows):
    person = Person(turnout)
    feed = new_feed(person)
    events = {title: organizer.event(title=title) for title in ("Recent", "Old", "Cancelled")}
    for event in events.values():
        assert person.register(event).status == 201
    assert organizer.post(f"/api/events/{events['Cancelled']['id']}/cancel").status == 200
    for title, days in (("Recent", 89), ("Old", 91)):
        rows("update turnout.events set start_datetime = now() - make_interval(days => %s, hours => 1), "
             "end_datetime = now() - make_interval(days => %s) where id = %s", (days, days, events[title]["id"]))
    assert titles(turnout, feed) == [("Recent", "CONFIRMED")]


def test_a_new_feed_revokes_the_old_one_and_delete_revokes_it(turnout, organizer, rows):
    person, other = Person(turnout), Person(turnout)
    kept = new_feed(other)
    first = new_feed(person)
    second = new_feed(person)
    assert first != second
    assert [turnout.get(feed).status for feed in (first, second, kept)] == [404, 200, 200]
    assert [person.delete(FEED).status for _ in range(2)] == [204, 204]
    assert [turnout.get(feed).status for feed in (second, kept)] == [404, 200]
    third = new_feed(person)
    assert turnout.get(third).status == 200
    assert [action for action, in rows("select action from turnout.audit_log where entity_id = %s order by id", (person.id,))][1:] == [
        "user.calendar_feed_created", "user.calendar_feed_created", "user.calendar_feed_deleted", "user.calendar_feed_created"]


def test_only_the_right_token_opens_a_feed(turnout):
    person = Person(turnout)
    path, token = new_feed(person).split("?token=")
    for wrong in ("", "x", token[:-1], token + "A", token[::-1], token.swapcase(), "%00" + token):
        assert turnout.get(f"{path}?token={wrong}").status in (400, 404), wrong
    assert turnout.get(path, person.token).status == 404
    assert turnout.get(f"{path}?token={token}&x=1").status == 422
    assert turnout.get(f"{path}?token={token}").status == 200
    assert turnout.get(f"{path}?token={token}", "no.good.token").status == 200
    assert turnout.request("POST", FEED).status == turnout.request("DELETE", FEED).status == 401


def test_the_token_is_kept_nowhere(turnout, rows):
    person = Person(turnout)
    token = new_feed(person, headers={"Idempotency-Key": '"feed"'}).split("=")[1]
    assert turnout.get(f"/api/users/me/calendar.ics?token={token}").status == 200
    tables = [name for name, in rows("select c.oid::regclass::text from pg_class c where c.relnamespace = 'turnout'::regnamespace "
                                     "and c.relkind in ('r', 'p')")]
    kept = {name: rows(f"select count(*) from {name} t where t::text like '%%' || %s || '%%'", (token,))[0][0] for name in tables}
    assert "turnout.calendar_feeds" in kept and "turnout.idempotency_keys" in kept and set(kept.values()) == {0}
    assert turnout.log_lines(token) == []


def test_programs_behind_one_address_read_their_feeds_and_nobody_guesses(turnout):
    """A feed is counted as a person is; what is no feed of ours, by the address that it comes from."""
    feeds = [new_feed(Person(turnout)) for _ in range(3)]
    guess = "/api/users/me/calendar.ics?token=guess"
    reload(turnout, address_requests=1, address_requests_burst=1, user_reads=1, user_reads_burst=3)
    try:
        wait_until(lambda: turnout.get(guess).status == 429, "the address has used up what it may")
        assert [turnout.get(feed).status for feed in feeds for _ in range(3)] == [200] * 9
        wait_until(lambda: turnout.get(feeds[0]).status == 429, "one feed has used up what it may")
        assert turnout.get(feeds[1]).status in (200, 429)
    finally:
        reload(turnout, **NO_LIMITS)
    assert turnout.get(guess).status == 404


def test_a_key_gives_the_same_feed_again(turnout):
    person = Person(turnout)
    first, again = (person.post(FEED, headers={"Idempotency-Key": '"mine"'}) for _ in range(2))
    assert first.status == again.status == 201 and first.body == again.body
    assert turnout.get(first.json()["url"]).status == 200
    assert new_feed(person) != first.json()["url"]


def test_a_feed_outlives_the_key_that_made_it(turnout, organizer):
    person = Person(turnout)
    event = organizer.event(title="Still there")
    assert person.register(event).status == 201
    feed = new_feed(person)
    (turnout.folder / "cursor.key").write_text("another key, as long as a key has to be at least", encoding="ascii")
    reload(turnout)
    assert titles(turnout, feed) == [("Still there", "CONFIRMED")]
    assert turnout.get(new_feed(person)).status == 200


def test_the_address_begins_with_public_url(turnout):
    person = Person(turnout)
    assert new_feed(person).startswith("/api/users/me/calendar.ics?token=")
    reload(turnout, public_url="https://events.example.com")
    address = wait_until(lambda: (given := new_feed(person)).startswith("https://") and given, "the worker has heard of it")
    assert address.startswith("https://events.example.com/api/users/me/calendar.ics?token=")
    assert turnout.get(address.removeprefix("https://events.example.com")).status == 200
