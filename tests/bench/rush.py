#!/usr/bin/python3
"""A popular event opens: 10,000 people want one of 500 seats or 1,000 places to wait, while 500 connections look at pages.

    TURNOUT_BIN=build rush.py [--rounds N] [--within 60 5] [--users N] [--browse R]

How to read what it prints: README.md beside this file.
"""

import argparse
import collections
import contextlib
import statistics
import sys
import time

from durable import Ground, daemon, kind_of_disk, sync_cost, warm_up
from list import Files, NginxFiles

import nginx  # pylint: disable=wrong-import-order
from loader import Loader  # pylint: disable=wrong-import-order
from sql_harness import Database, wait_until  # pylint: disable=wrong-import-order

# A client that gets one of these is asked to come back, and does.
DELIBERATE = ("503 overloaded", "429 rate-limited")
REGISTER = """[register]
method = POST
path = /api/registrations
token = each
body = {"event_id":"{event}"}
expect = 200 201 409
retry = 503 429
kinds = yes
"""


class Browsers:
    """500 connections that look at pages, so many a second whatever the server does."""

    def __init__(self, turnout, target, wishes, **options):
        mix = "".join(f"[{name}]\npath = {path}\n" for name, path in target.paths.items())
        self.load = Loader(turnout, people=0, mix=mix, connections=wishes.connections, rate=wishes.browse, poisson=True,
                           address=f"127.0.0.1:{target.port}", **options)
        self.connections = wishes.connections

    def __enter__(self):
        self.load.__enter__()
        # each connection has been made: what comes now is not the price of that
        self.load.wait_for_answers(self.connections)
        return self

    def __exit__(self, *error):
        self.load.__exit__(*error)

    @property
    def report(self):
        assert self.load.report["failed"] == 0 and self.load.report["never_sent"] == 0, self.load.report["failures"][:3]
        return self.load.report["latency_ms"]


class Pages:
    """turnoutd's own pages, to be asked as those of the servers of files."""

    def __init__(self, turnout, paths):
        self.name, self.port, self.paths = "turnoutd", turnout.port, paths


def calm(turnout, target, wishes):
    with Browsers(turnout, target, wishes) as browsers:
        time.sleep(wishes.calm)
    return browsers.report


def rush(ground, turnout, target, wishes, within):
    """One event opens; everybody comes, and looks at the pages of `target` meanwhile."""
    event = ground.add_events(1, wishes.seats, wishes.waiting, "20 days")
    tokens, answers = turnout.folder / "people", turnout.folder / "answers"
    tokens.write_text("\n".join(ground.tokens(turnout, wishes.users)), encoding="utf-8")
    ids = ground.event_ids(event, 1)
    if target.name == "turnoutd":
        target.paths = {**target.paths, "small": f"/api/events/{ids[0]}"}
    with Browsers(turnout, target, wishes) as browsers:
        # each person has a connection while there is something to ask: they do not all leave in the same moment
        with Loader(turnout, ids, people=0, mix=REGISTER, tokens=tokens, answers=answers, connections=wishes.users,
                    requests=wishes.users, within=f"{within}s", poisson=True, timeout="60s", fresh=100) as load:
            report = load.wait()
    wrong = check(ground, report, event, answers, wishes)
    return report, browsers.report, wrong


def check(ground, report, event, answers, wishes):
    """What is not as it must be, a line each."""
    wrong = [] if report["failed"] == 0 else [f"{report['failed']} requests failed: {report['reasons']}, {report['failures'][:2]}"]
    if report["answered"] != wishes.users or report["unanswered"]:
        wrong.append(f"{report['answered']} of {wishes.users} have a final answer")
    asked = report["requests"]["register"]
    wrong += [f"{count} times {kind}" for kinds in (asked["kinds"], asked["not_now"]) for kind, count in kinds.items()
              if kind >= "5" and kind not in DELIBERATE]
    seats = ground.admin.execute("select registered_count, waitlisted_count from turnout.event_seats where event_id = bench.event_id(%s)",
                                 (event,)).fetchone()
    expected = (min(wishes.seats, wishes.users), min(wishes.waiting, max(0, wishes.users - wishes.seats)))
    if seats != expected:
        wrong.append(f"seats given and waited for: {seats}, expected {expected}")
    rows = dict(ground.admin.execute("select u.email, r.status::text from turnout.registrations r join turnout.users u on u.id = r.user_id"
                                     " where r.event_id = bench.event_id(%s)", (event,)).fetchall())
    told = {}
    for line in answers.read_text(encoding="utf-8").splitlines():
        number, _, status, word = line.split()
        told[f"person{ground.person(int(number))}@example.com"] = word if status in ("200", "201") else None
    differs = [(email, told.get(email), rows.get(email)) for email in {*told, *rows} if told.get(email) != rows.get(email)]
    if differs:
        wrong.append(f"{len(differs)} were told something else than the database says, e.g. {differs[:3]}")
    try:
        Database(ground.postgres, ground.name).assert_consistent()
    except AssertionError as error:
        wrong.append(str(error))
    return wrong


