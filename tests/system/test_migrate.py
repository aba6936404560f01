"""turnoutctl migrate: an empty database becomes current, twice is nothing to do, and an edited migration is refused."""

import json
import shutil
import subprocess

import psycopg
import pytest

import server
from sql_harness import APP, OWNER, TOP, wait_until


@pytest.fixture
def installation(postgres, tmp_path):
    """A configuration with its own copy of the SQL files, on an empty database."""
    name = "migrate_" + tmp_path.name.replace("-", "_")[-40:]
    postgres.create_database(name)
    shutil.copytree(TOP / "sql", tmp_path / "sql")
    turnout = server.Turnout(postgres.dsn(name, APP), postgres.dsn(name, OWNER), sql_directory=tmp_path / "sql")
    turnout.sql = tmp_path / "sql"
    turnout.owner = postgres.dsn(name, OWNER)
    yield turnout
    turnout.remove()
    postgres.discard_database(name)


def versions(installation):
    with psycopg.connect(installation.owner) as connection:
        return connection.execute("select version, name, checksum from turnout.migrations order by version").fetchall()


def files(installation):
    return sorted((installation.sql / "schema").glob("*.sql"))


def test_an_empty_database_becomes_current_and_the_second_time_there_is_nothing_to_do(installation):
    first = installation.ctl("migrate").stdout
    assert f"version {len(files(installation))}" in first
    applied = versions(installation)
    assert [row[0] for row in applied] == list(range(1, len(files(installation)) + 1))
    assert all(len(row[2]) == 64 for row in applied)
    assert "nothing to do" in installation.ctl("migrate").stdout
    assert versions(installation) == applied
    assert json.loads(installation.ctl("-j", "migrate").stdout)["migrated"] is True


def test_a_migration_that_was_edited_is_refused_by_name_and_nothing_changes(installation):
    installation.ctl("migrate")
    before = versions(installation)
    first = files(installation)[0]
    text = first.read_text(encoding="utf-8")
    first.write_text(text + "\n-- harmless?\n", encoding="utf-8")
    (installation.sql / "schema" / "0999_later.sql").unlink(missing_ok=True)
    done = installation.ctl("migrate", check=False)
    assert done.returncode == 1
    assert f"{first.name} was edited after it was applied" in done.stderr
    assert versions(installation) == before
    first.write_text(text, encoding="utf-8")
    assert installation.ctl("migrate").returncode == 0


def test_a_new_migration_is_applied_and_says_all_is_out_of_date(installation):
    installation.ctl("migrate")
    number = len(files(installation)) + 1
    (installation.sql / "schema" / f"{number:04d}_more.sql").write_text("create table turnout.more (id integer);\n", encoding="utf-8")
    with psycopg.connect(installation.owner) as connection:
        before = connection.execute("select count(*) from turnout.changes where kind = 'all'").fetchone()[0]
    assert f"{number:04d}_more" in installation.ctl("migrate").stdout
    with psycopg.connect(installation.owner) as connection:
        assert connection.execute("select count(*) from turnout.changes where kind = 'all'").fetchone()[0] == before + 1
        assert connection.execute("select turnout.schema_version()").fetchone() == (number,)


def test_a_migration_that_fails_names_file_and_line_and_leaves_nothing_behind(installation):
    installation.ctl("migrate")
    number = len(files(installation)) + 1
    broken = installation.sql / "schema" / f"{number:04d}_broken.sql"
    broken.write_text("create table turnout.half (id integer);\n\nselect nonsense;\n", encoding="utf-8")
    done = installation.ctl("migrate", check=False)
    assert done.returncode == 1
    assert f"{broken.name}:3:" in done.stderr and "nonsense" in done.stderr
    with psycopg.connect(installation.owner) as connection:
        assert connection.execute("select to_regclass('turnout.half')").fetchone() == (None,)
    broken.write_text("create table turnout.half (id integer);\n", encoding="utf-8")
    assert installation.ctl("migrate").returncode == 0


OLD_DATABASE = """
insert into turnout.users (id, email, name) values (gen_random_uuid(), 'a@example.com', 'Ångström');
insert into turnout.events (id, event_year, title, start_datetime, end_datetime, status, capacity)
select gen_random_uuid(), y.event_year, 'Event', now(), now() + interval '1 hour', 'published', 5 from turnout.event_years y limit 1;
"""
REGISTERED = """
insert into turnout.registrations (event_year, id, event_id, user_id, status, queue_no, registered_at, seated_at, last_action_at)
select e.event_year, gen_random_uuid(), e.id, u.id, 'registered', 1, now(), now(), now()
from turnout.events e, turnout.users u where u.email = %s
"""


