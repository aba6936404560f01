"""log_file: the log in a file that others rotate, and SIGUSR1, which opens it again in every process."""

import os
import re
import resource
import signal

import psycopg
import pytest

from loader import Loader
from sql_harness import OWNER, wait_until
from traffic import add_event

ROTATIONS = 50 if os.environ.get("TURNOUT_FULL") else 15
LINE = re.compile(r"time=\S+Z level=(debug|info|warning|error) process=(master|worker slot=\d+|refresher|scheduler) pid=\d+ message=.*")


def text(path):
    return path.read_text(encoding="utf-8")


def open_files(turnout):
    """Where the processes' descriptors lead to that are files of the daemon's folder."""
    found = {}
    for row in turnout.processes():
        folder = f"/proc/{row['pid']}/fd"
        links = [os.readlink(f"{folder}/{name}") for name in os.listdir(folder) if os.path.islink(f"{folder}/{name}")]
        found[row["pid"]] = {link for link in links if link.startswith(str(turnout.folder)) and ".log" in link}
    return found


@pytest.fixture
def logged(new_turnout):
    """A daemon whose log is a file; `file` is its path."""
    turnout = new_turnout(start=False)
    turnout.file = turnout.folder / "rotated.log"
    turnout.configure(log_file=turnout.file)
    return turnout.start()


def rotate(turnout, to):
    os.rename(turnout.file, turnout.folder / to)
    turnout.process.send_signal(signal.SIGUSR1)


def written_by_all(turnout):
    """Every process has opened the new file, and has no other one."""
    standard = str(turnout.log)
    return all(links <= {str(turnout.file), standard} and str(turnout.file) in links for links in open_files(turnout).values())


def test_the_log_goes_to_the_file_and_not_to_standard_error(logged):
    logged.get("/api/events")
    wait_until(lambda: "message=request" in text(logged.file), "the request is in the file")
    assert all(LINE.fullmatch(line) for line in text(logged.file).splitlines())
    assert logged.log_text() == ""
    assert os.stat(logged.file).st_mode & 0o007 == 0, "names and addresses are not for everybody"


def test_after_a_rename_and_sigusr1_every_process_writes_to_the_new_file(logged):
    rotate(logged, "rotated.log.1")
    wait_until(lambda: logged.file.exists() and written_by_all(logged), "all write to the new file")
    before = text(logged.folder / "rotated.log.1")
    for number in range(10):
        logged.disconnect()
        logged.get(f"/api/events?limit={number + 1}")
    wait_until(lambda: text(logged.file).count("message=request") >= 10, "requests are logged")
    assert text(logged.folder / "rotated.log.1") == before
    # A process that starts now writes there, too.
    logged.ctl("@worker", "0", "restart")
    assert written_by_all(logged)


def test_without_a_file_sigusr1_does_no_harm(turnout):
    turnout.process.send_signal(signal.SIGUSR1)
    wait_until(lambda: turnout.log_lines('message="log opened again"', 'file="standard error"'), "it is told")
    assert turnout.get("/api/events").status == 200


@pytest.mark.slow
@pytest.mark.full
def test_no_line_is_lost_or_torn_by_rotating_under_load(logged, postgres, capsys):
    def requests():
        return sum(row["requests"] for row in logged.show("connections"))
    with psycopg.connect(postgres.dsn(logged.database, OWNER), autocommit=True) as connection:
        events = [add_event(connection, 100000, f"Event {number}") for number in range(5)]
    with Loader(logged, events, connections=20) as load:
        for number in range(ROTATIONS):
            load.wait_for_answers(20)
            rotate(logged, f"rotated.log.{number}")
            wait_until(logged.file.exists, "the new file is there")
    assert load.report["failed"] == 0
    files = sorted(logged.folder.glob("rotated.log*"))
    assert len(files) == ROTATIONS + 1

    def lines():
        return [line for path in files for line in text(path).split("\n") if line]

    def logged_requests():
        # /readyz is asked on the other listener, whose requests are counted elsewhere.
        return sum("message=request " in line and "/readyz" not in line for line in lines())
    wait_until(lambda: logged_requests() >= requests(), "every request is logged")
    torn = [line for line in lines() if not LINE.fullmatch(line)]
    assert torn == []
    count = logged_requests()
    assert count == requests(), "each request is one line"
    with capsys.disabled():
        print(f"\n  {count} requests in {len(files)} files")


