"""What a proxy in front says of the client: believed where it comes from one that is trusted, dropped and counted otherwise.

The daemon of this module trusts whoever comes over its Unix socket; 127.0.0.1 is a stranger."""

import contextlib
import itertools
import json
import socket

import pytest

import server
from api import Person, event_fields, logged
from conftest import run_turnout
from server import Response, free_port
from sql_harness import Database, wait_until
from wire import PATIENCE, Wire, request

SIGNED_IN = {"proxy_subject_header": "X-Remote-Sub", "proxy_email_header": "X-Remote-Email", "proxy_name_header": "X-Remote-Name",
             "proxy_department_header": "X-Remote-Department", "proxy_kind_header": "X-Remote-Kind", "proxy_role_header": "X-Remote-Role"}
numbers = itertools.count(1)


@pytest.fixture(scope="module")
def turnout(postgres, make_database):
    running = run_turnout(postgres, make_database(), workers=1, **SIGNED_IN)
    try:
        yield running.start()
    finally:
        running.remove()


@pytest.fixture(scope="module", autouse=True)
def database(postgres, turnout):
    under = Database(postgres, turnout.database)
    yield under
    under.assert_consistent()


def lines_of(headers):
    """Header lines, UTF-8 as it is on the wire."""
    return [f"{name}: {value}".encode().decode("latin-1") for name, value in headers.items()]


def ask(turnout, *lines, method="GET", path="/api/users/me", body=b"", over="unix") -> Response:
    with (Wire.unix if over == "unix" else Wire.tcp)(turnout) as wire:
        wire.send(request(method, path, *lines, body=body))
        return wire.answer()


def signed_in(number=None, **headers):
    """Header lines of somebody whom a proxy signed in; a header of None is left out, others replace or add."""
    number = number or next(numbers)
    whole = {"X-Remote-Sub": f"sub-{number}", "X-Remote-Email": f"proxied{number}@example.com",
             **{f"X-Remote-{name}": value for name, value in headers.items()}}
    return lines_of({name: value for name, value in whole.items() if value is not None})


def assert_let_in(answer):
    assert answer.status == 200, answer
    return answer.json()


def dropped(turnout, what, reason):
    name = f'turnout_proxy_headers_dropped_total{{what="{what}",reason="{reason}"}} '
    return int(next(line for line in turnout.internal("/metrics").body.decode().splitlines() if line.startswith(name)).split()[-1])


# Who is signed in

def test_a_trusted_proxy_says_who_asks_and_the_person_is_made_at_first_sight(turnout, database):
    number = next(numbers)
    lines = signed_in(number, Name="田中 芽衣", Department="Müllerei", Kind="guest", Role="organizer")
    user = assert_let_in(ask(turnout, *lines))
    assert {name: value for name, value in user.items() if name != "id"} == {
        "name": "田中 芽衣", "email": f"proxied{number}@example.com", "department": "Müllerei", "kind": "guest", "role": "organizer",
        "locale": "en", "timezone": "UTC"}
    assert database.rows("select issuer, subject from turnout.users where id = %s", (user["id"],)) == [("proxy", f"sub-{number}")]
    assert assert_let_in(ask(turnout, *lines)) == user
    # Names of headers know no case.
    assert assert_let_in(ask(turnout, *(line.partition(":")[0].upper() + line[line.index(":"):] for line in lines))) == user


def test_the_same_headers_from_anybody_else_are_dropped_and_counted_and_told_once(turnout):
    lines = signed_in(Role="admin")
    before = dropped(turnout, "identity", "untrusted")
    for _ in range(3):
        answer = ask(turnout, *lines, over="tcp")
        assert (answer.status, answer.problem) == (401, "unauthorized")
        assert ask(turnout, *lines, path="/api/events", over="tcp").headers["cache-control"].startswith("public")
    assert dropped(turnout, "identity", "untrusted") == before + 6
    # Once a minute, however long this took.
    assert 1 <= len(turnout.log_lines("a peer that is not trusted sends a header of identity", "127.0.0.1")) < 6
    assert_let_in(ask(turnout, *lines))


