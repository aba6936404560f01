"""Calls of the kernel fail and memory runs out, at many points, while people use the server: nothing that was acknowledged is
lost, nothing leaks, the log says what happened, and nobody dies but who has no memory."""

import asyncio
import os
import threading
import time

import psycopg
import pytest

from faults import FailingCalls, FailingMemory, can_trace
from journal import Journal, prove
from load import ConnectionLost
from sql_harness import OWNER, wait_until
from test_leaks import descriptors, is_sanitized, memory
from traffic import Traffic, add_event, allow_descriptors, is_alive, pids, wait_replaced

# Every fault at so many points. A lost connection to PostgreSQL costs some seconds, an allocation a process.
FULL = bool(os.environ.get("TURNOUT_FULL"))
POINTS, DATABASE_POINTS, MEMORY_POINTS = (200, 200, 200) if FULL else (20, 4, 12)
PATIENCE = 900 if FULL else 120
CLIENTS, EVENTS, SEATS = 24, 6, 8
MOST_KIB = 4096

# One error a call in each round. accept4 is clients and the control socket; read is clients and signals; sendmsg is answers and
# the messages between processes; recvmsg is those messages (a reset there says that the other process is gone, and is believed);
# write is the log; recvfrom and sendto are PostgreSQL and the control socket, sendto also answers that lie in one piece.
ROUNDS = [
    {"accept4": "EMFILE", "read": "EIO", "sendmsg": "EPIPE", "recvmsg": "ENOMEM", "write": "ENOSPC"},
    {"accept4": "ENFILE", "read": "ECONNRESET", "sendmsg": "ECONNRESET", "recvmsg": "EINTR", "write": "EIO"},
    {"accept4": "ENOBUFS", "read": "ENOMEM", "sendmsg": "ENOBUFS", "recvmsg": "EAGAIN", "write": "EAGAIN"},
    {"accept4": "ENOMEM", "read": "EINTR", "sendmsg": "ENOMEM", "recvmsg": "ENOBUFS", "write": "EINTR"},
    {"accept4": "ECONNABORTED", "read": "EAGAIN", "sendmsg": "EINTR", "recvmsg": "EIO", "write": "EPIPE"},
    {"accept4": "EINTR", "read": "ETIMEDOUT", "sendmsg": "EAGAIN", "recvmsg": "EPERM", "write": "ENOBUFS"},
    {"recvfrom": "ECONNRESET", "sendto": "EPIPE"},
    {"recvfrom": "ENOMEM", "sendto": "ECONNRESET"},
    {"recvfrom": "EINTR", "sendto": "EAGAIN"},
    {"recvfrom": "EAGAIN", "sendto": "EINTR"},
    {"recvfrom": "EIO", "sendto": "ENOBUFS"},
    {"recvfrom": "ETIMEDOUT", "sendto": "ENOMEM"},
]


class People:
    """Clients who register and cancel, look at the list, and come on new connections every few requests."""

    def __init__(self, turnout, connection):
        self.turnout = turnout
        self.events = [add_event(connection, SEATS, f"Event {number}") for number in range(EVENTS)]
        self.journal = Journal(turnout, "faults")
        self.reads = 0

    async def run(self, client, number, traffic):
        email, event = f"faults{number}@example.com", self.events[number % EVENTS]
        while traffic.going:
            if number % 3 == 0:
                row = await self.journal.register_until_decided(client, email, event)
                await self.journal.cancel_until_decided(client, email, event, row["id"])
            else:
                await self.read(client)
            client.close()

    def work(self, count):
        """Waits until so many more writes and reads have been done."""
        decided, reads = self.journal.decided + count, self.reads + count
        wait_until(lambda: self.journal.decided >= decided and self.reads >= reads, f"{count} writes and reads", 120)

    async def read(self, client):
        try:
            answer = await client.get("/api/events?limit=3")
            assert answer.status in (200, 503), answer.body
            self.reads += answer.status == 200
        except (ConnectionLost, OSError):
            client.close()
            await asyncio.sleep(0.005)


