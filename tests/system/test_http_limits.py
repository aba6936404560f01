"""Limits and deadlines of HTTP on a running server: what is too large, too slow, or asked for in advance."""

import http.client
import json
import select
import socket
import time

import pytest

from api import Person, event_fields
from sql_harness import wait_until
from wire import PATIENCE, Wire, get, request


@pytest.fixture()
def wire(turnout):
    with Wire.tcp(turnout) as connection:
        yield connection


@pytest.fixture(scope="module")
def organizer(turnout):
    return Person(turnout, "organizer")


def headers_of(person):
    return (f"Authorization: Bearer {person.token}", "Content-Type: application/json")


def assert_refused_and_closed(wire, status, problem, to="GET"):
    answer = wire.answer(to)
    assert (answer.status, answer.headers["connection"]) == (status, "close"), answer
    assert answer.problem == problem and answer.json()["detail"]
    assert wire.is_closed()


def padded(size, before="GET /api/none?", after=" HTTP/1.1"):
    """A request line of exactly so many bytes."""
    return before + "x" * (size - len(before) - len(after)) + after


# Sizes

@pytest.mark.parametrize("limits, line", [({}, 8192), ({"request_line_size": "300"}, 300)])
def test_a_request_line_may_be_as_long_as_the_limit_and_no_longer(turnout, new_turnout, limits, line):
    running = new_turnout(workers=1, **limits) if limits else turnout
    rest = b"\r\nHost: test\r\n\r\n"
    with Wire.tcp(running) as wire:
        for size in (line - 1, line):
            wire.send(padded(size).encode(), rest)
            assert wire.answer().status == 404
        wire.send(padded(line + 1).encode(), rest)
        assert_refused_and_closed(wire, 414, "too-large")
    # The verdict is there before the line has ended.
    with Wire.tcp(running) as wire:
        wire.send(padded(line + 20).encode()[:line + 5])
        assert_refused_and_closed(wire, 414, "too-large")


def test_headers_may_be_as_large_as_the_limit_and_no_larger(turnout, wire):
    bare = get("/api/events", "X-Padding: ")
    for size in (16383, 16384):
        wire.send(bare.replace(b"Padding: ", b"Padding: " + b"x" * (size - len(bare))))
        assert wire.answer().status == 200
    wire.send(bare.replace(b"Padding: ", b"Padding: " + b"x" * (16385 - len(bare))))
    assert_refused_and_closed(wire, 431, "too-large")
    with Wire.tcp(turnout) as endless:
        endless.send(b"GET / HTTP/1.1\r\n" + b"X-Header: 1\r\n" * 2000)
        assert_refused_and_closed(endless, 431, "too-large")


def test_there_may_be_as_many_headers_as_the_limit_and_no_more(wire):
    # Host is one of the 64.
    wire.send(get("/api/events", *(f"X-Header-{number}: x" for number in range(63))))
    assert wire.answer().status == 200
    wire.send(get("/api/events", *(f"X-Header-{number}: x" for number in range(64))))
    assert_refused_and_closed(wire, 431, "too-large")


@pytest.mark.parametrize("length", [256 * 1024 + 1, 10 ** 9, 10 ** 18 - 1])
def test_a_body_that_is_announced_as_too_large_is_refused_before_it_comes(turnout, organizer, length):
    with Wire.tcp(turnout) as wire:
        wire.send(request("POST", "/api/events", *headers_of(organizer), f"Content-Length: {length}"))
        assert_refused_and_closed(wire, 413, "too-large")
    with Wire.tcp(turnout) as wire:
        wire.send(request("POST", "/api/events", *headers_of(organizer), body=b" " * 256 * 1024))
        assert wire.answer().problem == "invalid-json"
        wire.send(get("/api/events"))
        assert wire.answer().status == 200


def in_chunks(length, size):
    """A body of so many spaces, in chunks of a size."""
    whole, rest = divmod(length, size)
    last = b"%x\r\n" % rest + b" " * rest + b"\r\n" if rest else b""
    return (b"%x\r\n" % size + b" " * size + b"\r\n") * whole + last + b"0\r\n\r\n"


@pytest.mark.parametrize("size", [1, 1000, 10 ** 6])
def test_a_body_in_chunks_has_the_same_limit(turnout, new_turnout, organizer, size):
    limit = 4096 if size == 1 else 256 * 1024
    running = new_turnout(workers=1, body_size=limit, database=turnout.database) if size == 1 else turnout
    person = Person(running, "organizer") if size == 1 else organizer
    lines = (*headers_of(person), "Transfer-Encoding: chunked")
    with Wire.tcp(running) as wire:
        for length in (limit - 1, limit):
            wire.send(request("POST", "/api/events", *lines, body=in_chunks(length, size)))
            assert wire.answer().problem == "invalid-json"
        try:
            wire.send(request("POST", "/api/events", *lines, body=in_chunks(limit + 1, size)))
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before its last chunk was sent
        assert_refused_and_closed(wire, 413, "too-large")


