"""Every request that others graded by how far two programs may disagree about it (../shared/data/http), sent to turnoutd itself and
through the nginx that we ship. What is Ambiguous or Severe is refused and ends the connection; the same without the bad part is
read. Behind nginx, turnoutd never receives a request that nginx does not know of, and at most one for each that was sent."""

import collections
import concurrent.futures
import contextlib
import http.client
import re
import uuid

import pytest

import attacks
import nginx as nginx_server
from nginx import NAME, Nginx
from sql_harness import wait_until
from wire import PATIENCE, Wire, get

# DESIGN, section 12: what the strict reading costs is refused on purpose. Compliant, but:
CODINGS = ("more-compliant-tests-6", "more-compliant-tests-8", "more-compliant-tests-9", "more-compliant-tests-10",
           "rfc-compliant-9", "rfc-compliant-10", "rfc-compliant-11")
REFUSED_ON_PURPOSE = {**{name: 501 for name in CODINGS},  # any coding but a lone chunked, without parameters
                      "more-compliant-tests-7": 413,      # a body of 4 MB
                      "rfc-compliant-12": 400,            # a fragment
                      "rfc-compliant-13": 400,            # raw UTF-8 in the target
                      "rfc-compliant-14": 400}            # no target
# Acceptable: harmless for whoever reads it loosely. Read here, too; all others are refused.
READ_ALTHOUGH_LOOSE = ("acceptable-5", "acceptable-6")  # Content-Length: 0 of GET and HEAD

BEHIND = "behind"


@pytest.fixture(scope="module")
def cases(test_data):
    found = attacks.read_cases(test_data)
    tiers = collections.Counter(case.tier for case in found)
    print(f"\n{dict(tiers)}")
    assert tiers["Ambiguous"] >= 57 and tiers["Severe"] >= 58 and tiers["Compliant"] >= 28, tiers
    return found


def behind(host):
    return get("/api/events?limit=1", f"X-Request-Id: {BEHIND}", host=f"Host: {host}")


def ids_answered(wire, methods):
    """(status, request id, Connection) of each answer until the connection ends, or the request behind is answered."""
    found = []
    for method in methods:
        try:
            answer = wire.answer(method)
        except http.client.RemoteDisconnected:
            break
        found.append((answer.status, answer.headers["x-request-id"], answer.headers.get("connection")))
        if answer.headers["x-request-id"] == BEHIND:
            break
    return found


def refusal_of(wire, method, data):
    """How the bytes, with a good request behind them, are refused: the status. Or None, and then what went on instead."""
    try:
        wire.send(data, behind("test"))
    except (BrokenPipeError, ConnectionResetError):
        pass  # a long body, refused before it was sent
    answers = ids_answered(wire, [method] + ["GET"] * 3)
    if len(answers) == 1 and answers[0][0] >= 400 and answers[0][2] == "close" and wire.is_closed():
        return answers[0][0], answers
    return None, answers


def reading_of(wire, method, data):
    """The status of the answer, where the bytes are one request and what stands behind is answered as the next one."""
    wire.send(data, behind("test"))
    answers = ids_answered(wire, [method, "GET"])
    if len(answers) == 2 and answers[1][:2] == (200, BEHIND) and answers[0][1] not in (BEHIND, attacks.SMUGGLED):
        return answers[0][0], answers
    return None, answers


# Directly

@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_what_two_programs_may_read_in_two_ways_is_refused_and_its_twin_is_read(turnout, cases, kind):
    wrong, refused = [], collections.Counter()
    for case in cases:
        if not case.is_dangerous:
            continue
        forms = attacks.attacks(case, "test")
        for form in forms:
            with getattr(Wire, kind)(turnout) as wire:
                status, answers = refusal_of(wire, case.method, form)
            if status is None:
                wrong.append((case, "not refused", form, answers))
            refused[status] += 1
        method, twin = attacks.twin(case, "test")
        assert twin not in forms
        with getattr(Wire, kind)(turnout) as wire:
            status, answers = reading_of(wire, method, twin)
        if status != 404:
            wrong.append((case, "its twin is not read", twin, answers))
    assert not wrong, "\n".join(map(str, wrong))
    print(f"\nrefused by status: {dict(refused)}")
    assert set(refused) <= {400, 501, 505}


