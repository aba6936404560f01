#!/usr/bin/python3
"""How long after a commit the first body shows it: one event and the first page of the list, idle and with 1,000 changes a second.

    TURNOUT_BIN=build coherence.py [--rounds N]

Counted from the return of the commit to the end of the first answer that shows it; a connection asks for it as fast as it is
answered (some 100 us a time, which is how exact the figures are).
"""

import argparse
import pathlib
import random
import socket
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))

import cached  # noqa: E402  pylint: disable=wrong-import-position
from own_postgres import own_postgres  # noqa: E402  pylint: disable=wrong-import-position

EVENTS, BATCH, BATCHES = 200, 20, 50


class Reader:
    """A kept connection that asks for one path."""

    def __init__(self, turnout, path):
        self.request = f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()
        self.socket = socket.create_connection(("127.0.0.1", turnout.port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def body(self):
        self.socket.sendall(self.request)
        data = self.socket.recv(1 << 18)
        while True:
            end = data.find(b"\r\n\r\n")
            if end >= 0:
                length = int(data[:end].lower().split(b"\r\ncontent-length:")[1].split(b"\r\n")[0])
                if len(data) >= end + 4 + length:
                    assert data.startswith(b"HTTP/1.1 200"), data[:200]
                    return data[end + 4:]
            data += self.socket.recv(1 << 18)


def measure(world, reader, rounds, pause):
    found = []
    for _ in range(rounds):
        reader.body()
        time.sleep(random.uniform(pause / 2, pause))
        reader.body()
        # The version is the title, which every body shows.
        wanted = f'"title":"{world.change(world.watched)}"'.encode()
        began = time.monotonic()
        while wanted not in reader.body():
            assert time.monotonic() - began < 30, "the change is never shown"
        found.append(time.monotonic() - began)
    return sorted(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=300)
    wishes = parser.parse_args()
    with own_postgres() as cluster, cached.world_of(cluster, with_redis=False, workers=2, log_level="warning") as world:
        events = world.add_events(EVENTS, starts_in="20 days")
        world.watched = world.add_events(1, starts_in="1 day")[0]
        # Not so soon equal to a number of another event.
        world.admin.execute("update turnout.events set version = 1000000, title = '1000000' where id = %s", (world.watched,))
        world.admin.execute("analyze")
        paths = {"one event": f"/api/events/{world.watched}", "first page of 50": "/api/events"}
        print(f"{'':18} {'load':>16} {'p50 ms':>8} {'p99 ms':>8} {'most ms':>8}")
        for title, path in paths.items():
            cached.wait_cached(world.turnout, path)
            reader = Reader(world.turnout, path)
            for load in ("idle", "changes"):
                if load == "idle":
                    found, said = measure(world, reader, wishes.rounds, 0.15), "idle"
                else:
                    with cached.Writers(cluster, world.turnout, events, rate=BATCHES, batch=BATCH) as writers:
                        began, commits = time.monotonic(), writers.commits
                        found = measure(world, reader, wishes.rounds, 0.05)
                        said = f"{(writers.commits - commits) * BATCH / (time.monotonic() - began):.0f} changes/s"
                print(f"{title:18} {said:>16} {statistics.median(found) * 1000:8.1f} {found[int(len(found) * 0.99)] * 1000:8.1f} "
                      f"{found[-1] * 1000:8.1f}", flush=True)


if __name__ == "__main__":
    main()