def say(title, latencies):
    quantiles = {name: statistics.median(latency[name] for latency in latencies) for name in ("p50", "p99", "p999", "max")}
    print(f"  {title:40}" + "".join(f"{value:10.2f}" for value in quantiles.values()), flush=True)
    return quantiles["p99"]


def compare(ground, turnout, pages, files, wishes, within):
    """Rounds of both servers, calm and in the rush, each first as often as the other."""
    calms, rushes, finals, wrong = {pages: [], files: []}, {pages: [], files: []}, [], []
    kinds, not_now, longest = collections.Counter(), collections.Counter(), []
    for number in range(wishes.rounds):
        targets = [pages, files] if number % 2 == 0 else [files, pages]
        for target in targets:
            calms[target].append(calm(turnout, target, wishes))
        for target in targets:
            ground.settle()
            report, browsing, problems = rush(ground, turnout, target, wishes, within)
            rushes[target].append(browsing)
            finals.append(report["latency_ms"])
            longest.append(report["seconds"])
            kinds.update(report["requests"]["register"]["kinds"])
            not_now.update(report["requests"]["register"]["not_now"])
            wrong += problems
    count = len(finals)
    print(f"\n{wishes.users} people within {within} s, {count} times (the last answer after {max(longest):.1f} s)\n  final answers: "
          + ", ".join(f"{kinds[kind] / count:g} times {kind}" for kind in sorted(kinds))
          + "\n  told to come back: " + (", ".join(f"{not_now[kind] / count:g} times {kind}" for kind in sorted(not_now)) or "nobody"))
    print(f"  {'ms, median of the rounds':40}{'p50':>10}{'p99':>10}{'p99.9':>10}{'most':>10}")
    say("from coming to the final answer", finals)
    for target in (pages, files):
        say(f"browsing {target.name}, calm", calms[target])
        say(f"browsing {target.name}, in the rush", rushes[target])
    ratios = [ours["p99"] / its["p99"] for ours, its in zip(rushes[pages], rushes[files])]
    print(f"  p99 of browsing in the rush, turnoutd against nginx: {statistics.median(ratios):.2f}"
          f" [{min(ratios):.2f}..{max(ratios):.2f}]", flush=True)
    for line in wrong:
        print(f"  WRONG: {line}", flush=True)
    return not wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--within", type=float, nargs="+", default=[60, 5], help="seconds in which all of them come")
    parser.add_argument("--users", type=int, default=10000)
    parser.add_argument("--seats", type=int, default=500)
    parser.add_argument("--waiting", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=500, help="that browse")
    parser.add_argument("--browse", type=int, default=1000, help="pages a second that they look at")
    parser.add_argument("--calm", type=float, default=5, help="seconds of browsing without a rush")
    parser.add_argument("--workers", type=int, default=2)
    wishes = parser.parse_args()
    if nginx.program() is None:
        parser.error("nginx is needed")
    with contextlib.ExitStack() as stack:
        ground = Ground(max(wishes.users, 1000))
        stack.callback(ground.remove)
        # all browsers come from one address here
        turnout = daemon(ground, workers=wishes.workers, address_requests=0, address_requests_burst=None)
        stack.callback(turnout.remove)
        first = ground.add_events(50)
        turnout.start()
        paths = {"page": "/api/events?limit=20", "small": f"/api/events/{ground.event_ids(first, 1)[0]}"}
        for path in paths.values():
            wait_until(lambda path=path: turnout.get(path).status == 200, "pages are there")
        files = Files(turnout, paths)
        stack.callback(files.remove)
        server = NginxFiles("nginx", files, None, "sendfile on; tcp_nopush on;")
        stack.callback(server.remove)
        server.start()
        warm_up(ground, turnout)
        cost = sync_cost(ground.postgres.data)
        print(f"PostgreSQL on {kind_of_disk(ground.postgres.data)}, a block and fdatasync: p50 {cost[0]:.2f} ms, p99 {cost[1]:.2f} ms;"
              f" turnoutd: {wishes.workers} workers; {wishes.seats} seats, {wishes.waiting} may wait; {wishes.connections} connections"
              f" browse {wishes.browse} times a second; {wishes.rounds} rounds", flush=True)
        good = [compare(ground, turnout, Pages(turnout, paths), server, wishes, within) for within in wishes.within]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
