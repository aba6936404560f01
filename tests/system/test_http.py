"""HTTP as clients meet it on the wire: kept connections, pipelines, methods, paths and names of requests. Limits and deadlines are
in test_http_limits.py, framing that could be read in two ways in test_http_framing.py."""

import email.utils
import re
import socket
import stat
import time
import urllib.parse
import uuid

import pytest

from api import Person, logged
from wire import Wire, get, request


@pytest.fixture(params=["tcp", "unix"])
def wire(turnout, request):
    """A connection of each kind."""
    with getattr(Wire, request.param)(turnout) as connection:
        yield connection


@pytest.fixture(scope="module")
def organizer(turnout):
    return Person(turnout, "organizer")


def posted(path, person, body):
    return request("POST", path, f"Authorization: Bearer {person.token}", "Content-Type: application/json", body=body)


# Connections

def test_both_listeners_serve_the_api(turnout, wire):
    wire.send(get("/api/events"))
    assert wire.answer().json() == turnout.get("/api/events").json()
    assert stat.S_IMODE(turnout.unix_socket.stat().st_mode) == 0o660


def test_a_connection_is_kept_for_the_next_request(wire):
    for _ in range(3):
        wire.send(get("/api/events"))
        answer = wire.answer()
        assert answer.status == 200 and "connection" not in answer.headers
    wire.send(get("/api/events", "Connection: keep-alive, close"))
    assert wire.answer().headers["connection"] == "close"
    assert wire.is_closed()


def test_http_1_0_is_answered_and_its_connection_closed_unless_it_asks_to_keep_it(turnout):
    with Wire.tcp(turnout) as kept:
        kept.send(get("/api/events", "Connection: Keep-Alive", version="HTTP/1.0", host=None))
        assert kept.answer().headers["connection"] == "keep-alive"
        kept.send(get("/api/events", version="HTTP/1.0"))
        answer = kept.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert kept.is_closed()


def test_every_answer_carries_date_length_and_type(wire):
    for path, status, content_type in (("/api/events", 200, "application/json"), ("/api/none", 404, "application/problem+json")):
        wire.send(get(path))
        answer = wire.answer()
        assert (answer.status, answer.headers["content-type"]) == (status, content_type)
        assert int(answer.headers["content-length"]) == len(answer.body)
        assert abs(email.utils.parsedate_to_datetime(answer.headers["date"]).timestamp() - time.time()) < 10
        assert answer.headers["date"].endswith(" GMT")
        assert answer.headers["x-content-type-options"] == "nosniff"
        names = [name for name, _ in answer.header_list]
        assert len(names) == len(set(names))


def test_a_hundred_requests_in_one_write_are_answered_in_order(wire):
    paths = ["/api/events", "/api/openapi.json", "/api/none", f"/api/events/{uuid.uuid4()}", "/api/events?limit=0", "/api/users/me",
             "/api/events?%zz", "/api/events?limit=1"]
    statuses = [200, 200, 404, 404, 422, 401, 400, 200]
    wire.send(*(get(paths[n % 8], f"X-Request-Id: number-{n}") for n in range(100)))
    for number in range(100):
        answer = wire.answer()
        assert (answer.headers["x-request-id"], answer.status) == (f"number-{number}", statuses[number % 8])
    wire.send(get("/api/events", "Connection: close"))
    assert wire.answer().status == 200 and wire.is_closed()


def test_writes_of_one_pipeline_happen_in_its_order(turnout, organizer, wire):
    event = organizer.event(capacity=3)
    people = [Person(turnout) for _ in range(10)]
    wire.send(*(posted("/api/registrations", person, b'{"event_id": "%s"}' % event["id"].encode()) for person in people))
    made = [wire.answer() for _ in people]
    assert [answer.status for answer in made] == [201] * 10
    assert [answer.json()["position"] for answer in made] == [None] * 3 + list(range(1, 8))


def test_requests_behind_a_close_are_not_answered(wire):
    wire.send(get("/api/events"), get("/api/events", "Connection: close"), get("/api/events"))
    assert [wire.answer().status for _ in range(2)] == [200, 200]
    assert wire.is_closed()


def test_a_request_may_come_byte_by_byte(organizer, wire):
    body = b'{"title": "Slow", "capacity": 1}'
    for number, byte in enumerate(posted("/api/events", organizer, body)):
        wire.send(bytes([byte]))
        assert number % 50 or not wire.is_readable()
    answer = wire.answer()
    assert {error["pointer"] for error in answer.json()["errors"]} == {"/start_datetime", "/end_datetime"}


