"""Request bodies: which JSON is read, announced as what, and up to which size."""

import json
import re

import pytest

from api import Person, event_fields
from sql_harness import Database

NOT_READ = "invalid-json"
# Well-formed, but refused by rule: duplicate keys, U+0000.
REFUSED_BY_RULE = {"y_object_duplicated_key.json", "y_object_duplicated_key_and_value.json", "y_object_escaped_null_in_key.json",
                   "y_string_null_escape.json"}


@pytest.fixture(scope="module", autouse=True)
def database(postgres, turnout):
    """The one under the daemon; consistent at the end."""
    under = Database(postgres, turnout.database)
    yield under
    under.assert_consistent()


@pytest.fixture(scope="module")
def organizer(turnout):
    return Person(turnout, "organizer")


@pytest.fixture()
def events(database):
    """How many events there are."""
    return lambda: database.value("select count(*) from turnout.events")


def send(organizer, body, media_type="application/json"):
    return organizer.post("/api/events", body=body, headers={} if media_type is None else {"Content-Type": media_type})


def texts(test_data, kind):
    found = sorted((test_data / "json" / "test_parsing").glob(f"{kind}_*.json"))
    assert found, "no texts"
    return [(path.name, path.read_bytes()) for path in found]


def inside(text):
    """The text as the value of a member: what is not at the top is read by the same rules."""
    return b'{"title": ' + text + b"}"


def is_object(text):
    return text.lstrip(b" \t\r\n")[:1] == b"{"


def test_every_text_that_is_no_json_is_refused_as_such(organizer, events, test_data):
    before, refused = events(), 0
    for name, text in texts(test_data, "n"):
        for body in (text, inside(text)):
            answer = send(organizer, body)
            assert (answer.status, answer.problem) == (400, NOT_READ), name
            assert "no object" not in answer.json()["detail"], name
            refused += 1
    assert events() == before
    assert organizer.post("/api/events", json=event_fields()).status == 201
    print(f"\n{refused} bodies refused")


def test_every_text_that_is_json_is_read(organizer, events, test_data):
    before, read = events(), 0
    for name, text in texts(test_data, "y"):
        answer, member = send(organizer, text), send(organizer, inside(text))
        if name in REFUSED_BY_RULE:
            assert (answer.problem, member.problem) == (NOT_READ, NOT_READ), name
            assert "no object" not in answer.json()["detail"], name
            continue
        if is_object(text):
            assert (answer.status, answer.problem) == (422, "invalid-fields"), name
        else:
            # Read, and then found to be no object: a message of its own.
            assert (answer.status, answer.problem) == (400, NOT_READ) and "no object" in answer.json()["detail"], name
        assert (member.status, member.problem) == (422, "invalid-fields"), name
        read += 1
    assert events() == before
    print(f"\n{read} texts read, {len(REFUSED_BY_RULE)} refused by rule")


def test_texts_that_may_be_read_either_way_do_no_harm(turnout, organizer, events, test_data):
    def workers():
        return [(worker["pid"], worker["restarts"]) for worker in turnout.processes("worker")]
    before, running = events(), workers()
    tally = {}
    for name, text in texts(test_data, "i"):
        for body in (text, inside(text)):
            answer = send(organizer, body)
            assert answer.problem in (NOT_READ, "invalid-fields"), name
            tally[answer.problem] = tally.get(answer.problem, 0) + 1
    assert events() == before
    assert workers() == running
    print(f"\n{tally}")


@pytest.mark.parametrize("wrong, why", [
    (b"", "empty"), (b" ", None), (b"{}{}", None), (b'{"title": "a", "title": "b"}', "duplicate"), (b'{"title": "a\\u0000b"}', None),
    (b'{"ti\\u0000tle": "a"}', None), (b'{"title": "a\0b"}', "zero byte"), (b"\xef\xbb\xbf{}", "byte order mark"),
    (b'{"title": "\xff"}', "UTF-8"), (b'{"title": "\xed\xa0\x80"}', "UTF-8"), (b'{"title": "\\ud800"}', None),
    (b"[]", "no object"), (b'"text"', "no object"), (b"7", "no object"), (b"null", "no object"), (b"true", "no object"),
    (b'{"title": ' + b"[" * 31 + b"]" * 31 + b"}", None), (b'{"title": ' + b"[" * 32 + b"]" * 32 + b"}", "deeper than 32"),
    (b'{"title": ' + b"[" * 100000, "deeper than 32"), (b'{"a":' * 33 + b"1" + b"}" * 33, "deeper than 32"),
    (b'{"capacity": 1' + b"0" * 400 + b"}", None), (b'{"capacity": 1e999}', None), (b"{'title': 1}", None), (b'{"title": 01}', None),
])
def test_what_is_refused_says_why(organizer, events, wrong, why):
    before = events()
    answer = send(organizer, wrong)
    if why is None and answer.problem != NOT_READ:
        # Within the depth, it is read: and the title is no text.
        assert wrong.count(b"[") == 31 and (answer.status, answer.problem) == (422, "invalid-fields")
    else:
        assert (answer.status, answer.problem) == (400, NOT_READ), wrong[:80]
        assert (why or "line 1, column ") in answer.json()["detail"]
    assert events() == before
    assert send(organizer, json.dumps(event_fields()).encode()).status == 201