def test_only_the_exact_name_counts(turnout):
    number = next(numbers)
    for name in ("X_Remote_Sub", "X-Remote_Sub", "X_Remote-Sub", "X-Remote-Sub2", "Remote-Sub", "X--Remote-Sub", "X-Remote-Sub-"):
        lines = [f"{name}: sub-{number}", f"X-Remote-Email: proxied{number}@example.com"]
        assert ask(turnout, *lines).status == 401, name
        # Beside the real one they say nothing either.
        assert_let_in(ask(turnout, *signed_in(number), f"{name}: somebody-else"))


@pytest.mark.parametrize("name, value", [("Sub", "sub-two"), ("Email", "two@example.com"), ("Name", "Two"), ("Department", "Two"),
                                         ("Kind", "employee"), ("Role", "admin"), ("Role", "")])
def test_a_header_that_stands_twice_is_refused(turnout, name, value):
    lines = signed_in(Name="One", Department="One", Kind="employee", Role="participant")
    for extra in (f"X-Remote-{name}: {value}", f"x-remote-{name.lower()}: {value}"):
        for both in ([*lines, extra], [extra, *lines]):
            answer = ask(turnout, *both)
            assert (answer.status, answer.problem) == (400, "bad-request")
            assert "once" in answer.json()["detail"]
    assert_let_in(ask(turnout, *lines))
    # From a stranger it is dropped like the first.
    assert ask(turnout, *lines, f"X-Remote-{name}: {value}", path="/api/events", over="tcp").status == 200


UNUSABLE = {"no address": {"Email": "nobody"}, "two addresses": {"Email": "a@example.com, b@example.com"}, "no address at all": {"Email": None},
            "an empty address": {"Email": ""}, "a long subject": {"Sub": "s" * 256}, "an unknown role": {"Role": "root"},
            "several roles": {"Role": "organizer,admin"}, "an unknown kind": {"Kind": "robot"}, "a tab in the subject": {"Sub": "a\tb"}}


@pytest.mark.parametrize("case", UNUSABLE)
def test_what_decides_and_cannot_be_used_refuses_the_person(turnout, case):
    before = dropped(turnout, "identity", "unusable")
    answer = ask(turnout, *signed_in(**UNUSABLE[case]))
    assert (answer.status, answer.problem) == (401, "unauthorized"), answer
    assert dropped(turnout, "identity", "unusable") == before + 1
    assert_let_in(ask(turnout, *signed_in()))


def test_what_describes_and_cannot_be_used_is_left_out(turnout):
    number = next(numbers)
    lines = signed_in(number, Name="n" * 256, Department="d" * 255) + ["X-Remote-Kind: guest"]
    user = assert_let_in(ask(turnout, *lines))
    assert (user["name"], user["department"], user["kind"]) == (f"proxied{number}", "d" * 255, "guest")
    number = next(numbers)
    # Latin-1 is no UTF-8, and what looks encoded is taken as it stands.
    user = assert_let_in(ask(turnout, *signed_in(number), "X-Remote-Name: M\xfcller", "X-Remote-Department: UTF-8''M%C3%BCllerei"))
    assert (user["name"], user["department"]) == (f"proxied{number}", "UTF-8''M%C3%BCllerei")
    latin = ask(turnout, "X-Remote-Sub: M\xfcller", "X-Remote-Email: mueller@example.com")
    assert latin.status == 401
    assert_let_in(ask(turnout, *lines_of({"X-Remote-Sub": "Müller", "X-Remote-Email": "mueller@example.com"})))


def test_nobody_is_signed_in_where_the_subject_is_empty_or_missing(turnout):
    for subject in ("", "  ", None):
        lines = signed_in(Sub=subject, Role="admin")
        answer = ask(turnout, *lines)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, 'Bearer realm="turnout"')
        assert ask(turnout, *lines, path="/api/events").headers["cache-control"].startswith("public")
    assert_let_in(ask(turnout, *signed_in(Role="admin")))


