"""A PostgreSQL for one test file that stops and kills it, with turnout's database in it, and what to see in it from outside."""

import contextlib
import itertools

import psycopg

from server import Turnout, free_port
from sql_harness import APP, OWNER, PrivatePostgres, migrate, wait_until

_numbers = itertools.count(1)


@contextlib.contextmanager
def own_postgres(tcp=False, **settings):
    """A cluster that nobody else uses. It must have seen no deadlock when it goes. tcp: it listens on its port of 127.0.0.1, too."""
    if tcp:
        settings |= {"listen_addresses": "127.0.0.1", "port": str(free_port())}
    cluster = PrivatePostgres(settings=settings)
    cluster.port = int(settings.get("port", cluster.port))
    try:
        cluster.start()
        yield cluster
        cluster.assert_no_deadlocks()
    finally:
        cluster.remove()


@contextlib.contextmanager
def own_turnout(cluster, start=True, through=None, **options):
    """A turnoutd on a database of its own there. `through`: a host, or a folder whose socket leads to the cluster (proxy.py)."""
    name = f"crash_{next(_numbers)}"
    migrate(cluster.create_database(name))
    app, owner = cluster.dsn(name, APP), cluster.dsn(name, OWNER)
    if through is not None:
        app, owner = (dsn.replace(str(cluster.socket), str(through)) for dsn in (app, owner))
    turnout = Turnout(app, owner, **options)
    turnout.database = name
    try:
        if start:
            turnout.start()
        yield turnout
    finally:
        turnout.remove()


def connect(cluster, turnout, user="postgres"):
    """A session of the test, autocommitting; not counted as turnout's."""
    return psycopg.connect(cluster.dsn(turnout.database, user), autocommit=True)


def backends(connection, turnout, condition="true"):
    """turnout's sessions as rows of (pid, application_name, state, wait_event_type, query)."""
    return connection.execute(
        "select pid, application_name, state, wait_event_type, query from pg_stat_activity"
        f" where datname = %s and application_name like 'turnout%%' and {condition}", (turnout.database,)).fetchall()


def wait_idle(connection, turnout):
    """Waits until PostgreSQL works on nothing of turnout's, not even on what a dead process had sent."""
    wait_until(lambda: not backends(connection, turnout, "state <> 'idle'"), "PostgreSQL has worked off everything")
