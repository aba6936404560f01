"""How much one user, or one address without a valid token, may ask of a host: exactly so much over all of its workers.

A request to cancel a registration that there is none of stands for a write: it is refused with 404 where it is not refused with 429.
"""

import contextlib
import http.client
import itertools
import os
import re
import signal
import socket
import threading
import time

import pytest

from api import Person, eventually
from metrics import scrape
from reloading import reload
from server import NO_LIMITS
from sql_harness import wait_until

NOTHING = "/api/registrations/0193b5f0-1c2d-7abc-8def-0123456789ab"


@pytest.fixture(scope="module")
def limited(turnout):
    """The module's daemon, with one worker more, and an address for whoever is said to have it."""
    reload(turnout, workers=3, trusted_proxies="127.0.0.1, unix")
    wait_until(lambda: [worker["state"] for worker in turnout.processes("worker")] == ["ready"] * 3, "three workers serve")
    return turnout


@pytest.fixture(autouse=True)
def begin_anew(limited):
    """Without limits; a test says which ones it wants."""
    yield
    reload(limited, **NO_LIMITS)


def somebody(turnout, role="participant"):
    """Somebody whom turnoutd knows already."""
    person = Person(turnout, role)
    assert person.id
    return person


class Taken:
    """Counts what is admitted in a window, by whoever asks, and says whether that is what a limit gives in it: the burst, and what
    flows in until the last answer. Whoever counts asks for more than there is."""

    def __init__(self, rate, burst):
        self.rate, self.burst, self.admitted, self.refused, self.begun = rate, burst, 0, 0, time.monotonic()

    def note(self, answer):
        if answer.status == 429:
            self.refused += 1
        else:
            self.admitted += 1

    def assert_exact(self, lost=0):
        """`lost` requests were never answered: they may have been counted or not."""
        flowed = int((time.monotonic() - self.begun) * self.rate)
        print(f"admitted {self.admitted} of {self.admitted + self.refused}: burst {self.burst}, {flowed} flowed in, {lost} lost")
        assert self.refused > 0
        assert self.burst - lost <= self.admitted <= self.burst + flowed


@contextlib.contextmanager
def only(turnout, pid):
    """No other worker takes a connection meanwhile."""
    others = [process["pid"] for process in turnout.processes("worker") if process["pid"] != pid]
    turnout.disconnect()
    for other in others:
        os.kill(other, signal.SIGSTOP)
    try:
        yield
    finally:
        for other in others:
            os.kill(other, signal.SIGCONT)
        turnout.disconnect()


def test_a_user_gets_the_burst_once_however_many_workers_answer(limited):
    person, other = somebody(limited), somebody(limited)
    reload(limited, user_writes=1, user_writes_burst=12)
    taken = Taken(1, 12)
    answered = []
    for process in limited.processes("worker"):
        with only(limited, process["pid"]):
            answered.append(0)
            for _ in range(7):
                answer = limited.delete(NOTHING, person.token)
                assert answer.status in (404, 429), answer
                taken.note(answer)
                answered[-1] += answer.status == 404
    taken.assert_exact()
    assert answered[0] == 7 and sum(answered) > 7, "two workers at least have given some of it"
    assert limited.delete(NOTHING, other.token).status == 404, "somebody else has a bucket of his own"
    assert limited.get("/api/users/me", person.token).status == 200, "reads have one, too"


def test_a_refused_write_did_nothing_and_the_same_user_may_write_after_retry_after(limited):
    organizer, person = Person(limited, "organizer"), somebody(limited)
    event = organizer.event(capacity=5)
    reload(limited, user_writes=1, user_writes_burst=2)
    while (refused := limited.delete(NOTHING, person.token)).status != 429:
        assert refused.status == 404
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.problem == "rate-limited"
    assert refused.json()["violated-policies"] == ["user-writes"]
    assert refused.headers["ratelimit-policy"] == '"user-writes";q=2;w=2'
    assert refused.headers["ratelimit"] == '"user-writes";r=0;t=1'
    assert "no-store" in refused.headers["cache-control"]
    answer = person.register(event)
    if answer.status == 429:  # else a second has gone by meanwhile
        wait = int(answer.headers["retry-after"])
        assert 1 <= wait <= 2
        assert organizer.read(event)["registered_count"] == 0
        time.sleep(wait)  # what the answer asks for
        answer = person.register(event)
    assert answer.status == 201, answer
    assert eventually(lambda: organizer.read(event)["registered_count"]) == 1


