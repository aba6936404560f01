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
            shutil.rmtree(self.folder, ignore_errors=True)

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

    def assert_no_deadlocks(self):
        assert "deadlock detected" not in self.log_text()


class ForeignPostgres(PrivatePostgres):
    """A server that somebody else runs, named by TURNOUT_TEST_PG; never stopped, its log is not ours to read."""

    def __init__(self, socket_folder, port=5432):
        self.socket, self.port, self.running = socket_folder, port, False
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
    """Does what `turnoutctl migrate` does, in its order: every schema file in a transaction of its own, then all rules."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("create schema if not exists turnout")
        connection.execute("create table if not exists turnout.migrations (version integer primary key, name text not null,"
                           " checksum text not null, applied_at timestamptz not null default now())")
        for file in sorted(SCHEMA_FILES.glob("[0-9][0-9][0-9][0-9]_*.sql")):
            text = file.read_text(encoding="utf-8")
            with connection.transaction():
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