def test_a_token_decides_instead_of_the_proxy_also_when_it_is_refused(turnout):
    lines = signed_in(Role="admin")
    token = turnout.token("with.token@example.com")
    assert assert_let_in(ask(turnout, *lines, f"Authorization: Bearer {token}"))["email"] == "with.token@example.com"
    for bad in (turnout.token("with.token@example.com", key=b"x" * 32), "x"):
        assert ask(turnout, *lines, f"Authorization: Bearer {bad}").status == 401
    assert ask(turnout, *lines, "Authorization: Basic YTpi").status == 401
    assert assert_let_in(ask(turnout, *lines))["role"] == "admin"


def test_an_address_of_another_identity_is_forbidden_and_an_imported_one_is_linked(turnout, database):
    by_token = Person(turnout)
    assert by_token.id
    answer = ask(turnout, *signed_in(Email=by_token.email.upper()))
    assert (answer.status, answer.problem) == (403, "forbidden")
    assert "another identity" in answer.json()["detail"]
    number = next(numbers)
    database.rows("insert into turnout.users (id, email, name, role) values (gen_random_uuid(), %s, 'From the directory', 'organizer')",
                  (f"Proxied{number}@example.com",))
    user = assert_let_in(ask(turnout, *signed_in(number, Name="Otherwise")))
    assert (user["name"], user["role"]) == ("From the directory", "organizer")
    assert ask(turnout, *signed_in(Email=f"proxied{number}@example.com")).status == 403
    # Who is known by the subject stays that person, whatever address comes with it.
    assert assert_let_in(ask(turnout, *signed_in(number, Email="changed@example.com")))["id"] == user["id"]


def test_a_role_is_looked_at_in_every_request(turnout):
    number = next(numbers)
    body = json.dumps(event_fields()).encode()
    create = {"method": "POST", "path": "/api/events", "body": body}
    for role, status in (("participant", 403), ("organizer", 201), ("participant", 403), (None, 403)):
        assert ask(turnout, *signed_in(number, Role=role), "Content-Type: application/json", **create).status == status


def test_answers_to_people_are_private_and_vary_by_the_header_that_names_them(turnout):
    for lines, control in ((signed_in(), "private, no-cache"), ([], "public, max-age=1, stale-while-revalidate=10, stale-if-error=60")):
        answer = ask(turnout, *lines, path="/api/events")
        assert (answer.status, answer.headers["cache-control"], answer.headers["vary"]) == (200, control, "Accept-Encoding, Authorization, X-Remote-Sub")
    assert ask(turnout, path="/api/events", over="tcp").headers["vary"] == "Accept-Encoding, Authorization"


# Writes that other sites' pages make browsers send

@pytest.mark.parametrize("line, status", [
    ("Sec-Fetch-Site: cross-site", 403), ("Sec-Fetch-Site: same-site", 403), ("Sec-Fetch-Site: SAME-ORIGIN", 403),
    ("Sec-Fetch-Site: same-origin\r\nSec-Fetch-Site: same-origin", 403), ("Sec-Fetch-Site: same-origin", 404), ("Sec-Fetch-Site: none", 404),
    ("Origin: https://evil.example.com", 403), ("Origin: null", 403), ("Origin: https://test.evil.example.com", 403), ("Origin: https://tes", 403),
    ("Origin: https://test", 404), ("Origin: https://test:8443", 404), ("Origin: http://TEST", 404), ("X-Nothing: at all", 404),
    ("Sec-Fetch-Site: same-origin\r\nOrigin: https://elsewhere.example.com", 404),
])
def test_a_write_that_another_site_made_a_browser_send_is_refused(turnout, line, status):
    path = "/api/events/01900000-0000-7000-8000-000000000000/publish"
    lines = [*signed_in(Role="organizer"), line]
    assert ask(turnout, *lines, method="POST", path=path).status == status
    # Reading is no harm, and a token comes along with no cookie.
    assert ask(turnout, *lines, path="/api/events").status == 200
    token = f"Authorization: Bearer {turnout.token('no.cookie@example.com', 'organizer')}"
    assert ask(turnout, token, line, method="POST", path=path).status == 404


# Where the client is