def test_each_answer_to_a_write_says_what_is_left(limited):
    person = somebody(limited, "organizer")
    reload(limited, user_writes=1, user_writes_burst=1000)
    left, begun = [], time.monotonic()
    for answer in (limited.post("/api/events", person.token, json={}), limited.delete(NOTHING, person.token),
                   limited.post("/api/events", person.token, body=b"{", headers={"Content-Type": "application/json"})):
        assert answer.headers["ratelimit-policy"] == '"user-writes";q=1000;w=1000'
        left.append([int(number) for number in re.fullmatch(r'"user-writes";r=(\d+);t=(\d+)', answer.headers["ratelimit"]).groups()])
    flowed = int(time.monotonic() - begun)
    assert person.event()
    for number, (remaining, seconds) in enumerate(left, start=1):
        assert 1000 - number <= remaining <= 1000 - number + flowed
        assert seconds == remaining, "at one a second"
    assert "ratelimit" not in limited.get("/api/users/me", person.token).headers


def test_reads_of_a_user_have_a_bucket_of_their_own(limited):
    person, other = somebody(limited), somebody(limited)
    reload(limited, user_reads=1, user_reads_burst=10)
    taken = Taken(1, 10)
    paths = itertools.cycle(("/api/events", "/api/users/me", "/api/registrations"))
    answers = [limited.get(next(paths), person.token) for _ in range(20)]
    for answer in answers:
        taken.note(answer)
    taken.assert_exact()
    assert [answer.headers.get("ratelimit-policy") for answer in answers if answer.status == 200] == [None] * taken.admitted
    refused = next(answer for answer in answers if answer.status == 429)
    assert refused.headers["ratelimit-policy"] == '"user-reads";q=10;w=10'
    assert limited.delete(NOTHING, person.token).status == 404
    assert limited.get("/api/events", other.token).status == 200


def test_an_address_is_limited_only_for_what_brings_no_valid_token(limited):
    person = somebody(limited)
    address = {"X-Real-IP": "192.0.2.77"}
    reload(limited, address_requests=1, address_requests_burst=10)
    taken = Taken(1, 10)
    ways = itertools.cycle((("GET", "/api/events", None, 200), ("GET", NOTHING, None, 401), ("POST", "/api/events", "none", 401),
                            ("GET", "/api/events", "none.of.ours", 401), ("GET", "/api/openapi.json", None, 200)))
    for _ in range(25):
        method, path, token, otherwise = next(ways)
        answer = limited.request(method, path, token, headers=address)
        assert answer.status in (otherwise, 429), answer
        taken.note(answer)
        if answer.status == 429:
            assert answer.problem == "rate-limited"
            assert answer.headers["ratelimit-policy"] == '"address-requests";q=10;w=10'
    taken.assert_exact()
    assert {limited.get("/api/events", person.token, headers=address).status for _ in range(20)} == {200}
    assert limited.get("/api/events", headers={"X-Real-IP": "192.0.2.78"}).status == 200


def statuses(turnout, *addresses):
    return [turnout.get("/api/events", headers={"X-Real-IP": address}).status for address in addresses]


def test_addresses_of_one_ipv6_network_count_as_one(limited):
    reload(limited, address_requests=1, address_requests_burst=5)
    taken = Taken(1, 5)
    for number in range(20):
        taken.note(limited.get("/api/events", headers={"X-Real-IP": f"2001:db8:1:2:{number:x}::{number:x}"}))
    taken.assert_exact()
    assert statuses(limited, "2001:db8:1:3::1", "2001:db8:2:2::1", "::ffff:192.0.2.1") == [200] * 3
    # IPv4 is no network of that size
    assert statuses(limited, *(f"198.51.100.{number}" for number in range(20))) == [200] * 20