def test_what_is_compliant_is_read_unless_it_is_refused_on_purpose(turnout, cases):
    wrong, seen = [], set()
    for case in cases:
        if case.tier != "Compliant":
            continue
        form, purpose = attacks.attacks(case, "test")[0], REFUSED_ON_PURPOSE.get(case.name)
        seen.add(case.name)
        with Wire.tcp(turnout) as wire:
            status, answers = refusal_of(wire, case.method, form) if purpose else reading_of(wire, case.method, form)
        if status != (purpose or 404):
            wrong.append((case, form[:300], answers))
        if purpose and purpose != 413:
            method, twin = attacks.twin(case, "test")
            with Wire.tcp(turnout) as wire:
                status, answers = reading_of(wire, method, twin)
            if status != 404:
                wrong.append((case, "its twin", twin[:300], answers))
    assert not wrong, "\n".join(map(str, wrong))
    assert set(REFUSED_ON_PURPOSE) <= seen


def test_what_is_loose_but_harmless_is_refused_as_well(turnout, cases):
    wrong = []
    for case in cases:
        if case.tier != "Acceptable":
            continue
        for form in attacks.attacks(case, "test"):
            with Wire.tcp(turnout) as wire:
                if case.name in READ_ALTHOUGH_LOOSE:
                    status, answers = reading_of(wire, case.method, form)
                else:
                    status, answers = refusal_of(wire, case.method, form)
            if status is None:
                wrong.append((case, form[:300], answers))
        method, twin = attacks.twin(case, "test")
        with Wire.tcp(turnout) as wire:
            status, answers = reading_of(wire, method, twin)
        if status != 404:
            wrong.append((case, "its twin", twin[:300], answers))
    assert not wrong, "\n".join(map(str, wrong))


# Behind nginx

@pytest.fixture(scope="module")
def pair(turnout):
    """turnoutd with one worker, whose log is in the order of what it received, and an nginx in front of it."""
    if nginx_server.program() is None:
        pytest.skip("there is no nginx")
    turnout.restart(workers=1)
    with Nginx(turnout.unix_socket) as running:
        yield turnout, running
    turnout.restart(workers=2)


class Received:
    """The ids of the requests that turnoutd received while the block ran: one line of its log each, refused ones too."""

    def __init__(self, turnout):
        self.turnout = turnout
        self.ids = []

    def __enter__(self):
        self.skip = len(self._lines())
        return self

    def _lines(self):
        self.marker = f"marker.{uuid.uuid4().hex}"
        with Wire.unix(self.turnout) as wire:
            # Two turns of the worker's loop: what lay in a socket before the first has been read at the second.
            for number in range(2):
                wire.send(get("/api/marker", f"X-Request-Id: {self.marker}.{number}"))
                wire.answer()
        wait_until(lambda: self.turnout.log_lines(f"{self.marker}.1"), "the marker is logged")
        return [re.search(r"request_id=(\S+)", line)[1] for line in self.turnout.log_lines("message=request ")]

    def __exit__(self, *_):
        self.ids = [one for one in self._lines()[self.skip:] if not one.startswith("marker.")]


def known_to_nginx(running):
    """Request line by id, of each request that nginx has read."""
    found = {}
    for line in running.access_log.read_text(encoding="utf-8", errors="replace").splitlines():
        match = re.match(r'\S+ \[[^]]*\] "(.*)" (\d+) \d+ \S+ .*? ([0-9a-f]{32})$', line)
        assert match, line
        found[match[3]] = match[1]
    return found


def settle(running, ids):
    """nginx writes its line when its client has gone: waits for those of all that it sent on. The others were not its."""
    made = [one for one in ids if re.fullmatch("[0-9a-f]{32}", one)]
    return wait_until(lambda: set(made) <= set(known_to_nginx(running)) and known_to_nginx(running), "nginx logs what it sent on")


# Seconds without a byte after which nginx waits for more of a body, or has said all that it had to say.
QUIET = 0.25


def everything_said(running, data, complete):
    """Sends the bytes on a connection of their own; answers what came until its end, or until it was quiet. Where the request is
    complete, there is an answer to wait for."""
    received = b""
    with running.wire() as wire, contextlib.suppress(ConnectionResetError, BrokenPipeError):
        wire.send(data)
        with contextlib.suppress(TimeoutError):
            wire.bare.settimeout(PATIENCE if complete else QUIET)
            while part := wire.bare.recv(65536):
                received += part
                wire.bare.settimeout(QUIET)
    return received


