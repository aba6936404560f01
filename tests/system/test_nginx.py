"""The nginx site that we ship, in front of a running turnoutd: what passes, what is refused here, and that it looks the same."""

import re
import socket
import ssl
import subprocess

import pytest

import nginx as nginx_server
from api import Person, event_fields, eventually, logged
from nginx import NAME, SITE, Nginx
from server import run
from sql_harness import wait_until
from wire import Wire, get, request

HOST = f"Host: {NAME}"


@pytest.fixture(scope="module")
def nginx(turnout):
    if nginx_server.program() is None:
        pytest.skip("there is no nginx")
    with Nginx(turnout.unix_socket) as running:
        yield running


@pytest.fixture()
def wire(nginx):
    with nginx.wire() as connection:
        yield connection


@pytest.fixture(scope="module")
def organizer(turnout):
    return Person(turnout, "organizer")


def ask(wire, method, path, *lines, **keywords):
    wire.send(request(method, path, *lines, host=HOST, **keywords))
    return wire.answer(method)


def as_json(person):
    return (f"Authorization: Bearer {person.token}", "Content-Type: application/json")


# What nginx refuses itself

def assert_problem(answer, status, slug):
    """It looks like a refusal of turnoutd's."""
    assert (answer.status, answer.problem) == (status, slug), answer
    problem = answer.json()
    assert problem["status"] == status and problem["title"] and problem["detail"]
    assert re.fullmatch("[0-9a-f]{32}", problem["request_id"]) and answer.headers["x-request-id"] == problem["request_id"]
    assert answer.headers["cache-control"] == "no-store" and answer.headers["x-content-type-options"] == "nosniff"
    assert [name for name, _ in answer.header_list].count("strict-transport-security") == 1
    return answer


def test_nginx_is_content_with_the_site(nginx):
    fine, said = nginx.check()
    assert fine and "[warn]" not in said, said


def test_what_nginx_refuses_is_a_problem_like_any_other(nginx, turnout):
    for what, status, slug in [
            (get("/", host=HOST), 404, "not-found"),
            (get("/page.html", host=HOST), 404, "not-found"),
            (request("POST", "/", host=HOST, body=b"x" * 1000), 404, "not-found"),
            (request("TRACE", "/api/events", host=HOST), 405, "method-not-allowed"),
            (request("POST", "/api/events", "Content-Length: 262145", host=HOST), 413, "too-large"),
            (get("/api/events?q=" + "x" * 8192, host=HOST), 414, "too-large"),
            (get("/api/events", "X-Padding: " + "x" * 9000, host=HOST), 431, "too-large"),
            (get("/api/events", host="Host: a b"), 400, "bad-request"),
            (b"nonsense\r\n\r\n", 400, "bad-request"),
            (b"GET /api/events HTTP/3.0\r\n\r\n", 505, "bad-request"),
            (get("/api/events", version="HTTP/1.2", host=HOST), 400, "bad-request"),
            (request("POST", "/api/events", "Transfer-Encoding: gzip", host=HOST), 501, "bad-request")]:
        with nginx.wire() as wire:
            wire.send(what)
            answer = assert_problem(wire.answer(), status, slug)
            assert (status == 405) == ("allow" in answer.headers)
    with nginx.wire() as wire:
        assert ask(wire, "GET", "/api/events").status == 200
        # And turnoutd's own pass as they are.
        refused = ask(wire, "GET", "/api/none")
        assert (refused.status, refused.problem, refused.json()["instance"]) == (404, "not-found", "/api/none")
        wrong = ask(wire, "PUT", "/api/events", body=b"{}")
        assert (wrong.status, wrong.headers["allow"]) == (405, turnout.request("PUT", "/api/events").headers["allow"])


def test_a_head_request_that_is_refused_has_no_body(wire):
    assert ask(wire, "HEAD", "/nothing").status == 404
    assert ask(wire, "HEAD", "/api/events").status == 200