def client_in_log(turnout, *lines, over="unix", path="/api/openapi.json"):
    """The client's address as the access log has it."""
    name = f"address-{next(numbers)}"
    assert ask(turnout, *lines, f"X-Request-Id: {name}", path=path, over=over).status in (200, 404)
    wait_until(lambda: turnout.log_lines("message=request ", f"request_id={name}"), "the request is in the log")
    line, = turnout.log_lines("message=request ", f"request_id={name}")
    return next(part.removeprefix("client=").strip('"') for part in line.split() if part.startswith("client="))


@pytest.mark.parametrize("value, client", [
    ("192.0.2.7", "192.0.2.7"), ("192.0.2.7:4711", "192.0.2.7"), ("2001:DB8::7", "2001:db8::7"), ("[2001:db8::7]:4711", "2001:db8::7"),
    ("::ffff:192.0.2.7", "192.0.2.7"), ("", "unix")])
def test_the_client_is_whom_a_trusted_proxy_names(turnout, value, client):
    assert client_in_log(turnout, f"X-Real-IP: {value}") == client
    assert client_in_log(turnout, f"x-real-ip: {value}", path="/no/such/path") == client


def test_a_stranger_names_no_client(turnout):
    before = dropped(turnout, "client-address", "untrusted")
    for _ in range(3):
        assert client_in_log(turnout, "X-Real-IP: 192.0.2.7", over="tcp") == "127.0.0.1"
    assert client_in_log(turnout, over="tcp") == "127.0.0.1"
    assert dropped(turnout, "client-address", "untrusted") == before + 3
    assert 1 <= len(turnout.log_lines("a peer that is not trusted names a client address", "peer=127.0.0.1")) < 3


def test_rubbish_from_a_trusted_proxy_leaves_its_own_address(turnout):
    before = dropped(turnout, "client-address", "unusable")
    rubbish = ["unknown", "192.0.2.7, 192.0.2.8", "192.0.2.7 extra", "unix:", "999.0.0.1", "x" * 1000, "192.0.2.7\r\nX-Real-IP: 192.0.2.7"]
    for value in rubbish:
        assert client_in_log(turnout, f"X-Real-IP: {value}") == "unix", value
    assert client_in_log(turnout, "X_Real_IP: 192.0.2.7", "X-Forwarded-For: 192.0.2.7", "Forwarded: for=192.0.2.7") == "unix"
    assert dropped(turnout, "client-address", "unusable") == before + len(rubbish)
    assert 1 <= len(turnout.log_lines("names no usable client address")) < len(rubbish)
    assert client_in_log(turnout, "X-Real-IP: 192.0.2.7") == "192.0.2.7"


# Who is trusted

def ask_from(host, port, *lines, path="/api/users/me"):
    with contextlib.closing(socket.create_connection((host, port), timeout=PATIENCE)) as bare:
        wire = Wire(bare)
        wire.send(request("GET", path, *lines))
        return wire.answer()


def has_ipv6():
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


def test_networks_of_both_kinds_are_trusted_and_the_unix_socket_only_where_it_is_named(new_turnout):
    ports = [free_port(), free_port()]
    listen = f"127.0.0.1:{ports[0]}, 127.0.0.2:{ports[1]}" + (f", [::1]:{ports[0]}" if has_ipv6() else "")
    turnout = new_turnout(start=False, workers=1, trusted_proxies="127.0.0.1, ::1/128", client_address_header="X-Client", **SIGNED_IN)
    turnout.configure(listen=f"127.0.0.1:{turnout.port}, unix:{turnout.unix_socket}, {listen}")
    turnout.start()
    lines = signed_in()
    assert_let_in(ask_from("127.0.0.1", ports[0], *lines))
    if has_ipv6():
        assert_let_in(ask_from("::1", ports[0], *lines))
    assert ask(turnout, *lines).status == 401
    assert client_in_log(turnout, "X-Client: 192.0.2.9", over="tcp") == "192.0.2.9"
    assert client_in_log(turnout, "X-Real-IP: 192.0.2.9", over="tcp") == "127.0.0.1"
    assert client_in_log(turnout, "X-Client: 192.0.2.9", over="unix") == "unix"


