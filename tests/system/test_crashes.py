"""Processes die, hang and are told to end while people use them."""

import os
import re
import signal
import socket
import statistics
import time

import psycopg
import pytest

from server import run
from sql_harness import OWNER, wait_until
from traffic import (SCALE, Traffic, add_event, children, everyday, is_alive, log_moment, peers_of, pids, wait_replaced)

# Issue 2: back at once. Milliseconds.
RESPAWN = 50
# Seconds until nobody is left of a master that was killed.
GONE = 1
SANITIZED = "TURNOUT_SANITIZER_LOGS" in os.environ
CLIENTS = 48


@pytest.fixture
def events(postgres):
    """A function that makes events with room for everybody in the database of a turnoutd."""
    def make(turnout, count=CLIENTS):
        with psycopg.connect(postgres.dsn(turnout.database, OWNER), autocommit=True) as connection:
            return [add_event(connection, 1000, f"Event {number}") for number in range(count)]
    return make


def log_of(turnout, message, pid):
    lines = [line for line in turnout.log_lines(f'message="{message}"') if f"child={pid} " in line + " "]
    return lines[0] if lines else None


@pytest.mark.parametrize("role", ["worker", "refresher", "scheduler"])
def test_kill_9_fails_only_the_requests_that_the_process_held_and_it_is_back_at_once(new_turnout, events, capsys, role):
    turnout = new_turnout(workers=3)
    took, failed, held = [], [], []
    # All keep their connections, so that it is known whose requests the victim held.
    with Traffic(turnout.port, CLIENTS, everyday(turnout, events(turnout), keep=lambda number: True)) as traffic:
        for round_ in range(int(5 * SCALE)):
            traffic.wait_for_answers(500)
            victim = pids(turnout, role)[round_ % 3 if role == "worker" else 0]
            peers = peers_of(victim, turnout.port) if role == "worker" else set()
            already, killed_at = len(traffic.failures), time.time()
            os.kill(victim, signal.SIGKILL)
            wait_replaced(turnout, role, victim)
            new = next(line for line in turnout.log_lines('message="child serves"', f"role={role}") if log_moment(line) > killed_at)
            took.append((log_moment(new) - killed_at) * 1000)
            traffic.wait_for_answers(500)
            failures = traffic.failures[already:]
            held.append(len(peers))
            failed.append(len(failures))
            assert {port for _, _, port in failures} <= peers, failures
            assert len(failures) <= len(peers)
    with capsys.disabled():
        print(f"\n  {role}: connections held {held}, requests failed {failed}; serves again after "
              + ", ".join(f"{milliseconds:.0f}" for milliseconds in took) + " ms")
    assert role != "worker" or sum(failed) > 0, "no kill hit a request"
    assert SANITIZED or statistics.median(took) < 5 * RESPAWN


def gone_after(pids_of_children, patience=20):
    start = time.monotonic()
    wait_until(lambda: not any(is_alive(pid) for pid in pids_of_children), "all children are gone", patience)
    return time.monotonic() - start


def test_kill_9_of_the_master_ends_all_children_within_a_second_and_it_starts_again_at_the_same_addresses(
        new_turnout, events, capsys):
    turnout = new_turnout(workers=3)
    with Traffic(turnout.port, CLIENTS, everyday(turnout, events(turnout))) as traffic:
        traffic.wait_for_answers(1000)
        family = children(turnout.pid)
        assert len(family) == 5
        turnout.process.kill()
        turnout.process.wait(10)
        # At once: the new one does not wait for the children of the old one.
        start = time.monotonic()
        turnout.start(ready=False)
        gone = gone_after(family)
        turnout.wait_ready()
        ready = time.monotonic() - start
        traffic.wait_for_answers(1000)
        last = time.monotonic()
        traffic.wait_for_answers(1000)
    with capsys.disabled():
        print(f"\n  children gone after {gone * 1000:.0f} ms, ready again after {ready * 1000:.0f} ms")
    assert gone < 5 * GONE
    assert [failure for failure in traffic.failures if failure[0] > last] == []
    assert turnout.stop() == 0