def test_a_file_that_cannot_be_opened_again_leaves_the_log_where_it_was(logged):
    folder = logged.folder / "logs"
    folder.mkdir()
    logged.configure(log_file=folder / "turnoutd.log")
    logged.ctl("reload")
    logged.file = folder / "turnoutd.log"
    wait_until(lambda: logged.file.exists() and written_by_all(logged), "it has moved")
    folder.rename(logged.folder / "gone.logs")
    moved = logged.folder / "gone.logs" / "turnoutd.log"
    logged.process.send_signal(signal.SIGUSR1)
    wait_until(lambda: "the log cannot be opened again" in text(moved), "it says so where it still writes")
    before = text(moved).count("message=request")
    logged.get("/api/events")
    wait_until(lambda: text(moved).count("message=request") > before, "it goes on there")
    folder.mkdir()
    logged.process.send_signal(signal.SIGUSR1)
    wait_until(lambda: logged.file.exists() and written_by_all(logged), "and is opened when it can be")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may raise another process's limit")
def test_a_worker_without_a_free_descriptor_opens_the_file_later(logged):
    worker = logged.processes("worker")[0]["pid"]
    before = resource.prlimit(worker, resource.RLIMIT_NOFILE)
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (3, before[1]))
    rotate(logged, "rotated.log.1")
    wait_until(lambda: "the log cannot be opened again" in text(logged.folder / "rotated.log.1"), "the worker says so")
    assert str(logged.folder / "rotated.log.1") in open_files(logged)[worker]
    resource.prlimit(worker, resource.RLIMIT_NOFILE, before)
    wait_until(lambda: written_by_all(logged), "it has the new file")
    assert "the log is open again" in text(logged.file)


def test_the_file_is_changed_by_a_reload_and_back_to_standard_error(logged):
    other = logged.folder / "other.log"
    logged.configure(log_file=other)
    assert "log_file" in logged.ctl("reload").stdout
    logged.get("/api/events")
    wait_until(lambda: "message=request" in text(other), "requests are logged there")
    logged.configure(log_file=None)
    assert "log_file" in logged.ctl("reload").stdout
    wait_until(lambda: not any(links - {str(logged.log)} for links in open_files(logged).values()), "no file is open")
    logged.get("/api/events?limit=3")
    wait_until(lambda: logged.log_lines("message=request"), "requests are logged to standard error")


def test_a_file_that_cannot_be_written_is_a_bad_start_and_a_refused_reload(new_turnout, tmp_path):
    turnout = new_turnout(start=False)
    for path, complaint in ((tmp_path / "none" / "turnoutd.log", "No such file or directory"), (tmp_path, "Is a directory")):
        turnout.configure(log_file=path)
        turnout.start(ready=False)
        assert turnout.process.wait(20) == 2
        assert f"log_file: {path}: {complaint}" in turnout.log_text()
    turnout.configure(log_file=None)
    turnout.start()
    turnout.configure(log_file=tmp_path / "none" / "turnoutd.log")
    done = turnout.ctl("reload", check=False)
    assert done.returncode == 1 and "log_file: " in done.stderr
    os.mkfifo(tmp_path / "fifo")
    turnout.configure(log_file=tmp_path / "fifo")
    done = turnout.ctl("reload", check=False)
    assert done.returncode == 1 and "log_file: " in done.stderr
    turnout.configure(log_file=tmp_path / "turnoutd.log")
    assert turnout.ctl("reload").returncode == 0
