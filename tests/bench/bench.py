#!/usr/bin/python3
"""Compares builds of turnoutd, side by side in one run: CPU per request of its processes, of PostgreSQL, and requests a second.

    TURNOUT_BIN=build bench.py [--against OTHER_BUILD] [--rounds N] [--seconds S]

Each round measures every build once, in turn, on the same PostgreSQL with the same rows, so that a noisy neighbour hits all alike;
the figures are medians over the rounds. CPU per request is steadier than requests a second.
"""

import argparse
import contextlib
import os
import pathlib
import statistics
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))

import psycopg  # noqa: E402  pylint: disable=wrong-import-position

import server  # noqa: E402  pylint: disable=wrong-import-position
from loader import Loader  # noqa: E402  pylint: disable=wrong-import-position
from sql_harness import APP, OWNER, test_postgres  # noqa: E402  pylint: disable=wrong-import-position
from traffic import add_event  # noqa: E402  pylint: disable=wrong-import-position

MIXES = {
    "list of 20": "[list]\npath = /api/events?limit=20\n",
    "one event": "[event]\npath = /api/events/{event}\n",
    "mine": "[mine]\npath = /api/registrations\ntoken = any\n",
    "openapi.json": "[document]\npath = /api/openapi.json\n",
    "register, cancel": '[register]\nmethod = POST\npath = /api/registrations\ntoken = any\nbody = {"event_id":"{event}"}\nkeep = yes\n'
                        "expect = 200 201 409\n[cancel]\nmethod = DELETE\npath = /api/registrations/{registration}\ntoken = kept\n",
}
TICKS = os.sysconf("SC_CLK_TCK")


def cpu(pids):
    """Seconds of processor that the processes have used."""
    used = 0
    for pid in pids:
        with contextlib.suppress(FileNotFoundError):
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
            used += (int(fields[11]) + int(fields[12])) / TICKS
    return used


class Build:
    """A turnoutd of one build, on a database of its own."""

    def __init__(self, name, folder, postgres, number):
        self.name = name
        os.environ["TURNOUT_BIN"] = str(folder)
        self.database = f"bench_{os.getpid()}_{number}"
        owner = postgres.create_database(self.database)
        self.turnout = server.Turnout(postgres.dsn(self.database, APP), owner, access_log="no", log_level="warning")
        self.turnout.ctl("migrate")
        with psycopg.connect(postgres.dsn(self.database, OWNER), autocommit=True) as connection:
            self.events = [add_event(connection, 100000, f"Event {count}") for count in range(200)]
            connection.execute("analyze")
        self.turnout.start()

    def measure(self, postgres, mix, seconds):
        processes = [row["pid"] for row in self.turnout.processes()]
        with psycopg.connect(postgres.dsn(self.database, "postgres")) as connection:
            backends = [row[0] for row in connection.execute(
                "select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()")]
        before = cpu(processes), cpu(backends)
        with Loader(self.turnout, self.events, mix=mix, connections=50, duration=f"{seconds}s") as load:
            report = load.wait()
        assert report["failed"] == 0, report["failures"][:3]
        answered = report["answered"]
        return ((cpu(processes) - before[0]) / answered * 1e6, (cpu(backends) - before[1]) / answered * 1e6, answered / report["seconds"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", help="build folder of another version")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--only", help="the mixes whose names hold this")
    wishes = parser.parse_args()
    folders = {"this": server.programs()}
    if wishes.against:
        folders["other"] = pathlib.Path(wishes.against).resolve()
    postgres = test_postgres()
    builds = []
    try:
        for number, (name, folder) in enumerate(folders.items()):
            builds.append(Build(name, folder, postgres, number))
        os.environ["TURNOUT_BIN"] = str(folders["this"])
        print(f"{'':18} {'':6} {'us/request':>11} {'PostgreSQL us':>14} {'requests/s':>11}")
        for title, mix in MIXES.items():
            if wishes.only and wishes.only not in title:
                continue
            figures = {build.name: [] for build in builds}
            for _ in range(wishes.rounds):
                for build in builds:
                    figures[build.name].append(build.measure(postgres, mix, wishes.seconds))
            medians = {name: [statistics.median(column) for column in zip(*rows)] for name, rows in figures.items()}
            for name, (own, database, rate) in medians.items():
                print(f"{title:18} {name:6} {own:11.1f} {database:14.1f} {rate:11.0f}")
            if wishes.against:
                ratios = [mine / other if other else float("nan") for mine, other in zip(medians["this"], medians["other"])]
                print(f"{title:18} {'ratio':6} {ratios[0]:11.2f} {ratios[1]:14.2f} {ratios[2]:11.2f}", flush=True)
    finally:
        for build in builds:
            build.turnout.remove()
        postgres.remove()


if __name__ == "__main__":
    main()