class Local(http.client.HTTPConnection):
    """Over the Unix socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


def test_who_comes_over_a_unix_socket_and_has_no_address_is_not_limited(limited):
    def ask(**headers):
        connection.request("GET", "/api/events", headers=headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    reload(limited, address_requests=1, address_requests_burst=3)
    with contextlib.closing(Local(limited.unix_socket)) as connection:
        assert {ask() for _ in range(20)} == {200}
        assert {ask(**{"X-Real-IP": "203.0.113.9"}) for _ in range(20)} == {200, 429}


def test_health_and_metrics_are_never_limited(limited):
    reload(limited, address_requests=1, address_requests_burst=1)
    assert {limited.get("/api/events").status for _ in range(10)} == {200, 429}
    for path in ("/healthz", "/readyz", "/metrics"):
        assert {limited.internal(path).status for _ in range(10)} == {200}


def test_the_death_of_workers_gives_nobody_more(limited):
    """All workers are killed, one after another, while somebody writes as fast as he can."""
    person = somebody(limited)
    reload(limited, user_writes=1, user_writes_burst=400)
    taken, lock, lost, done = Taken(1, 400), threading.Lock(), [0], threading.Event()

    def write():
        while not done.is_set():
            try:
                answer = limited.delete(NOTHING, person.token)
            except (OSError, http.client.HTTPException):
                with lock:
                    lost[0] += 1
                continue
            with lock:
                taken.note(answer)
        limited.disconnect()
    writers = [threading.Thread(target=write) for _ in range(4)]
    before = [process["pid"] for process in limited.processes("worker")]
    for writer in writers:
        writer.start()
    for number, pid in enumerate(before):
        wait_until(lambda share=60 * (number + 1): taken.admitted >= share, "some of it is given out")
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: taken.refused > 50, "there is nothing left")
    done.set()
    for writer in writers:
        writer.join()
    wait_until(lambda: not set(before) & {process["pid"] for process in limited.processes("worker")}, "all of them are new")
    wait_until(limited.is_ready, "workers serve")
    taken.assert_exact(lost[0])


def test_a_limit_that_is_reloaded_holds_at_once_for_everybody(limited):
    """user_writes, user_reads, address_requests and their bursts."""
    person = somebody(limited)

    def writes():
        return {limited.delete(NOTHING, person.token).status for _ in range(20)}

    def reads():
        return {limited.get("/api/users/me", person.token).status for _ in range(20)}

    def without():
        return {limited.get("/api/events").status for _ in range(20)}
    assert (writes(), reads(), without()) == ({404}, {200}, {200})
    said = reload(limited, user_writes=1, user_writes_burst=5)
    assert said == {"user_writes": ("0", "1", "now"), "user_writes_burst": ("50", "5", "now")}
    assert (writes(), reads(), without()) == ({404, 429}, {200}, {200})
    reload(limited, user_writes_burst=500, user_reads=1, user_reads_burst=5)
    assert (writes(), reads(), without()) == ({404}, {200, 429}, {200})
    reload(limited, user_reads=0, address_requests=1, address_requests_burst=5)
    assert (writes(), reads(), without()) == ({404}, {200}, {200, 429})
    reload(limited, address_requests=10, address_requests_burst=500)
    assert (writes(), reads(), without()) == ({404}, {200}, {200})


def test_what_is_refused_can_be_seen_by_whoever_runs_it(limited):
    def refusals():
        return scrape(limited).sum("rate_limited_total", limit="user_writes")
    person = somebody(limited)
    before = refusals()
    reload(limited, user_writes=1, user_writes_burst=60)
    answers = [limited.delete(NOTHING, person.token).status for _ in range(100)]
    assert refusals() == before + answers.count(429)
    row = next(row for row in limited.show("limits") if row["limit"] == "user_writes")
    assert (row["rate"], row["burst"], row["refused"]) == (1, 60, refusals())
    assert row["in_use"] >= 1 and row["uncounted"] == 0
    assert eventually(lambda: [line for line in limited.log_lines("more than the limit", "user-writes")]) != []
