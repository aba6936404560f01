"""What the benchmarks of registrations stand on: a PostgreSQL that commits as in production, people with tokens of their own,
and what each of the processes has spent."""

import contextlib
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))

import psycopg  # noqa: E402  pylint: disable=wrong-import-position

import server  # noqa: E402  pylint: disable=wrong-import-position
from loader import Loader  # noqa: E402  pylint: disable=wrong-import-position
from sql_harness import APP, OWNER, PrivatePostgres, migrate  # noqa: E402  pylint: disable=wrong-import-position

TICKS = os.sysconf("SC_CLK_TCK")
BLOCK = b"\x5a" * 8192
# Departments of the company; counters are by them.
DEPARTMENTS = 20
MEMORY = ("tmpfs", "ramfs")

SETTINGS = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "shared_buffers": "512MB", "max_wal_size": "4GB",
            "checkpoint_timeout": "15min", "log_lock_waits": "off", "deadlock_timeout": "1s"}


def kind_of_disk(folder):
    return subprocess.run(["findmnt", "-n", "-o", "FSTYPE", "-T", str(folder)], stdout=subprocess.PIPE, text=True,
                          check=True).stdout.strip()


def real_disk():
    """A folder on a disk: TMPDIR or its default, unless that is memory."""
    for folder in (tempfile.gettempdir(), "/var/tmp"):
        if kind_of_disk(folder) not in MEMORY:
            return folder
    raise SystemExit("the temporary folders are in memory; name one on a disk with TMPDIR")


def sync_cost(folder, times=200):
    """Milliseconds that a commit waits for the disk: a block overwritten in place and fdatasync, as pg_test_fsync does. p50, p99."""
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        os.write(file.fileno(), BLOCK * 64)
        os.fsync(file.fileno())
        took = []
        for number in range(times):
            began = time.perf_counter()
            os.pwrite(file.fileno(), BLOCK, number % 64 * len(BLOCK))
            os.fdatasync(file.fileno())
            took.append((time.perf_counter() - began) * 1000)
    return quantile(took, 0.5), quantile(took, 0.99)


def quantile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def spread(values, form):
    return f"{form.format(statistics.median(values))} [{form.format(min(values))}..{form.format(max(values))}]"


def threads_used(pid):
    """Seconds of processor of all threads of a process, to the nanosecond."""
    total = 0
    with contextlib.suppress(FileNotFoundError):
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError):
                total += int((task / "schedstat").read_text(encoding="ascii").split()[0]) / 1e9
    return total


