"""What the service manager hears (sd_notify): READY, STATUS, RELOADING, STOPPING, and the watchdog."""

import os
import signal
import time

import pytest

from server import free_port
from sql_harness import wait_until
from supervised import Manager, Supervised
from traffic import state_of, stopped


@pytest.fixture(params=["path", "abstract"])
def any_manager(request, tmp_path_factory):
    manager = Manager(f"@turnout-test-{os.getpid()}-{time.monotonic_ns()}" if request.param == "abstract"
                      else str(tmp_path_factory.mktemp("notify") / "socket"))
    yield manager
    manager.close()


@pytest.fixture
def manager(tmp_path):
    one = Manager(str(tmp_path / "notify"))
    yield one
    one.close()


def under(manager, **variables):
    """Only the notifications of systemd, and none of its sockets."""
    return {"kind": Supervised, "named": [], "names": "",
            "variables": {"LISTEN_FDS": None, "LISTEN_FDNAMES": None, "NOTIFY_SOCKET": manager.address, **variables}}


def test_ready_status_reloading_and_stopping_are_told_in_order(new_turnout, any_manager):
    manager = any_manager
    turnout = new_turnout(**under(manager))
    wait_until(lambda: manager.count("READY"), "READY")
    assert manager.last("STATUS") is None or "workers serve" in manager.last("STATUS")
    wait_until(lambda: (manager.last("STATUS") or "").startswith("2 of 2 workers serve, database reachable, "), "STATUS")
    turnout.configure(idle_timeout="70s")
    turnout.ctl("reload")
    kinds = [next(name for name in ("READY", "RELOADING", "STOPPING") if name in message)
             for message in manager.read() if {"READY", "RELOADING", "STOPPING"} & message.keys()]
    assert kinds == ["READY", "RELOADING", "READY"]
    reloading, = [message for message in manager.read() if "RELOADING" in message]
    assert 0 < int(reloading["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
    # A bad file, too, ends in READY: it goes on as it was.
    turnout.configure(idle_timeout="soon")
    assert turnout.ctl("reload", check=False).returncode == 1
    assert (manager.count("RELOADING"), manager.count("READY")) == (2, 3)
    assert turnout.stop() == 0
    stopping, = [message for message in manager.read() if "STOPPING" in message]
    # At least shutdown_timeout, which is 10 s here, and not much more.
    assert 10_000_000 <= int(stopping["EXTEND_TIMEOUT_USEC"]) <= 20_000_000
    assert manager.last("STATUS").startswith("stopping: ")
    assert manager.count("WATCHDOG") == 0, "nobody asked for it"


def test_ready_waits_for_the_database_but_not_for_ever(new_turnout, manager, capsys):
    """Nobody listens where the database should be: it serves what it can, and says so."""
    begun = time.monotonic()
    turnout = new_turnout(start=False, **under(manager))
    turnout.configure(database=f"host=127.0.0.1 port={free_port()} dbname=none user=none")
    turnout.start(ready=False)
    wait_until(lambda: len(turnout.log_lines('message="child serves"', "role=worker")) == 2, "the workers serve")
    assert manager.count("READY") == 0, "it was said before the database was looked at"
    wait_until(lambda: manager.count("READY"), "READY")
    with capsys.disabled():
        print(f"\n  READY without a database {time.monotonic() - begun:.1f} s after the start")
    wait_until(lambda: "database not reachable" in (manager.last("STATUS") or ""), "STATUS says why")
    assert turnout.internal("/readyz").status == 503 and turnout.internal("/healthz").status == 200


def test_the_watchdog_is_fed_by_answers_of_workers_and_by_nothing_else(new_turnout, manager):
    turnout = new_turnout(**under(manager, WATCHDOG_USEC=400_000, WATCHDOG_PID="PID"), ping_interval="1m", ping_timeout="10m")
    fed = lambda: manager.count("WATCHDOG")
    wait_until(lambda: fed() >= 5, "it is fed, though ping_interval is far longer")
    workers = [row["pid"] for row in turnout.processes("worker")]
    with stopped(workers[:1]):
        before = fed()
        wait_until(lambda: fed() > before + 2, "one worker that answers is enough")
    with stopped(workers):
        wait_until(lambda: [state_of(pid) for pid in workers] == ["T", "T"], "they stand still")
        # What was answered before they stood still may still be told; then the master and the scheduler alone feed nothing, however
        # often the master's loop comes round.
        turnout.ctl("show", "processes")
        before = fed()
        rounds = 20
        for _ in range(rounds):
            turnout.ctl("show", "version")
        assert turnout.ctl("@scheduler", "ping").returncode == 0
        assert fed() <= before + 1
    before = fed()
    wait_until(lambda: fed() > before + 2, "it is fed again")


@pytest.mark.parametrize("variables", [{"WATCHDOG_USEC": 200_000, "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "often"}, {}])
def test_a_watchdog_that_is_not_ours_is_not_fed(new_turnout, manager, variables):
    turnout = new_turnout(**under(manager, **variables), ping_interval="20ms")
    wait_until(lambda: manager.count("READY"), "READY")
    number = turnout.show("processes")[1]["pid"]
    assert number
    turnout.ctl("ping")
    assert manager.count("WATCHDOG") == 0


def test_a_manager_that_is_not_there_is_no_reason_not_to_serve(new_turnout, manager, tmp_path):
    turnout = new_turnout(**under(manager, NOTIFY_SOCKET=str(tmp_path / "nobody")))
    assert turnout.get("/api/events").status == 200
    turnout.wait_logged("level=warning", "NOTIFY_SOCKET")
    assert turnout.stop(signal.SIGTERM) == 0