class UnreadLog:
    """A log that is a pipe which nobody reads: sooner or later each worker hangs, in writing the line of a request."""

    def __init__(self, turnout):
        self.turnout, self.file = turnout, turnout.log
        self.path = turnout.folder / "log.fifo"
        os.mkfifo(self.path)
        self.reader = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        turnout.log = self.path

    def hang(self, count, path="/api/users/me"):
        """Asks until so many workers hang; answers their pids."""
        def hanging():
            try:
                with socket.create_connection(("127.0.0.1", self.turnout.port), 1) as asking:
                    asking.settimeout(0.05)
                    for _ in range(50):
                        asking.sendall(f"GET {path} HTTP/1.1\r\nHost: test\r\nX-Request-Id: the-last-one\r\n\r\n".encode())
                        asking.recv(65536)
            except OSError:
                pass
            found = [pid for pid in children(self.turnout.pid) if self._hangs(pid)]
            return len(found) >= count and found
        return wait_until(hanging, f"{count} workers hang")

    @staticmethod
    def _hangs(pid):
        try:
            with open(f"/proc/{pid}/wchan", encoding="ascii") as channel:
                return "pipe" in channel.read()
        except OSError:
            return False

    def read(self):
        """What has been written meanwhile."""
        parts = []
        while True:
            try:
                parts.append(os.read(self.reader, 65536))
            except BlockingIOError:
                return b"".join(parts).decode(errors="replace")
            if not parts[-1]:
                return b"".join(parts).decode(errors="replace")

    def close(self):
        os.close(self.reader)
        self.turnout.log = self.file


def test_children_that_hang_when_the_master_dies_are_gone_within_a_second_too_and_do_not_keep_it_from_starting(
        new_turnout, capsys):
    turnout = new_turnout(start=False, workers=2)
    log = UnreadLog(turnout)
    turnout.start()
    family = children(turnout.pid)
    log.hang(2)
    turnout.process.kill()
    turnout.process.wait(10)
    killed_at = time.monotonic()
    turnout.log = log.file
    turnout.start(ready=False)
    gone = gone_after(family)
    turnout.wait_ready()
    ready = time.monotonic() - killed_at
    log.close()
    with capsys.disabled():
        print(f"\n  gone after {gone * 1000:.0f} ms, ready again after {ready * 1000:.0f} ms")
    assert gone < 5 * GONE
    assert turnout.get("/api/events").status == 200
    assert turnout.stop() == 0


def test_a_child_that_hangs_is_killed_after_the_ping_time_out_while_others_go_on_serving(new_turnout, events, capsys):
    turnout = new_turnout(workers=3, ping_interval="200ms", ping_timeout="3s")
    with Traffic(turnout.port, CLIENTS, everyday(turnout, events(turnout))) as traffic:
        for role in ("worker", "refresher", "scheduler"):
            traffic.wait_for_answers(500)
            victim = pids(turnout, role)[0]
            already = len(traffic.failures)
            os.kill(victim, signal.SIGSTOP)
            stopped_at = time.monotonic()
            # Nobody waits in a queue of its own: others take the new connections meanwhile.
            traffic.wait_for_answers(500)
            assert is_alive(victim), "killed before others could be seen to serve"
            peers = peers_of(victim, turnout.port) if role == "worker" else set()
            assert traffic.failures[already:] == []
            wait_until(lambda: not is_alive(victim), "the master kills it", 30)
            silent = time.monotonic() - stopped_at
            wait_replaced(turnout, role, victim)
            traffic.wait_for_answers(500)
            assert {port for _, _, port in traffic.failures[already:]} <= peers
            assert 2.8 < silent < 15, silent
            assert log_of(turnout, "child does not answer; killing it", victim)
            with capsys.disabled():
                print(f"\n  {role}: killed after {silent:.2f} s (ping_timeout 3 s)", end="")


