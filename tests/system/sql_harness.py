"""A private PostgreSQL for the tests, a turnout database in it, and sessions that are stepped against each other.

This is the one place in the tests that starts PostgreSQL. The server runs as an ordinary user (initdb refuses root) in a
short folder of its own under the temporary folder, on a Unix socket only, with durable settings. Set TURNOUT_TEST_PG to
the socket folder of a server that already runs to reuse it: roles and databases are made there, nothing is stopped.
"""

import hashlib
import itertools
import os
import pathlib
import pwd
import queue
import shutil
import subprocess
import tempfile
import threading
import time

import psycopg
from psycopg import sql

TOP = pathlib.Path(__file__).resolve().parents[2]
SCHEMA_FILES = TOP / "sql" / "schema"
RULES_FILES = TOP / "sql" / "rules"

OWNER = "turnout_owner"
APP = "turnout_app"

# Seconds after which a test says that something never happened. No test waits this long when all is well.
PATIENCE = 30.0


def wait_until(condition, what, patience=PATIENCE):
    """Waits for a condition, looking often; fails by name when it never becomes true."""
    deadline = time.monotonic() + patience
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience:.0f} s in vain: {what}")
        time.sleep(0.005)


def server_programs():
    """The folder of initdb and postgres: from pg_config, or Debian's newest."""
    found = shutil.which("pg_ctl")
    if found:
        return pathlib.Path(found).resolve().parent
    versions = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not versions:
        raise RuntimeError("no PostgreSQL server programs found: install postgresql")
    return versions[-1].parent