def test_every_route_with_a_body_reads_it_by_the_same_rules(organizer):
    event = organizer.event()
    headers = {"Content-Type": "application/json", "If-Match": "*"}
    for method, path in (("POST", "/api/events"), ("PATCH", f"/api/events/{event['id']}"), ("POST", "/api/registrations"),
                         ("POST", f"/api/events/{event['id']}/publish"), ("DELETE", f"/api/events/{event['id']}")):
        for body in (b'{"a": 1, "a": 2}', b"[", b"[]", b"\xff"):
            answer = organizer.request(method, path, body=body, headers=headers)
            assert (answer.status, answer.problem) == (400, NOT_READ), (method, path)
        assert organizer.request(method, path, body=b"{}", headers=headers).problem != NOT_READ


def test_white_space_and_escapes_are_read(organizer):
    fields = event_fields(title="😀 é \" \\ / \b\f\n\r\t \u007f")
    escaped = json.dumps(fields).replace("/", "\\/").replace(", ", "\r\n\t, ")
    for body in (escaped, f" \r\n\t{escaped}\n", json.dumps(fields, ensure_ascii=False)):
        answer = send(organizer, body.encode())
        assert (answer.status, answer.json()["title"]) == (201, fields["title"])


@pytest.mark.parametrize("media_type", [None, "", "text/plain", "application/x-www-form-urlencoded", "application/jsonx", "json",
                                        "application/json; charset=latin1", "application/json; charset=utf-16", "application/xml",
                                        "application/merge-patch+json", "application/json, text/plain", "text/json",
                                        "multipart/form-data; boundary=x", "application/problem+json"])
def test_a_body_announced_as_anything_but_json_is_refused(organizer, events, media_type):
    body, before = json.dumps(event_fields()).encode(), events()
    answer = send(organizer, body, media_type)
    assert (answer.status, answer.problem, answer.headers["accept"]) == (415, "unsupported-media-type", "application/json")
    assert events() == before
    for right in ("application/json", "Application/JSON", "application/json;charset=utf-8", 'application/json ; charset="UTF-8"',
                  "application/json; charset=utf-8; profile=x"):
        assert send(organizer, body, right).status == 201, right


def sized(size):
    """A body of exactly so many bytes that is a good event."""
    bare = len(json.dumps(event_fields(description="")).encode())
    return json.dumps(event_fields(description="x" * (size - bare))).encode()


def test_a_body_may_be_as_large_as_the_limit_and_no_larger(new_turnout):
    turnout = new_turnout(body_size="2k", workers=1)
    organizer, count = Person(turnout, "organizer"), 0
    for size in (600, 2047, 2048):
        assert send(organizer, sized(size)).status == 201
        count += 1
    for size in (2049, 4096, 100000):
        answer = send(organizer, sized(size))
        assert (answer.status, answer.problem) == (413, "too-large")
        assert answer.headers["connection"] == "close"
    assert len(organizer.get("/api/events?status=draft").json()["events"]) == count


def test_a_chunked_body_is_held_to_the_same_limit(new_turnout):
    turnout = new_turnout(body_size="2k", workers=1)
    organizer = Person(turnout, "organizer")
    head = (f"POST /api/events HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {organizer.token}\r\n"
            "Content-Type: application/json\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n").encode()

    def chunked(body, size):
        parts = [body[at:at + size] for at in range(0, len(body), size)]
        return head + b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"

    for size in (1, 7, 500, 2048):
        assert turnout.raw(chunked(sized(2048), size)).startswith(b"HTTP/1.1 201 "), size
        assert turnout.raw(chunked(sized(2049), size)).startswith(b"HTTP/1.1 413 "), size


def test_a_long_body_is_read_by_default(organizer):
    fields = event_fields(description="漢" * 20000)
    answer = organizer.post("/api/events", json=fields)
    assert (answer.status, answer.json()["description"]) == (201, fields["description"])
    # 256 KiB is where it ends.
    spaced = json.dumps(event_fields()).encode()
    assert send(organizer, spaced + b" " * (256 * 1024 - len(spaced))).status == 201
    assert send(organizer, spaced + b" " * (256 * 1024 + 1 - len(spaced))).status == 413


def test_details_quote_nothing_that_could_break_a_line(organizer):
    answer = send(organizer, b'{"a\\r\\nX-Injected: 1": 1, "\\u001b[31m": 2}')
    assert (answer.status, answer.problem) == (422, "invalid-fields")
    assert "x-injected" not in answer.headers
    assert not re.search(rb"[\x00-\x1f]", answer.body)
    assert {error["pointer"] for error in answer.json()["errors"]} >= {"/a\r\nX-Injected: 1", "/\x1b[31m"}