def test_by_default_a_proxy_signs_nobody_in(new_turnout):
    turnout = new_turnout(workers=1)
    usual = ["X-Forwarded-User: a", "X-Forwarded-Email: a@example.com", "X-Remote-User: a", "Remote-User: a", "X-Auth-Request-User: a"]
    assert ask(turnout, *usual).status == 401
    assert ask(turnout, *usual, over="tcp").status == 401
    assert dropped(turnout, "identity", "untrusted") == dropped(turnout, "identity", "unusable") == 0
    # The address is taken over the Unix socket, and a token still is.
    assert client_in_log(turnout, "X-Real-IP: 192.0.2.9") == "192.0.2.9"
    assert_let_in(ask(turnout, f"Authorization: Bearer {turnout.token('usual@example.com')}"))


def test_the_internal_listener_believes_nobody(new_turnout):
    turnout = new_turnout(start=False, workers=1, trusted_proxies="unix, 127.0.0.1", **SIGNED_IN)
    inside = turnout.folder / "internal.sock"
    turnout.configure(internal_listen=f"127.0.0.1:{turnout.internal_port}, unix:{inside}")
    turnout.start()
    with Wire(socket.socket(socket.AF_UNIX)) as wire:
        wire.bare.connect(str(inside))
        wire.send(request("GET", "/healthz", *signed_in(), "X-Real-IP: 192.0.2.9", "X-Request-Id: inside"))
        assert wire.answer().status == 200
    assert "client=unix" in logged(turnout, "request_id=inside")
    assert client_in_log(turnout, "X-Real-IP: 192.0.2.9") == "192.0.2.9"


def test_trust_is_given_and_taken_by_a_reload_on_kept_connections_too(new_turnout):
    turnout = new_turnout(workers=1, **SIGNED_IN)
    lines = signed_in()
    with Wire.unix(turnout) as inside, Wire.tcp(turnout) as outside:
        def ask_both():
            answers = []
            for wire in (inside, outside):
                wire.send(request("GET", "/api/users/me", *lines))
                answers.append(wire.answer().status)
            return answers

        assert ask_both() == [200, 401]
        turnout.configure(trusted_proxies="127.0.0.0/8")
        turnout.ctl("reload")
        assert ask_both() == [401, 200]
        turnout.configure(trusted_proxies="unix, 127.0.0.1", proxy_subject_header="X-Other", proxy_issuer="another")
        turnout.ctl("reload")
        assert ask_both() == [401, 401]
        turnout.configure(proxy_subject_header="X-Remote-Email", proxy_issuer="proxy")
        turnout.ctl("reload")
        # The subject is another one now, and the address belongs to the first.
        assert ask_both() == [403, 403]


@pytest.mark.parametrize("options, complaint", [
    ({"trusted_proxies": "10.0.0.1/8"}, 'trusted_proxies: expected addresses, networks or unix ("10.0.0.1/8" has bits behind its prefix length)'),
    ({"trusted_proxies": "0.0.0.0/0"}, "would be everybody"),
    ({"client_address_header": "X Real IP"}, "client_address_header: expected the name of a header"),
    ({"proxy_subject_header": "Authorization", "proxy_email_header": "X-Email"}, "that has no meaning yet"),
    ({"proxy_subject_header": "X-User"}, "proxy_subject_header: expected proxy_email_header beside it"),
    ({"proxy_role_header": "X-Role"}, "proxy_role_header: expected proxy_subject_header beside it"),
    ({"proxy_subject_header": "X-User", "proxy_email_header": "X-Email", "trusted_proxies": ""}, "expected trusted_proxies beside it"),
])
def test_a_configuration_that_trusts_by_mistake_is_refused(options, complaint):
    if server.programs() is None:
        pytest.skip("TURNOUT_BIN does not say where turnoutd and turnoutctl are")
    turnout = server.Turnout("dbname=none", "dbname=none user=owner", **options)
    try:
        check = ("turnoutd", "-c", turnout.configuration_file, "--check-config")
        done = server.run(*check, check=False)
        assert done.returncode == 2
        assert complaint in done.stderr and done.stderr.count("\n") == 1
        turnout.configure(**{name: None for name in options})
        assert "the configuration is good" in server.run(*check).stdout
    finally:
        turnout.remove()
