"""turnoutctl reload and SIGHUP: another configuration in the running processes, or none of it."""

import contextlib
import os
import signal
import subprocess

import pytest

from reloading import refuses_body, reload
from server import environment, programs
from sql_harness import TOP, wait_until
from traffic import pids, state_of, stopped

RELOADED = 'message="configuration reloaded"'


def value(turnout, name):
    row, = [row for row in turnout.show("config") if row["name"] == name]
    return row["value"]


# --- what is said, and what is refused ---------------------------------------------------------------------------------------------


def test_changed_options_and_those_that_need_a_restart_are_named(new_turnout):
    turnout = new_turnout()
    before = pids(turnout)
    assert reload(turnout) == {}
    assert turnout.ctl("reload").stdout == "no option has changed; keys and secrets were read again\n"
    said = reload(turnout, idle_timeout="70s", body_size="100k", max_connections=500, control_group="nobody-is-asked")
    assert said == {"idle_timeout": ("75s", "70s", "now"), "body_size": ("256k", "100k", "now"),
                    "max_connections": ("10000", "500", "at the next start"),
                    "control_group": ("", "nobody-is-asked", "at the next start")}
    turnout.wait_logged(RELOADED, "idle_timeout", "body_size", 'needs_restart="control_group, max_connections"')
    rows = {row["name"]: row for row in turnout.show("config")}
    assert rows["idle_timeout"]["value"] == "70s" and rows["idle_timeout"]["origin"].startswith(str(turnout.configuration_file))
    assert rows["max_connections"]["value"] == "10000", "what is shown is what is in force"
    # Said again as long as it is so, and no longer.
    assert set(reload(turnout)) == {"max_connections", "control_group"}
    assert reload(turnout, max_connections=None, control_group=None) == {}
    assert pids(turnout) == before


@pytest.mark.parametrize("options, complaint", [
    ({"body_size": "much"}, "body_size: expected a size"),
    ({"no_such_option": "1"}, "no_such_option: unknown option"),
    ({"jwt_keys_file": "/nonexistent/keys"}, "jwt_keys_file: /nonexistent/keys: No such file"),
    ({"cursor_key_file": "short.key"}, "expected at least 32 bytes, found 5"),
    ({"database": "dbname=turnout password=secret"}, "database: "),
    ({"listen": "everywhere"}, "listen: expected address:port"),
    ({"db_connections": "3"}, "db_connections: expected at least"),
    ({"request_line_size": "20k"}, "request_line_size: expected at most header_size"),
    ({"workers": "65", "workers_max": "100"}, "workers: expected at most workers_max, which is 64, not 65 until the next start"),
])
def test_whatever_is_wrong_refuses_all_of_it(turnout, options, complaint):
    (turnout.folder / "short.key").touch(mode=0o600)
    (turnout.folder / "short.key").write_text("short", encoding="utf-8")
    options = {name: f"{turnout.folder}/{text}" if text == "short.key" else text for name, text in options.items()}
    good = dict(turnout.options)
    shown = [(row["name"], row["value"]) for row in turnout.show("config")]
    refusals = len(turnout.log_lines("level=error", "reload refused"))
    try:
        turnout.configure(idle_timeout="33s", **options)
        done = turnout.ctl("reload", check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert complaint in done.stderr and done.stderr.count("\n") == 1 and "secret" not in done.stderr
        lines = turnout.log_lines("level=error", "reload refused")
        assert len(lines) == refusals + 1 and "secret" not in lines[-1]
        assert [(row["name"], row["value"]) for row in turnout.show("config")] == shown
        assert turnout.get("/api/events").status == 200
        # SIGHUP says the same in the log alone.
        turnout.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(turnout.log_lines("level=error", "reload refused")) == refusals + 2, "the log says why")
    finally:
        turnout.options = good
    assert reload(turnout) == {}


