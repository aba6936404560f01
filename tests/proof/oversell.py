#!/usr/bin/python3
"""The oversell proof: people rush, processes die, and a checker that shares no code with the server looks at what is left.

    TURNOUT_BIN=build oversell.py [--seconds N] [--clients N] [--kills N] [--rounds N] [--seed N] [--keep DIR]   (--help: all)

README.md beside this file says what is proven and how. Exit status 1 where a round finds anything.
"""

import argparse
import asyncio
import collections
import contextlib
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import threading
import time
import uuid

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "system")]

# pylint: disable=wrong-import-position
from harm import KILLS, WEIGHTS, Harm  # noqa: E402
from own_postgres import connect, own_postgres, wait_idle  # noqa: E402
from people import Crowd, Notes  # noqa: E402
from proxy import Proxy  # noqa: E402
from sql_harness import APP, OWNER, migrate  # noqa: E402
from supervised import Supervised  # noqa: E402
from traffic import EVENT, add_user, allow_descriptors  # noqa: E402

DEPARTMENTS = 12
# What people rush for. popularity: of all requests, relative to the others; grows: its organizer raises the capacity meanwhile.
EVENTS = [
    {"title": "hot", "capacity": 200, "popularity": 30},
    {"title": "one seat", "capacity": 1, "popularity": 6},
    {"title": "short waitlist", "capacity": 10, "waitlist_limit": 15, "popularity": 10},
    {"title": "no waitlist", "capacity": 30, "waitlist_enabled": False, "popularity": 10},
    {"title": "departments", "capacity": 40, "department_limit": 3, "popularity": 12},
    {"title": "departments, short waitlist", "capacity": 25, "department_limit": 4, "waitlist_limit": 40, "popularity": 8},
    {"title": "employees only", "capacity": 50, "guests_allowed": False, "popularity": 8},
    {"title": "growing", "capacity": 5, "grows": True, "popularity": 10},
    {"title": "room for all", "capacity": 100000, "popularity": 6},
]
SETTINGS = {"waitlist_enabled": True, "waitlist_limit": None, "guests_allowed": True, "department_limit": None, "grows": False}


def make_world(connection, clients):
    """Events by SQL, people by name: they exist for turnoutd from their first request on."""
    organizer = add_user(connection, "organizer@example.com")
    world = {"organizers": ["organizer@example.com"], "events": [], "people": []}
    for settings in EVENTS:
        event = {"id": str(uuid.uuid4()), **SETTINGS, **settings}
        connection.execute(EVENT, {"id": event["id"], "title": event["title"], "capacity": event["capacity"], "status": "published",
                                   "waitlist": event["waitlist_enabled"], "starts_in": "30 days", "organizer": organizer})
        connection.execute("update turnout.events set waitlist_limit = %s, guests_allowed = %s, department_limit = %s where id = %s",
                           (event["waitlist_limit"], event["guests_allowed"], event["department_limit"], event["id"]))
        world["events"].append(event)
    for number in range(clients):
        department = None if number % 17 == 0 else f"Department {number % DEPARTMENTS}"
        world["people"].append({"email": f"person{number}@example.com", "kind": "guest" if number % 11 == 0 else "employee",
                                "department": department})
    return world


