"""Clients that take their time, by the thousand: other people hardly notice, what the slow hold is bounded, and it is given back."""

import os
import re
import resource
import shutil
import socket
import subprocess
import time

import psycopg
import pytest

from conftest import run_turnout
from crowd import Crowd
from loader import Loader
from sql_harness import OWNER, wait_until
from traffic import add_event, pids
from wire import PATIENCE, Wire, get, request

pytestmark = [pytest.mark.slow, pytest.mark.nosan]

FULL = bool(os.environ.get("TURNOUT_FULL"))
# Of each kind; `make proof` asks for the whole figure.
COUNT = 4000 if FULL else 1000
# Milliseconds that another client waits at most, 99 of 100 times.
P99 = 50
MEGABYTE = 1 << 20
# Of each worker, as configured by default: what slow clients may hold, and what 4,000 connections cost themselves.
CONNECTION_MEMORY = 64 * MEGABYTE
# The most that the workers held at once.
peak = {"held": 0}
LIST = "[list]\npath = /api/events?limit=5\n"
PAGE = "/api/events?limit=100"


@pytest.fixture(scope="module")
def crowded(postgres, make_database):
    """A server with a page of some 100 kB, and with deadlines that let slow clients stay however long the last takes to come."""
    turnout = run_turnout(postgres, make_database(), header_timeout="5m", body_timeout="5m", write_timeout="5m")
    try:
        turnout.start()
        with psycopg.connect(postgres.dsn(turnout.database, OWNER), autocommit=True) as connection:
            for number in range(100):
                add_event(connection, 100, f"{number} " + "漢" * 250)
        assert len(turnout.get(PAGE).body) > 80_000
        yield turnout
    finally:
        turnout.remove()


def resident(turnout):
    """Bytes that the workers hold together."""
    total = 0
    for pid in pids(turnout, "worker"):
        with open(f"/proc/{pid}/status", encoding="ascii") as status:
            total += 1024 * int(re.search(r"VmRSS:\s+(\d+)", status.read())[1])
    return total


def metric(turnout, name, **labels):
    """The sum of a metric's samples that have these labels."""
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    samples = re.findall(rf"(?m)^{name}(?:{{(.*)}})? (\S+)$", turnout.internal("/metrics").body.decode())
    return sum(float(value) for tags, value in samples if all(one in tags for one in wanted))


def connections(turnout):
    return metric(turnout, "turnout_http_connections", listener="public")


@pytest.fixture(scope="module")
def at_rest(crowded):
    """What the workers hold before anybody comes."""
    with Loader(crowded, people=0, mix=LIST, connections=20) as load:
        load.wait_for_answers(2000)
    crowded.disconnect()
    wait_until(lambda: connections(crowded) == 0, "all have gone")
    return resident(crowded)


def wait_of_others(turnout, rounds=4, look=lambda: None):
    """The p99 in milliseconds of somebody else who asks a hundred times a second; a machine that was busy gets another chance."""
    measured = []
    for _ in range(rounds):
        with Loader(turnout, people=0, mix=LIST, connections=10, rate=100, duration="2s") as load:
            wait_until(lambda: look() or load.process.poll() is not None, "the load has ended", 60)
            report = load.wait()
        assert report["failed"] == 0, report["failures"]
        measured.append(report["latency_ms"]["p99"])
        if measured[-1] < P99:
            break
    return min(measured)


def wait_answered(turnout, patience=120):
    """Until it is the server that waits for its clients, and no client for it: no more answers for half a second."""
    seen = {"answers": -1, "since": 0}

    def no_more():
        answers = metric(turnout, "turnout_http_requests_total", route="/api/events")
        if answers != seen["answers"]:
            seen.update(answers=answers, since=time.monotonic())
        return time.monotonic() - seen["since"] > 0.5
    wait_until(no_more, "the first requests are answered", patience)


KINDS = {
    "slow headers": {"begin": b"GET /api/events HTTP/1.1\r\nHost: test\r\nX-Padding: "},
    "slow headers of 12 kB": {"begin": b"GET /api/events HTTP/1.1\r\nHost: test\r\nX-Padding: " + b"x" * 12_000},
    "slow bodies": {"begin": b"POST /api/events HTTP/1.1\r\nHost: test\r\nContent-Length: 4096\r\n\r\n{"},
    "slow bodies of 200 kB": {"begin": request("POST", "/api/events", "Content-Length: 262144", body=b" " * 200_000), "again": False},
    "slow readers of 100 kB": {"begin": get(PAGE), "window": 2048, "drip": None, "again": False},
    "silent connections": {"begin": b"", "drip": None},
    "kept connections": {"begin": get("/api/events?limit=1"), "drip": None},
}


