"""Nothing adds up: after 100,000 requests of every kind each worker has the descriptors and the memory that it had after 10,000."""

import asyncio
import os
import pathlib
import random
import socket
import subprocess

import psycopg
import pytest

from load import ConnectionLost
from server import programs
from sql_harness import OWNER, wait_until
from traffic import SCALE, Traffic, add_event, pids, wait_replaced

WARM, ALL = 10_000, int(100_000 * SCALE)
MOST_KIB = 1024
CLIENTS = 32
# Requests that one client sends in one go.
BURST = 25


def is_sanitized():
    """Freed memory stays in quarantine there, so that RSS says nothing."""
    if "TURNOUT_SANITIZER_LOGS" in os.environ:
        return True
    found = subprocess.run(["nm", "-D", str(programs() / "turnoutd")], stdout=subprocess.PIPE, text=True, check=False).stdout
    return "__asan_" in found or "__ubsan_" in found


def memory(pid):
    """RSS in KiB."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError(f"{pid} has no memory")


def descriptors(pid):
    """What each of its descriptors leads to: 'socket', 'anon_inode', 'pipe', a file's name."""
    found = []
    for link in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        found.append(os.readlink(link).split(":[")[0])
    return sorted(found)


def framed(method, path, token=None, body=None, headers=""):
    lines = f"{method} {path} HTTP/1.1\r\nHost: test\r\n{headers}"
    if token:
        lines += f"Authorization: Bearer {token}\r\n"
    if body is not None:
        lines += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return (lines + "\r\n").encode() + (body or b"")


class Pipe(asyncio.Protocol):
    """A connection on which many requests are sent in one go; counts the answers."""

    def __init__(self):
        self.transport, self.buffer, self.missing, self.done, self.statuses = None, b"", 0, None, []

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.buffer += data
        while True:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.buffer[:end].lower()
            place = head.find(b"content-length:")
            length = int(head[place + 15:].split(b"\r\n", 1)[0]) if place >= 0 else 0
            if len(self.buffer) < end + 4 + length:
                return
            self.statuses.append(int(head[9:12]))
            self.buffer = self.buffer[end + 4 + length:]
            self.missing -= 1
            if self.missing == 0 and self.done is not None and not self.done.done():
                self.done.set_result(True)

    def connection_lost(self, error):
        if self.done is not None and not self.done.done():
            self.done.set_exception(ConnectionLost(sent=True))

    async def send(self, requests):
        self.missing, self.statuses = len(requests), []
        self.done = asyncio.get_running_loop().create_future()
        self.transport.write(b"".join(requests))
        await self.done
        return self.statuses


class Mixture:
    """Reads, writes, refused and broken requests, in the proportions of a bad day."""

    def __init__(self, turnout, events):
        self.turnout, self.events = turnout, events
        self.tokens = [turnout.token(f"leak{number}@example.com") for number in range(200)]
        self.count = 0
        self.statuses = {}

    def burst(self, pick):
        requests = []
        for _ in range(BURST):
            event, token = pick.choice(self.events), pick.choice(self.tokens)
            requests.append(pick.choices([
                framed("GET", "/api/events?limit=5"),
                framed("GET", f"/api/events/{event}", headers='If-None-Match: "1.0.0"\r\n'),
                framed("GET", "/api/users/me", token),
                framed("GET", "/api/registrations?limit=3", token),
                framed("POST", "/api/registrations", token, b'{"event_id":"%s"}' % event.encode()),
                framed("POST", "/api/registrations", token, b'{"event_id": 5, "x": [}'),
                framed("POST", "/api/registrations", token + "x", b"{}"),
                framed("POST", "/api/registrations", token, b'{"event_id":"x"}'),
                framed("GET", "/api/events?limit=0&cursor=nonsense"),
                framed("GET", "/api/nothing/here"),
                framed("PUT", "/api/events", token, b"{}"),
                framed("GET", "/api/openapi.json"),
                framed("HEAD", f"/api/registrations/{event}", token),
            ], weights=[14, 14, 14, 8, 2, 8, 8, 6, 6, 6, 6, 1, 0])[0])
        return requests

    async def run(self, client, number, traffic):
        """A connection for some bursts, then a broken request, then a new one."""
        pick = random.Random(number)
        loop = asyncio.get_running_loop()
        while traffic.going:
            _, wire = await loop.create_connection(Pipe, "127.0.0.1", self.turnout.port)
            for _ in range(pick.randrange(1, 12)):
                for status in await wire.send(self.burst(pick)):
                    self.statuses[status] = self.statuses.get(status, 0) + 1
                self.count += BURST
                if not traffic.going:
                    break
            wire.transport.close()
            await loop.run_in_executor(None, self.break_one, pick.randrange(8))
            self.count += 1

    def break_one(self, kind):
        """A request that ends badly."""
        bytes_ = [b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"GET /api/events HTTP/1.1\r\nHo",
                  b"POST /api/registrations HTTP/1.1\r\nHost: t\r\nContent-Length: 50\r\n\r\n{", b"", b"A" * 20000,
                  framed("GET", "/api/events?limit=100"),
                  b"POST /api/events HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n"][kind]
        try:
            with socket.create_connection(("127.0.0.1", self.turnout.port), timeout=5) as wire:
                wire.sendall(bytes_)
                if kind in (0, 1, 5, 7):
                    while wire.recv(65536):
                        pass
        except OSError:
            pass


