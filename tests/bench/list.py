#!/usr/bin/python3
"""What an answer from the hot cache costs: turnoutd beside nginx and h2o, which serve the same bytes from files.

    TURNOUT_BIN=build list.py [--rounds N] [--seconds S] [--connections N] [--only page]

How to read what it prints: README.md beside this file.
"""

import argparse
import contextlib
import http.client
import json
import os
import pathlib
import pwd
import shutil
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))

import psycopg  # noqa: E402  pylint: disable=wrong-import-position

import nginx  # noqa: E402  pylint: disable=wrong-import-position
import server  # noqa: E402  pylint: disable=wrong-import-position
from loader import generator  # noqa: E402  pylint: disable=wrong-import-position
from metrics import scrape  # noqa: E402  pylint: disable=wrong-import-position
from sql_harness import APP, OWNER, test_postgres, wait_until  # noqa: E402  pylint: disable=wrong-import-position
from traffic import add_event  # noqa: E402  pylint: disable=wrong-import-position

PAGE, SMALL = 8192, 600
# What a server of files says of its own, and what only the server that answers can know.
OWN_HEADERS = {"server", "date", "connection", "etag", "content-type", "content-length", "last-modified", "accept-ranges"}
# No answer of a benchmark may come from PostgreSQL: of a thousand requests at most so many.
MISSES_MOST = 1


def pin(pid, cpu):
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(task.name), {cpu})