def test_health_and_metrics_are_not_public(wire):
    for path in ("/healthz", "/readyz", "/metrics", "/metrics/", "/readyz?x", "//healthz", "/%68ealthz", "/api/../metrics",
                 "/api/%2e%2e/healthz", "/api/..%2freadyz"):
        assert ask(wire, "GET", path).problem == "not-found", path
        # A host's name in the target changes nothing.
        assert ask(wire, "GET", f"https://{NAME}{path}").problem == "not-found", path
    assert ask(wire, "GET", "/api/events").status == 200


# What reaches turnoutd

def test_the_client_is_told_apart_by_what_nginx_says_and_not_by_what_it_says_itself(turnout, wire):
    answer = ask(wire, "GET", "/api/none-of-its-words", "X-Real-IP: 10.9.9.9", "X-Forwarded-For: 10.9.9.9", "X-Request-Id: chosen",
                 "Forwarded: for=10.9.9.9")
    assert answer.status == 404
    made = answer.headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{32}", made)
    line = logged(turnout, f"request_id={made}")
    assert "client=127.0.0.1" in line and "10.9.9.9" not in line
    # Whoever comes over the socket is believed: it is nginx that makes this header true.
    with Wire.unix(turnout) as close_by:
        close_by.send(get("/api/none", "X-Real-IP: 10.9.9.9", "X-Request-Id: closer"))
        assert close_by.answer().status == 404
    assert "client=10.9.9.9" in logged(turnout, "request_id=closer")


def test_nobody_signs_in_by_saying_so(new_turnout, nginx):  # pylint: disable=unused-argument
    """A server that believes identity headers of its proxy, and a client that sends them through ours."""
    names = {"proxy_subject_header": "X-Forwarded-User", "proxy_email_header": "X-Forwarded-Email"}
    turnout = new_turnout(workers=1, **names)
    claims = ("X-Forwarded-User: somebody", "X-Forwarded-Email: somebody@example.com", "x-forwarded-user: else")
    with Nginx(turnout.unix_socket) as running, running.wire() as wire:
        assert ask(wire, "GET", "/api/users/me", *claims).problem == "unauthorized"
    with Wire.unix(turnout) as close_by:
        close_by.send(get("/api/users/me", *claims[:2]))
        assert close_by.answer().json()["email"] == "somebody@example.com"


class Listener:
    """Stands in for turnoutd where a test has to see the very bytes, or to break off at a moment of its choice."""

    def __init__(self, path):
        self.bare = socket.socket(socket.AF_UNIX)
        self.bare.bind(str(path))
        self.bare.listen(16)
        self.bare.settimeout(10)

    def accept(self):
        """The next connection and the request that it brings, as bytes of head and body."""
        connection, _ = self.bare.accept()
        connection.settimeout(10)
        return connection, *self.read(connection)

    @staticmethod
    def read(connection):
        received = b""
        while b"\r\n\r\n" not in received:
            part = connection.recv(65536)
            assert part, received
            received += part
        head, _, body = received.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        while length and len(body) < int(length[1]):
            body += connection.recv(65536)
        return head, body

    def has_another(self):
        """Somebody waits to be accepted. A second try of nginx's would come before it answers its client."""
        self.bare.settimeout(0)
        try:
            self.bare.accept()[0].close()
        except BlockingIOError:
            return False
        finally:
            self.bare.settimeout(10)
        return True


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture()
def stand_in(tmp_path_factory):
    """A listener in the place of turnoutd, and an nginx in front of it."""
    if nginx_server.program() is None:
        pytest.skip("there is no nginx")
    running = Nginx("/unset")
    running.upstream = running.folder / "upstream.sock"
    (running.folder / "site.conf").write_text(running._site(), encoding="utf-8")  # pylint: disable=protected-access
    listener = Listener(running.upstream)
    try:
        yield listener, running.start()
    finally:
        listener.bare.close()
        running.remove()