def test_a_master_that_was_stopped_itself_kills_nobody(new_turnout, events):
    turnout = new_turnout(workers=2, ping_interval="200ms", ping_timeout="1s")
    family = children(turnout.pid)
    with Traffic(turnout.port, 12, everyday(turnout, events(turnout, 12))) as traffic:
        for _ in range(2):
            os.kill(turnout.pid, signal.SIGSTOP)
            stopped_at = time.monotonic()
            wait_until(lambda: time.monotonic() - stopped_at > 1.5, "longer than ping_timeout")
            traffic.wait_for_answers(100)
            os.kill(turnout.pid, signal.SIGCONT)
            late = len(turnout.log_lines("the master was late"))
            wait_until(lambda: len(turnout.log_lines("the master was late")) >= max(1, late), "the master notices")
            running_at = time.monotonic()
            wait_until(lambda: time.monotonic() - running_at > 1.2, "another ping_timeout passes")
    assert traffic.failures == []
    assert children(turnout.pid) == family
    assert turnout.log_lines("child died") == []


def test_exit_status_says_whether_to_start_it_again(new_turnout):
    turnout = new_turnout(start=False)
    good = turnout.configuration_file.read_text(encoding="utf-8")

    def start_with(text):
        turnout.configuration_file.write_text(text, encoding="utf-8")
        return run("turnoutd", "-c", turnout.configuration_file, check=False, timeout=20)

    for text, reason in [(good + "no_such_option = 1\n", "no_such_option"), (good + "workers = many\n", "workers"),
                         (good.replace("jwks.json", "nothing.json"), "nothing.json")]:
        ended = start_with(text)
        assert ended.returncode == 2 and reason in ended.stderr, ended
        assert len(ended.stderr.splitlines()) == 1, ended.stderr
    turnout.configuration_file.write_text(good, encoding="utf-8")
    # Its accepted twin.
    turnout.start()
    assert turnout.stop(signal.SIGTERM) == 0
    assert turnout.start().stop(signal.SIGINT) == 0
    assert turnout.start().stop(signal.SIGQUIT) == 0


def test_a_second_one_at_the_same_addresses_refuses_to_start_and_disturbs_nobody(new_turnout):
    turnout = new_turnout()
    ended = run("turnoutd", "-c", turnout.configuration_file, check=False, timeout=20)
    assert ended.returncode != 0 and "listen" in ended.stderr, ended
    assert turnout.get("/api/events").status == 200
    assert turnout.show("version")


def test_obituaries_name_role_cause_and_work(new_turnout, events):
    turnout = new_turnout(workers=2, ping_interval="100ms")
    with Traffic(turnout.port, 24, everyday(turnout, events(turnout, 24))) as traffic:
        traffic.wait_for_answers(1000)
        victim = turnout.kill("worker")
        wait_replaced(turnout, "worker", victim)
        line = log_of(turnout, "child died", victim)
        assert "role=worker" in line and 'cause="signal 9 (KILL)"' in line and "state=ready" in line, line
        assert int(re.search(r" requests=(\d+)", line)[1]) > 0 and " in_flight=" in line and " connections=" in line, line
        victim = turnout.kill("scheduler", how=signal.SIGTERM)
        wait_replaced(turnout, "scheduler", victim)
        line = log_of(turnout, "child died", victim)
        assert "role=scheduler" in line and 'cause="exit status 0"' in line, line


@pytest.mark.skipif(SANITIZED, reason="a sanitizer writes a report of its own in place of the last words")
@pytest.mark.parametrize("path, activity", [
    ("/api/users/me", 'activity="/api/users/me" request_id="the-last-one"'),  # refused at once: no token
    ("/api/events?q=x", 'activity="events_list"'),  # with the answer of PostgreSQL in hand
])
def test_the_last_words_of_a_crash_name_the_work(new_turnout, path, activity):
    turnout = new_turnout(start=False, workers=1)
    log = UnreadLog(turnout)
    turnout.start()
    victim, = log.hang(1, path)
    os.kill(victim, signal.SIGSEGV)
    text = log.read()

    def last_words():
        nonlocal text
        text += log.read()
        return 'message="crashed"' in text and "child died" in text
    wait_until(last_words, "its last words and its obituary")
    words, = [line for line in text.splitlines() if 'message="crashed"' in line]
    assert f"pid={victim} " in words and "signal=11" in words, words
    assert activity in words, words
    obituary, = [line for line in text.splitlines() if "child died" in line]
    assert f"child={victim} " in obituary and 'cause="signal 11 (SEGV)"' in obituary, obituary
    turnout.process.kill()
    log.close()
