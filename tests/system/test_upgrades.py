"""The next version's files are put in place while this one runs."""

import shutil

import pytest

from sql_harness import TOP, wait_until
from traffic import pids, wait_replaced


@pytest.fixture
def turnout(new_turnout):
    """One worker, with SQL files of its own."""
    one = new_turnout(start=False, workers=1)
    shutil.copytree(TOP / "sql", one.folder / "sql")
    one.configure(sql_directory=one.folder / "sql")
    return one.start()


def put(turnout, number):
    (turnout.folder / "sql" / "schema" / f"{number:04d}_next.sql").write_text("select 1;\n", encoding="ascii")


def applied(turnout):
    return len(list((turnout.folder / "sql" / "schema").glob("*.sql")))


# One more migration, and what there is for a moment when several are copied.
@pytest.mark.parametrize("ahead", [1, 2])
def test_a_worker_that_starts_again_goes_on_as_it_was(turnout, ahead):
    put(turnout, applied(turnout) + ahead)
    victim = pids(turnout, "worker")[0]
    turnout.kill("worker")
    wait_replaced(turnout, "worker", victim)
    turnout.wait_ready()
    assert turnout.get("/api/events").status == 200


def test_who_starts_with_the_new_files_is_ready_when_they_are_applied(turnout):
    put(turnout, applied(turnout) + 1)
    turnout.stop()
    turnout.start(ready=False)

    def asks_for_migration():
        try:
            return "run turnoutctl migrate" in turnout.internal("/readyz").json()["checks"]["schema"]
        except ConnectionError:
            return False

    wait_until(asks_for_migration, "/readyz says what is missing")
    turnout.ctl("migrate")
    turnout.wait_ready()