def test_a_body_may_be_one_byte_below_the_limit_and_there_may_be_one_header_less(wire, organizer):
    wire.send(request("POST", "/api/events", *headers_of(organizer), body=b" " * (256 * 1024 - 1)))
    assert wire.answer().problem == "invalid-json"
    wire.send(get("/api/events", *(f"X-Header-{number}: x" for number in range(62))))
    assert wire.answer().status == 200


def test_a_client_that_sends_all_of_a_refused_body_still_reads_the_answer(turnout, organizer):
    with Wire.tcp(turnout) as wire:
        wire.send(request("POST", "/api/events", *headers_of(organizer), body=b" " * 900_000))
        assert_refused_and_closed(wire, 413, "too-large")


# Expect: 100-continue

def test_a_client_that_waits_for_a_word_is_told_to_go_on(organizer, wire):
    body = json.dumps(event_fields(title="Expected")).encode()
    for _ in range(2):
        wire.send(request("POST", "/api/events", *headers_of(organizer), "Expect: 100-continue", f"Content-Length: {len(body)}"))
        assert wire.answer().status == 100
        assert not wire.is_readable()
        wire.send(body)
        assert wire.answer().json()["title"] == "Expected"
    # Whoever does not wait is not made to.
    wire.send(request("POST", "/api/events", *headers_of(organizer), "Expect: 100-CONTINUE", body=body))
    assert wire.answer().status in (100, 201)


@pytest.mark.parametrize("method, path, length, status", [
    ("POST", "/api/none", 100, 404), ("PUT", "/api/events", 100, 405), ("POST", "/api/events", 10 ** 7, 413)])
def test_a_client_that_waits_is_told_at_once_when_the_body_is_of_no_use(turnout, organizer, method, path, length, status):
    with Wire.tcp(turnout) as wire:
        wire.send(request(method, path, *headers_of(organizer), "Expect: 100-continue", f"Content-Length: {length}"))
        answer = wire.answer()
        assert (answer.status, answer.headers["connection"]) == (status, "close")
        assert wire.is_closed()


def test_nothing_else_can_be_expected(turnout, organizer, wire):
    wire.send(request("POST", "/api/events", *headers_of(organizer), "Expect: miracles", body=b"{}"))
    assert_refused_and_closed(wire, 417, "bad-request")
    # HTTP/1.0 knows no Expect: there it means nothing.
    with Wire.tcp(turnout) as old:
        old.send(request("POST", "/api/events", *headers_of(organizer), "Expect: miracles", body=b"{}", version="HTTP/1.0"))
        assert old.answer().status == 422


# Deadlines, all of 300 ms. A test waits on its socket, never for a fixed time.

SHORT = 0.3
# Seconds; sooner than any default could have closed it, and late enough for a busy machine.
LATEST = 8


@pytest.fixture(scope="module")
def hasty(turnout):
    """The server of this module, with short deadlines."""
    def lasting(**deadlines):
        turnout.restart(workers=1, **deadlines)
        return turnout
    yield lasting
    turnout.restart(workers=2, header_timeout=None, body_timeout=None, idle_timeout=None, write_timeout=None)


@pytest.fixture(scope="module")
def short_lived(hasty):
    return hasty(header_timeout="300ms", body_timeout="300ms", idle_timeout="300ms", write_timeout="300ms")


def trickle(wire, data):
    """Sends a byte each 20 ms until something comes back; answers how long that took."""
    began = time.monotonic()
    for byte in data:
        if wire.is_readable(0.02):
            break
        wire.send(bytes([byte]))
    assert wire.is_readable(PATIENCE)
    return time.monotonic() - began


def test_headers_that_trickle_in_meet_an_absolute_deadline(short_lived):
    with Wire.tcp(short_lived) as wire:
        took = trickle(wire, get("/api/events", "X-Padding: " + "x" * 1000))
        assert_refused_and_closed(wire, 408, "bad-request")
    assert SHORT * 0.9 < took < LATEST
    with Wire.tcp(short_lived) as wire:
        for byte in get("/api/events"):
            wire.send(bytes([byte]))
        assert wire.answer().status == 200