class PrivatePostgres:
    """A PostgreSQL cluster in a folder of its own. `folder` holds data, socket and log; made when missing."""

    SETTINGS = {
        "listen_addresses": "",
        "unix_socket_permissions": "0777",
        "max_connections": "200",
        "deadlock_timeout": "200ms",
        "log_lock_waits": "on",
        "log_line_prefix": "%m [%p] %a ",
        "log_min_duration_statement": "-1",
        "logging_collector": "off",
        "shared_buffers": "256MB",
        "max_wal_size": "2GB",
        "lc_messages": "C",
        "timezone": "UTC",
    }

    def __init__(self, folder=None, settings=None):
        self.settings = {**self.SETTINGS, **(settings or {})}
        self.programs = server_programs()
        self.user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        self.made_folder = folder is None
        self.folder = pathlib.Path(folder or tempfile.mkdtemp(prefix="tpg."))
        self.data = self.folder / "data"
        self.socket = self.folder / "s"
        self.log = self.folder / "postgresql.log"
        self.port = 5432
        # A socket address holds 107 bytes (sockaddr_un), and PostgreSQL adds its own name to the folder's.
        if len(str(self.socket / f".s.PGSQL.{self.port}.lock")) > 107:
            raise RuntimeError(f"folder name too long for a Unix socket: {self.folder}")
        self.running = False

    def _run(self, *command, check=True):
        """Runs a server program as the cluster's user."""
        if os.geteuid() == 0:
            command = ("runuser", "-u", self.user, "--", *command)
        done = subprocess.run([str(part) for part in command], cwd="/", stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if check and done.returncode != 0:
            raise RuntimeError(f"{command} failed:\n{done.stdout}\n{self.log_text()[-4000:]}")
        return done

    def start(self):
        """Makes the cluster when there is none, starts it, waits until it accepts connections."""
        if not (self.data / "PG_VERSION").exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            if os.geteuid() == 0:
                shutil.chown(self.folder, self.user)
            # Others of this machine may reach the socket folder through it (servers under test run as other users).
            self.folder.chmod(0o711)
            self._run(self.programs / "initdb", "-D", self.data, "-U", "postgres", "-E", "UTF8",
                      "--locale=C.UTF-8", "--auth=trust", "--no-sync")
            with open(self.data / "postgresql.conf", "a", encoding="utf-8") as conf:
                for name, value in {**self.settings, "unix_socket_directories": str(self.socket)}.items():
                    conf.write(f"{name} = '{value}'\n")
            self.socket.mkdir(exist_ok=True)
            if os.geteuid() == 0:
                shutil.chown(self.socket, self.user)
            self.socket.chmod(0o711)
        # pg_ctl's child keeps what it inherits; the log is a file and the output of pg_ctl itself is short.
        self._run(self.programs / "pg_ctl", "-D", self.data, "-l", self.log, "-w", "-t", "60", "-s", "start")
        self.running = True
        return self

    def stop(self, mode="fast"):
        """mode: smart, fast or immediate (a crash: the next start recovers)."""
        if self.running:
            self._run(self.programs / "pg_ctl", "-D", self.data, "-m", mode, "-w", "-t", "60", "-s", "stop")
            self.running = False

    def restart(self, mode="fast"):
        self.stop(mode)
        self.start()

    def remove(self):
        """Stops the server and deletes the folder, if it was ours to make."""
        self.stop("immediate")
        if self.made_folder:
            # Hundreds of databases, each of a thousand files: not by shutil.rmtree, which takes several times as long.
            subprocess.run(["rm", "-rf", str(self.folder)], check=False)

    def start_standby(self):
        """A cluster of its own that follows this one, started; whoever asked for it removes it."""
        standby = PrivatePostgres()
        for folder in (standby.folder, standby.socket):
            folder.mkdir(exist_ok=True)
            if os.geteuid() == 0:
                shutil.chown(folder, standby.user)
            folder.chmod(0o711)
        standby._run(standby.programs / "pg_basebackup", "-h", self.socket, "-p", self.port, "-U", "postgres", "-D", standby.data,
                     "-R", "-c", "fast", "--no-sync")
        with open(standby.data / "postgresql.auto.conf", "a", encoding="utf-8") as conf:
            conf.write(f"unix_socket_directories = '{standby.socket}'\n")
        return standby.start()

    def log_text(self):
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def dsn(self, database="postgres", user="postgres"):
        return f"host={self.socket} port={self.port} dbname={database} user={user}"

    def create_roles(self):
        """The two roles of an installation; existing ones are left alone."""
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            for role in (OWNER, APP):
                if connection.execute("select 1 from pg_roles where rolname = %s", (role,)).fetchone() is None:
                    connection.execute(sql.SQL("create role {} login").format(sql.Identifier(role)))

    def create_database(self, name, template=None):
        """Makes a database that belongs to turnout_owner; answers the owner's DSN."""
        self.create_roles()
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            connection.execute(sql.SQL("create database {} owner {} template {}").format(
                sql.Identifier(name), sql.Identifier(OWNER), sql.Identifier(template or "template1")))
        return self.dsn(name, OWNER)

    def drop_database(self, name):
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))

    def discard_database(self, name):
        """When a test is done with it: not in a cluster that goes away as a whole, as dropping waits for a checkpoint."""
        if not self.made_folder:
            self.drop_database(name)

    def assert_no_deadlocks(self):
        assert "deadlock detected" not in self.log_text()


class ForeignPostgres(PrivatePostgres):
    """A server that somebody else runs, named by TURNOUT_TEST_PG; never stopped, its log is not ours to read."""

    def __init__(self, socket_folder, port=5432):
        self.socket, self.port, self.running, self.made_folder = socket_folder, port, False, False
        self.log = pathlib.Path(socket_folder) / "no-log-of-ours"

    def start(self):
        return self

    def stop(self, mode="fast"):
        pass

    def remove(self):
        pass


def test_postgres():
    """The cluster a test run uses, started."""
    reused = os.environ.get("TURNOUT_TEST_PG")
    if reused:
        folder, _, port = reused.partition(":")
        return ForeignPostgres(folder, int(port or 5432)).start()
    return PrivatePostgres().start()


test_postgres.__test__ = False