@pytest.mark.nosan
def test_descriptors_are_equal_and_memory_is_at_most_a_mebibyte_higher(new_turnout, postgres, capsys):
    if is_sanitized():
        pytest.skip("freed memory stays in the sanitizer's quarantine")
    turnout = new_turnout(workers=2)
    with psycopg.connect(postgres.dsn(turnout.database, OWNER), autocommit=True) as connection:
        events = [add_event(connection, 100_000, f"Event {number}") for number in range(60)]
    mixture = Mixture(turnout, events)
    workers = pids(turnout, "worker")
    figures = []
    for count in (WARM, ALL):
        with Traffic(turnout.port, CLIENTS, mixture.run) as traffic:
            wait_until(lambda: mixture.count >= count or not traffic.thread.is_alive(), f"{count} requests", 400)  # pylint: disable=cell-var-from-loop
        wait_until(lambda: all(row["open"] == 0 and row["in_flight"] == 0 for row in turnout.show("connections")), "all have gone")
        figures.append({pid: (memory(pid), descriptors(pid)) for pid in workers + [turnout.pid] + pids(turnout, "scheduler")})
    served = {row["pid"]: row["requests"] for row in turnout.show("connections")}
    with capsys.disabled():
        print(f"\n  {mixture.count} requests, answers {dict(sorted(mixture.statuses.items()))}")
        for pid, (before, handles) in figures[0].items():
            after = figures[1][pid]
            print(f"  {pid}: {served.get(pid, 'no')} requests, RSS {before} KiB after {WARM}, {after[0]} KiB after {ALL} "
                  f"({after[0] - before:+d}), descriptors {len(handles)} and {len(after[1])}")
    assert pids(turnout, "worker") == workers, "a worker has died"
    assert not [status for status in mixture.statuses if status >= 500], mixture.statuses
    for pid, (before, handles) in figures[0].items():
        assert figures[1][pid][1] == handles
        assert figures[1][pid][0] - before <= MOST_KIB, f"{pid}: {before} KiB, then {figures[1][pid][0]} KiB"


def test_deaths_and_lost_connections_leave_no_descriptor_behind(new_turnout, postgres, capsys):
    turnout = new_turnout(workers=2)

    def settled():
        return all(row["open"] == 1 for row in turnout.show("pools")) and turnout.is_ready()

    def figures():
        wait_until(settled, "each pool has its one connection")
        wait_until(lambda: all(row["open"] == 0 for row in turnout.show("connections")), "all clients have gone")
        return [descriptors(turnout.pid)] + [descriptors(pid) for pid in pids(turnout)[1:]]
    before = figures()
    with psycopg.connect(postgres.dsn(turnout.database, "postgres"), autocommit=True) as connection:
        ended = 0
        for round_ in range(int(15 * SCALE)):
            for role in ("worker", "scheduler"):
                wait_replaced(turnout, role, turnout.kill(role, round_ % 2 if role == "worker" else 0))
            wait_until(settled, "each pool has its one connection")
            ended += connection.execute("select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity"
                                        " where datname = current_database() and application_name ~ '^turnout.*(read|write|app)$'").fetchone()[0]
    after = figures()
    with capsys.disabled():
        print(f"\n  {2 * round_ + 2} deaths, {ended} lost connections; descriptors {[len(found) for found in before]},"
              f" then {[len(found) for found in after]}")
    assert after == before
