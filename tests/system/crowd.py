"""Thousands of clients that take their time, from one thread: each sends what it begins with, then a byte now and then.

    with Crowd(turnout, 1000, b"GET /api/events HTTP/1.1\\r\\nHost: test\\r\\nX-Padding: ") as crowd:
        crowd.wait_begun()
        ...
"""

import collections
import contextlib
import errno
import select
import socket
import threading
import time

from sql_harness import wait_until
from traffic import allow_descriptors

PART = 65536


class Crowd:
    """`count` connections. `drip` follows `begin` every `every` seconds (None: never). `window`: the size of a receive buffer, of a
    client that reads nothing. `again`: whoever is closed comes back."""

    def __init__(self, turnout, count, begin=b"", drip=b"x", every=1.0, window=None, again=True):
        self.address = ("127.0.0.1", turnout.port)
        self.count, self.begin, self.drip, self.every, self.window, self.again = count, begin, drip, every, window, again
        self.epoll = select.epoll()
        self.clients = {}
        self.left = {}
        # Statuses that came, and how many were closed by the server.
        self.statuses = collections.Counter()
        self.closed = 0
        self.connected = 0
        self.begun = 0
        self.going = True
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        # Both ends of a connection are on this machine, but not in this process.
        allow_descriptors(self.count + 1024)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.going = False
        self.thread.join(60)
        assert not self.thread.is_alive()

    def wait_begun(self, share=1.0, patience=60):
        """Until so many have sent all that they begin with, the closed ones counted."""
        wait_until(lambda: self.begun >= self.count * share or not self.thread.is_alive(), f"{self.count} slow clients", patience)
        assert self.thread.is_alive()

    def _connect(self):
        client = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        if self.window:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.window)
            # As on a real network; with the 64 kB segments of the loopback the kernel would take megabytes for each.
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        if client.connect_ex(self.address) not in (0, errno.EINPROGRESS):
            client.close()
            return
        self.connected += 1
        self.clients[client.fileno()] = client
        self.left[client.fileno()] = memoryview(self.begin)
        self.epoll.register(client, select.EPOLLOUT | select.EPOLLRDHUP)

    def _close(self, number):
        client = self.clients.pop(number)
        if self.left.pop(number) is not None:
            self.begun += 1
        self.epoll.unregister(number)
        client.close()
        self.closed += 1

    def _write(self, number):
        left = self.left[number]
        if left is None:
            return
        try:
            left = left[self.clients[number].send(left[:PART]):] if left else left
        except BlockingIOError:
            return
        except OSError:
            self._close(number)
            return
        self.left[number] = left
        if not left:
            self.left[number] = None
            self.begun += 1
            # One that reads nothing hears only of the end.
            self.epoll.modify(number, select.EPOLLRDHUP if self.window else select.EPOLLIN | select.EPOLLRDHUP)

    def _read(self, number):
        try:
            data = self.clients[number].recv(PART)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data.startswith(b"HTTP/1.1 "):
            self.statuses[int(data[9:12])] += 1
        if not data:
            self._close(number)

    def _run(self):
        due = time.monotonic() + self.every
        opened = 0
        while self.going:
            for _ in range(200):
                if opened < self.count or (self.again and len(self.clients) < self.count):
                    opened += 1
                    self._connect()
            for number, what in self.epoll.poll(0.02):
                if number in self.clients and what & select.EPOLLOUT:
                    self._write(number)
                if number in self.clients and what & (select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR):
                    if self.window and not what & select.EPOLLIN:
                        self._close(number)
                    else:
                        self._read(number)
            if self.drip and time.monotonic() >= due:
                due = time.monotonic() + self.every
                for number, client in list(self.clients.items()):
                    if self.left[number] is None:
                        with contextlib.suppress(OSError):
                            client.send(self.drip)
        for client in self.clients.values():
            client.close()
        self.epoll.close()