def migrate(dsn):
    """Does what `turnoutctl migrate` does, in its order: every schema file in a transaction of its own or statement by
    statement, then all rules."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("create schema if not exists turnout")
        connection.execute("create table if not exists turnout.migrations (version integer primary key, name text not null,"
                           " checksum text not null, applied_at timestamptz not null default now())")
        for file in sorted(SCHEMA_FILES.glob("[0-9][0-9][0-9][0-9]_*.sql")):
            text = file.read_text(encoding="utf-8")
            alone = text.startswith("-- statement by statement\n")
            for row in connection.execute(text).fetchall() if alone else []:
                connection.execute(row[0])
            with connection.transaction():
                if not alone:
                    connection.execute(text)
                connection.execute("insert into turnout.migrations (version, name, checksum) values (%s, %s, %s)",
                                   (int(file.name[:4]), file.stem[5:], hashlib.sha256(text.encode()).hexdigest()))
        apply_rules(connection)


def apply_rules(connection):
    files = sorted(RULES_FILES.glob("*.sql"))
    texts = [file.read_text(encoding="utf-8") for file in files]
    checksum = hashlib.sha256("".join(texts).encode()).hexdigest()
    with connection.transaction():
        for file, text in zip(files, texts):
            try:
                connection.execute(text)
            except psycopg.Error as error:
                raise RuntimeError(f"{file.name}: {error}") from error
        connection.execute("delete from turnout.rules")
        connection.execute("insert into turnout.rules (checksum) values (%s)", (checksum,))


class Database:
    """A database of the cluster with turnout in it."""

    def __init__(self, postgres, name):
        self.postgres, self.name = postgres, name
        self.owner_dsn = postgres.dsn(name, OWNER)
        self.app_dsn = postgres.dsn(name, APP)

    @classmethod
    def migrated(cls, postgres, name):
        postgres.drop_database(name)
        migrate(postgres.create_database(name))
        return cls(postgres, name)

    @classmethod
    def copied(cls, postgres, name, template):
        """From a database that nobody is connected to: milliseconds where migrating takes a second."""
        postgres.drop_database(name)
        postgres.create_database(name, template.name)
        return cls(postgres, name)

    def connect(self, user=APP, autocommit=True):
        return psycopg.connect(self.postgres.dsn(self.name, user), autocommit=autocommit)

    def rows(self, statement, parameters=None):
        """Runs one statement as superuser, whose sight nothing limits, and answers its rows."""
        with self.connect("postgres") as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def value(self, statement, parameters=None):
        return self.rows(statement, parameters)[0][0]

    def assert_consistent(self):
        """The invariants of the data model that no constraint can say; every test module ends with this."""
        for what, statement in INVARIANTS.items():
            broken = self.rows(statement)
            assert broken == [], f"{what}: {broken[:5]}"

    def drop(self):
        self.postgres.discard_database(self.name)


# What is never true, each as a query for counterexamples.
INVARIANTS = {
    "seats rows equal registrations": """
        select e.id, s.registered_count, r.registered, s.waitlisted_count, r.waitlisted, s.checked_in_count, r.checked_in
        from turnout.events e
        left join turnout.event_seats s on s.event_id = e.id
        left join (
          select event_id, count(*) filter (where status = 'registered') as registered,
                 count(*) filter (where status = 'waitlisted') as waitlisted, count(checked_in_at) as checked_in,
                 max(queue_no) as queue_no
          from turnout.registrations group by event_id
        ) r on r.event_id = e.id
        where s.event_id is null
           or (s.registered_count, s.waitlisted_count, s.checked_in_count)
              is distinct from (coalesce(r.registered, 0), coalesce(r.waitlisted, 0), coalesce(r.checked_in, 0))
           or s.last_queue_no < coalesce(r.queue_no, 0)""",
    "an event and its seats row agree on capacity": """
        select e.id from turnout.events e join turnout.event_seats s on s.event_id = e.id where s.capacity <> e.capacity""",
    "department counters equal registrations": """
        select coalesce(c.event_id, r.event_id), coalesce(c.department, r.department), c.registered, r.registered,
               c.waitlisted, r.waitlisted
        from turnout.event_department_counts c
        full join (
          select event_id, coalesce(department, '') as department, count(*) filter (where status = 'registered') as registered,
                 count(*) filter (where status = 'waitlisted') as waitlisted, count(checked_in_at) as checked_in
          from turnout.registrations group by 1, 2
        ) r on r.event_id = c.event_id and r.department = c.department
        where (coalesce(c.registered, 0), coalesce(c.waitlisted, 0), coalesce(c.checked_in, 0))
              is distinct from (coalesce(r.registered, 0), coalesce(r.waitlisted, 0), coalesce(r.checked_in, 0))""",
    "every event has an organizer": """
        select e.id from turnout.events e
        where not exists (select from turnout.event_organizers o where o.event_id = e.id)""",
    "queue numbers of an event are given once": """
        select event_id, queue_no from turnout.registrations group by 1, 2 having count(*) > 1""",
    "a registration stands in its event's year": """
        select r.id from turnout.registrations r join turnout.events e on e.id = r.event_id
        where e.event_year <> r.event_year""",
    "everybody who has or had a place was owed a mail about it": """
        select r.id, r.status from turnout.registrations r
        where not exists (
          select from turnout.outbox o
          where o.registration_id = r.id and o.generation = r.generation
            and o.kind = any (case r.status when 'registered' then array['confirmation', 'promoted']
                                            when 'waitlisted' then array['waitlisted']
                                            else array['cancelled', 'event_cancelled'] end))""",
    "every person is found by the name of today": """
        select u.id, n.user_id, u.name, n.key
        from turnout.users u full join turnout.user_names n on n.user_id = u.id
        where n.key is distinct from turnout.name_key(u.name)""",
    "every registration's last state is in the audit log": """
        select r.id, r.status from turnout.registrations r
        where (
          select a.after ->> 'status' from turnout.audit_log a
          where a.event_id = r.event_id and a.entity_id = r.id order by a.id desc limit 1) is distinct from r.status::text""",
}


class Session:
    """A database session on a thread of its own, so that a test can let it run into a lock and look what happens."""

    def __init__(self, database, name, user=APP):
        self.name = name
        self.connection = database.connect(user, autocommit=False)
        self.connection.execute("select set_config('application_name', %s, false)", (name,))
        self.connection.commit()
        self.pid = self.connection.info.backend_pid
        self.observer = database.connect("postgres")
        self.orders = queue.Queue()
        self.results = queue.Queue()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()
        self.waiting_for = 0

    def _serve(self):
        while True:
            order = self.orders.get()
            if order is None:
                return
            try:
                self.results.put(order())
            except psycopg.Error as error:
                self.results.put(error)

    def begin(self, statement, parameters=None):
        """Sends a statement without waiting for its end."""
        def order():
            cursor = self.connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []
        self.waiting_for += 1
        self.orders.put(order)

    def is_blocked(self):
        return bool(self.observer.execute("select pg_blocking_pids(%s) <> '{}'", (self.pid,)).fetchone()[0])

    def settle(self):
        """Waits until the statement has ended or waits for somebody: answers 'done' or 'blocked'."""
        return wait_until(lambda: "done" if not self.results.empty() else "blocked" if self.is_blocked() else None,
                          f"session {self.name} ends its statement or waits for a lock")

    def end(self):
        """Waits for the statement that was begun, and answers its rows; raises what it raised."""
        result = self.results.get(timeout=PATIENCE)
        self.waiting_for -= 1
        if isinstance(result, Exception):
            raise result
        return result

    def run(self, statement, parameters=None):
        self.begin(statement, parameters)
        return self.end()

    def commit(self):
        self.orders.put(lambda: self.connection.commit() or [])
        self.waiting_for += 1
        return self.end()

    def rollback(self):
        self.orders.put(lambda: self.connection.rollback() or [])
        self.waiting_for += 1
        return self.end()

    def close(self):
        self.orders.put(None)
        self.thread.join(PATIENCE)
        self.connection.close()
        self.observer.close()


database_numbers = itertools.count(1)