class Administrator:
    """Asks the master again and again, so that its calls can fail, too."""

    def __init__(self, turnout):
        self.turnout, self.going, self.answered, self.failed = turnout, True, 0, 0
        self.thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, error, trace):
        self.going = False
        self.thread.join(60)
        assert not self.thread.is_alive()

    def _ask(self):
        while self.going:
            if self.turnout.ctl("show", "connections", check=False).returncode == 0:
                self.answered += 1
            else:
                self.failed += 1


def settle(turnout):
    """Nothing is left of the clients."""
    wait_until(lambda: all(row["open"] == 0 and row["in_flight"] == 0 for row in turnout.show("connections")), "all clients have gone")
    wait_until(lambda: all(row["waiting"] == 0 and row["in_flight"] == 0 for row in turnout.show("pools")) and turnout.is_ready(),
               "nobody waits for PostgreSQL")


def figures(turnout):
    """Of each process: KiB, and descriptors that are no connection to PostgreSQL."""
    def counted():
        settle(turnout)
        pools = turnout.show("pools")
        found = {pid: (memory(pid), len(descriptors(pid)) - sum(row["open"] for row in pools if row["pid"] == pid)) for pid in pids(turnout)}
        # Nothing has been opened or closed meanwhile.
        return found if [row["open"] for row in turnout.show("pools")] == [row["open"] for row in pools] else None
    return wait_until(counted, "the connections to PostgreSQL rest", 60)


@pytest.mark.slow
@pytest.mark.full
def test_no_error_of_accept_read_and_write_kills_leaks_or_loses_what_was_acknowledged(new_turnout, postgres, capsys):
    if not can_trace():
        pytest.skip("strace is missing, or may not attach to a process here")
    allow_descriptors()
    # libpq tells of a failed send only when reading fails, too; until then we wait twice as long as a statement may take.
    turnout = new_turnout(workers=2, ping_timeout="60s", db_statement_timeout="1s")
    family = pids(turnout)
    assert len(family) == 5
    with psycopg.connect(postgres.dsn(turnout.database, OWNER), autocommit=True) as connection:
        people = People(turnout, connection)
        with Traffic(turnout.port, CLIENTS, people.run):
            people.work(200)
        before = figures(turnout)
        lines = []
        for errors in ROUNDS:
            with Traffic(turnout.port, CLIENTS, people.run), Administrator(turnout) as administrator:
                lines.append(fail_often(turnout, family, errors))
                # Without faults all is as it was.
                asked = administrator.answered
                people.work(10)
                wait_until(lambda: administrator.answered > asked, "turnoutctl is answered", 60)  # pylint: disable=cell-var-from-loop
            assert pids(turnout) == family, turnout.log_text()[-4000:]
        after = figures(turnout)
        proven = prove(connection, people.journal, {event: SEATS for event in people.events})
    with capsys.disabled():
        print("\n" + "\n".join(lines))
        print(f"  {proven['requests']} writes, {proven['unknown']} without an answer, {people.reads} reads; KiB and descriptors "
              + ", ".join(f"{pid}: {before[pid][0]} {before[pid][1]} then {after[pid][0]} {after[pid][1]}" for pid in family))
    for pid in family:
        assert after[pid][1] == before[pid][1]
        assert is_sanitized() or after[pid][0] - before[pid][0] <= MOST_KIB
    for said in ('message="cannot accept connections" error="Too many open files"',
                 'message="a connection failed" call=read error="Input/output error"',
                 'message="cannot receive a message" error="Cannot allocate memory"', 'message="database connection lost"'):
        turnout.wait_logged(said)
    assert not turnout.log_lines('message="child died"') and not turnout.log_lines('message="broken invariant"')


