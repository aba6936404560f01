"""Text of every kind as title, venue and description, and names of time zones: returned as stored, or refused with the reason."""

import json
import urllib.parse

import pytest

from api import Person, event_fields, eventually, pages
from sql_harness import Database

# Unicode's White_Space: a title of nothing else is none.
WHITE_SPACE = set(map(chr, [*range(0x09, 0x0e), 0x20, 0x85, 0xa0, 0x1680, *range(0x2000, 0x200b), 0x2028, 0x2029, 0x202f, 0x205f,
                            0x3000]))


@pytest.fixture(scope="module", autouse=True)
def database(postgres, turnout):
    """The one under the daemon; consistent at the end."""
    under = Database(postgres, turnout.database)
    yield under
    under.assert_consistent()


@pytest.fixture(scope="module")
def organizer(turnout):
    return Person(turnout, "organizer")


def reason_to_refuse(title):
    """What the answer must say about a title, or None where it has to be taken."""
    if "\0" in title:
        return "invalid-json"
    if not 1 <= len(title) <= 255:
        return "1 to 255 characters"
    return "only white space" if set(title) <= WHITE_SPACE else None


def refusal(answer):
    return answer.json()["errors"][0]["detail"] if answer.status == 422 else answer.problem


def assert_stored(organizer, database, event, title):
    """The title is the same in the answer, when read again, in the list, and in the database."""
    assert event["title"] == title
    assert eventually(organizer.read, event, "title") == (title,)
    assert database.value("select title from turnout.events where id = %s", (event["id"],)) == title


def test_naughty_strings_are_stored_and_returned_equal_or_refused_with_the_reason(organizer, database, test_data):
    strings = json.loads((test_data / "text" / "naughty-strings.json").read_text(encoding="utf-8"))
    assert len(strings) > 500
    wanted, refused = {}, 0
    for number, title in enumerate(strings):
        # As escapes and as raw UTF-8 in turn.
        body = json.dumps(event_fields(title=title, category="naughty"), ensure_ascii=number % 2 == 0).encode()
        answer = organizer.post("/api/events", body=body, headers={"Content-Type": "application/json"})
        why = reason_to_refuse(title)
        if why is None:
            assert answer.status == 201 and answer.json()["title"] == title, (title, answer)
            assert organizer.read(answer.json())["title"] == title
            wanted[answer.json()["id"]] = title
        else:
            assert answer.status in (400, 422) and why in refusal(answer), (title, answer)
            refused += 1
    listed = pages(organizer.get, "/api/events?category=naughty&status=draft&limit=100")
    assert {event["id"]: event["title"] for page in listed for event in page["events"]} == wanted
    assert dict(database.rows("select id::text, title from turnout.events where category = 'naughty'")) == wanted
    print(f"\n{len(wanted)} titles stored, {refused} refused")


def test_naughty_strings_as_search_terms_find_what_holds_them_and_break_nothing(organizer, test_data):
    strings = json.loads((test_data / "text" / "naughty-strings.json").read_text(encoding="utf-8"))
    for number, text in enumerate(text for text in strings if 0 < len(text) <= 200 and "\0" not in text):
        category = f"search-{number}"
        if number % 10 == 0:
            made = organizer.draft(title=f"<{text}>", category=category)
        answer = organizer.get("/api/events?" + urllib.parse.urlencode(
            {"q": text, "status": "draft", "category": category}, quote_via=urllib.parse.quote))
        assert answer.status == 200, (text, answer)
        if number % 10 == 0:
            assert [event["id"] for event in answer.json()["events"]] == [made["id"]], text