def test_turnoutd_sees_the_path_as_sent_and_only_nginx_own_word_about_the_client(stand_in):
    listener, running = stand_in
    target = "/api/%2e/a%2Fb//c;d?q=%e6&x=a+b"
    for method in ("GET", "POST", "DELETE"):
        with running.wire() as wire:
            wire.send(request(method, target, "X-Real-IP: 10.9.9.9", "x-real-ip: 10.9.9.8", "X-Forwarded-For: 10.9.9.9",
                              "X-Forwarded-Proto: gopher", "X-Forwarded-Host: evil", "Forwarded: for=10.9.9.9", "X_Odd: 1",
                              "Connection: close, x-real-ip", "X-Request-Id: mine", "Accept-Encoding: gzip", host=HOST))
            connection, head, _ = listener.accept()
            with connection:
                connection.sendall(OK)
                assert wire.answer().status == 200
        lines = head.decode().split("\r\n")
        assert lines[0] == f"{method} {target} HTTP/1.1"
        headers = [tuple(line.split(": ", 1)) for line in lines[1:]]
        names = [name.lower() for name, _ in headers]
        assert len(set(names)) == len(names), "no header comes twice"
        headers = {name.lower(): value for name, value in headers}
        assert headers["x-real-ip"] == "127.0.0.1" and headers["host"] == NAME and headers["x_odd"] == "1"
        assert re.fullmatch("[0-9a-f]{32}", headers["x-request-id"])
        assert not {"connection", "forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"} & set(names), names


def test_connections_to_turnoutd_are_kept(stand_in):
    listener, running = stand_in
    with running.wire() as wire:
        wire.send(get("/api/one", host=HOST))
        connection, _, _ = listener.accept()
        with connection:
            connection.sendall(OK)
            assert wire.answer().status == 200
            for method in ("POST", "GET", "DELETE"):
                wire.send(request(method, "/api/two", host=HOST))
                head, _ = listener.read(connection)
                assert head.startswith(f"{method} /api/two ".encode())
                connection.sendall(OK)
                assert wire.answer().status == 200


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT", "DELETE"])
@pytest.mark.parametrize("answered", [b"", b"HTTP/1.1 201 Cre"])
def test_a_write_is_never_sent_twice(stand_in, method, answered):
    listener, running = stand_in
    with running.wire() as wire:
        # On a kept connection, where nginx would otherwise try again.
        wire.send(get("/api/first", host=HOST))
        connection, _, _ = listener.accept()
        connection.sendall(OK)
        assert wire.answer().status == 200
        wire.send(request(method, "/api/write", host=HOST, body=b"{}"))
        assert listener.read(connection)[1] == b"{}"
        connection.sendall(answered)
        connection.close()
        assert_problem(wire.answer(), 502, "outcome-unknown")
        assert not listener.has_another()


def test_a_read_that_meets_a_dying_connection_is_sent_once_more(stand_in):
    listener, running = stand_in
    with running.wire() as wire:
        wire.send(get("/api/first", host=HOST))
        connection, _, _ = listener.accept()
        connection.sendall(OK)
        assert wire.answer().status == 200
        wire.send(get("/api/read", host=HOST))
        listener.read(connection)
        connection.close()
        connection, head, _ = listener.accept()
        assert head.startswith(b"GET /api/read ")
        connection.sendall(OK)
        assert wire.answer().status == 200
        # And no more than once.
        wire.send(get("/api/read", host=HOST))
        listener.read(connection)
        connection.close()
        connection, _, _ = listener.accept()
        connection.close()
        assert_problem(wire.answer(), 502, "internal")
        assert not listener.has_another()


def test_a_body_reaches_turnoutd_when_it_is_complete(stand_in):
    listener, running = stand_in
    with running.wire() as wire:
        wire.send(request("POST", "/api/slow", "Transfer-Encoding: chunked", host=HOST))
        for byte in b"3\r\nabc\r\n2\r\nde\r\n0\r\n":
            wire.send(bytes([byte]))
        assert not listener.has_another()
        wire.send(b"\r\n")
        connection, head, body = listener.accept()
        with connection:
            assert b"\r\nContent-Length: 5" in head and b"ransfer" not in head and body == b"abcde"
            connection.sendall(OK)
            assert wire.answer().status == 200


