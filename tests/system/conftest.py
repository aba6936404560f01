"""Fixtures of the system tests. One PostgreSQL for the whole run; a database and a turnoutd per module.

`database` is a database for tests in plain SQL, which need no programs.
`turnout` is a running turnoutd with two workers. A module that needs another configuration takes `new_turnout`, a function that
makes one: new_turnout(workers=4, body_size="1k"); what it made is removed after the test.
"""

import os
import pathlib

import psycopg
import pytest

import server
import sql_harness

# Where two processes share the tests (contrib/check, file by file), long files come first, so that none runs alone at the end.
LONG_FILES = ["test_quickstart.py", "test_faults.py", "test_outage.py", "test_crashes.py", "test_jobs.py", "test_oversell_proof.py",
              "test_shutdown.py", "test_coherence.py", "test_in_flight.py"]

seen = {"postgres": None, "log_read": 0, "reports": set()}


def pytest_collection_modifyitems(items):
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: LONG_FILES.index(item.path.name) if item.path.name in LONG_FILES else len(LONG_FILES))


@pytest.fixture(scope="session")
def postgres():
    """The PostgreSQL of this run."""
    cluster = sql_harness.test_postgres()
    seen["postgres"] = cluster
    yield cluster
    cluster.remove()


@pytest.fixture(scope="session")
def template(postgres):
    """A migrated, empty database that nobody connects to; others are copied from it. Made by the harness, without turnoutctl."""
    return sql_harness.Database.migrated(postgres, f"template_{os.getpid()}")


@pytest.fixture(scope="module")
def database(postgres, template):
    """A fresh migrated database for the module's plain SQL, which must be consistent at its end."""
    copy = sql_harness.Database.copied(postgres, f"turnout_{os.getpid()}_{next(sql_harness.database_numbers)}", template)
    yield copy
    copy.assert_consistent()
    copy.drop()


def require_programs():
    if server.programs() is None:
        pytest.skip("TURNOUT_BIN does not say where turnoutd and turnoutctl are")


@pytest.fixture(scope="session")
def migrated(postgres):
    """The name of a database that `turnoutctl migrate` has just migrated; databases under a turnoutd are copies of it."""
    require_programs()
    name = f"migrated_{os.getpid()}"
    owner = postgres.create_database(name)
    turnout = server.Turnout(postgres.dsn(name, sql_harness.APP), owner)
    try:
        turnout.ctl("migrate")
    finally:
        turnout.remove()
    yield name
    postgres.discard_database(name)


@pytest.fixture(scope="session")
def make_database(postgres, migrated):
    """A function that makes a migrated database and answers its name; all are gone at the end of the run."""
    made = []

    def make():
        name = f"turnout_{os.getpid()}_{next(sql_harness.database_numbers)}"
        postgres.create_database(name, template=migrated)
        made.append(name)
        return name

    yield make
    for name in made:
        postgres.discard_database(name)


def run_turnout(postgres, name, kind=server.Turnout, **options):
    turnout = kind(postgres.dsn(name, sql_harness.APP), postgres.dsn(name, sql_harness.OWNER), **options)
    turnout.database = name
    return turnout


@pytest.fixture(scope="module")
def turnout(postgres, make_database):
    """A running turnoutd on an empty database."""
    running = run_turnout(postgres, make_database())
    try:
        yield running.start()
    finally:
        running.remove()


@pytest.fixture
def new_turnout(postgres, make_database):
    """A function that makes a turnoutd: new_turnout(start=True, database=None, kind=server.Turnout, **options)."""
    made = []

    def make(start=True, database=None, **options):
        one = run_turnout(postgres, database or make_database(), **options)
        made.append(one)
        return one.start() if start else one

    yield make
    for one in made:
        one.remove()


@pytest.fixture(scope="module")
def owner(postgres, turnout):
    """A session of turnout_owner in the database of `turnout`, each statement its own transaction."""
    with psycopg.connect(postgres.dsn(turnout.database, sql_harness.OWNER), autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def test_data():
    """The folder of texts that others wrote."""
    folder = pathlib.Path(os.environ.get("TURNOUT_TEST_DATA") or sql_harness.TOP.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no test data of others: {folder} is not there (TURNOUT_TEST_DATA)")
    return folder


@pytest.fixture(autouse=True)
def nothing_went_wrong():
    """After every test: no sanitizer has complained, and PostgreSQL has seen no deadlock."""
    yield
    new_reports = [path for path in server.sanitizer_reports() if path not in seen["reports"]]
    seen["reports"].update(new_reports)
    assert not new_reports, "\n".join(f"{path}:\n{path.read_text(errors='replace')[:6000]}" for path in new_reports)
    cluster = seen["postgres"]
    if cluster is not None and cluster.log.exists():
        with open(cluster.log, "rb") as log:
            log.seek(seen["log_read"])
            new_lines = log.read()
        seen["log_read"] += len(new_lines)
        assert b"deadlock detected" not in new_lines, new_lines.decode(errors="replace")[-6000:]