def test_a_file_that_has_gone_is_refused_and_the_daemon_is_still_found(new_turnout):
    """turnoutctl finds the control socket also when the rest of the file is wrong."""
    turnout = new_turnout()
    kept = turnout.configuration_file.read_text(encoding="utf-8")
    turnout.configuration_file.unlink()
    done = turnout.ctl("-s", str(turnout.control_socket), "reload", check=False)
    assert done.returncode == 1 and "No such file" in done.stderr
    os.mkfifo(turnout.configuration_file)
    done = turnout.ctl("-s", str(turnout.control_socket), "reload", check=False)
    assert done.returncode == 1 and "is not a regular file" in done.stderr
    turnout.configuration_file.unlink()
    turnout.configuration_file.write_text(kept + "nonsense\n", encoding="utf-8")
    assert turnout.ctl("show", "version").returncode == 0
    done = turnout.ctl("reload", check=False)
    assert done.returncode == 1 and "expected name = value" in done.stderr
    turnout.configure()
    assert turnout.ctl("reload").returncode == 0


def test_numbers_set_by_turnoutctl_give_way_to_the_file(new_turnout):
    turnout = new_turnout()
    turnout.ctl("workers", "3")
    turnout.ctl("log-level", "warning")
    assert (value(turnout, "workers"), value(turnout, "log_level")) == ("3", "warning")
    assert reload(turnout) == {"workers": ("3", "2", "now"), "log_level": ("warning", "info", "now")}
    wait_until(lambda: len(turnout.processes("worker")) == 2, "two workers are left")


def test_every_option_of_the_sample_says_whether_it_needs_a_restart(turnout):
    applies = {row["name"]: row["applies_at"] for row in turnout.show("config")}
    marked, comment = set(), ""
    for line in (TOP / "conf" / "turnout.conf").read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            comment += line
        elif line.startswith("#"):
            name = line[1:].split(" ", 1)[0]
            marked |= {name} if "Needs a restart." in comment else set()
        else:
            comment = ""
    assert marked == {name for name, when in applies.items() if when == "restart"}
    assert len(applies) > len(marked) > 5


# --- at awkward moments --------------------------------------------------------------------------------------------------------------