def test_without_turnoutd_every_request_still_gets_a_problem(nginx, turnout):
    """Nothing listens: nothing was written, but nginx cannot tell that from a lost connection."""
    lonely = Nginx(turnout.folder / "nobody.sock")
    with lonely, lonely.wire() as wire:
        read = assert_problem(ask(wire, "GET", "/api/events"), 502, "internal")
        assert int(read.headers["retry-after"]) > 0
        assert_problem(ask(wire, "POST", "/api/events", body=b"{}"), 502, "outcome-unknown")
    with nginx.wire() as wire:
        assert ask(wire, "GET", "/api/events").status == 200


def test_people_register_through_it(turnout, nginx, wire, organizer):
    event = organizer.event()
    assert eventually(organizer.read, event, "registered_count") == (0,)
    person = Person(turnout)
    made = ask(wire, "POST", "/api/registrations", *as_json(person), body=f'{{"event_id":"{event["id"]}"}}'.encode())
    assert made.status == 201 and made.json()["status"] == "registered"
    assert eventually(organizer.read, event, "registered_count") == (1,)
    read = ask(wire, "GET", f"/api/events/{event['id']}")
    assert read.json()["registered_count"] == 1
    # The strong validator is still one: nothing was compressed on the way.
    assert read.headers["etag"] == '"' + read.headers["etag"].strip('"') + '"' and "content-encoding" not in read.headers
    same = ask(wire, "GET", f"/api/events/{event['id']}", f"If-None-Match: {read.headers['etag']}", "Accept-Encoding: gzip")
    assert same.status == 304
    cancelled = ask(wire, "DELETE", f"/api/registrations/{made.json()['id']}", f"Authorization: Bearer {person.token}")
    assert cancelled.json()["status"] == "cancelled"


def test_secret_addresses_stay_out_of_the_access_log(nginx, wire):
    for path in ("/api/users/me/calendar.ics?token=sesame", "/api/mail/unsubscribe?again=yes&token=sesame&x=1", "/api/events?limit=7"):
        wire.send(get(path))
        assert wire.answer().status in (200, 404, 422)
    lines = wait_until(lambda: (text := nginx.access_log.read_text()).count("limit=7") and text, "they are logged")
    assert '"GET /api/users/me/calendar.ics?token=... HTTP/1.1" 404' in lines
    assert '"GET /api/mail/unsubscribe?again=yes&token=...&x=1 HTTP/1.1"' in lines
    assert "sesame" not in lines


def test_a_body_as_large_as_the_limit_passes(wire, organizer):
    largest = b'{"title":"' + b"x" * (262144 - 12) + b'"}'
    assert len(largest) == 262144
    for lines, body in [((), largest), (("Transfer-Encoding: chunked",), b"40000\r\n" + largest + b"\r\n0\r\n\r\n")]:
        # turnoutd's word about a title that is too long, and so on.
        assert ask(wire, "POST", "/api/events", *as_json(organizer), *lines, body=body).problem == "invalid-fields"


def test_what_turnoutd_takes_passes_and_what_it_refuses_is_refused(nginx, turnout):
    """The limits of nginx's buffers are not to the byte; those of turnoutd behind it are."""
    def answer(line, *headers):
        with nginx.wire() as wire:
            wire.send(get(line, *headers, host=HOST))
            return wire.answer()

    longest = "/api/none?" + "x" * (8190 - len("GET /api/none? HTTP/1.1"))
    assert answer(longest).problem == "not-found" and answer(longest + "xxx").status == 414
    lines = [f"X-Padding-{number}: " + "x" * 3900 for number in range(4)]
    assert answer("/api/events", *lines).status == 200
    assert answer("/api/events", *lines, "X-More: " + "x" * 800).status == 431
    many = [f"X-Header-{number}: x" for number in range(64)]
    assert answer("/api/events", *many[:60]).status == 200
    refused = answer("/api/events", *many)
    assert (refused.status, refused.problem) == (431, "too-large")
    # The connection that turnoutd closes is nginx's, and the next client has another.
    assert answer("/api/events").status == 200 == turnout.get("/api/events").status


