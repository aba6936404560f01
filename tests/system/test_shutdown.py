"""turnoutd is told to end while people use it: what was accepted is answered, and it ends when it was promised to."""

import http.client
import os
import signal
import socket
import time

import psycopg
import pytest

from handshake import Handshake
from sql_harness import OWNER, wait_until
from traffic import SCALE, Traffic, add_event, everyday, pids, stopped

CLIENTS = 60


@pytest.fixture
def events(postgres):
    def make(turnout, count=CLIENTS):
        with psycopg.connect(postgres.dsn(turnout.database, OWNER), autocommit=True) as connection:
            return [add_event(connection, 1000, f"Event {number}") for number in range(count)]
    return make


def listens(turnout):
    try:
        turnout.connect(0.2).close()
        return True
    except OSError:
        return False


@pytest.mark.parametrize("address", ["port", "unix_socket"])
def test_nothing_that_was_accepted_fails_when_it_is_told_to_end_under_load(new_turnout, events, capsys, address):
    """Half of the clients open a connection for each request, half keep theirs; a third register and cancel."""
    turnout = new_turnout(workers=2)
    own_events = events(turnout)
    took, answered = [], 0
    for round_ in range(int(6 * SCALE)):
        if round_ > 0:
            turnout.start()
        with Traffic(getattr(turnout, address), CLIENTS, everyday(turnout, own_events)) as traffic:
            traffic.wait_for_answers(300)
            started = time.monotonic()
            assert turnout.stop(signal.SIGTERM) == 0
            took.append(time.monotonic() - started)
            refused = traffic.refused
            wait_until(lambda: traffic.refused > refused, "nobody listens any more")
        assert traffic.failures == []
        answered += traffic.answered
        assert traffic.refused > 0, "no client was there to see the end"
    with capsys.disabled():
        print(f"\n  {address}: {answered} requests answered, none failed; ended after "
              + ", ".join(f"{seconds * 1000:.0f}" for seconds in took) + " ms")
    assert turnout.log_lines("child died") == []


@pytest.mark.parametrize("address, told", [("port", "master"), ("unix_socket", "master"), ("port", "everybody")])
def test_who_waits_in_the_queue_when_it_is_told_to_end_is_still_answered(new_turnout, events, address, told):
    """The workers do not get round to accepting: meanwhile hundreds connect and send, and then it is told to end, or each process is
    (a service manager with KillMode=control-group)."""
    turnout = new_turnout(workers=2)
    event, = events(turnout, 1)
    workers = pids(turnout, "worker")
    with stopped(workers):
        waiting = [dial(getattr(turnout, address)) for _ in range(300)]
        for number, connection in enumerate(waiting):
            if number % 2:
                body = f'{{"event_id":"{event}"}}'
                connection.sendall((f"POST /api/registrations HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
                                    f"Authorization: Bearer {turnout.token(f'queue{number % 20}@example.com')}\r\n"
                                    f"Content-Length: {len(body)}\r\n\r\n{body}").encode())
            else:
                connection.sendall(f"GET /api/events/{event} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        # A client that has looked up the socket before its file is removed.
        os.link(turnout.unix_socket, turnout.folder / "found.sock")
        if told == "master":
            turnout.process.send_signal(signal.SIGTERM)
        else:
            os.killpg(turnout.pid, signal.SIGTERM)
        # From then on nobody is let in, or a worker would close the listener under somebody's feet.
        found = turnout.folder / "found.sock" if address == "unix_socket" else turnout.port
        wait_until(lambda: not connects(found, waiting), "new connections are kept out", 5)
    statuses = []
    for connection in waiting:
        connection.settimeout(20)
        with connection, connection.makefile("rb") as answer:
            statuses.append(int(answer.readline().split()[1]))
    assert set(statuses) <= {200, 201} and len(statuses) >= 300, statuses
    assert turnout.process.wait(20) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="raw sockets need root")
