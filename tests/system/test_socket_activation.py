"""Listening sockets that systemd holds and hands over: what is taken, what is refused, and that they outlive each daemon."""

import os
import shutil
import signal
import socket
import subprocess
import time

import pytest

import server
from server import free_port, programs
from sql_harness import wait_until
from supervised import Supervised, listening

ASK = b"GET /api/events HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"


def answer_of(connection):
    """Everything until the server closes."""
    received = b""
    while part := connection.recv(65536):
        received += part
    return received


def dial(address):
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    connection = socket.socket(family)
    connection.settimeout(30)
    connection.connect(address)
    return connection


def places(turnout):
    return [("127.0.0.1", turnout.port), str(turnout.unix_socket), ("127.0.0.1", turnout.internal_port)]


def test_what_is_handed_over_is_served_and_the_options_open_nothing(new_turnout):
    other = free_port()
    turnout = new_turnout(kind=Supervised, start=False)
    turnout.configure(listen=f"127.0.0.1:{other}", internal_listen=f"127.0.0.1:{free_port()}")
    turnout.start()
    for place in places(turnout)[:2]:
        with dial(place) as client:
            client.sendall(ASK)
            assert answer_of(client).startswith(b"HTTP/1.1 200")
    assert turnout.internal("/readyz").status == 200
    with pytest.raises(ConnectionRefusedError):
        dial(("127.0.0.1", other))
    started, = turnout.log_lines("message=started")
    assert "handed_over=\"http, internal\"" in started and f"127.0.0.1:{turnout.port}" in started and str(turnout.unix_socket) in started


def test_what_is_not_handed_over_is_opened_as_the_options_say(new_turnout):
    port = free_port()
    with listening(socket.AF_INET, ("127.0.0.1", port)) as mine:
        turnout = new_turnout(kind=Supervised, named=[("http", mine)])
        with dial(("127.0.0.1", port)) as client:
            client.sendall(ASK)
            assert answer_of(client).startswith(b"HTTP/1.1 200")
        assert turnout.internal("/healthz").status == 200
        with pytest.raises(ConnectionRefusedError):
            dial(("127.0.0.1", turnout.port))


def test_the_sockets_are_open_in_the_master_and_its_workers_only(new_turnout):
    turnout = new_turnout(kind=Supervised)
    for row in turnout.processes():
        held = set()
        for link in os.listdir(f"/proc/{row['pid']}/fd"):
            try:
                held.add(os.readlink(f"/proc/{row['pid']}/fd/{link}"))
            except FileNotFoundError:
                continue
        has = [f"socket:[{os.fstat(one.fileno()).st_ino}]" in held for _, one in turnout.named]
        assert has == [row["role"] in ("master", "worker")] * 3, (row, held)
    for _, one in turnout.named:
        assert os.get_blocking(one.fileno()) is False, "workers share the socket: an accept that finds nobody must return"


def test_who_connects_between_two_daemons_is_served_by_the_second(new_turnout):
    turnout = new_turnout(kind=Supervised)
    with dial(places(turnout)[0]) as kept:
        kept.sendall(b"GET /api/events HTTP/1.1\r\nHost: test\r\n\r\n")
        assert kept.recv(65536).startswith(b"HTTP/1.1 200")
        turnout.process.send_signal(signal.SIGTERM)
        wait_until(lambda: turnout.log_lines("message=stopping"), "it is ending")
        # The old one accepts nobody any more, and answers once more whom it has.
        waiting = [dial(place) for place in places(turnout)[:2] for _ in range(100)]
        for client in waiting:
            client.sendall(ASK)
        kept.sendall(b"GET /api/events HTTP/1.1\r\nHost: test\r\n\r\n")
        last = answer_of(kept)
        assert last.startswith(b"HTTP/1.1 200") and b"Connection: close" in last
    assert turnout.process.wait(20) == 0
    # Nobody serves now, and nobody is refused.
    waiting += [dial(place) for place in places(turnout)[:2] for _ in range(100)]
    for client in waiting[200:]:
        client.sendall(ASK)
    assert turnout.unix_socket.exists()
    turnout.start()
    for client in waiting:
        with client:
            assert answer_of(client).startswith(b"HTTP/1.1 200")