def start_ctl(turnout, *words):
    return subprocess.Popen([str(programs() / "turnoutctl"), "-c", str(turnout.configuration_file), *words], env=environment(),
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_many_reloads_at_once_are_all_answered_by_one_that_read_the_file_after_they_asked(new_turnout):
    turnout = new_turnout()
    turnout.configure(idle_timeout="71s")
    asking = [start_ctl(turnout, "reload") for _ in range(20)]
    for _ in range(20):
        turnout.process.send_signal(signal.SIGHUP)
    answers = [one.communicate(timeout=60) for one in asking]
    assert [one.returncode for one in asking] == [0] * 20, answers
    assert value(turnout, "idle_timeout") == "71s"
    assert any("idle_timeout" in stdout for stdout, _ in answers)
    reloads = len(turnout.log_lines(RELOADED))
    assert 1 <= reloads <= 41
    assert reload(turnout, idle_timeout="72s") == {"idle_timeout": ("71s", "72s", "now")}


def test_a_child_that_starts_while_the_reload_is_on_its_way_has_the_new_values(new_turnout):
    """Workers die all the time while the file changes; in the end each of them refuses by the last limit."""
    turnout = new_turnout(workers=3)
    sizes = ["2k", "3k", "4k", "5k"]
    for number in range(12):
        victim = turnout.processes("worker")[number % 3]["pid"]
        turnout.configure(body_size=sizes[number % 4])
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        assert turnout.ctl("reload", check=False).returncode == 0
    wait_until(lambda: all(row["state"] == "ready" for row in turnout.processes("worker")), "all serve")
    seen = set()
    for _ in range(40):
        turnout.disconnect()
        seen.add((refuses_body(turnout, 5 * 1024 + 1), refuses_body(turnout, 5 * 1024)))
    assert seen == {(True, False)}


def test_a_child_that_was_busy_is_named_and_takes_it_over_when_it_comes_to_it(new_turnout):
    """Its channel is full of pings by then: nothing is lost for that."""
    turnout = new_turnout(ping_interval="10ms", ping_timeout="10m", log_level="debug")
    stuck = turnout.processes("worker")[1]["pid"]
    with stopped([stuck]):
        wait_until(lambda: turnout.log_lines('message="ping not sent"', f"child={stuck}"), "its channel is full")
        turnout.configure(body_size="2k", log_level="info")
        done = turnout.ctl("reload", check=False)
        assert done.returncode == 4 and f"worker 1 (pid {stuck}) does not answer" in done.stderr, done
        assert "body_size" in done.stdout
        turnout.wait_logged("level=error", 'message="configuration reloaded, not everywhere"', str(stuck))
    assert turnout.ctl("reload").returncode == 0
    for _ in range(20):
        turnout.disconnect()
        assert refuses_body(turnout, 2049) and not refuses_body(turnout, 2048)
    assert stuck in pids(turnout, "worker")


def test_a_child_that_never_answers_is_replaced_by_one_that_has_the_new_values(new_turnout):
    """The option that ends the waiting is among those that are new."""
    turnout = new_turnout(ping_interval="100ms", ping_timeout="10m")
    stuck = turnout.processes("worker")[1]["pid"]
    with stopped([stuck]):
        wait_until(lambda: state_of(stuck) == "T", "it stands still")
        turnout.configure(body_size="2k", ping_timeout="3s")
        assert turnout.ctl("reload", check=False).returncode in (0, 4)
        wait_until(lambda: turnout.log_lines("child does not answer; killing it", f"child={stuck}"), "it is killed", 60)
    wait_until(lambda: all(row["state"] == "ready" and row["pid"] != stuck for row in turnout.processes("worker")), "another one serves")
    for _ in range(20):
        turnout.disconnect()
        assert refuses_body(turnout, 2049) and not refuses_body(turnout, 2048)
    assert turnout.ctl("reload").returncode == 0


def test_a_reload_while_the_daemon_ends_is_refused(new_turnout):
    turnout = new_turnout(shutdown_timeout="60s")
    with turnout.connect(60) as open_request:
        open_request.sendall(b"POST /api/registrations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n")
        wait_until(lambda: sum(row["open"] for row in turnout.show("connections")) >= 1, "it is connected")
        turnout.process.send_signal(signal.SIGTERM)
        wait_until(lambda: turnout.log_lines("message=stopping"), "it ends")
        done = turnout.ctl("reload", check=False)
        assert done.returncode == 1 and "the daemon is stopping" in done.stderr
        turnout.process.send_signal(signal.SIGHUP)
        assert turnout.ctl("show", "version").returncode == 0
    assert turnout.process.wait(50) == 0


def test_an_end_during_a_reload_ends_it(new_turnout):
    turnout = new_turnout()
    for moment in range(5):
        asking = [start_ctl(turnout, "reload") for _ in range(3)]
        if moment:
            wait_until(lambda: len(turnout.log_lines(RELOADED)) >= moment - 1, "a moment")  # pylint: disable=cell-var-from-loop
        turnout.process.send_signal(signal.SIGTERM)
        assert turnout.process.wait(30) == 0
        # 4: in force, but a process had ended before it could say so
        assert {one.wait(30) for one in asking} <= {0, 1, 3, 4}
        for one in asking:
            one.communicate()
        turnout.start()


def test_a_worker_that_could_not_start_is_started_again_by_a_good_reload(new_turnout):
    turnout = new_turnout()
    keys = turnout.folder / "jwks.json"
    good = keys.read_text(encoding="utf-8")
    keys.write_text("{}", encoding="utf-8")
    assert turnout.ctl("reload", check=False).returncode == 1
    turnout.kill("worker", 1)
    wait_until(lambda: turnout.processes("worker")[1]["state"] != "ready", "its successor cannot start")
    assert turnout.get("/api/events").status == 200, "the other one serves by the keys that it has"
    keys.write_text(good, encoding="utf-8")
    assert turnout.ctl("reload").returncode == 0
    wait_until(lambda: turnout.processes("worker")[1]["state"] == "ready", "it serves")
