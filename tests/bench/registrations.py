#!/usr/bin/python3
"""Registrations a second: turnoutd through HTTP, beside pgbench with a transaction for each, and beside the batch function alone.

    TURNOUT_BIN=build registrations.py [--rounds N] [--seconds S] [--only hot] [--workers N] [--batch N]

How to read what it prints: README.md beside this file.
"""

import argparse
import contextlib
import os
import pathlib
import re
import resource
import statistics
import subprocess
import sys
import tempfile

from durable import Ground, Meter, daemon, kind_of_disk, quantile, spread, sync_cost, warm_up

from loader import Loader  # pylint: disable=wrong-import-order

CLIENTS = (1, 2, 4, 8, 16, 32)
SPREAD = 1000
MIX = """[register]
method = POST
path = /api/registrations
token = each
body = {"event_id":"{event}"}
expect = 201
retry = 503 429
kinds = yes
"""
FUNCTION = """\\set n :n + 1
\\set person (:client_id * :stride + :n) * 7919 % :people
\\set event :first + random(0, :events - 1)
select bench.register(:event, :person);
"""
CALL = """\\set n :n + 1
\\set number :client_id * :stride + :n
select count(*) filter (where b.outcome <> 'registered') = 0
from bench.calls c, turnout.registration_batch(c.kinds, c.ids, c.ids, c.request_ids, c.people, c.roles, c.events, c.people, false, 60000) b
where c.number = :number;
"""


class Figure:
    """What one run of one of them gave."""

    def __init__(self, count, seconds, latencies, spent, client):
        self.rate = count / seconds
        self.p50, self.p99 = latencies
        self.postgres, self.turnoutd, writes = spent[0] / count * 1e6, spent[1] / count * 1e6, spent[2]
        self.commits, self.size = writes / seconds, count / max(1, writes)
        self.client = client / count * 1e6


def children_used():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run_turnoutd(ground, turnout, wishes, events, rate=None):
    first = ground.add_events(events)
    ids = ground.event_ids(first, events)
    tokens = turnout.folder / "tokens"
    tokens.write_text("\n".join(ground.tokens(turnout, ground.people)), encoding="utf-8")
    ground.settle()
    turnout.start()
    try:
        warm_up(ground, turnout)
        options = {"rate": rate, "poisson": True} if rate else {}
        before, meter = children_used(), Meter(ground, turnout)
        with Loader(turnout, ids, people=0, mix=MIX, tokens=tokens, connections=wishes.connections, duration=f"{wishes.seconds}s",
                    **options) as load:
            report = load.wait()
        spent, client = meter.spent(), children_used() - before
    finally:
        turnout.stop()
    assert report["failed"] == 0 and report["unanswered"] == 0, report["failures"][:3]
    made = report["requests"]["register"]
    assert ground.registered(first, events) == report["answered"], (ground.registered(first, events), report["answered"])
    if made["not_now"]:
        print(f"  asked again: {made['not_now']}")
    # what was on its way at the end was paid for, too
    paid = report["answered"]
    latency = report["latency_ms"]
    figure = Figure(paid, report["seconds"], (latency["p50"], latency["p99"]), spent, client)
    figure.rate = report["in_time"] / report["seconds"]
    return figure


