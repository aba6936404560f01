"""What an answer from the hot cache costs the worker, in calls of the kernel: one read, one write, and its turns of the loop."""

import collections
import pathlib
import re
import shutil
import signal
import subprocess

import psycopg
import pytest

from faults import can_trace
from metrics import grown, scrape
from sql_harness import OWNER, wait_until
from traffic import add_event

REQUESTS = 300
# Of other calls: the master's pings, clocks of the loop, random bytes for 512 request ids at a time.
OTHERS_MOST = REQUESTS // 10


def counted(pid, path, work):
    """The calls of a process while `work` runs."""
    tracer = subprocess.Popen(["strace", "-q", "-p", str(pid), "-o", str(path), "-e", "signal=none"], stdin=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    status = pathlib.Path(f"/proc/{pid}/status")
    wait_until(lambda: re.search(r"TracerPid:\t[1-9]", status.read_text(encoding="ascii")), "strace is attached")
    try:
        work()
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(30)
    return collections.Counter(re.findall(r"(?m)^(\w+)\(", path.read_text(errors="replace")))


@pytest.mark.nosan
def test_a_hit_is_one_read_and_one_write_when_nothing_is_logged(new_turnout, postgres, tmp_path):
    if shutil.which("strace") is None or not can_trace():
        pytest.skip("strace is missing, or may not attach to a process here")
    turnout = new_turnout(workers=1, access_log="no")
    with psycopg.connect(postgres.dsn(turnout.database, OWNER), autocommit=True) as connection:
        event = add_event(connection, 10, "An event that is looked at")
    worker = turnout.processes("worker")[0]["pid"]
    for path, headers, status in ((f"/api/events/{event}", {}, 200), (f"/api/events/{event}", {"If-None-Match": "*"}, 304),
                                  ("/api/events?limit=20", {"Accept-Encoding": "gzip, br"}, 200)):
        wait_until(lambda: turnout.get(path, headers=headers).status == status, "it is there")  # pylint: disable=cell-var-from-loop
        before = scrape(turnout)

        def ask():
            for _ in range(REQUESTS):
                answer = turnout.get(path, headers=headers)  # pylint: disable=cell-var-from-loop
                assert answer.status == status, answer  # pylint: disable=cell-var-from-loop

        calls = counted(worker, tmp_path / "trace", ask)
        assert grown(turnout, before, "cache_hits_total") >= REQUESTS - OTHERS_MOST
        assert REQUESTS <= calls["read"] <= REQUESTS + OTHERS_MOST, calls
        assert REQUESTS <= calls["sendto"] + calls["sendmsg"] <= REQUESTS + OTHERS_MOST, calls
        assert calls.total() - calls["read"] - calls["sendto"] - calls["sendmsg"] - calls["epoll_wait"] <= OTHERS_MOST, calls