def test_a_chunked_body_is_read_however_it_is_cut(organizer, wire):
    body = b'{"title": "Chunked"}'
    headers = (f"Authorization: Bearer {organizer.token}", "Content-Type: application/json", "Transfer-Encoding: chunked")
    for size in (1, 3, len(body)):
        parts = [body[at:at + size] for at in range(0, len(body), size)]
        chunks = b"".join(b"%X\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
        wire.send(request("POST", "/api/events", *headers), chunks)
        answer = wire.answer()
        assert {error["pointer"] for error in answer.json()["errors"]} == {"/start_datetime", "/end_datetime", "/capacity"}


def test_one_empty_line_before_a_request_is_skipped(wire):
    wire.send(b"\r\n", get("/api/events"))
    assert wire.answer().status == 200
    wire.send(b"\r\n\r\n", get("/api/events"))
    assert wire.answer().status == 400 and wire.is_closed()


def test_a_client_that_stops_sending_still_gets_its_answers(wire):
    wire.send(get("/api/events"), get("/api/openapi.json"))
    wire.bare.shutdown(socket.SHUT_WR)
    assert [wire.answer().status for _ in range(2)] == [200, 200]
    assert wire.is_closed()


def test_a_client_that_leaves_in_the_middle_harms_nobody(turnout, organizer):
    halves = [b"", b"GE", get("/api/events")[:-2], posted("/api/events", organizer, b'{"title": "x"}')[:-5], get("/api/events") * 50]
    for half in halves * 4:
        with Wire.tcp(turnout) as leaving:
            leaving.send(half)
    restarts = [worker["restarts"] for worker in turnout.processes("worker")]
    assert restarts == [0, 0] and turnout.get("/api/events").status == 200


# Methods

def test_head_is_get_without_the_body_and_the_connection_goes_on(wire):
    for path in ("/api/events", "/api/openapi.json", "/api/none", "/api/events?limit=0", "/api/users/me"):
        wire.send(get(path), request("HEAD", path), get(path))
        whole, head, again = wire.answer(), wire.answer(to="HEAD"), wire.answer()
        assert head.status == whole.status == again.status
        same = ["content-type", "content-length", "etag", "cache-control", "www-authenticate"]
        assert [head.headers.get(name) for name in same] == [whole.headers.get(name) for name in same]


def test_a_method_that_a_path_does_not_have_is_refused_with_those_that_it_has(wire):
    publish = f"/api/events/{uuid.uuid4()}/publish"
    for method, path, allowed in (("POST", "/api/users/me", "GET, HEAD, OPTIONS"), ("PUT", "/api/events", "GET, HEAD, POST, OPTIONS"),
                                  ("TRACE", "/api/events", "GET, HEAD, POST, OPTIONS"), ("GET", publish, "POST, OPTIONS"),
                                  ("DELETE", "/api/openapi.json", "GET, HEAD, OPTIONS")):
        wire.send(request(method, path))
        answer = wire.answer()
        assert (answer.status, answer.problem, answer.headers["allow"]) == (405, "method-not-allowed", allowed)
    wire.send(request("OPTIONS", "/api/events"))
    answer = wire.answer()
    assert (answer.status, answer.headers["allow"], answer.body) == (204, "GET, HEAD, POST, OPTIONS", b"")


@pytest.mark.parametrize("method", ["BREW", "get", "G", "X" * 100])
def test_a_method_that_nobody_knows_is_not_implemented(turnout, method):
    with Wire.tcp(turnout) as wire:
        wire.send(request(method, "/api/events"), get("/api/events"))
        answer = wire.answer()
        assert (answer.status, answer.problem) == (501, "bad-request")
        assert wire.is_closed()


# Paths

def test_an_unknown_path_is_not_found_and_the_connection_kept(wire):
    for path in ("/", "/api", "/api/", "/api/eventsx", "//api/events", "/api//events", "/api/events/", "/API/events", "/api/events;x",
                 "/api/./events", "/api/x/../events", "/api/events%20", "/" + "a/" * 40):
        wire.send(get(path))
        answer = wire.answer()
        assert (answer.status, answer.problem, answer.json()["instance"]) == (404, "not-found", path), path
    wire.send(get("/api/events"))
    assert wire.answer().status == 200


def test_escapes_are_decoded_once(turnout, organizer, wire):
    category = f"escapes-{uuid.uuid4().hex}"
    event = organizer.event(title="100%25 of %2F", category=category)

    def found(target):
        wire.send(get(target))
        return wire.answer()
    # In the path: letters may be escaped, a slash that is escaped separates nothing, an escaped escape is no letter.
    escaped_id = "".join(f"%{byte:02x}" for byte in event["id"].encode())
    for target, status in (("/%61pi/%65vents", 200), ("/api%2Fevents", 404), ("/api/%2565vents", 404),
                           (f"/api/events%2F{event['id']}", 404), (f"/api/events/{escaped_id}", 200), ("/api/events%3Flimit=1", 404),
                           ("/api/events/%252F", 404), (f"/api/events/..%2F{event['id']}", 404)):
        assert found(target).status == status, target
    # In the query: a plus is a space, and what was escaped twice stays escaped once.
    for q, hits in (("100%2525+of+%252F", 1), ("100%25+of", 0), ("%32%35%20of", 1), ("100%2525%2Bof", 0), ("%25252F", 0)):
        answer = found(f"/api/events?category={category}&q={q}")
        assert (answer.status, len(answer.json()["events"])) == (200, hits), q
    assert found("/api/events?%6Cimit=1&&q=").status == 200


@pytest.mark.parametrize("bad", ["%", "%2", "%zz", "%2g", "%00", "%ff", "%c0%af", "%ed%a0%80", "%f5%80%80%80", "a%"])
def test_a_bad_escape_is_refused_and_the_connection_kept(wire, bad):
    for path in (f"/api/events/{bad}", f"/api/events?q={bad}", f"/api/events?{bad}=1"):
        wire.send(get(path))
        answer = wire.answer()
        assert (answer.status, answer.problem) == (400, "bad-request"), path
    wire.send(get("/api/events?q=%C3%A9%20%e6%bc%a2"))
    assert wire.answer().status == 200


def test_the_whole_address_may_stand_in_the_request_line(wire):
    wire.send(get("http://test/api/events"), get("HTTP://TEST/api/events?limit=1"), get("http://test"), get("http://test?x=/api/events"))
    assert [wire.answer().status for _ in range(4)] == [200, 200, 404, 404]


def test_too_many_parameters_are_refused(wire):
    wire.send(get("/api/events?" + "&".join(["limit=1"] * 65)), get("/api/events?" + "&".join(["x=1"] * 64)))
    assert [wire.answer().status for _ in range(2)] == [400, 422]


def test_the_internal_listener_serves_health_and_nothing_else(turnout):
    assert turnout.internal("/healthz").json() == {"status": "ok"}
    ready = turnout.internal("/readyz").json()
    assert (ready["status"], ready["checks"]["database"], ready["checks"]["schema"]) == ("ready", "ok", "ok")
    assert turnout.internal("/api/events").status == 404
    assert turnout.get("/healthz").status == turnout.get("/readyz").status == 404


# Names of requests

def test_a_request_keeps_the_id_that_the_proxy_gave_it(turnout, wire):
    unique = uuid.uuid4().hex
    for given in (unique, unique + "x" * 32, f"{unique[:9]}-abc.DEF_9"):
        wire.send(get("/api/none", f"X-Request-Id: {given}"))
        answer = wire.answer()
        assert answer.headers["x-request-id"] == answer.json()["request_id"] == given
        assert "status=404" in logged(turnout, f"request_id={given} ")


@pytest.mark.parametrize("lines", [[], ["X-Request-Id:"], ["X-Request-Id: " + "x" * 65], ["X-Request-Id: a b"], ["X-Request-Id: a\u00e9"],
                                   ["X-Request-Id: a;b"], ["X-Request-Id: one", "X-Request-Id: two"], ['X-Request-Id: "a"']])
def test_a_request_without_a_usable_id_gets_one(wire, lines):
    wire.send(get("/api/none", *lines))
    answer = wire.answer()
    made = answer.headers["x-request-id"]
    assert uuid.UUID(made).version == 7
    assert answer.json()["request_id"] == made


def test_a_traceparent_reaches_the_log(turnout, wire):
    parent = f"00-{uuid.uuid4().hex}-00f067aa0ba902b7-01"
    wire.send(get("/api/events", "traceparent: 00-x-y-01"), get("/api/events", f"traceparent: {parent}", "X-Request-Id: traced"))
    assert [wire.answer().status for _ in range(2)] == [200, 200]
    assert "request_id=traced" in logged(turnout, f"traceparent={parent}")
    assert not turnout.log_lines("traceparent=00-x-y-01")


def test_the_access_log_names_route_status_size_and_person(turnout, organizer):
    event = organizer.event()
    name = f"logged-{uuid.uuid4()}"
    answer = organizer.get(f"/api/events/{event['id']}", headers={"X-Request-Id": name})
    line = logged(turnout, f"request_id={name}")
    for part in ("method=GET", "route=/api/events/{id}", "status=200", f"user_id={organizer.id}", "client=127.0.0.1"):
        assert part in line
    assert int(re.search(r"bytes=(\d+)", line)[1]) > len(answer.body)
    assert int(re.search(r"microseconds=(\d+)", line)[1]) > 0


def test_nothing_that_a_client_sends_can_break_a_log_line(turnout, wire):
    before = len(turnout.log_text().splitlines())
    name = urllib.parse.quote('\r\nlevel=error message="forged"\x1b[31m')
    last = str(uuid.uuid4())
    wire.send(get(f"/api/{name}", "X-Request-Id: \u0085forged"), get(f"/api/events?q={name}"),
              get(f"/api/events?{name}=1", f"X-Request-Id: {last}"))
    assert [wire.answer().status for _ in range(3)] == [404, 200, 422]
    logged(turnout, f"request_id={last}")
    new = turnout.log_text().splitlines()[before:]
    assert not any("forged" in line or "\x1b" in line for line in new)