def test_the_count_would_see_a_request_that_nginx_does_not_know_of(pair):
    turnout, running = pair
    inner = attacks.smuggled_request("test")
    with Received(turnout) as received:
        with running.wire() as wire:
            wire.send(get("/api/first", host=f"Host: {NAME}"))
            wire.answer()
        # As a proxy would that took the second request for the first one's body.
        with Wire.unix(turnout) as wire:
            wire.send(get("/api/outer", "X-Request-Id: outer") + inner)
            assert [wire.answer().status for _ in range(2)] == [404, 404]
    known = settle(running, received.ids)
    assert [one for one in received.ids if one not in known] == ["outer", attacks.SMUGGLED]
    assert [known[one] for one in received.ids if one in known] == ["GET /api/first HTTP/1.1"]
    # And two that nginx knows of are counted as two.
    with Received(turnout) as received, running.wire() as wire:
        wire.send(get("/api/one", host=f"Host: {NAME}"), get("/api/two", host=f"Host: {NAME}"))
        assert [wire.answer().status for _ in range(2)] == [404, 404]
    known = settle(running, received.ids)
    assert [known[one] for one in received.ids] == ["GET /api/one HTTP/1.1", "GET /api/two HTTP/1.1"]


# By turnoutd or nginx; where nginx has read HTTP/0.9, the answer is nothing but its body.
REFUSED = rb'^HTTP/1\.1 [45]\d\d |^\{"type":"/problems/bad-request",'


def form_of(case, number, form):
    """The path says which form of which case it is."""
    return form.replace(f"/api/{case.name}/0".encode(), f"/api/{case.name}/{number}".encode())


@pytest.mark.parametrize("honest", [True, False], ids=["the body that the length promises", "a body that holds a request"])
def test_behind_nginx_at_most_one_request_arrives_for_each_one_sent(pair, cases, honest):
    turnout, running = pair
    forms = [(case, number, form_of(case, number, form)) for case in cases
             for number, form in enumerate(attacks.attacks(case, NAME, f"/api/{case.name}/0", honest), 0 if honest else 10)]
    with Received(turnout) as received, concurrent.futures.ThreadPoolExecutor(16) as senders:
        said = list(senders.map(lambda form: everything_said(running, form[2], honest), forms))
    assert len(set(received.ids)) == len(received.ids), "nginx sent a request twice"
    known = settle(running, received.ids)
    # Where turnoutd refuses the request line it has seen no id of nginx's, and made one; the answer says it.
    answered = {}
    for (case, number, _), answer in zip(forms, said):
        if found := re.search(rb"\r\nX-Request-Id: (\S+)\r\n", answer):
            answered[found[1].decode()] = f"/api/{case.name}/{number}"
    unknown = [one for one in received.ids if one not in known and one not in answered]
    assert not unknown, f"requests that nginx did not send: {unknown}"
    lines = [known.get(one) or answered[one] for one in received.ids]
    arrived = collections.Counter(re.search(r"/api/([a-z-]+-\d+)/(\d+)", line).groups()
                                  for line in lines if "/api/smuggled" not in line)
    assert not [one for one, times in arrived.items() if times > 1], arrived
    # Where the body is nothing but a request and no length can be seen, nginx, too, knows of two. Else there is only the first.
    within = sum("/api/smuggled" in line for line in lines)
    assert within == 0 or not honest
    statuses = collections.Counter(answer[9:12].decode() for (case, _, _), answer in zip(forms, said)
                                   if case.is_dangerous and answer.startswith(b"HTTP/1.1 "))
    print(f"\n{len(forms)} sent, {sum(arrived.values())} arrived, {within} within them that nginx took for requests, too; "
          f"the dangerous ones by status: {dict(statuses)}")
    let_in = [(case, form[:300], answer[:300]) for (case, _, form), answer in zip(forms, said)
              if case.is_dangerous and not re.search(REFUSED, answer) and (answer or honest)]
    assert not let_in, "\n".join(map(str, let_in))


def test_behind_nginx_the_twins_are_read(pair, cases):
    turnout, running = pair
    wrong, dangerous = [], [case for case in cases if case.is_dangerous]
    with Received(turnout) as received:
        for case in dangerous:
            method, twin = attacks.twin(case, NAME, prefix="/api/twin")
            with running.wire() as wire:
                wire.send(twin.replace(b"Host: localhost", f"Host: {NAME}".encode()), get("/api/twin/behind", host=f"Host: {NAME}"))
                answers = [wire.answer(to).status for to in (method, "GET")]
            if answers != [404, 404]:
                wrong.append((case, twin, answers))
    assert not wrong, "\n".join(map(str, wrong))
    known = settle(running, received.ids)
    assert sum("/api/twin" in known[one] for one in received.ids) == 2 * len(dangerous)
