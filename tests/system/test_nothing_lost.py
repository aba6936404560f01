"""Reloads and full restarts under load: every request is answered, reads and writes, directly and through nginx."""

import os
import pathlib
import re
import signal
import time

import psycopg
import pytest

import nginx as nginx_server
from loader import Loader
from nginx import NAME, Nginx
from sql_harness import OWNER, wait_until
from supervised import Supervised
from traffic import add_event

# `make proof` asks for the whole figures.
FULL = bool(os.environ.get("TURNOUT_FULL"))
RELOADS = 100 if FULL else 20
RESTARTS = 20 if FULL else 5
# Of what the same machine can do just before.
SHARE = 0.7
CONNECTIONS = 32
# Seconds in which that is measured.
MEASURED = 4 if FULL else 1.5

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.full,
              pytest.mark.skipif(nginx_server.program() is None, reason="there is no nginx")]


class PlainNginx(Nginx):
    """The site without TLS, which the load generator does not speak."""

    def _site(self):
        text = super()._site()
        assert text.count(" ssl http2;") == 1
        return text.replace(" ssl http2;", ";")


@pytest.fixture
def busy(new_turnout, postgres):
    """A daemon on sockets that outlive it, nginx in front of one of them, and events to register for."""
    turnout = new_turnout(kind=Supervised, workers=2)
    with psycopg.connect(postgres.dsn(turnout.database, OWNER), autocommit=True) as connection:
        events = [add_event(connection, 100000, f"Event {number}") for number in range(20)]
    with PlainNginx(turnout.unix_socket) as nginx:
        yield turnout, events, nginx


def two_loads(turnout, events, nginx, rates=(None, None)):
    """One load comes directly, some of it on new connections; the other through nginx, which keeps its connections."""
    options = [{} if rate is None else {"rate": max(10, int(rate))} for rate in rates]
    return (Loader(turnout, events, connections=CONNECTIONS // 2, fresh=10, **options[0]),
            Loader(turnout, events, connections=CONNECTIONS // 2, address=f"127.0.0.1:{nginx.port}", host=NAME, **options[1]))


def capacity(turnout, events, nginx):
    """Answers a second of each way when both ask as fast as they are answered."""
    direct, proxied = two_loads(turnout, events, nginx)
    with direct, proxied:
        direct.wait_for_answers(50)
        proxied.wait_for_answers(50)
        before, begun = (direct.answered, proxied.answered), time.monotonic()
        wait_until(lambda: time.monotonic() - begun > MEASURED, "the time to measure is over")
        took = time.monotonic() - begun
        return tuple((load.answered - there) / took for load, there in zip((direct, proxied), before))


def under_load(busy, times, act):
    """act(number) under 70 % load, again when requests were answered since; answers figures after nothing has failed."""
    turnout, events, nginx = busy
    most = capacity(turnout, events, nginx)
    rates = [rate * SHARE for rate in most]
    direct, proxied = two_loads(turnout, events, nginx, rates)
    took = []
    with direct, proxied:
        for number in range(times):
            direct.wait_for_answers(20)
            proxied.wait_for_answers(20)
            begun = time.monotonic()
            act(number)
            took.append(time.monotonic() - begun)
        direct.wait_for_answers(50)
        proxied.wait_for_answers(50)
    log = turnout.log_text()[-3000:]
    for name, load in (("directly", direct), ("through nginx", proxied)):
        report = load.report
        assert report["failed"] == 0, f"{name}: {report['failed']} of {report['answered']}: {report['failures'][:10]}\n{log}"
        assert report["unasked"] == 0, name
        assert all(report["requests"][kind]["answered"] > 0 for kind in ("register", "cancel", "list", "event")), name
    refused = [line for line in nginx.log.read_text(encoding="utf-8", errors="replace").splitlines() if "[error]" in line]
    assert refused == [], refused[:5]
    return (f"{times} times, at most {max(took) * 1000:.0f} ms each, at {rates[0]:.0f} + {rates[1]:.0f} requests/s of"
            f" {most[0]:.0f} + {most[1]:.0f}: {direct.report['answered']} + {proxied.report['answered']} answered, none failed")


def test_reloads_fail_no_request(busy, capsys):
    turnout, _, _ = busy
    workers = [row["pid"] for row in turnout.processes("worker")]

    def reload(number):
        turnout.configure(idle_timeout=f"{70 + number % 5}s", db_statement_timeout=f"{5 + number % 2}s", header_count=64 + number % 3,
                          body_size=("256k", "512k")[number % 2], jwt_leeway=f"{60 + number % 2}s")
        if number % 2:
            done = turnout.ctl("reload").stdout
            assert "idle_timeout" in done and "at the next start" not in done, done
        else:
            turnout.process.send_signal(signal.SIGHUP)
            wait_until(lambda: len(turnout.log_lines('message="configuration reloaded"')) > number, "the file has been read")

    said = under_load(busy, RELOADS, reload)
    assert [row["pid"] for row in turnout.processes("worker")] == workers
    with capsys.disabled():
        print(f"\n  reloaded {said}")


def test_restarts_on_sockets_that_systemd_holds_fail_no_request(busy, capsys):
    turnout, _, _ = busy

    def hears_of_its_end():
        """Answers that are counted now may be its predecessor's: it may not have come as far as its own signals."""
        status = pathlib.Path(f"/proc/{turnout.pid}/status").read_text(encoding="ascii", errors="replace")
        return int(re.search(r"SigBlk:\t(\w+)", status)[1], 16) >> (signal.SIGTERM - 1) & 1

    def restart(_number):
        wait_until(hears_of_its_end, "the master takes SIGTERM as an order")
        assert turnout.stop() == 0
        turnout.start(ready=False)

    said = under_load(busy, RESTARTS, restart)
    turnout.wait_ready()
    assert turnout.log_lines("child died") == [] and turnout.log_lines("did not end within shutdown_timeout") == []
    with capsys.disabled():
        print(f"\n  restarted {said}")
