"""Requests that two programs could read in two ways. Each is refused and ends its connection, so that nothing behind it is taken for a
request; without the bad part, the same bytes are read and what follows is answered."""

import pytest

from api import logged
from wire import Wire, get

GET = "GET /api/events HTTP/1.1\r\n"
POST = "POST /api/registrations HTTP/1.1\r\n"
HOST = "Host: test\r\n"
CHUNKED = "Transfer-Encoding: chunked\r\n"
CHUNKS = "2\r\n{}\r\n0\r\n\r\n"

# What it is: the status, the bytes, and the same without the bad part. Statuses: 400 unless another says it better.
ATTACKS = {
    # Two lengths
    "both lengths": (400, POST + HOST + "Content-Length: 2\r\n" + CHUNKED + "\r\n" + CHUNKS,
                     POST + HOST + CHUNKED + "\r\n" + CHUNKS),
    "both lengths, the other way": (400, POST + HOST + CHUNKED + "Content-Length: 2\r\n\r\n{}",
                                    POST + HOST + "Content-Length: 2\r\n\r\n{}"),
    "two different lengths": (400, POST + HOST + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
                              POST + HOST + "Content-Length: 2\r\n\r\n{}"),
    "two equal lengths": (400, POST + HOST + "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
                          POST + HOST + "content-length:2\r\n\r\n{}"),
    "a list of lengths": (400, POST + HOST + "Content-Length: 2, 2\r\n\r\n{}", POST + HOST + "Content-Length:  2 \r\n\r\n{}"),
    "a length with a sign": (400, POST + HOST + "Content-Length: +2\r\n\r\n{}", POST + HOST + "Content-Length: 2\r\n\r\n{}"),
    "a negative length": (400, POST + HOST + "Content-Length: -2\r\n\r\n{}", POST + HOST + "Content-Length: 2\r\n\r\n{}"),
    "a hexadecimal length": (400, POST + HOST + "Content-Length: 0x2\r\n\r\n{}", POST + HOST + "Content-Length: 02\r\n\r\n{}"),
    "an empty length": (400, POST + HOST + "Content-Length:\r\n\r\n{}", POST + HOST + "Content-Length: 2\r\n\r\n{}"),
    "a length past 64 bits": (400, POST + HOST + "Content-Length: 18446744073709551618\r\n\r\n{}",
                              POST + HOST + "Content-Length: 000000000000000002\r\n\r\n{}"),
    "a length with another name": (400, POST + HOST + "Content_Length: 9\r\nContent-Length: 2\r\n\r\n{}",
                                   POST + HOST + "Content-Lengths: 9\r\nContent-Length: 2\r\n\r\n{}"),
    # Codings
    "another coding": (501, POST + HOST + "Transfer-Encoding: gzip\r\n\r\n" + CHUNKS, POST + HOST + CHUNKED + "\r\n" + CHUNKS),
    "a second coding": (501, POST + HOST + "Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNKS,
                        POST + HOST + CHUNKED + "\r\n" + CHUNKS),
    "chunked twice": (501, POST + HOST + CHUNKED + CHUNKED + "\r\n" + CHUNKS, POST + HOST + CHUNKED + "\r\n" + CHUNKS),
    "chunked with a letter before it": (501, POST + HOST + "Transfer-Encoding: xchunked\r\n\r\n" + CHUNKS,
                                        POST + HOST + "Transfer-Encoding: CHUNKED\r\n\r\n" + CHUNKS),
    "a coding with another name": (400, POST + HOST + "Transfer_Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}",
                                   POST + HOST + "Transfer-Encodings: chunked\r\nContent-Length: 2\r\n\r\n{}"),
    "a coding in HTTP/1.0": (400, POST.replace("1.1", "1.0") + HOST + "Connection: keep-alive\r\n" + CHUNKED + "\r\n" + CHUNKS,
                             POST.replace("1.1", "1.0") + HOST + "Connection: keep-alive\r\nContent-Length: 2\r\n\r\n{}"),
    "a vertical tab before the coding": (400, POST + HOST + "Transfer-Encoding: \x0bchunked\r\n\r\n" + CHUNKS,
                                         POST + HOST + "Transfer-Encoding: \tchunked\r\n\r\n" + CHUNKS),
    # Chunks
    "a chunk size with a prefix": (400, POST + HOST + CHUNKED + "\r\n0x2\r\n{}\r\n0\r\n\r\n",
                                   POST + HOST + CHUNKED + "\r\n02\r\n{}\r\n0\r\n\r\n"),
    "a chunk extension": (400, POST + HOST + CHUNKED + "\r\n2;a=b\r\n{}\r\n0\r\n\r\n",
                          POST + HOST + CHUNKED + "\r\n2\r\n{}\r\n0\r\n\r\n"),
    "a chunk size past 64 bits": (400, POST + HOST + CHUNKED + "\r\n10000000000000002\r\n{}\r\n0\r\n\r\n",
                                  POST + HOST + CHUNKED + "\r\n00000000000000002\r\n{}\r\n0\r\n\r\n"),
    "a chunk that is longer than it says": (400, POST + HOST + CHUNKED + "\r\n1\r\n{}\r\n0\r\n\r\n",
                                            POST + HOST + CHUNKED + "\r\n" + CHUNKS),
    "a chunk that ends in a line feed alone": (400, POST + HOST + CHUNKED + "\r\n2\r\n{}\n0\r\n\r\n",
                                               POST + HOST + CHUNKED + "\r\n" + CHUNKS),
    "a chunk size that ends in a line feed alone": (400, POST + HOST + CHUNKED + "\r\n2\n{}\r\n0\r\n\r\n",
                                                    POST + HOST + CHUNKED + "\r\n" + CHUNKS),
    "a last line that ends in a line feed alone": (400, POST + HOST + CHUNKED + "\r\n2\r\n{}\r\n0\r\n\n",
                                                   POST + HOST + CHUNKED + "\r\n" + CHUNKS),
    "a trailer": (400, POST + HOST + CHUNKED + "\r\n2\r\n{}\r\n0\r\nX-Trailer: 1\r\n\r\n", POST + HOST + CHUNKED + "\r\n" + CHUNKS),
    # Lines
    "a line feed alone behind the request line": (400, GET.replace("\r", "") + HOST + "\r\n", GET + HOST + "\r\n"),
    "a line feed alone behind a header": (400, GET + "Host: test\nX-A: 1\r\n\r\n", GET + "Host: test\r\nX-A: 1\r\n\r\n"),
    "a carriage return alone": (400, GET + HOST + "X-A: 1\rX-B: 2\r\n\r\n", GET + HOST + "X-A: 1 X-B: 2\r\n\r\n"),
    "two carriage returns": (400, GET + HOST + "X-A: 1\r\r\n\r\n", GET + HOST + "X-A: 1\r\n\r\n"),
    "a folded header": (400, GET + HOST + "X-A: 1\r\n 2\r\n\r\n", GET + HOST + "X-A: 1 2\r\n\r\n"),
    "a folded first header": (400, GET + " " + HOST + "\r\n", GET + HOST + "\r\n"),
    "a space before the colon": (400, GET + "Host : test\r\n\r\n", GET + "Host:test\r\n\r\n"),
    "a header without a colon": (400, GET + HOST + "X-A\r\n\r\n", GET + HOST + "X-A:\r\n\r\n"),
    "a header without a name": (400, GET + HOST + ": 1\r\n\r\n", GET + HOST + "X: 1\r\n\r\n"),
    "a name in brackets": (400, GET + HOST + "X(A): 1\r\n\r\n", GET + HOST + "X-A: (1)\r\n\r\n"),
    "a zero byte in a value": (400, GET + HOST + "X-A: 1\x002\r\n\r\n", GET + HOST + "X-A: 1\t2\r\n\r\n"),
    "a control character in a value": (400, GET + HOST + "X-A: \x1b\r\n\r\n", GET + HOST + "X-A: \xe9\r\n\r\n"),
    # The request line
    "two spaces": (400, "GET  /api/events HTTP/1.1\r\n" + HOST + "\r\n", GET + HOST + "\r\n"),
    "a tab": (400, "GET\t/api/events HTTP/1.1\r\n" + HOST + "\r\n", GET + HOST + "\r\n"),
    "a space in the target": (400, "GET /api/events HTTP/1.1 HTTP/1.1\r\n" + HOST + "\r\n", GET + HOST + "\r\n"),
    "no version": (400, "GET /api/events\r\n" + HOST + "\r\n", GET + HOST + "\r\n"),
    "an unknown version": (505, "GET /api/events HTTP/1.2\r\n" + HOST + "\r\n", GET + HOST + "\r\n"),
    "HTTP/2": (505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", GET + HOST + "\r\n"),
    "another protocol": (505, "GET /api/events RTSP/1.0\r\n" + HOST + "\r\n", GET + HOST + "\r\n"),
    "a version in lower case": (505, "GET /api/events http/1.1\r\n" + HOST + "\r\n", GET + HOST + "\r\n"),
    "a fragment": (400, "GET /api/events#top HTTP/1.1\r\n" + HOST + "\r\n",
                   "GET /api/events?q=%23top HTTP/1.1\r\n" + HOST + "\r\n"),
    "a raw high byte": (400, "GET /api/events?q=\xe9 HTTP/1.1\r\n" + HOST + "\r\n",
                        "GET /api/events?q=%C3%A9 HTTP/1.1\r\n" + HOST + "\r\n"),
    "a target without a slash": (400, "GET api/events HTTP/1.1\r\n" + HOST + "\r\n", GET + HOST + "\r\n"),
    "the asterisk": (400, "OPTIONS * HTTP/1.1\r\n" + HOST + "\r\n", "OPTIONS /api/events HTTP/1.1\r\n" + HOST + "\r\n"),
    "another host in the target": (400, "GET http://evil/api/events HTTP/1.1\r\n" + HOST + "\r\n",
                                   "GET http://test/api/events HTTP/1.1\r\n" + HOST + "\r\n"),
    "a user in the target": (400, "GET http://a@test/api/events HTTP/1.1\r\nHost: a@test\r\n\r\n",
                             "GET http://test/api/events HTTP/1.1\r\nHost: test\r\n\r\n"),
    "a tunnel": (400, "CONNECT test:443 HTTP/1.1\r\n" + HOST + "\r\n", GET + HOST + "\r\n"),
    "a TLS hello": (400, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", GET + HOST + "\r\n"),
    # Host
    "no host": (400, GET + "\r\n", GET.replace("1.1", "1.0") + "Connection: keep-alive\r\n\r\n"),
    "two hosts": (400, GET + HOST + HOST + "\r\n", GET + HOST + "\r\n"),
    "an empty host": (400, GET + "Host:\r\n\r\n", GET + "Host: a.example:80\r\n\r\n"),
    "two hosts in one line": (400, GET + "Host: a, b\r\n\r\n", GET + "Host: [::1]:8080\r\n\r\n"),
    "a host with a path": (400, GET + "Host: test/api\r\n\r\n", GET + "Host: 127.0.0.1\r\n\r\n"),
    "a host with a bad port": (400, GET + "Host: test:80a\r\n\r\n", GET + "Host: test:80\r\n\r\n"),
    # What stops or turns a parser
    "a body on GET": (400, GET + HOST + "Content-Length: 2\r\n\r\n{}", GET + HOST + "Content-Length: 0\r\n\r\n"),
    "a chunked body on GET": (400, GET + HOST + CHUNKED + "\r\n0\r\n\r\n", GET + HOST + "\r\n"),
    "an upgrade": (400, GET + HOST + "Connection: upgrade\r\nUpgrade: h2c\r\n\r\n", GET + HOST + "Connection: keep-alive\r\n\r\n"),
    "an upgrade that the connection does not name": (400, GET + HOST + "Upgrade: websocket\r\n\r\n",
                                                     GET + HOST + "X-Upgrade: websocket\r\n\r\n"),
}


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest.mark.parametrize("what", ATTACKS)
def test_what_could_be_read_in_two_ways_is_refused_and_its_twin_is_not(turnout, what, kind):
    status, attack, twin = ATTACKS[what]
    behind = get("/api/events", "X-Request-Id: behind")
    with getattr(Wire, kind)(turnout) as wire:
        wire.send(attack.encode("latin-1"), behind)
        answer = wire.answer()
        assert (answer.status, answer.problem, answer.headers["connection"]) == (status, "bad-request", "close"), answer
        assert answer.json()["detail"] and answer.headers["x-request-id"] != "behind"
        assert wire.is_closed()
    with getattr(Wire, kind)(turnout) as wire:
        wire.send(twin.encode("latin-1"), behind)
        # 401: a registration without a token, whose body was read to its end.
        assert wire.answer(to=twin.partition(" ")[0]).status in (200, 204, 401)
        assert wire.answer().headers["x-request-id"] == "behind"


@pytest.mark.parametrize("what", ["both lengths", "a chunk extension", "a line feed alone behind a header", "no host",
                                  "a space before the colon"])
def test_the_verdict_does_not_depend_on_how_the_bytes_were_cut(turnout, what):
    status, attack, _ = ATTACKS[what]
    for cut in range(1, len(attack), 3):
        with Wire.tcp(turnout) as wire:
            wire.send(attack[:cut].encode("latin-1"))
            if not wire.is_readable():
                try:
                    wire.send(attack[cut:].encode("latin-1"))
                except (BrokenPipeError, ConnectionResetError):
                    pass
            assert wire.answer().status == status
            assert wire.is_closed()


def test_what_was_smuggled_is_never_answered(turnout):
    """A request in the body of another, for whoever would read the wrong length."""
    inner = get("/api/events", "X-Request-Id: smuggled")
    prefix = f"{POST}{HOST}Content-Length: {len(inner) + 5}\r\n"
    with Wire.tcp(turnout) as wire:
        wire.send(f"{prefix}{CHUNKED}\r\n0\r\n\r\n".encode(), inner)
        assert wire.answer().status == 400 and wire.is_closed()
    with Wire.tcp(turnout) as wire:
        wire.send(f"{prefix}\r\n0\r\n\r\n".encode(), inner, get("/api/events", "X-Request-Id: outside"))
        assert wire.answer().status == 401
        assert wire.answer().headers["x-request-id"] == "outside"
    logged(turnout, "request_id=outside")
    assert not turnout.log_lines("request_id=smuggled")