class Round:
    """One database, one crowd, one verdict."""

    def __init__(self, options, seed, folder):
        self.options, self.seed, self.folder = options, seed, pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.complaints = []
        self.took, self.output = 0, ""
        self.stack = self.cluster = self.proxy = self.daemons = self.crowd = self.harm = None

    def __enter__(self):
        with contextlib.ExitStack() as self.stack:
            self.cluster = self.stack.enter_context(own_postgres())
            self.proxy = self.stack.enter_context(Proxy(self.cluster.socket, self.cluster.port))
            self.daemons = self._daemons()
            with self.connect() as connection:
                world = make_world(connection, self.options.clients)
            (self.folder / "world.json").write_text(json.dumps(world), encoding="utf-8")
            for daemon in self.daemons:
                daemon.start()
            notes, faults = Notes(self.folder / "clients.jsonl"), Notes(self.folder / "faults.jsonl")
            self.stack.callback(notes.close)
            self.stack.callback(faults.close)
            self.crowd = Crowd(world, self._addresses(), self._sign, notes, self.seed, self.options.think)
            self.harm = Harm(self.cluster, self.proxy, self.daemons, self.crowd, faults, self.seed)
            self.stack = self.stack.pop_all()
        return self

    def __exit__(self, *_):
        self.stack.close()

    def connect(self):
        return connect(self.cluster, self.daemons[0])

    def run(self):
        """Answers whether all was right. The database is there until the end of the round."""
        self.took = self._rush()
        self._quiet()
        self._daemons_are_well()
        self._check()
        return not self.complaints

    def _daemons(self):
        """turnoutd under a supervisor, as often as asked for, on one database and with one key of identity."""
        name = f"proof_{self.seed}"
        migrate(self.cluster.create_database(name))
        made = []
        for _ in range(self.options.daemons):
            daemon = Supervised(self.cluster.dsn(name, APP), self.cluster.dsn(name, OWNER), workers=self.options.workers)
            self.stack.callback(daemon.remove)
            daemon.database = name
            if not made:
                # The first reaches PostgreSQL through a proxy that cuts its connection in the middle of a statement.
                daemon.configure(database=self.cluster.dsn(name, APP).replace(str(self.cluster.socket), str(self.proxy.folder)))
            else:
                daemon.key = made[0].key
                daemon.configure(jwt_keys_file=made[0].folder / "jwks.json")
            made.append(daemon)
        return made

    def _addresses(self):
        # Mostly by the Unix socket, as behind a proxy: ports of clients are used up by thousands of lost connections a second.
        return [address for daemon in self.daemons for address in (*[daemon.unix_socket] * 9, daemon.port)]

    def _sign(self, person):
        claims = {"kind": person["kind"]}
        if person["department"] is not None:
            claims["department"] = person["department"]
        organizer = person["email"].startswith("organizer")
        return self.daemons[0].token(person["email"], "organizer" if organizer else "participant", **claims)

    def _rush(self):
        """People and harm side by side, until the time is over and enough has died. Answers how long it took."""
        thread = threading.Thread(target=self._people, daemon=True)
        began = time.monotonic()
        thread.start()
        crowd, harm, patience = self.crowd, self.harm, began + 60 + 5 * self.options.seconds + 3 * self.options.kills
        pace = random.Random(f"pace {self.seed}")
        while thread.is_alive() and (time.monotonic() < began + self.options.seconds or self._harmless()
                                     or crowd.decided < self.options.requests):
            # Nobody gets anywhere when all die all the time: some requests are decided between two faults.
            decided = crowd.decided + pace.randrange(1, self.options.pace)
            while (thread.is_alive() and time.monotonic() < patience
                   and (crowd.decided < decided or (self.options.kills and not harm.is_due()))):
                time.sleep(0.004)
            if time.monotonic() > patience:
                self.complaints.append(f"only {harm.kills} kills hit work in flight: {dict(harm.hits)}")
                break
            if self.options.kills:
                harm.one(harm.choose())
            self.complaints += [f"a daemon ended by itself: {status}" for status in harm.supervise()]
            if self.complaints:
                break
        crowd.going = False
        crowd.hurry()
        took = time.monotonic() - began
        thread.join(180)
        if thread.is_alive():
            self.complaints.append("the clients do not end")
        if crowd.error is not None:
            raise crowd.error
        return took

    def _harmless(self):
        """Whether too little has died yet, or not of every kind."""
        return self.options.kills > 0 and (self.harm.kills < self.options.kills or not all(self.harm.hits[kind] for kind in WEIGHTS))

    def _people(self):
        with contextlib.suppress(BaseException):  # it is kept in crowd.error
            asyncio.run(self.crowd.live())

    def _quiet(self):
        """All faults are over: everything comes back by itself, and people read what they have."""
        for daemon in self.daemons:
            daemon.wait_ready()
        with self.connect() as connection:
            for daemon in self.daemons:
                wait_idle(connection, daemon)
        asyncio.run(self.crowd.read_all())

    def _daemons_are_well(self):
        """Nobody died but by us, and each daemon ends as it should."""
        for daemon in self.daemons:
            daemon.stop()
            if daemon.process.returncode != 0:
                self.complaints.append(f"a daemon ended with {daemon.process.returncode}")
        for daemon in self.daemons:
            for line in daemon.log_lines('message="child died"'):
                if "signal 9 (KILL)" not in line:
                    self.complaints.append(f"died by itself: {line}")
            self.complaints += [f"a broken invariant: {line}" for line in daemon.log_lines("INVARIANT")]
            (self.folder / f"turnoutd-{daemon.port}.log").write_text(daemon.log_text(), encoding="utf-8")

    def _check(self):
        """The checker, as a program of its own."""
        done = subprocess.run([sys.executable, str(HERE / "checker.py"), self.cluster.dsn(self.daemons[0].database), str(self.folder)],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        self.output = done.stdout
        if done.returncode != 0:
            self.complaints.append("the checker has found something")

    def report(self):
        """Prints what happened."""
        harm, crowd = self.harm, self.crowd
        print(f"  {self.took:.1f} s, {crowd.asked} requests, {crowd.decided} decided, {crowd.lost} lost with the process that had them")
        print(f"  kill -9 that hit work in flight: {harm.kills} ({', '.join(f'{kind} {harm.hits[kind]}' for kind in KILLS)})")
        print("  beside them: " + ", ".join(f"{harm.hits[kind]} {name}" for kind, name in (
            ("terminate", "connections cut by PostgreSQL"), ("statement", "cut around a batch's commit"), ("restart", "restarts of PostgreSQL in immediate mode"),
            ("cut", "times that clients let go"))))
        print("  " + self.output.rstrip().replace("\n", "\n  "))
        for complaint in self.complaints:
            print(f"  WRONG: {complaint}")


def parse(arguments):
    parser = argparse.ArgumentParser(description="proves that nothing is oversold, lost or doubled whatever dies")
    parser.add_argument("--seconds", type=float, default=60, help="least duration of a round")
    parser.add_argument("--clients", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=200, help="least number of kill -9 that hit work in flight; 0: no faults at all")
    parser.add_argument("--requests", type=int, default=0, help="least number of decided requests")
    parser.add_argument("--daemons", type=int, default=2, help="turnoutd on one database")
    parser.add_argument("--workers", type=int, default=2, help="of each daemon")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=None, help="of the first round; the others follow")
    parser.add_argument("--think", type=float, default=2, help="seconds between two orders of a person, on average")
    parser.add_argument("--pace", type=int, default=60, help="most requests decided between two faults")
    parser.add_argument("--keep", help="folder for what was written down; by default it is kept only of a round that fails")
    return parser.parse_args(arguments)


def main(arguments=None):
    options = parse(arguments)
    allow_descriptors()
    first = options.seed if options.seed is not None else random.SystemRandom().randrange(1, 10 ** 9)
    results = collections.Counter()
    for number in range(options.rounds):
        seed = first + number
        folder = pathlib.Path(options.keep or tempfile.mkdtemp(prefix="oversell."), str(seed))
        print(f"round {number + 1} of {options.rounds}, --seed {seed}", flush=True)
        with Round(options, seed, folder) as one:
            right = one.run()
            one.report()
        results[right] += 1
        print(f"  {'all is right' if right else f'WRONG; what was written down is in {folder}'}", flush=True)
        if right and not options.keep:
            subprocess.run(["rm", "-rf", str(folder.parent)], check=True)
    print(f"{results[True]} rounds right, {results[False]} wrong")
    return 1 if results[False] else 0


if __name__ == "__main__":
    sys.exit(main())