@pytest.mark.full
@pytest.mark.alone
@pytest.mark.parametrize("kind", KINDS)
def test_slow_clients_keep_nobody_waiting_and_hold_little(crowded, at_rest, kind, capsys):
    cut_off = metric(crowded, "turnout_http_slow_clients_cut_off_total")
    with Crowd(crowded, COUNT, **KINDS[kind]) as crowd:
        crowd.wait_begun()
        wait_answered(crowded)
        p99 = wait_of_others(crowded)
        there, held = connections(crowded), resident(crowded)
        peak["held"] = max(peak["held"], held)
    cut_off = metric(crowded, "turnout_http_slow_clients_cut_off_total") - cut_off
    with capsys.disabled():
        print(f"\n  {COUNT} {kind}: others' p99 {p99:.1f} ms; {there:.0f} connections; workers hold {held / MEGABYTE:.0f} MiB,"
              f" at rest {at_rest / MEGABYTE:.0f}; {cut_off:.0f} cut off before their time, {crowd.closed} closed in all"
              f" {dict(crowd.statuses)}")
    assert p99 < 5 * P99
    # Bodies and answers by connection_memory; beside it what jemalloc has not given back yet, and what the connections cost.
    assert held - at_rest < 2 * 2 * CONNECTION_MEMORY
    assert there >= 0.9 * (COUNT - cut_off)
    if kind == "slow bodies of 200 kB":
        assert cut_off > 0 and crowd.statuses[408] > 0
    elif kind == "slow readers of 100 kB":
        assert held - at_rest > 20 * MEGABYTE, "nothing was held for slow readers: the kernel took it all"
        # They hear of it at once, and so does the kernel, which would hold as much.
        assert crowd.closed >= cut_off
    else:
        assert cut_off == 0
    wait_until(lambda: connections(crowded) == 0, "the crowd has gone")


TOOL = {"-H": ("-i", "1"), "-B": ("-i", "1"), "-R": (), "-X": ("-w", "1", "-y", "512", "-n", "2", "-z", "5", "-k", "3")}


# All kinds at once; in the long form one after the other.
ROUNDS = [[mode] for mode in TOOL] if FULL else [list(TOOL)]


@pytest.mark.full
@pytest.mark.alone
@pytest.mark.parametrize("modes", ROUNDS, ids=" ".join)
def test_slowhttptest_finds_the_service_available(crowded, modes, capsys):
    if shutil.which("slowhttptest") is None:
        pytest.skip("there is no slowhttptest")
    turnout, count = crowded, COUNT // len(modes)
    accepted = metric(turnout, "turnout_http_connections_accepted_total", listener="public")
    # Large, and without the database, which thousands of requests for a long page would keep busy.
    url = f"http://127.0.0.1:{turnout.port}/api/openapi.json"
    seconds = "60" if FULL else "4"
    running = [subprocess.Popen(
        ["slowhttptest", mode, "-c", str(count), "-r", str(count), "-l", seconds, "-u", url, *TOOL[mode]],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, resource.getrlimit(resource.RLIMIT_NOFILE)[1:] * 2))
        for mode in modes]
    seen, p99 = [], 0
    if FULL and modes != ["-R"]:  # those are answered, and go
        wait_until(lambda: running[0].poll() is not None or connections(turnout) >= 0.99 * count, "all have come", 70)
    while any(one.poll() is None for one in running):
        p99 = max(p99, wait_of_others(turnout, look=lambda: seen.append(connections(turnout))))
    outputs = [one.communicate()[0] for one in running]
    accepted = metric(turnout, "turnout_http_connections_accepted_total", listener="public") - accepted
    with capsys.disabled():
        print(f"\n  slowhttptest {' '.join(modes)}: {accepted:.0f} connections accepted, {max(seen, default=0):.0f} at once;"
              f" others' p99 {p99:.1f} ms; workers hold {resident(turnout) / MEGABYTE:.0f} MiB")
    for output in outputs:
        plain = re.sub(r"\x1b\[[0-9;]*m", "", output)
        assert re.findall(r"service available:\s+(\w+)", plain)[-1] == "YES", plain[-2000:]
    assert accepted >= 0.25 * len(modes) * count
    assert p99 < 5 * P99


@pytest.mark.full
@pytest.mark.alone
def test_memory_is_given_back(crowded, at_rest, capsys):
    """After all of the above; jemalloc takes ten seconds for it."""
    wait_until(lambda: resident(crowded) < at_rest + 24 * MEGABYTE, "the workers give their memory back", 60)
    with capsys.disabled():
        print(f"\n  workers held {at_rest / MEGABYTE:.0f} MiB before the crowds, {peak['held'] / MEGABYTE:.0f} MiB at most,"
              f" {resident(crowded) / MEGABYTE:.0f} MiB after them")


# Range (Apache killer)

def test_ranges_are_not_heard_whatever_they_are(crowded):
    whole = crowded.get(PAGE).body
    many = "bytes=0-" + "".join(f",5-{end}" for end in range(1500))
    for value in ("bytes=0-0", "bytes=0-0,-1", many, "bytes=9-1", "lines=1-2"):
        answer = crowded.get(PAGE, headers={"Range": value})
        assert answer.status == 200 and answer.body == whole and "content-range" not in answer.headers
    with Wire.tcp(crowded) as wire:
        wire.send(request("HEAD", PAGE, f"Range: {many}"), get("/api/events?limit=1"))
        assert int(wire.answer("HEAD").headers["content-length"]) == len(whole)
        assert wire.answer().status == 200
    with Wire.tcp(crowded) as wire:
        wire.send(get(PAGE, f"Range: {many}" + ",5-9" * 2500))
        assert wire.answer().problem == "too-large"


