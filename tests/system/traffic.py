"""Clients that keep asking while a test does something to the server, and small helpers about processes.

    with Traffic(turnout.port, 50, reader) as traffic:
        turnout.kill("worker")
        traffic.wait_for_answers(1000)
    assert traffic.failures == []

`reader(client, number, traffic)` is a coroutine that asks with `await traffic.ask(client, "GET", ...)` while `traffic.going`.
"""

import asyncio
import collections
import contextlib
import datetime
import os
import pathlib
import resource
import signal
import threading
import time
import uuid

import psycopg.waiting

from load import Client, ConnectionLost
from sql_harness import wait_until

# Longer runs: 10 means ten times the kills, clients' rounds and requests.
SCALE = float(os.environ.get("TURNOUT_CRASH_SCALE", "1"))

# Seconds after which a request that was not answered counts as failed.
ANSWER_PATIENCE = 40


def allow_descriptors(wanted=16384):
    """Thousands of clients in one process need more descriptors than a shell allows by default."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
    # psycopg's own choice is select(), which ends at descriptor 1023.
    psycopg.waiting.wait = psycopg.waiting.wait_epoll


class Traffic:
    """`count` clients in a thread with a loop of its own; each runs script(client, number, traffic) until it ends."""

    def __init__(self, address, count, script, client=Client):
        self.address, self.count, self.script, self.client = address, count, script, client
        self.going = True
        self.statuses = collections.Counter()
        self.answered = 0
        # (time, what, port of the client) of what a user would call a failed request: no answer, or a 5xx.
        self.failures = []
        # When a connection was lost with a request in flight.
        self.lost = []
        # Connections that nobody took: their request was never sent.
        self.refused = 0
        # Requests sent and not answered just now.
        self.in_flight = 0
        self.error = None
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        allow_descriptors()
        self.thread.start()
        return self

    def __exit__(self, kind, error, trace):
        self.stop()

    def stop(self):
        """Lets every client end what it does."""
        self.going = False
        self.thread.join(120)
        assert not self.thread.is_alive(), "the clients do not end"
        if self.error is not None:
            raise self.error

    def _run(self):
        try:
            asyncio.run(self._clients())
        except BaseException as error:  # pylint: disable=broad-except
            self.error = error

    async def _clients(self):
        clients = [self.client(self.address) for _ in range(self.count)]
        try:
            await asyncio.gather(*(self.script(client, number, self) for number, client in enumerate(clients)))
        finally:
            for client in clients:
                client.close()
            await asyncio.sleep(0)

    async def ask(self, client, method, path, data=None, **keywords):
        """One request. None where it was not answered; that, and a 5xx, is noted as a failure unless nobody listened."""
        try:
            await client.connect()
        except OSError:
            self.refused += 1
            return None
        port = client.wire.transport.get_extra_info("sockname")
        self.in_flight += 1
        try:
            answer = await asyncio.wait_for(client.request(method, path, data, **keywords), ANSWER_PATIENCE)
        except ConnectionLost as lost:
            client.close()
            self.lost.append(time.monotonic())
            self._failed(f"{method} {path}: {lost}", port)
            return None
        except asyncio.TimeoutError:
            client.close()
            self._failed(f"{method} {path}: no answer within {ANSWER_PATIENCE} s", port)
            return None
        finally:
            self.in_flight -= 1
        self.answered += 1
        self.statuses[answer.status] += 1
        if answer.status >= 500:
            self._failed(f"{method} {path}: {answer.status} {answer.body[:200]}", port)
        return answer

    def _failed(self, what, sockname):
        self.failures.append((time.monotonic(), what, sockname[1] if isinstance(sockname, tuple) else 0))

    def wait_for_answers(self, count, patience=60):
        """Waits until so many more requests have been answered."""
        enough = self.answered + count
        wait_until(lambda: self.answered >= enough or not self.thread.is_alive(), f"{count} more answers", patience)
        assert self.thread.is_alive() or self.answered >= enough, f"the clients have ended: {self.error!r}"


async def visit(client, traffic, event, token, registration):
    """A request of a person: registers, or gives the registration back. Answers the registration that is now held."""
    if registration is None:
        answer = await traffic.ask(client, "POST", "/api/registrations", {"event_id": event}, token=token)
        assert answer is None or answer.status in (200, 201, 503), answer.body
        return answer.json()["id"] if answer is not None and answer.status < 300 else None
    answer = await traffic.ask(client, "DELETE", f"/api/registrations/{registration}", token=token)
    assert answer is None or answer.status in (200, 503), answer.body
    return None if answer is not None and answer.status == 200 else registration


def everyday(turnout, events, keep=lambda number: number % 2 == 0):
    """A script in which a third of the clients register and cancel, each at an event of its own, and the others read.

    keep(number): whether the client keeps its connection; the others make a new one for each request.
    """
    async def script(client, number, traffic):
        event, registration = events[number % len(events)], None
        token = turnout.token(f"everyday{number}@example.com", department=f"Department {number % 3}")
        while traffic.going:
            before = traffic.answered
            if number % 3 == 0:
                registration = await visit(client, traffic, event, token, registration)
            elif number % 3 == 1:
                await traffic.ask(client, "GET", f"/api/events/{event}")
            else:
                await traffic.ask(client, "GET", "/api/events?limit=5", token=token)
            if traffic.answered == before:
                await asyncio.sleep(0.005)
            if not keep(number):
                client.close()
    return script


# --- rows that tests begin with ---

EVENT = """
with made as (
  insert into turnout.events (id, event_year, title, start_datetime, end_datetime, status, capacity, waitlist_enabled)
  select %(id)s, extract(year from start_at at time zone 'UTC'), %(title)s, start_at, start_at + interval '2 hours',
         %(status)s, %(capacity)s, %(waitlist)s
  from (select now() + %(starts_in)s::interval as start_at) moment
  returning id, capacity
), organized as (
  insert into turnout.event_organizers (event_id, user_id) select id, %(organizer)s from made
)
insert into turnout.event_seats (event_id, capacity) select id, capacity from made
"""


def add_user(connection, email, department=None):
    """A person who has not signed in yet; their first token finds this row by the address."""
    person = uuid.uuid4()
    connection.execute("insert into turnout.users (id, email, name, department) values (%s, %s, %s, %s)",
                       (person, email, email.split("@")[0], department))
    return person


def add_event(connection, capacity, title="An event", status="published", starts_in="30 days", waitlist=True):
    """An event, by SQL; answers its id as text. `connection`: a psycopg connection of the owner or superuser."""
    row = connection.execute("select id from turnout.users where email = 'organizer@example.com'").fetchone()
    organizer = row[0] if row else add_user(connection, "organizer@example.com")
    event = str(uuid.uuid4())
    connection.execute(EVENT, {"id": event, "title": title, "capacity": capacity, "status": status, "waitlist": waitlist,
                               "starts_in": starts_in, "organizer": organizer})
    return event


# --- processes ---

def state_of(pid):
    """As the kernel has it: R, S, T, Z."""
    return pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0]


def is_alive(pid):
    """False for a zombie, too."""
    try:
        return state_of(pid) != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def pids(turnout, role=None):
    return [process["pid"] for process in turnout.processes(role) if process["pid"]]


@contextlib.contextmanager
def stopped(processes):
    """Processes that do not get the processor, while the block runs."""
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def wait_replaced(turnout, role, pid, patience=20):
    """Waits until `pid` is gone from the table and everybody of the role serves; answers the pids."""
    def all_ready():
        rows = turnout.processes(role)
        return all(row["state"] == "ready" and row["pid"] != pid for row in rows) and [row["pid"] for row in rows]
    return wait_until(all_ready, f"another {role} serves in place of {pid}", patience)


def children(pid):
    """The pids that the kernel knows as its children: what the process table says without asking the master."""
    try:
        return [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def peers_of(pid, port):
    """The ports of the clients whose connections to `port` (TCP, this host) the process has open."""
    inodes = set()
    for link in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(link)
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    found = set()
    for line in pathlib.Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        fields = line.split()
        if fields[9] in inodes and int(fields[1].rpartition(":")[2], 16) == port and fields[3] != "0A":
            found.add(int(fields[2].rpartition(":")[2], 16))
    return found


def log_moment(line):
    """The time of a line of the log, in seconds since the epoch."""
    text = line.split("time=", 1)[1].split(" ", 1)[0]
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
