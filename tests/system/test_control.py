"""turnoutctl against a running daemon: what it shows, what it changes, whom it refuses."""

import json
import os
import socket
import struct
import subprocess

import pytest

from sql_harness import wait_until

SHOW_VERSION = b"\x92\xa4show\xa7version"
NOUNS = ["processes", "config", "pools", "connections", "memory", "version"]


@pytest.mark.parametrize("noun", NOUNS)
def test_each_noun_is_shown_as_a_table_and_as_json(turnout, noun):
    table = turnout.ctl("show", noun).stdout.splitlines()
    rows = json.loads(turnout.ctl("show", noun, "-j").stdout)
    assert isinstance(rows, list) and rows
    assert table[0].split() == [name.upper() for name in rows[0]]
    assert len(table) == len(rows) + 1


def test_processes_are_shown_with_pid_role_state_and_restarts(turnout):
    rows = turnout.show("processes")
    assert [row["role"] for row in rows] == ["master", "worker", "worker", "refresher", "scheduler"]
    assert {row["state"] for row in rows} == {"ready"}
    assert rows[0]["pid"] == turnout.pid
    for row in rows:
        os.kill(row["pid"], 0)
        assert row["restarts"] == 0
        assert row["started_at"].endswith("Z")


def test_processes_carry_their_names_in_ps(turnout):
    names = set()
    for row in turnout.show("processes"):
        with open(f"/proc/{row['pid']}/cmdline", "rb") as line:
            names.add(line.read().rstrip(b"\0").decode())
    assert names == {"turnoutd: master", "turnoutd: worker 0", "turnoutd: worker 1", "turnoutd: refresher", "turnoutd: scheduler"}


def test_configuration_in_force_is_shown_with_its_origin(turnout):
    rows = {row["name"]: row for row in turnout.show("config")}
    assert rows["workers"]["value"] == "2"
    assert rows["workers"]["origin"].startswith(str(turnout.configuration_file))
    assert rows["idle_timeout"] == {"name": "idle_timeout", "value": "75s", "default": "75s", "origin": "default",
                                    "applies_at": "reload"}


def test_pools_add_up_to_what_the_host_may_have(turnout):
    rows = turnout.show("pools")
    assert {(row["role"], row["pool"]) for row in rows} == {
        ("worker", "read"), ("worker", "write"), ("worker", "busy"), ("refresher", "feed"), ("refresher", "render"), ("scheduler", "app"), ("scheduler", "owner")}
    assert sum(row["max"] for row in rows) <= 3 * 2 + 5
    assert all(row["reachable"] == "yes" for row in rows if row["open"])


def test_connections_count_clients_and_requests(turnout):
    def total(column):
        return sum(row[column] for row in turnout.show("connections"))
    requests, accepted = total("requests"), total("accepted")
    with turnout.connect() as client:
        client.sendall(b"GET /api/events HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        wait_until(lambda: total("requests") == requests + 3, "three more requests")
        assert total("accepted") == accepted + 1
        assert total("open") >= 1


def test_the_log_level_changes_at_once_and_everywhere(turnout):
    def logged():
        turnout.get("/api/events")
        return len(turnout.log_lines("message=request"))
    before = logged()
    assert turnout.ctl("log-level", "error").stdout == "log level is error\n"
    # The change travels on each worker's channel; a report answered after it proves that it was read.
    turnout.show("connections")
    silent = logged()
    assert silent <= before + 1
    assert logged() == silent
    turnout.ctl("log-level", "info")
    turnout.show("connections")
    wait_until(lambda: logged() > silent, "requests are logged again")


def test_bad_commands_are_refused_with_what_was_expected(turnout):
    for words, complaint in ((["show"], "unknown command"), (["show", "nothing"], "unknown command"),
                             (["workers", "0"], "expected a number of workers"), (["workers", "many"], "expected a number"),
                             (["workers"], "expected exactly one argument"), (["log-level", "loud"], "expected debug, info"),
                             (["show", "pools", "more"], "expected no argument"), (["stop", "soon"], "expected: stop [--now]")):
        done = turnout.ctl(*words, check=False)
        assert done.returncode in (1, 2), words
        assert complaint in done.stderr, words
    assert turnout.ctl("show", "version").returncode == 0


def test_help_is_there_for_every_command(turnout):
    listing = turnout.ctl("--help").stdout
    for command in [f"show {noun}" for noun in NOUNS] + ["stop", "workers", "log-level", "token", "migrate", "events import"]:
        assert f"\n  {command}" in listing
        assert turnout.ctl(*command.split(), "--help").stdout.startswith("Usage: turnoutctl ")


def test_json_is_there_for_what_has_no_rows(turnout):
    assert json.loads(turnout.ctl("-j", "log-level", "info").stdout) == {"status": 0, "text": "log level is info"}


def test_the_socket_is_closed_to_others(turnout):
    assert os.stat(turnout.control_socket).st_mode & 0o777 == 0o660


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_the_peer_is_looked_at_beside_the_permissions(turnout):
    os.chmod(turnout.folder, 0o711)
    os.chmod(turnout.control_socket, 0o666)
    stranger = (f"import socket; client = socket.socket(socket.AF_UNIX); client.connect({str(turnout.control_socket)!r});"
                f"client.sendall({frame(SHOW_VERSION)!r}); print(client.recv(1))")
    try:
        done = subprocess.run(["/usr/bin/python3", "-c", stranger], user=65534, group=65534, extra_groups=[], cwd="/",
                              capture_output=True, text=True, check=False)
        assert done.stdout == "b''\n" or "ConnectionResetError" in done.stderr or "BrokenPipeError" in done.stderr, done
        turnout.wait_logged("control connection refused", "uid=65534")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(turnout.control_socket))
            client.sendall(frame(SHOW_VERSION))
            assert client.recv(1) == b"\0"
    finally:
        os.chmod(turnout.control_socket, 0o660)


def frame(content):
    return struct.pack(">I", len(content)) + content


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", b"\0\0\0\0", frame(b"\xc1"), frame(b"\x90"), frame(b"GET / HTTP/1.1")])
def test_garbage_on_the_control_socket_is_answered_and_harms_nobody(turnout, data):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(turnout.control_socket))
        client.sendall(data)
        answer = b""
        while part := client.recv(4096):
            answer += part
    assert b"unreadable request" in answer
    assert turnout.ctl("show", "version").returncode == 0


def test_many_silent_clients_do_not_keep_others_out(turnout):
    silent = []
    try:
        for _ in range(20):
            client = socket.socket(socket.AF_UNIX)
            client.connect(str(turnout.control_socket))
            silent.append(client)
        assert turnout.ctl("show", "version").returncode == 0
    finally:
        for client in silent:
            client.close()


def test_without_a_daemon_the_answer_is_status_3(turnout):
    done = turnout.ctl("-s", str(turnout.folder / "nowhere.sock"), "show", "version", check=False)
    assert done.returncode == 3
    assert "is turnoutd running?" in done.stderr


def test_stop_waits_until_the_daemon_has_ended(turnout):
    pids = [row["pid"] for row in turnout.show("processes")]
    turnout.disconnect()
    assert turnout.ctl("stop").stdout == "stopping\n"
    assert turnout.process.wait(10) == 0
    for pid in pids:
        assert not os.path.exists(f"/proc/{pid}")
    assert not turnout.control_socket.exists()
    assert not turnout.unix_socket.exists()
    turnout.start()
    assert turnout.ctl("stop", "--now").stdout == "stopping now\n"
    assert turnout.process.wait(10) == 0
    turnout.start()