def fail_often(turnout, family, errors):
    """Until each of the calls has failed at so many points. Answers a line that says how often each did."""
    began = time.monotonic()
    points = POINTS if "accept4" in errors else DATABASE_POINTS
    with FailingCalls(family, errors, points, turnout.folder) as calls:
        try:
            wait_until(lambda: calls.enough, "every call has failed often enough", PATIENCE)
        except AssertionError as error:
            raise AssertionError(f"{error}: {calls.by_process}\n{turnout.log_text()[-4000:]}") from None
    in_master = sum(count for (pid, _), count in calls.by_process.items() if pid == turnout.pid)
    return ("  " + ", ".join(f"{call} {error} {calls.fired[call]}" for call, error in errors.items())
            + f" ({in_master} in the master) in {time.monotonic() - began:.1f} s")


@pytest.mark.slow
@pytest.mark.nosan
@pytest.mark.full
def test_who_has_no_memory_says_so_and_is_started_again_while_the_others_serve(new_turnout, postgres, capsys, monkeypatch, tmp_path):
    if is_sanitized():
        pytest.skip("the sanitizer has its own malloc")
    allow_descriptors()
    shim = FailingMemory(tmp_path)
    turnout = new_turnout(start=False, workers=6, db_connections=40)
    with monkeypatch.context() as patched:
        for name, value in shim.environment.items():
            patched.setenv(name, value)
        turnout.start()
    with psycopg.connect(postgres.dsn(turnout.database, OWNER), autocommit=True) as connection:
        people = People(turnout, connection)
        with Traffic(turnout.port, CLIENTS, people.run):
            people.work(100)
            before = descriptors(turnout.pid)
            numbers = []
            for point in range(MEMORY_POINTS):
                # In turn, so that nobody crashes twice within a second; each at another of its allocations.
                role = "scheduler" if point % 10 == 9 else "worker"
                victim = pids(turnout, role)[point % 6 if role == "worker" else 0]
                number = 1 + (point // 10 if role == "scheduler" else point * 7919 % 2500)
                shim.arm(victim, number)
                wait_until(lambda: shim.fired == 1, f"allocation {number} of {role} {victim} fails", 120)
                wait_until(lambda: not is_alive(victim), f"{victim} has ended")  # pylint: disable=cell-var-from-loop
                people.work(2)
                wait_replaced(turnout, role, victim, 60)
                numbers.append((role, number))
            people.work(20)
        settle(turnout)
        wait_until(lambda: descriptors(turnout.pid) == before, "the master has the descriptors that it had")
        proven = prove(connection, people.journal, {event: SEATS for event in people.events})
    deaths = turnout.log_lines('message="child died"')
    said = turnout.log_lines('message="out of memory"')
    with capsys.disabled():
        print(f"\n  {MEMORY_POINTS} allocations failed, {len(set(numbers))} different ones, up to number {max(number for _, number in numbers)}; {len(said)} lines \"out of memory\","
              f" {len(deaths)} deaths; {proven['requests']} writes, {proven['unknown']} without an answer")
    assert len(said) == len(deaths) == len(set(numbers)) == MEMORY_POINTS
    assert all('cause="signal 6 (ABRT)"' in line for line in deaths)


@pytest.mark.nosan
def test_a_master_without_memory_says_so_and_takes_its_children_with_it(new_turnout, monkeypatch, tmp_path):
    if is_sanitized():
        pytest.skip("the sanitizer has its own malloc")
    shim = FailingMemory(tmp_path)
    turnout = new_turnout(start=False, workers=1)
    for name, value in shim.environment.items():
        monkeypatch.setenv(name, value)
    for round_ in range(3):
        turnout.start()
        family = pids(turnout)[1:]
        shim.arm(turnout.pid, 1 + round_ * 20)
        wait_until(lambda: turnout.ctl("show", "processes", check=False).returncode != 0, "the master does not answer any more")
        assert turnout.process.wait(30) == -6
        assert shim.fired == 1
        wait_until(lambda: not any(is_alive(pid) for pid in family), "its children are gone")  # pylint: disable=cell-var-from-loop
        assert len(turnout.log_lines('message="out of memory"')) == round_ + 1
    turnout.start()
    assert turnout.get("/api/events").status == 200