@pytest.mark.parametrize("ends", [False, True])
def test_a_client_in_the_middle_of_its_handshake_is_served(new_turnout, ends):
    """It has heard from the server, takes itself for connected, and its request is on the way when the server is told to end."""
    turnout = new_turnout(workers=1)
    with Handshake(turnout.port) as client:
        client.begin()
        if ends:
            turnout.process.send_signal(signal.SIGTERM)
            wait_until(lambda: turnout.log_lines("message=stopping"), "it is ending")
        client.finish(b"GET /api/events HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        answer = client.received()
        assert answer is not None and answer.startswith(b"HTTP/1.1 200"), answer


def connects(address, waiting):
    """Connects, if it can, and asks, too."""
    try:
        connection = dial(address, timeout=0.5)
    except OSError:
        return False
    connection.sendall(b"GET /api/events HTTP/1.1\r\nHost: test\r\n\r\n")
    waiting.append(connection)
    return True


def dial(address, timeout=5):
    if isinstance(address, int):
        return socket.create_connection(("127.0.0.1", address), timeout=timeout)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(timeout)
    connection.connect(str(address))
    return connection


def test_a_kept_connection_is_answered_once_more_and_told_that_it_closes(new_turnout, events):
    turnout = new_turnout()
    event, = events(turnout, 1)
    token = turnout.token("kept@example.com")
    kept = [http.client.HTTPConnection("127.0.0.1", turnout.port, timeout=20) for _ in range(3)]
    for connection in kept:
        connection.request("GET", "/api/events")
        answer = connection.getresponse()
        assert answer.read() and answer.getheader("Connection") is None
    turnout.process.send_signal(signal.SIGTERM)
    wait_until(lambda: not listens(turnout), "new connections are refused")
    assert turnout.process.poll() is None, "it did not wait for the kept connections"
    kept[0].request("POST", "/api/registrations", f'{{"event_id":"{event}"}}',
                    {"Authorization": f"Bearer {token}", "Content-Type": "application/json"})
    answer = kept[0].getresponse()
    assert (answer.status, answer.getheader("Connection")) == (201, "close"), answer.read()
    kept[1].request("GET", f"/api/events/{event}")
    answer = kept[1].getresponse()
    assert (answer.status, answer.getheader("Connection")) == (200, "close"), answer.read()
    kept[2].close()
    assert turnout.process.wait(10) == 0


def test_a_request_that_waits_for_postgresql_is_answered_before_it_ends(new_turnout, events, postgres):
    turnout = new_turnout()
    event, = events(turnout, 1)
    token = turnout.token("waiting@example.com")
    with psycopg.connect(postgres.dsn(turnout.database, "postgres")) as holder, \
            psycopg.connect(postgres.dsn(turnout.database, "postgres"), autocommit=True) as observer:
        holder.execute("lock table turnout.outbox in exclusive mode")
        connection = http.client.HTTPConnection("127.0.0.1", turnout.port, timeout=20)
        connection.request("POST", "/api/registrations", f'{{"event_id":"{event}"}}',
                           {"Authorization": f"Bearer {token}", "Content-Type": "application/json"})
        wait_until(lambda: observer.execute("select 1 from pg_stat_activity where wait_event_type = 'Lock'"
                                            " and application_name like 'turnout%'").fetchone(), "the statement waits")
        turnout.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not listens(turnout), "new connections are refused")
        holder.rollback()
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("Connection")) == (201, "close"), answer.read()
    connection.close()
    assert turnout.process.wait(10) == 0


def half_a_request(turnout):
    stuck = turnout.connect()
    stuck.sendall(b"POST /api/registrations HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{")
    return stuck


def test_a_stuck_client_holds_it_up_until_the_shutdown_time_out_and_no_longer(new_turnout, capsys):
    turnout = new_turnout(shutdown_timeout="1s")
    with half_a_request(turnout), turnout.connect() as idle:
        idle.sendall(b"GET /api/events HTTP/1.1\r\nHost: test\r\n\r\n")
        assert idle.recv(65536).startswith(b"HTTP/1.1 200")
        started = time.monotonic()
        turnout.process.send_signal(signal.SIGTERM)
        assert turnout.process.wait(20) == 0
        took = time.monotonic() - started
    with capsys.disabled():
        print(f"\n  ended after {took:.2f} s, shutdown_timeout 1 s")
    assert 1 <= took < 5
    assert turnout.log_lines("child died") == [], "who still had clients was killed instead of ending"


def test_a_second_signal_means_now(new_turnout, capsys):
    turnout = new_turnout()
    with half_a_request(turnout):
        turnout.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not listens(turnout), "it is ending")
        assert turnout.process.poll() is None
        started = time.monotonic()
        turnout.process.send_signal(signal.SIGTERM)
        assert turnout.process.wait(20) == 0
        took = time.monotonic() - started
    with capsys.disabled():
        print(f"\n  ended {took * 1000:.0f} ms after the second signal")
    assert took < 2.5


@pytest.mark.parametrize("now", [False, True])
def test_turnoutctl_stop_returns_when_it_has_ended(new_turnout, now):
    turnout = new_turnout()
    with half_a_request(turnout) as stuck:
        if not now:
            stuck.close()
        turnout.ctl("stop", *(["--now"] if now else []))
        assert turnout.process.wait(5) == 0
    assert not turnout.control_socket.exists() and not turnout.unix_socket.exists()


def test_sigterm_at_any_moment_of_the_start_ends_it(new_turnout):
    """From its first microseconds on: no child is left, and the status is 0 once it has taken its signals."""
    turnout = new_turnout(start=False)
    asked, moment = 0, 0.0
    while asked < 8 * SCALE:
        turnout.start(ready=False)
        begun = time.monotonic()
        wait_until(lambda: time.monotonic() - begun > moment, "a moment later than the last time")  # pylint: disable=cell-var-from-loop
        turnout.process.send_signal(signal.SIGTERM)
        status = turnout.process.wait(20)
        assert status in (0, -signal.SIGTERM), status
        wait_until(lambda: not [pid for pid in os.listdir("/proc") if pid.isdigit() and belongs(pid, turnout)],
                   "nobody of its session is left", 5)
        asked += status == 0
        moment = moment * 1.1 + 0.001
        assert moment < 10, "it never ends as it was asked to"


def belongs(pid, turnout):
    """Is it a process of this turnoutd's session?"""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return fields[0] != "Z" and int(fields[3]) == turnout.pid
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_worker_that_hangs_is_killed_when_its_time_is_over(new_turnout):
    turnout = new_turnout(workers=2, shutdown_timeout="300ms")
    assert turnout.stop() == 0 and not turnout.log_lines("did not leave in time"), "it leaves by itself"
    turnout.start()
    with stopped(pids(turnout, "worker")[:1]):
        assert turnout.stop() == 0
    turnout.wait_logged("children did not leave in time; killing them")
