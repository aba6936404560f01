"""Readers that watch what one host shows of things whose numbers only grow, and note whenever it goes backwards.

    with Watch(turnout, {f"/api/events/{event}": event_numbers, "/api/events?limit=20": list_numbers}) as watch:
        ...
    watch.check()

A request that is sent after an answer has come must not be answered with less: that is compared over all connections and so over
all workers. Half of the connections ask for compressed bodies. Raw sockets, kept, given up after a while so that others take them.
"""

import asyncio
import collections
import json
import re
import threading
import time
import zlib

from sql_harness import wait_until

VERSION = re.compile(rb'"version":(\d+)')
REGISTERED = re.compile(rb'"registered_count":(\d+)')
TOTAL = re.compile(rb'"total_registrations":(\d+)')
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
AGE = re.compile(rb"\r\nage: *(\d+)", re.IGNORECASE)
GZIP = re.compile(rb"\r\ncontent-encoding: *gzip", re.IGNORECASE)


def event_numbers(body):
    return {"version": int(VERSION.search(body)[1]), "registered": int(REGISTERED.search(body)[1])}


def stats_numbers(body):
    return {"registered": int(TOTAL.search(body)[1])}


def list_numbers(body):
    """Titles are numbers in these tests: a page of the list shows no version."""
    return {(event["id"], name): int(event[name]) for event in json.loads(body)["events"] for name in ("title", "registered_count")}


class _Connection(asyncio.Protocol):
    def __init__(self, watch, number):
        self.watch, self.number = watch, number
        self.transport = None
        self.buffer = b""
        self.turn = number  # which path is next
        self.path, self.floor, self.sent = None, None, 0.0
        self.asked = 0

    def connection_made(self, transport):
        self.transport = transport
        self.ask()

    def ask(self):
        watch = self.watch
        if not watch.going or self.asked >= watch.requests_each:
            self.path = None
            self.transport.close()
            return
        self.turn += 1
        self.asked += 1
        self.path = watch.paths[self.turn % len(watch.paths)]
        self.floor = watch.best.get(self.path, {})
        self.sent = time.monotonic()
        self.transport.write(watch.requests[self.path][self.number % 2])

    def data_received(self, data):
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self.buffer[:end + 2]
        length = LENGTH.search(head)
        length = int(length[1]) if length else 0
        if len(self.buffer) < end + 4 + length:
            return
        body, self.buffer = self.buffer[end + 4:end + 4 + length], self.buffer[end + 4 + length:]
        self.watch.take(self, head, body)
        if self.watch.pause:
            asyncio.get_running_loop().call_later(self.watch.pause, self.ask)
        else:
            self.ask()

    def connection_lost(self, error):
        if self.path is not None:
            self.watch.failures.append((time.monotonic(), self.path, "connection lost"))
            self.path = None
        self.watch.reopen(self.number)


class Watch:
    """`watched`: paths and what reads their numbers from a body. `pause`: seconds between an answer and the next request."""

    def __init__(self, turnout, watched, connections=8, token=None, pause=0.0, requests_each=500):
        self.turnout, self.readers, self.pause, self.requests_each = turnout, dict(watched), pause, requests_each
        self.paths = list(watched)
        self.count = connections
        self.best = {}  # path: the highest numbers that an answer has shown
        self.read_before = {}  # path and encoding: the last body and its numbers
        self.regressions, self.failures = [], []
        self.statuses = collections.Counter()
        self.answers = self.stale = 0
        self.slowest = 0.0
        self.going = True
        authorization = f"Authorization: Bearer {token}\r\n" if token else ""
        self.requests = {path: [(f"GET {path} HTTP/1.1\r\nHost: test\r\n{authorization}{more}\r\n").encode()
                                for more in ("", "Accept-Encoding: gzip\r\n")] for path in self.paths}
        self.loop = None
        self.error = None
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        wait_until(lambda: self.answers > 0 or self.failures or self.error, "the readers read")
        return self

    def __exit__(self, kind, error, trace):
        self.going = False
        self.thread.join(60)
        assert not self.thread.is_alive(), "the readers do not end"
        if self.error is not None and kind is None:
            raise self.error

    def _run(self):
        try:
            asyncio.run(self._read())
        except BaseException as error:  # pylint: disable=broad-except
            self.error = error

    async def _read(self):
        self.loop = asyncio.get_running_loop()
        self.open = set()
        for number in range(self.count):
            self.reopen(number)
        while self.going or self.open:
            await asyncio.sleep(0.01)

    def reopen(self, number):
        self.open.discard(number)
        if self.going:
            self.open.add(number)
            self.loop.create_task(self._connect(number))

    async def _connect(self, number):
        try:
            await self.loop.create_connection(lambda: _Connection(self, number), "127.0.0.1", self.turnout.port)
        except OSError as error:
            self.failures.append((time.monotonic(), "connect", str(error)))
            await asyncio.sleep(0.05)
            self.reopen(number)

    def take(self, connection, head, body):
        path, status = connection.path, int(head[9:12])
        self.answers += 1
        self.statuses[status] += 1
        self.slowest = max(self.slowest, time.monotonic() - connection.sent)
        if status != 200:
            self.failures.append((time.monotonic(), path, f"{status} {body[:200]!r}"))
            return
        if AGE.search(head):
            self.stale += 1
        key = (path, connection.number % 2)
        before, numbers = self.read_before.get(key, (None, None))
        if body != before:
            numbers = self.readers[path](zlib.decompress(body, 31) if GZIP.search(head) else body)
            self.read_before[key] = (body, numbers)
        floor = connection.floor
        best = self.best.get(path)
        if numbers is best:
            return
        less = {name: (value, numbers[name]) for name, value in floor.items() if numbers.get(name, value) < value}
        if less:
            self.regressions.append((time.monotonic(), path, less, head))
        if best is None:
            self.best[path] = numbers
        elif numbers != best:
            # A new dictionary: requests that are on their way keep the floor with which they were sent.
            self.best[path] = {name: max(best.get(name, value), numbers.get(name, value))
                               for name, value in (best | numbers).items()}

    # For tests

    def wait_for_answers(self, count, patience=60):
        enough = self.answers + count
        wait_until(lambda: self.answers >= enough or self.error, f"{count} more answers", patience)
        if self.error is not None:
            raise self.error

    def wait_shown(self, path, patience=20, **numbers):
        """Until an answer shows at least these numbers."""
        wait_until(lambda: all(self.best.get(path, {}).get(name, -1) >= value for name, value in numbers.items()),
                   f"{path} shows {numbers}, not {self.best.get(path)}", patience)

    def check(self, failures=0):
        """Nothing went backwards, and every request was answered with 200."""
        assert self.regressions == [], (len(self.regressions), self.answers, self.regressions[:3])
        assert len(self.failures) <= failures, (len(self.failures), self.answers, self.failures[:5])