def children(pid):
    return [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


def family_used(pid):
    """Seconds of a process, its children, and those children that have ended (to the kernel's tick)."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return threads_used(pid) + sum(threads_used(child) for child in children(pid)) + (int(fields[13]) + int(fields[14])) / TICKS


class Ground:
    """The cluster, a database with turnout and bench.* in it, people who are known there, and events by number."""

    def __init__(self, people):
        self.people, self.next_event = people, 0
        self.postgres = PrivatePostgres(folder=tempfile.mkdtemp(prefix="tpb.", dir=real_disk()), settings=SETTINGS)
        self.postgres.made_folder = True
        self.postgres.start()
        self.postmaster = int((self.postgres.data / "postmaster.pid").read_text(encoding="ascii").split()[0])
        self.name = "bench"
        migrate(self.postgres.create_database(self.name))
        self.admin = psycopg.connect(self.postgres.dsn(self.name, "postgres"), autocommit=True)
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            assert self.value(f"show {name}") == "on", name
        self.admin.execute(pathlib.Path(__file__).with_name("hand_written.sql").read_text(encoding="utf-8"))
        self.admin.execute("insert into turnout.users (id, issuer, subject, email, name, department)"
                           " select bench.person_id(n), %s, 'person' || n || '@example.com', 'person' || n || '@example.com',"
                           " 'Person ' || n, 'Department ' || n %% %s from generate_series(0, %s) n",
                           (server.ISSUER, DEPARTMENTS, people - 1))
        self.admin.execute("vacuum analyze")

    def remove(self):
        self.admin.close()
        self.postgres.remove()

    def value(self, statement, parameters=None):
        return self.admin.execute(statement, parameters).fetchone()[0]

    def dsn(self, role=APP):
        return self.postgres.dsn(self.name, role)

    def add_events(self, count, capacity=1000000, waitlist_limit=None, starts_in="30 days"):
        """Published events; answers the number of the first."""
        first, self.next_event = self.next_event, self.next_event + count
        self.admin.execute("""
            with made as (
              insert into turnout.events (id, event_year, title, start_datetime, end_datetime, status, capacity, waitlist_limit)
              select bench.event_id(n), extract(year from start_at), 'Event ' || n, start_at, start_at + interval '2 hours', 'published',
                     %(capacity)s, %(waitlist_limit)s
              from generate_series(%(first)s::integer, %(last)s) n
              cross join (select now() + %(starts_in)s::interval) moment (start_at)
              returning id
            ), organized as (
              insert into turnout.event_organizers (event_id, user_id) select id, bench.person_id(0) from made
            )
            insert into turnout.event_seats (event_id, capacity) select id, %(capacity)s from made""",
                           {"first": first, "last": first + count - 1, "capacity": capacity, "waitlist_limit": waitlist_limit,
                            "starts_in": starts_in})
        return first

    def event_ids(self, first, count):
        return [str(row[0]) for row in self.admin.execute("select bench.event_id(n) from generate_series(%s::integer, %s) n",
                                                          (first, first + count - 1)).fetchall()]

    def settle(self):
        """What the last one left to do is not charged to the next."""
        self.admin.execute("vacuum analyze turnout.registrations, turnout.event_seats, turnout.event_department_counts,"
                           " turnout.outbox, turnout.audit_log, turnout.changes, turnout.events")
        self.admin.execute("checkpoint")

    def writes(self):
        """Transactions that have written, ever."""
        return self.value("select pg_snapshot_xmax(pg_current_snapshot())::text::bigint")

    def registered(self, first, count):
        return self.value("select coalesce(sum(registered_count + waitlisted_count), 0) from turnout.event_seats"
                          " where event_id between bench.event_id(%s) and bench.event_id(%s)", (first, first + count - 1))

    def person(self, number):
        """In the order in which they come: not that of their ids."""
        return number * 7919 % self.people

    def tokens(self, turnout, count):
        """A token for each of the first so many people, signed anew: nobody has been seen with it."""
        now = int(time.time())
        return [turnout.token(f"person{self.person(number)}@example.com", iat=now,
                              department=f"Department {self.person(number) % DEPARTMENTS}") for number in range(count)]


WARM_UP = """[register]
method = POST
path = /api/registrations
token = any
body = {"event_id":"{event}"}
expect = 200 201 409
retry = 429 503
"""


def warm_up(ground, turnout):
    """Each worker has its connections, and each of these its plans: a minute after the start nobody pays for them any more."""
    ids = ground.event_ids(ground.add_events(1), 1)
    tokens = turnout.folder / "early"
    tokens.write_text("\n".join(ground.tokens(turnout, 200)), encoding="utf-8")
    with Loader(turnout, ids, people=0, mix=WARM_UP, tokens=tokens, connections=100, requests=2000) as load:
        assert load.wait()["failed"] == 0, load.report["failures"][:3]


class Meter:
    """Seconds of processor and transactions between two moments."""

    def __init__(self, ground, turnout=None):
        self.ground = ground
        self.processes = [row["pid"] for row in turnout.processes()] if turnout else []
        self.before = self.read()

    def read(self):
        return (family_used(self.ground.postmaster), sum(threads_used(pid) for pid in self.processes), self.ground.writes())

    def spent(self):
        """Of PostgreSQL, of turnoutd, transactions that wrote."""
        return tuple(after - before for after, before in zip(self.read(), self.before))


def daemon(ground, **options):
    """turnoutd on that database, not started. One address asks for everybody here."""
    return server.Turnout(ground.dsn(), ground.dsn(OWNER), **{
        "log_level": "warning", "access_log": "no", "cache_size": "64m", "user_writes": None, "user_reads": None,
        "user_writes_burst": None, "user_reads_burst": None, **options})