def test_people_register_and_are_renamed_while_indexes_of_an_older_database_are_built(installation):
    """From before the roster: somebody is there already, and somebody reads all the while, for whom the building waits."""
    later = [file for file in (installation.sql / "schema").glob("*.sql") if file.name[:4] > "0003"]
    aside = {file: file.read_text(encoding="utf-8") for file in [*later, *(installation.sql / "rules").glob("*.sql")]}
    for file in aside:
        file.unlink()
    installation.ctl("migrate")
    with psycopg.connect(installation.owner) as connection:
        connection.execute(OLD_DATABASE)
    for file, text in aside.items():
        file.write_text(text, encoding="utf-8")

    with psycopg.connect(installation.owner) as reader, \
            psycopg.connect(installation.owner, autocommit=True) as observer, \
            psycopg.connect(installation.options["database"], autocommit=True) as app:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reader.execute("select count(*) from turnout.time_zones")
        command = [str(server.programs() / "turnoutctl"), "-c", str(installation.configuration_file), "migrate"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as migrating:
            try:
                wait_until(lambda: observer.execute("select 1 from pg_stat_activity where query like 'create index concurrently%'"
                                                    " and wait_event = 'virtualxid'").fetchone(), "the building waits for the reader")
                app.execute("set lock_timeout = '20s'")
                app.execute(REGISTERED, ("a@example.com",))
                app.execute("insert into turnout.users (id, email, name) values (gen_random_uuid(), 'z@example.com', 'Zoe')")
                app.execute("update turnout.users set name = 'Zoë M' where email = 'z@example.com'")
                app.execute(REGISTERED.replace("1, now", "2, now"), ("z@example.com",))
                assert migrating.poll() is None
            finally:
                reader.rollback()
            output, errors = migrating.communicate(timeout=60)
            assert migrating.returncode == 0, output + errors
        assert observer.execute("select key from turnout.user_names order by 1").fetchall() == [("angstrom",), ("zoe m",)]
        assert observer.execute("select count(*) from pg_index i join pg_class c on c.oid = i.indexrelid"
                                " where c.relnamespace = 'turnout'::regnamespace and not i.indisvalid").fetchone() == (0,)
        assert observer.execute("select count(*) from pg_inherits where inhparent = 'turnout.registrations_roster_idx'::regclass"
                                ).fetchone() == observer.execute(
            "select count(*) from pg_inherits where inhparent = 'turnout.registrations'::regclass").fetchone()


def test_two_hosts_may_start_it_at_once(installation):
    command = [str(server.programs() / "turnoutctl"), "-c", str(installation.configuration_file), "migrate"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    outputs = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0, 0, 0], outputs
    assert len(versions(installation)) == len(files(installation))
    applied = [output for output, _ in outputs if "nothing to do" not in output]
    assert len(applied) == 1, outputs


def test_a_daemon_is_not_ready_before_the_migration_and_ready_after_it_without_a_restart(installation):
    installation.start(ready=False)
    answer = wait_until(lambda: _not_ready_schema(installation), "/readyz names the schema")
    assert "run turnoutctl migrate" in answer["checks"]["schema"]
    assert answer["checks"]["database"] == "ok"
    installation.ctl("migrate")
    installation.wait_ready()
    assert installation.get("/api/events").json() == {"events": [], "next_cursor": None}


def _not_ready_schema(installation):
    try:
        answer = installation.internal("/readyz")
    except OSError:
        return None
    assert answer.status == 503
    checks = answer.json()["checks"]
    return answer.json() if checks["schema"] != "ok" and checks["database"] == "ok" else None


def test_the_daemons_role_can_change_no_schema(installation, postgres):
    installation.ctl("migrate")
    with psycopg.connect(installation.options["database"], autocommit=True) as connection:
        for statement in ("create table turnout.mine (id integer)", "drop table turnout.outbox", "alter table turnout.users add x integer",
                          "create schema mine", "select turnout.ensure_partitions(3)"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
        connection.execute("select outcome from turnout.events_list(null, null, null, null, null, null, null, 5, null, null)")
    with psycopg.connect(installation.owner, autocommit=True) as connection:
        connection.execute("select turnout.ensure_partitions(3)")