def test_chunks_that_come_to_too_much_are_refused(nginx, organizer):
    with nginx.wire() as wire:
        body = b"40001\r\n" + b"x" * 262145 + b"\r\n0\r\n\r\n"
        assert_problem(ask(wire, "POST", "/api/events", *as_json(organizer), "Transfer-Encoding: chunked", body=body),
                       413, "too-large")
    with nginx.wire() as wire:
        assert ask(wire, "POST", "/api/events", *as_json(organizer), body=b"{}").status == 422


# TLS and plain HTTP

def test_plain_http_leads_to_https(nginx):
    with nginx.plain_wire() as wire:
        wire.send(get("/api/events?q=a%20b", host="Host: evil.example"))
        answer = wire.answer()
        assert (answer.status, answer.headers["location"]) == (308, f"https://{NAME}/api/events?q=a%20b")
    with socket.create_connection(("127.0.0.1", nginx.port), timeout=10) as bare:
        bare.sendall(get("/api/events", host=HOST))
        assert_problem(Wire(bare).answer(), 400, "bad-request")


def test_tls_is_modern_and_remembered(nginx, wire):
    assert wire.bare.version() == "TLSv1.3"
    answer = ask(wire, "GET", "/api/events")
    assert int(answer.headers["strict-transport-security"].removeprefix("max-age=")) >= 31536000
    old = ssl.create_default_context(cafile=nginx.folder / "certificate.pem")
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError), socket.create_connection(("127.0.0.1", nginx.port), timeout=10) as bare:
        old.wrap_socket(bare, server_hostname=NAME)


def test_http_2_is_spoken_too(nginx):
    def curl(*arguments, body=None):
        done = subprocess.run(
            ["curl", "--silent", "--show-error", "--http2", "--cacert", nginx.folder / "certificate.pem", "--resolve",
             f"{NAME}:{nginx.port}:127.0.0.1", "-o", "/dev/null", "-w", "%{http_version} %{http_code} %{content_type}", *arguments],
            input=body, stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout

    url = f"https://{NAME}:{nginx.port}"
    assert curl(f"{url}/api/events") == "2 200 application/json"
    assert curl("-d", "{}", f"{url}/api/registrations") == "2 401 application/problem+json"
    assert curl("--data-binary", "@-", f"{url}/api/registrations", body="x" * 262145) == "2 413 application/problem+json"


# The file itself

SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


def test_limits_and_time_outs_are_the_defaults_of_turnoutd(turnout):
    shown = run("turnoutd", "-c", turnout.configuration_file, "--print-config").stdout
    text = SITE.read_text(encoding="utf-8")

    def option(name):
        return re.search(rf"(?m)^{name} = (\S+)", shown)[1]

    def seconds(duration):
        number, unit = re.fullmatch(r"(\d+)([a-z]+)", duration).groups()
        return int(number) * SECONDS[unit]

    def directive(name):
        return re.findall(rf"(?m)^ *{name} ([^;]+);", text)

    assert directive("client_max_body_size") == [option("body_size"), "0"]
    assert directive("large_client_header_buffers")[0].split()[1] == option("request_line_size")
    assert directive("client_header_timeout") == [option("header_timeout")]
    assert directive("client_body_timeout") == [option("body_timeout")]
    assert directive("send_timeout") == [option("write_timeout")]
    upstream, clients = directive("keepalive_timeout")
    assert seconds(upstream) < seconds(option("idle_timeout")) == seconds(clients)
