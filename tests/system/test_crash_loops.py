"""A worker that crashes again and again as soon as it serves."""

import os
import signal

import pytest

from sql_harness import wait_until
from traffic import log_moment


@pytest.mark.alone
def test_a_crash_loop_is_slowed_down_and_a_single_crash_is_not(new_turnout, capsys):
    turnout = new_turnout(workers=1)
    pauses = []

    def serving():
        return turnout.log_lines('message="child serves"', "role=worker")

    for crashes in range(1, 6):
        os.kill(turnout.processes("worker")[0]["pid"], signal.SIGABRT)
        wait_until(lambda: len(serving()) > crashes, "the worker serves again")  # pylint: disable=cell-var-from-loop
        death = turnout.log_lines('message="child died"', "role=worker")[-1]
        pauses.append(log_moment(serving()[-1]) - log_moment(death))
    assert turnout.get("/api/events").status == 200
    with capsys.disabled():
        print("\n  serves again after " + ", ".join(f"{pause * 1000:.0f}" for pause in pauses) + " ms")
    # The first time at once, then after 200, 400, 800 ms.
    assert pauses[0] < 0.2 and pauses[4] > 0.8