def test_a_connection_that_is_kept_and_not_used_does_not_hold_up_who_waits(new_turnout, capsys):
    """With shutdown_timeout at 60 s: the next daemon cannot begin before the last one has ended."""
    turnout = new_turnout(kind=Supervised, shutdown_timeout="60s")
    with dial(places(turnout)[0]) as idle:
        idle.sendall(b"GET /api/events HTTP/1.1\r\nHost: test\r\n\r\n")
        assert idle.recv(65536).startswith(b"HTTP/1.1 200")
        started = time.monotonic()
        turnout.process.send_signal(signal.SIGTERM)
        assert turnout.process.wait(50) == 0
        took = time.monotonic() - started
        assert idle.recv(65536) == b""
    with capsys.disabled():
        print(f"\n  ended after {took:.2f} s: an idle connection is kept for a second")
    assert took < 8


def test_the_second_daemon_is_reachable_after_the_first_was_killed(new_turnout):
    turnout = new_turnout(kind=Supervised)
    turnout.stop(signal.SIGKILL)
    with dial(places(turnout)[0]) as client:
        client.sendall(ASK)
        turnout.start()
        # It may have been taken by a worker that had not heard yet that its master was gone; nobody else may be.
        answer_of(client)
    with dial(places(turnout)[0]) as client:
        client.sendall(ASK)
        assert answer_of(client).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("what, complaint", [
    ("name", "is named \"web\": expected http or internal"),
    ("no names", "is named \"\": expected http or internal"),
    ("datagram", "expected a listening stream socket"),
    ("not listening", "expected a listening stream socket"),
    ("file", "expected a listening stream socket"),
    ("count", "expected a number of sockets"),
])
def test_what_does_not_fit_is_a_bad_start_in_one_line(new_turnout, tmp_path, what, complaint):
    port = free_port()
    made = {"datagram": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM), "not listening": socket.socket,
            "file": lambda: open(tmp_path / "file", "w+", encoding="utf-8")}.get(
                what, lambda: listening(socket.AF_INET, ("127.0.0.1", port)))
    with made() as one:
        turnout = new_turnout(kind=Supervised, start=False, named=[("web" if what == "name" else "http", one)],
                              names="" if what == "no names" else None,
                              variables={"LISTEN_FDS": "many"} if what == "count" else None)
        turnout.start(ready=False)
        assert turnout.process.wait(20) == 2
        complaints = [line for line in turnout.log_text().splitlines() if line.startswith("turnoutd: LISTEN_FDS: ")]
        assert len(complaints) == 1 and complaint in complaints[0], turnout.log_text()


def test_what_is_meant_for_another_process_is_left_alone(new_turnout):
    """LISTEN_PID names somebody else: an ancestor that did not clean up. The options count."""
    with listening(socket.AF_INET, ("127.0.0.1", free_port())) as one:
        turnout = new_turnout(kind=Supervised, named=[("nonsense", one)], variables={"LISTEN_PID": "1"})
        assert turnout.get("/api/events").status == 200


@pytest.mark.skipif(shutil.which("systemd-socket-activate") is None, reason="there is no systemd-socket-activate")
def test_systemd_starts_it_with_the_first_connection(new_turnout):
    turnout = new_turnout(start=False)
    command = ["systemd-socket-activate", "-l", f"127.0.0.1:{turnout.port}", "-l", str(turnout.unix_socket), "--fdname=http:http",
               str(programs() / "turnoutd"), "-c", str(turnout.configuration_file)]
    with open(turnout.log, "ab") as log:
        # systemd-socket-activate execs: this is turnoutd's pid, too.
        turnout.process = subprocess.Popen(command, env=server.environment(), cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                           start_new_session=True)
    wait_until(lambda: "Listening on" in turnout.log_text(), "systemd-socket-activate listens")
    assert not turnout.log_lines("message=started")
    with dial(("127.0.0.1", turnout.port)) as client:
        client.sendall(ASK)
        assert answer_of(client).startswith(b"HTTP/1.1 200")
    with dial(str(turnout.unix_socket)) as client:
        client.sendall(ASK)
        assert answer_of(client).startswith(b"HTTP/1.1 200")
    turnout.wait_logged("message=started", "handed_over=http")
    assert turnout.stop() == 0
    assert turnout.unix_socket.exists(), "the path is systemd's"