def run_pgbench(ground, wishes, script, clients, events, each=1):
    """`each`: registrations of a transaction."""
    first = ground.add_events(events)
    if each > 1:
        ground.admin.execute("call bench.make_calls(%s, %s, %s, %s)", (first, events, ground.people, each))
    ground.settle()
    stride = ground.people // each // clients
    with tempfile.TemporaryDirectory(prefix="pgb.") as folder:
        path = pathlib.Path(folder) / "script"
        path.write_text(script, encoding="utf-8")
        variables = {"n": -1, "stride": stride, "people": ground.people, "first": first, "events": events}
        ends = ["-t", str(stride)] if each > 1 else ["-T", str(wishes.seconds)]
        before, meter = children_used(), Meter(ground)
        done = subprocess.run(
            ["pgbench", "-n", "-M", "prepared", "-f", str(path), "-c", str(clients), "-j", str(min(2, clients)), *ends, "-l",
             "--log-prefix", f"{folder}/log", *(f"-D{name}={value}" for name, value in variables.items()), ground.dsn()],
            cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        spent, client = meter.spent(), children_used() - before
        took = [int(line.split()[2]) / 1000 for log in pathlib.Path(folder).glob("log.*")
                for line in log.read_text(encoding="ascii").splitlines()]
    assert done.returncode == 0, done.stdout
    made = ground.registered(first, events)
    assert made == len(took) * each, (made, len(took), done.stdout)
    rate = float(re.search(r"tps = ([\d.]+)", done.stdout)[1]) * each
    return Figure(made, made / rate, (quantile(took, 0.5), quantile(took, 0.99)), spent, client)


def line(title, figures):
    def middle(name):
        return statistics.median(getattr(figure, name) for figure in figures)
    print(f"{title:32}{spread([figure.rate for figure in figures], '{:.0f}'):>22}{middle('p50'):>9.2f}{middle('p99'):>9.2f}"
          f"{middle('commits'):>10.0f}{middle('size'):>8.1f}{middle('postgres'):>10.0f}{middle('turnoutd'):>10.0f}"
          f"{middle('client'):>8.0f}", flush=True)


def compare(ground, turnout, wishes, title, events):
    ours, alone, single, syncs = [], {1: [], 2: []}, {clients: [] for clients in wishes.clients}, []
    for number in range(wishes.rounds):
        syncs.append(sync_cost(ground.postgres.data, 100)[0])
        runs = [lambda: ours.append(run_turnoutd(ground, turnout, wishes, events))]
        for clients, figures in single.items():
            runs.append(lambda clients=clients, figures=figures: figures.append(run_pgbench(ground, wishes, FUNCTION, clients, events)))
        for clients, figures in alone.items():
            runs.append(lambda clients=clients, figures=figures: figures.append(
                run_pgbench(ground, wishes, CALL, clients, events, wishes.batch)))
        # nobody is always the first one
        for run in runs[number % len(runs):] + runs[:number % len(runs)]:
            run()
    peak = statistics.median(figure.rate for figure in ours)
    half = [run_turnoutd(ground, turnout, wishes, events, peak / 2) for _ in range(wishes.rounds)]
    best = [max(figures[number].rate for figures in single.values()) for number in range(wishes.rounds)]
    most = [max(figures[number].rate for figures in alone.values()) for number in range(wishes.rounds)]
    print(f"\n{title}; disk: {spread(syncs, '{:.2f}')} ms a sync\n{'':32}{'registrations/s':>22}{'p50 ms':>9}{'p99 ms':>9}{'commits/s':>10}"
          f"{'each':>8}{'PG us':>10}{'turnoutd':>10}{'client':>8}")
    line("turnoutd, closed loop", ours)
    line("turnoutd, half of that, open", half)
    for clients, figures in single.items():
        line(f"pgbench, one each, {clients} clients", figures)
    for clients, figures in alone.items():
        line(f"pgbench, {wishes.batch} a call, {clients} clients", figures)
    print(f"turnoutd against the best of one each:      {spread([mine.rate / its for mine, its in zip(ours, best)], '{:.2f}')}")
    print(f"turnoutd against the batch function alone:  {spread([mine.rate / its for mine, its in zip(ours, most)], '{:.2f}')}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--connections", type=int, default=1000, help="of the load generator")
    parser.add_argument("--people", type=int, default=40000, help="who register in each run, at most")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=256, help="batch_max, and what a call of the function alone holds")
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS, help="of pgbench with a transaction each")
    parser.add_argument("--only", choices=("hot", "spread"))
    wishes = parser.parse_args()
    wishes.seconds = int(wishes.seconds) if wishes.seconds == int(wishes.seconds) else wishes.seconds
    with contextlib.ExitStack() as stack:
        ground = Ground(wishes.people)
        stack.callback(ground.remove)
        turnout = daemon(ground, workers=wishes.workers, batch_max=wishes.batch)
        stack.callback(turnout.remove)
        cost = sync_cost(ground.postgres.data)
        print(f"PostgreSQL {ground.value('show server_version')} on {kind_of_disk(ground.postgres.data)}, a block and fdatasync: p50"
              f" {cost[0]:.2f} ms, p99 {cost[1]:.2f} ms; {len(os.sched_getaffinity(0))} processors; turnoutd: {wishes.workers} workers,"
              f" batch_max {wishes.batch}; {wishes.connections} connections; {wishes.rounds} rounds of {wishes.seconds} s;"
              " median [least..most]", flush=True)
        for name, title, events in (("hot", "one hot event", 1), ("spread", f"spread over {SPREAD} events", SPREAD)):
            if wishes.only in (None, name):
                compare(ground, turnout, wishes, title, events)
    return 0


if __name__ == "__main__":
    sys.exit(main())