def test_a_body_that_trickles_in_meets_an_absolute_deadline(short_lived):
    with Wire.tcp(short_lived) as wire:
        wire.send(request("POST", "/api/none", "Content-Length: 1000"))
        took = trickle(wire, b"x" * 900)
        assert_refused_and_closed(wire, 408, "bad-request")
    assert SHORT * 0.9 < took < LATEST
    with Wire.tcp(short_lived) as wire:
        wire.send(request("POST", "/api/none", "Content-Length: 1000"))
        wire.send(b"x" * 1000)
        assert wire.answer().status == 404


def test_a_connection_without_a_request_is_closed_without_a_word(short_lived):
    with Wire.tcp(short_lived) as silent:
        began = time.monotonic()
        assert silent.is_closed()
        assert SHORT * 0.9 < time.monotonic() - began < LATEST


def test_a_kept_connection_that_is_idle_for_too_long_is_closed_without_a_word(hasty):
    turnout = hasty(header_timeout="10s", idle_timeout="300ms")
    with Wire.tcp(turnout) as wire:
        for _ in range(5):
            # In time, it is kept, however long in all.
            assert not wire.is_readable(0.1)
            wire.send(get("/api/events"))
            assert wire.answer().status == 200
        began = time.monotonic()
        assert wire.is_closed()
        assert SHORT * 0.9 < time.monotonic() - began < LATEST


# Slow readers

@pytest.fixture(scope="module")
def large_page(turnout):
    """Makes a page of events of some 130 kB, and answers its path."""
    organizer = Person(turnout, "organizer")
    for _ in range(100):
        organizer.draft(title="漢" * 255, venue="字" * 255, category="large")
    return "/api/events?category=large&status=draft&limit=100", organizer


def narrow(turnout):
    """A connection that takes little at a time."""
    bare = socket.socket(socket.AF_UNIX)
    bare.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    bare.connect(str(turnout.unix_socket))
    return Wire(bare)


def test_a_slow_reader_gets_every_byte_while_others_are_served(turnout, large_page):
    path, organizer = large_page
    whole = organizer.get(path).body
    assert len(whole) > 130_000
    ask = get(path, f"Authorization: Bearer {organizer.token}")
    count = 20
    with narrow(turnout) as slow:
        slow.send(ask * count)
        # The kernel is full: the server waits for this client, and not the others for it.
        assert slow.is_readable(PATIENCE)
        for _ in range(20):
            assert turnout.get("/api/events?limit=1").status == 200
        received = 0
        for _ in range(count):
            answer = slow.answer()
            assert answer.body == whole
            received += len(answer.body)
            turnout.get("/api/events?limit=1")
        print(f"\n{received / 1e6:.1f} MB through a buffer of 4 kB")


def test_a_reader_that_takes_nothing_is_cut_off(hasty, large_page):
    turnout = hasty(write_timeout="300ms", idle_timeout="10s", header_timeout="10s")
    path, organizer = large_page
    ask = get(path, f"Authorization: Bearer {organizer.token}")
    with narrow(turnout) as stuck:
        began = time.monotonic()
        stuck.send(ask * 20)
        hung_up = select.poll()
        hung_up.register(stuck.bare, select.POLLHUP)
        wait_until(lambda: any(what & select.POLLHUP for _, what in hung_up.poll(100)), "the server closes the connection", PATIENCE)
        assert time.monotonic() - began > SHORT * 0.9
        answered = 0
        with pytest.raises((http.client.RemoteDisconnected, BrokenPipeError)):
            while True:
                stuck.answer()
                answered += 1
        assert answered < 20
    with narrow(turnout) as reading:
        reading.send(ask * 20)
        assert [reading.answer().status for _ in range(20)] == [200] * 20


def test_a_client_that_sends_without_reading_is_made_to_wait(hasty):
    turnout = hasty(write_timeout="30s")
    with narrow(turnout) as wire:
        wire.bare.setblocking(False)
        ask, sent = get("/api/openapi.json") * 10, 0
        writable = select.poll()
        writable.register(wire.bare, select.POLLOUT)
        # Neither side takes any more before long: nothing is gathered in the server.
        while writable.poll(500) and sent < 50_000_000:
            sent += wire.bare.send(ask)
        assert sent < 50_000_000
        held = sum(worker["http"] for worker in turnout.show("memory") if worker["role"] == "worker")
        print(f"\n{sent / 1e3:.0f} kB sent before it had to wait, {held / 1e3:.0f} kB held by the server")
        assert held < 2_000_000
        assert turnout.get("/api/events").status == 200
        wire.bare.settimeout(PATIENCE)
        assert [wire.answer().status for _ in range(100)] == [200] * 100