# Floods

def processor_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def assert_no_spin(turnout, what):
    """Over a second and more, no worker uses the processor for more than half of it."""
    workers, began = pids(turnout, "worker"), time.monotonic()
    before = [processor_seconds(pid) for pid in workers]
    wait_until(lambda: time.monotonic() - began > 1.2, "a second has passed")
    passed = time.monotonic() - began
    used = [(processor_seconds(pid) - since) / passed for pid, since in zip(workers, before)]
    print(f"\n{what}: workers use {', '.join(f'{share:.0%}' for share in used)} of a processor")
    assert max(used) < 0.5
    assert pids(turnout, "worker") == workers


class Regular:
    """Somebody who was there before the flood, and asks on one connection."""

    def __init__(self, turnout):
        self.wire = Wire.tcp(turnout)
        self.ask()

    def ask(self):
        self.wire.send(get("/api/events?limit=1"))
        assert self.wire.answer().status == 200


@pytest.fixture(scope="module")
def narrow(postgres, make_database):
    """Room for 100 connections in each of two workers."""
    running = run_turnout(postgres, make_database(), max_connections=100, header_timeout="3s")
    try:
        yield running.start()
    finally:
        running.remove()


def test_past_max_connections_newcomers_take_the_place_of_the_silent(narrow):
    regular = Regular(narrow)
    with Crowd(narrow, 500, b"", drip=None) as crowd:
        wait_until(lambda: crowd.connected >= 500 and connections(narrow) >= 199, "both workers are full")
        began = time.monotonic()
        while time.monotonic() - began < 2:
            regular.ask()
        with Wire.tcp(narrow) as newcomer:
            newcomer.send(get("/api/events?limit=1"))
            assert newcomer.answer().status == 200
        print(f"\na newcomer among 500 silent clients is served after {time.monotonic() - began - 2:.1f} s")
        assert connections(narrow) <= 201
        assert_no_spin(narrow, "full of silent clients")
        regular.ask()
    assert metric(narrow, "turnout_http_connections_closed_total", reason="room") > 0
    wait_until(lambda: connections(narrow) <= 1, "the flood has gone")
    with Wire.tcp(narrow) as later:
        later.send(get("/api/events?limit=1"))
        assert later.answer().status == 200
    regular.ask()
    regular.wire.bare.close()


def test_past_max_connections_newcomers_wait_for_those_that_are_at_work(narrow):
    regular = Regular(narrow)
    with Crowd(narrow, 400, b"GET /api/events HTTP/1.1\r\nHost: ", drip=None, again=False) as crowd:
        wait_until(lambda: crowd.connected >= 400 and connections(narrow) >= 199, "both workers are full")
        with Wire.tcp(narrow) as newcomer:
            newcomer.send(get("/api/events?limit=1"))
            regular.ask()
            assert_no_spin(narrow, "full of slow clients")
            # Those that hold up the others meet header_timeout.
            assert newcomer.answer().status == 200
        regular.ask()
        assert crowd.statuses[408] > 0
    wait_until(lambda: connections(narrow) <= 1, "the flood has gone")
    regular.ask()
    regular.wire.bare.close()


def test_out_of_descriptors_a_worker_goes_on_and_recovers(new_turnout):
    turnout = new_turnout(workers=1, header_timeout="60s")
    regular = Regular(turnout)
    worker = pids(turnout, "worker")[0]
    before = resource.prlimit(worker, resource.RLIMIT_NOFILE)
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (120, before[1]))
    with Crowd(turnout, 500, b"GET /api/events HTTP/1.1\r\nHost: ", drip=None, again=False):
        wait_until(lambda: turnout.log_lines("cannot accept connections", "Too many open files"), "descriptors run out")
        regular.ask()
        assert_no_spin(turnout, "out of descriptors")
        regular.ask()
        complaints = len(turnout.log_lines("cannot accept connections"))
        resource.prlimit(worker, resource.RLIMIT_NOFILE, before)
        wait_until(lambda: connections(turnout) >= 500, "everybody has come in")
        assert complaints < 30
    wait_until(lambda: connections(turnout) <= 1, "the flood has gone")
    with Wire.tcp(turnout) as later:
        later.send(get("/api/events?limit=1"))
        assert later.answer().status == 200
    assert pids(turnout, "worker") == [worker]
    regular.ask()
    regular.wire.bare.close()


def test_many_who_connect_and_leave_at_once_leave_nothing_behind(narrow):
    regular = Regular(narrow)
    count = 3000
    for number in range(count):
        with socket.create_connection(("127.0.0.1", narrow.port), timeout=PATIENCE) as bare:
            if number % 3 == 1:
                bare.sendall(b"GET /api/eve")
            elif number % 3 == 2:
                bare.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                bare.sendall(get("/api/events?limit=1"))
        if number % 500 == 0:
            regular.ask()
    wait_until(lambda: connections(narrow) <= 1, "everybody has gone")
    regular.ask()
    regular.wire.bare.close()
