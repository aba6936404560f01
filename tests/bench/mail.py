#!/usr/bin/python3
"""Mails a second: turnoutd over kept connections, beside the same libcurl with a connection for each mail and as many senders.

    TURNOUT_BIN=build mail.py [--mails 20000] [--rounds N] [--delays 5 0] [--connections 4] [--compared N]

How to read what it prints: README.md beside this file.
"""

import argparse
import contextlib
import json
import os
import pathlib
import resource
import signal
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))

from durable import Ground, Meter, spread  # noqa: E402

import server  # noqa: E402  pylint: disable=wrong-import-order
from mailing import Post  # noqa: E402  pylint: disable=wrong-import-order
from metrics import scrape  # noqa: E402  pylint: disable=wrong-import-order
from smtp import make_certificates  # noqa: E402  pylint: disable=wrong-import-order
from sql_harness import wait_until  # noqa: E402  pylint: disable=wrong-import-order



class Mouth:
    """smtp-sink behind the relay, which counts."""

    def __init__(self, folder, certificates, delay):
        """`delay`: milliseconds of a round trip."""
        self.folder, self.port, self.server_port = folder, server.free_port(), server.free_port()
        self.certificates, self.delay = certificates, delay
        self.ids, self.message = folder / "ids", folder / "message"
        self.sink = self.relay = self.seen = None

    @property
    def options(self):
        return {"smtp_url": f"smtp://localhost:{self.port}", "smtp_tls": "starttls", "smtp_ca_file": self.certificates[0],
                "mail_from": "Events <events@example.com>"}

    def __enter__(self):
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        self.sink = subprocess.Popen(["smtp-sink", *user, f"127.0.0.1:{self.server_port}", "1024"], stdin=subprocess.DEVNULL)
        wait_until(lambda: is_open(self.server_port), "smtp-sink listens")
        self.relay = subprocess.Popen(
            [program("relay"), "--listen", str(self.port), "--server", str(self.server_port), "--certificate", str(self.certificates[1]),
             "--key", str(self.certificates[2]), "--delay", str(round(self.delay * 1000)), "--ids", str(self.ids),
             "--message", str(self.message)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        assert self.relay.stdout.readline() == "ready\n"
        return self

    def stop(self):
        """Answers nothing: `seen` is what has passed, and `used` the seconds of processor of the two."""
        if self.seen is None:
            self.relay.send_signal(signal.SIGTERM)
            self.seen = json.loads(self.relay.communicate()[0])
            self.sink.terminate()
            self.sink.wait()
            ids = self.ids.read_text(encoding="utf-8").splitlines()
            self.seen["different"] = len(set(ids))

    def __exit__(self, *error):
        self.stop()


def is_open(port):
    with server.socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def program(name):
    return str(pathlib.Path(server.programs()) / "tests" / "bench" / "smtp" / name)


class Figure:
    """What one run gave."""

    def __init__(self, mails, seconds, seen, **others):
        assert seen["messages"] == seen["different"] == mails, (mails, seen)
        self.rate, self.seconds = mails / seconds, seconds
        self.connections, self.size = seen["handshakes"], seen["bytes"] / mails
        self.statements, self.mailer, self.postgres = (others.get(name) for name in ("statements", "mailer", "postgres"))


def run_turnoutd(ground, mouth, wishes):
    office = Post(ground.postgres, ground.name, mouth, mail_connections=wishes.connections, log_level="warning", cache_size="64m",
                  mail_interval="50ms", mail_lease_time="1m")
    try:
        turnout = office.daemon()
        before = scrape(turnout).sum("db_statement_seconds_count", role="mailer")
        meter = Meter(ground, turnout)
        meter.processes = [row["pid"] for row in turnout.processes("mailer")]
        office.owe(wishes.mails)
        began = ground.value("select clock_timestamp()")
        wait_until(lambda: scrape(turnout).sum("mail_total", mail="confirmation", outcome="sent") >= wishes.mails, "all are sent", 3600)
        wait_until(lambda: set(office.states()) == {"sent"}, "all are told")
        statements = scrape(turnout).sum("db_statement_seconds_count", role="mailer") - before
        postgres, mailer, _ = meter.spent()
        seconds = (ground.value("select max(sent_at) from turnout.outbox") - began).total_seconds()
    finally:
        office.close()
    return Figure(wishes.mails, seconds, mouth.seen, statements=statements / wishes.mails, mailer=mailer / wishes.mails * 1e6,
                  postgres=postgres / wishes.mails * 1e6)


def run_fresh(mouth, wishes, message, *flags):
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([program("fresh"), "--url", mouth.options["smtp_url"], "--ca", str(mouth.certificates[0]), "--message",
                           str(message), "--count", str(wishes.compared), "--senders", str(wishes.connections), *flags],
                          stdout=subprocess.PIPE, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = json.loads(done.stdout)
    assert said["failed"] == 0, said
    mouth.stop()
    return Figure(wishes.compared, said["seconds"], mouth.seen,
                  mailer=(after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime) / wishes.compared * 1e6)


def line(title, figures):
    def middle(name, form):
        values = [getattr(figure, name) for figure in figures]
        return "-" if None in values else form.format(statistics.median(values))
    print(f"{title:34}{spread([figure.rate for figure in figures], '{:.0f}'):>20}{middle('seconds', '{:.1f}'):>9}"
          f"{middle('connections', '{:.0f}'):>13}{middle('statements', '{:.3f}'):>12}{middle('mailer', '{:.0f}'):>11}"
          f"{middle('postgres', '{:.0f}'):>8}", flush=True)


def compare(ground, wishes, folder, certificates, delay):
    ours, each, kept = [], [], []
    with contextlib.ExitStack() as stack:
        where = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mail.", dir=folder)))
        message = where / "letter"

        def mouth():
            return Mouth(pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(dir=where))), certificates, delay)

        for _ in range(wishes.rounds):
            ground.admin.execute("truncate turnout.outbox")
            ground.settle()
            with mouth() as one:
                ours.append(run_turnoutd(ground, one, wishes))
            message.write_bytes(one.message.read_bytes())
            with mouth() as one:
                each.append(run_fresh(one, wishes, message))
            with mouth() as one:
                kept.append(run_fresh(one, wishes, message, "--keep"))
        size = len(message.read_bytes())
    print(f"\n{delay:g} ms a round trip, STARTTLS, {wishes.connections} senders, {size} bytes a message\n{'':34}{'mails/s':>20}{'seconds':>9}"
          f"{'connections':>13}{'statements':>12}{'sender us':>11}{'PG us':>8}")
    line(f"turnoutd, {wishes.mails} mails", ours)
    line(f"a connection each, {wishes.compared} mails", each)
    line(f"kept, no outbox, {wishes.compared} mails", kept)
    ratios = [one.rate / other.rate for one, other in zip(ours, each)]
    print(f"turnoutd against a connection each: {spread(ratios, '{:.2f}')} times", flush=True)
    return statistics.median(ratios)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mails", type=int, default=20000)
    parser.add_argument("--compared", type=int, help="mails of the others; as many, unless told otherwise")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--delays", type=float, nargs="+", default=[5, 0], metavar="MS")
    wishes = parser.parse_args()
    wishes.compared = wishes.compared or wishes.mails
    ground = Ground(1)
    try:
        with tempfile.TemporaryDirectory(prefix="mail.") as folder:
            certificates = make_certificates(pathlib.Path(folder))
            for delay in wishes.delays:
                compare(ground, wishes, folder, certificates, delay)
    finally:
        ground.remove()


if __name__ == "__main__":
    main()