def used(pid):
    """Microseconds of processor of all threads of a process, to the nanosecond where the kernel counts them."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):
            total += int((task / "schedstat").read_text(encoding="ascii").split()[0]) / 1000
    return total


def children(pid):
    return [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


def ask(port, path, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers=headers or {})
        answer = connection.getresponse()
        return server.Response(answer.status, answer.getheaders(), answer.read())
    finally:
        connection.close()


class Files:
    """The bodies as files, and the headers that turnoutd sends with them as constants of the same length."""

    def __init__(self, turnout, paths):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="files."))
        self.headers = {}
        for name, path in paths.items():
            answer = ask(turnout.port, path)
            (self.folder / name).write_bytes(answer.body)
            self.headers[name] = {header: value for header, value in answer.header_list if header not in OWN_HEADERS}

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)


class FileServer:
    """A server of the files, in the foreground and pinned. `pid` is the process that answers."""

    def __init__(self, name, files, cpu, mode=""):
        self.name, self.files, self.cpu, self.mode = name, files, cpu, mode
        self.paths = {name: f"/{name}" for name in files.headers}
        self.port = server.free_port()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="bench."))
        self.process, self.pid = None, None

    def start(self):
        (self.folder / "server.conf").write_text(self.configuration(), encoding="utf-8")
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen(self.command(), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True)
        wait_until(self.listens, f"{self.name} listens")
        self.pid = self.find_pid()
        if self.cpu is not None:
            pin(self.pid, self.cpu)
        return self

    def listens(self):
        assert self.process.poll() is None, (self.folder / "log").read_text(encoding="utf-8", errors="replace")
        try:
            return ask(self.port, self.paths["page"]).status == 200
        except OSError:
            return False

    def find_pid(self):
        return self.process.pid

    def remove(self):
        if self.process is not None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(20)
            self.process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class NginxFiles(FileServer):
    """Open files are kept, nothing is logged, connections are never closed. `mode` says how a file is sent."""

    def configuration(self):
        owner = f"user {pwd.getpwuid(os.geteuid()).pw_name};\n" if os.geteuid() == 0 else ""
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        paths = "".join(f"    {kind}_temp_path {self.folder}/{kind};\n" for kind in kinds)
        locations = "".join(
            f"        location = /{name} {{\n" + "".join(f"            add_header {key} '{value}';\n" for key, value in headers.items())
            + "        }\n" for name, headers in self.files.headers.items())
        return (f"{owner}daemon off;\nworker_processes 1;\npid {self.folder}/pid;\nerror_log {self.folder}/error.log warn;\n"
                "events {\n    worker_connections 4000;\n}\n"
                f"http {{\n{paths}    access_log off;\n    server_tokens off;\n    {self.mode}\n    tcp_nodelay on;\n"
                "    keepalive_requests 1000000000;\n    keepalive_timeout 1h;\n"
                "    open_file_cache max=100 inactive=1h;\n    open_file_cache_valid 1h;\n    open_file_cache_min_uses 1;\n"
                "    default_type application/json;\n    etag on;\n"
                f"    server {{\n        listen 127.0.0.1:{self.port};\n        root {self.files.folder};\n{locations}    }}\n}}\n")

    def command(self):
        return [nginx.program(), "-p", str(self.folder), "-c", str(self.folder / "server.conf"), "-e", str(self.folder / "error.log")]

    def find_pid(self):
        return wait_until(lambda: children(self.process.pid), "nginx has its worker")[0]


class H2oFiles(FileServer):
    """One thread; it opens the file for each request."""

    def configuration(self):
        owner = f"user: {pwd.getpwuid(os.geteuid()).pw_name}\n" if os.geteuid() == 0 else ""
        headers = "".join(f"    header.set: '{key}: {value}'\n" for key, value in self.files.headers["page"].items())
        return (f"{owner}num-threads: 1\nmax-connections: 4000\nhttp1-request-timeout: 3600\n"
                f"listen:\n  host: 127.0.0.1\n  port: {self.port}\nfile.mime.setdefaulttype: application/json\n"
                f"hosts:\n  default:\n{headers}    paths:\n      /:\n        file.dir: {self.files.folder}\n")

    def command(self):
        return ["h2o", "-m", "worker", "-c", str(self.folder / "server.conf")]


class OurServer:
    """turnoutd with one worker on a PostgreSQL of the test; everything but the worker runs where the load generator does."""

    name = "turnoutd"

    def __init__(self, postgres, cpu, other_cpu):
        self.cpu, self.other_cpu = cpu, other_cpu
        self.database = f"bench_{os.getpid()}"
        owner = postgres.create_database(self.database)
        self.turnout = server.Turnout(postgres.dsn(self.database, APP), owner, workers=1, access_log="no", log_level="warning")
        self.turnout.ctl("migrate")
        with psycopg.connect(postgres.dsn(self.database, OWNER), autocommit=True) as connection:
            events = [add_event(connection, 100, f"A talk about the things that we do, part {number}") for number in range(100)]
            # as long as makes the body of one event what it should be
            connection.execute("update turnout.events set description = '' where id = %s", [events[0]])
            connection.execute("analyze")
            self.turnout.start()
            self.small = f"/api/events/{events[0]}"
            missing = SMALL - len(self.get(self.small).body)
            connection.execute("update turnout.events set description = %s where id = %s", ["x" * max(0, missing), events[0]])
        wait_until(lambda: abs(len(self.get(self.small).body) - SMALL) <= max(2, -missing), "the new body is served")
        limit = min(range(1, 101), key=lambda limit: abs(len(self.get(f"/api/events?limit={limit}").body) - PAGE))
        self.paths = {"page": f"/api/events?limit={limit}", "small": self.small}
        self.port = self.turnout.port
        workers = [row["pid"] for row in self.turnout.processes("worker")]
        for row in self.turnout.processes():
            pin(row["pid"], cpu if row["pid"] in workers else other_cpu)
        self.pid = workers[0]

    def get(self, path):
        return ask(self.turnout.port, path)

    def remove(self):
        self.turnout.remove()


def measure(target, case, wishes, load_cpu):
    """One round of one server: microseconds of its processor per request, requests a second, p50 and p99, its share of the processor."""
    path = target.paths["small" if case == "small" else "page"]
    answer = ask(target.port, path)
    assert answer.status == 200, answer
    lines = [f"[{case}]", f"path = {path}"]
    if case == "304":
        etag = answer.headers["etag"]
        assert ask(target.port, path, {"If-None-Match": etag}).status == 304
        lines += [f"header = If-None-Match: {etag}", "expect = 304"]
    mix = pathlib.Path(wishes.folder) / "mix"
    mix.write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = ["taskset", "-c", str(load_cpu), str(generator()), "--json", "--address", f"127.0.0.1:{target.port}", "--mix", str(mix),
               "--connections", str(wishes.connections), "--duration", f"{wishes.seconds}s"]
    before = used(target.pid)
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
    spent = used(target.pid) - before
    report = json.loads(done.stdout)
    assert report["failed"] == 0 and report["answered"] > 0, report["failures"][:3]
    latency = report["latency_ms"]
    return (spent / report["answered"], report["answered"] / report["seconds"], latency["p50"] * 1000, latency["p99"] * 1000,
            spent / report["seconds"] / 1e6)


def header_size(target, path):
    """Bytes of a header block, its lines as they come."""
    return sum(len(f"{name}: {value}\r\n") for name, value in ask(target.port, path).header_list) + len("HTTP/1.1 200 OK\r\n\r\n")


def spread(values, form):
    return f"{form.format(statistics.median(values))} [{form.format(min(values))}..{form.format(max(values))}]"


def compare(targets, case, wishes, load_cpu):
    rounds = {target.name: [] for target in targets}
    for number in range(wishes.rounds):
        # each has each place in the order once
        for place in range(len(targets)):
            target = targets[(number + place) % len(targets)]
            rounds[target.name].append(measure(target, case, wishes, load_cpu))
    least = min(row[0] for row in rounds[targets[0].name])
    for target in targets:
        cpu, rate, p50, p99, busy = zip(*rounds[target.name])
        ratios = [mine[0] / its[0] for mine, its in zip(rounds[target.name], rounds[targets[0].name])]
        print(f"{case:6}{target.name:15}{spread(cpu, '{:.2f}'):>22}{statistics.median(rate):>12.0f}{statistics.median(p50):>8.0f}"
              f"{statistics.median(p99):>8.0f}{statistics.median(busy):>7.0%}{spread(ratios, '{:.2f}'):>24}{min(cpu) / least:>8.2f}", flush=True)


def check_hits(turnout, before):
    after = scrape(turnout)
    hits = after.sum("cache_hits_total") - before.sum("cache_hits_total")
    misses = after.sum("cache_misses_total") - before.sum("cache_misses_total")
    print(f"turnoutd: {hits:.0f} answers from the cache, {misses:.0f} that were not there")
    return misses <= hits / 1000 * MISSES_MOST


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--only", choices=("page", "small", "304"))
    wishes = parser.parse_args()
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        parser.error("two processors are needed: one for the servers, one for the load generator")
    if nginx.program() is None:
        parser.error("nginx is needed")
    server_cpu, load_cpu = cpus[0], cpus[-1]
    postgres = test_postgres()
    with contextlib.ExitStack() as stack, tempfile.TemporaryDirectory() as wishes.folder:
        stack.callback(postgres.remove)
        ours = OurServer(postgres, server_cpu, load_cpu)
        stack.callback(ours.remove)
        files = Files(ours.turnout, ours.paths)
        stack.callback(files.remove)
        targets = [NginxFiles("nginx", files, server_cpu, "sendfile on; tcp_nopush on;"),
                   NginxFiles("nginx, no file", files, server_cpu, "sendfile off;")]
        if shutil.which("h2o"):
            targets.append(H2oFiles("h2o", files, server_cpu))
        for target in targets:
            stack.callback(target.remove)
            target.start()
        targets.append(ours)
        for case, path in ours.paths.items():
            print(f"{case}: {len(ask(ours.port, path).body)} bytes; header block: "
                  + ", ".join(f"{target.name} {header_size(target, target.paths[case])}" for target in targets))
        print(f"{wishes.connections} connections, {wishes.rounds} rounds of {wishes.seconds:g} s each; median [least..most]\n"
              f"{'':21}{'CPU us/request':>22}{'requests/s':>12}{'p50 us':>8}{'p99 us':>8}{'busy':>7}{'CPU against nginx':>24}{'least':>8}")
        before = scrape(ours.turnout)
        for case in ("page", "small", "304"):
            if wishes.only in (None, case):
                compare(targets, case, wishes, load_cpu)
        return 0 if check_hits(ours.turnout, before) else 1


if __name__ == "__main__":
    sys.exit(main())