@pytest.mark.parametrize("title", [
    "Jahresauftakt für Ärztinnen", "全社会議・第三回", "모두의 회의", "годовое собрание", "ετήσια συνάντηση", "ประชุมใหญ่", "वार्षिक सभा",
    "اجتماع سنوي 2026 (قاعة A)", "פגישה שנתית – אולם 3", "\u202eright to left override\u202c", "\u2067עברית\u2069 mixed with English",
    "e\u0301 and \u00e9 are two spellings", "👩‍👩‍👧‍👦 family day 🏳️‍🌈", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𐍈 𠜎",
    "zero\u200bwidth\u200djoiner\ufeff", "\ufdd0 noncharacter \uffff",
    "tab\tand\nnewline\r\nand \x01 control \x7f", "x\u0300\u0301\u0302\u0303\u0304\u0305\u0306", "\u00a0not only space\u3000", "ﬁ ligature ﬀ",
    "İstanbul ıssız",
    "\\u0041 is no escape here", "'; drop table turnout.events; --", "<script>alert(1)</script>", "%00%0d%0a", "{\"a\":1}",
])
def test_titles_of_every_script_are_returned_as_stored(organizer, database, title):
    event = organizer.draft(title=title, venue=title, description=title)
    assert (event["venue"], event["description"]) == (title, title)
    assert_stored(organizer, database, event, title)
    edited = organizer.patch(event, title=f"{title}!").json()
    assert_stored(organizer, database, edited, f"{title}!")


@pytest.mark.parametrize("letter", ["x", "é", "漢", "😀", "ا", "\u0301", "\U0010ffff"])
def test_a_title_has_at_most_255_characters_whatever_they_take_in_bytes(organizer, database, letter):
    event = organizer.draft(title=letter * 255)
    assert_stored(organizer, database, event, letter * 255)
    answer = organizer.post("/api/events", json=event_fields(title=letter * 256))
    assert (answer.status, refusal(answer)) == (422, "must be 1 to 255 characters")
    answer = organizer.patch(event, title=letter * 256)
    assert (answer.status, refusal(answer)) == (422, "must be 1 to 255 characters")
    assert_stored(organizer, database, event, letter * 255)


@pytest.mark.parametrize("blank", sorted(WHITE_SPACE))
def test_a_title_of_white_space_is_none(organizer, blank):
    answer = organizer.post("/api/events", json=event_fields(title=blank * 3))
    assert (answer.status, refusal(answer)) == (422, "must not be only white space")
    assert organizer.draft(title=f"{blank}x{blank}")["title"] == f"{blank}x{blank}"


@pytest.mark.parametrize("zone", ["Asia/Calcutta", "Asia/Kolkata", "America/Argentina/Buenos_Aires", "Europe/Kiev", "Europe/Kyiv",
                                  "Pacific/Chatham", "Etc/GMT+12", "US/Pacific", "UTC", "GMT", "Antarctica/Troll"])
def test_a_time_zone_is_returned_as_it_was_sent(organizer, zone):
    event = organizer.draft(timezone=zone, category="zones")
    assert event["timezone"] == organizer.read(event)["timezone"] == zone
    assert organizer.patch(organizer.draft(), timezone=zone).json()["timezone"] == zone


@pytest.mark.parametrize("zone", ["FOO3", "foo/bar", "EST5EDT,M3.2.0,M11.1.0", "+02", "UTC+2", "utc", "asia/calcutta", "Asia/Calcutta ",
                                  "posix/Asia/Tokyo", "right/UTC", "Factory", "localtime", "../etc/passwd", "Asia", "'", "Z"])
def test_a_name_that_is_no_time_zone_is_refused(organizer, database, zone):
    event = organizer.draft()
    before = database.value("select count(*) from turnout.events")
    for answer in (organizer.post("/api/events", json=event_fields(timezone=zone)), organizer.patch(event, timezone=zone)):
        assert (answer.status, answer.problem) == (422, "invalid-fields")
        assert answer.json()["errors"] == [{"pointer": "/timezone", "detail": "must be the IANA name of a time zone"}]
    assert database.value("select count(*) from turnout.events") == before
    assert organizer.patch(event, timezone="Asia/Calcutta").status == 200
