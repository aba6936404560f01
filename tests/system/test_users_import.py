"""turnoutctl users import: a company's directory is taken over as a whole, and what it changed is said; a bad row changes nothing."""

import json
import os
import subprocess
import threading
import time

import psycopg
import pytest

import server
from api import Person, event_fields, eventually
from sql_harness import APP, Database, wait_until


@pytest.fixture(scope="module", autouse=True)
def database(postgres, turnout):
    under = Database(postgres, turnout.database)
    yield under
    under.assert_consistent()


@pytest.fixture
def people(database):
    """A function that reads people by their addresses' beginning, with everything that an import may change."""
    def read(beginning):
        return {row[0]: row[1:] for row in database.rows(
            "select email, name, department, kind, role, locale, timezone from turnout.users where email ilike %s", (f"{beginning}%",))}
    return read


@pytest.fixture
def import_file(turnout, tmp_path):
    def run(content, *options, check=True, **keywords):
        path = tmp_path / "people.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return turnout.ctl("users", "import", *options, path, check=check, **keywords)
    return run


def rows_of(database):
    """Everything that an import could change, in one number each."""
    return database.rows("select (select count(*) from turnout.users), (select count(*) from turnout.audit_log),"
                         " (select count(*) from turnout.changes), (select max(xmin::text::bigint) from turnout.users)")


def refused(done, *complaints):
    """Ended with 1, having said these things and that nothing was written."""
    assert (done.returncode, done.stdout) == (1, "")
    for complaint in complaints:
        assert f"people.csv:{complaint}" in done.stderr, done.stderr
    assert done.stderr.endswith("people.csv: nothing was written\n")
    return done.stderr.splitlines()[:-1]


# What is written

def test_people_are_added_updated_and_left_alone_and_counted(import_file, people):
    head = "email,name,department,kind,role,locale,timezone\n"
    anna, ben = "a1@example.com,Anna,Works,employee,organizer,de,Europe/Berlin\n", "a2@example.com,Ben,Lab,guest,participant,en,UTC\n"
    assert import_file(head + anna + ben).stdout == "2 added, 0 updated, 0 unchanged\n"
    assert people("a1") == {"a1@example.com": ("Anna", "Works", "employee", "organizer", "de", "Europe/Berlin")}
    assert people("a2") == {"a2@example.com": ("Ben", "Lab", "guest", "participant", "en", "UTC")}
    carl = "a3@example.com,Carl,,,,,\n"
    assert import_file(head + carl + ben + anna.replace("Works", "Mill")).stdout == "1 added, 1 updated, 1 unchanged\n"
    assert people("a1")["a1@example.com"][1] == "Mill"
    assert people("a3") == {"a3@example.com": ("Carl", None, "employee", "participant", "en", "UTC")}
    # Nobody who is missing from the file has gone.
    assert import_file(head + carl).stdout == "0 added, 0 updated, 1 unchanged\n"
    assert len(people("a")) == 3


def test_only_what_the_file_says_changes(import_file, people):
    import_file("email,name,department,role\nb1@example.com,Berta,Works,admin\n")
    assert import_file("EMAIL, Name \nB1@Example.com,Bertha\n").stdout == "0 added, 1 updated, 0 unchanged\n"
    assert people("b1") == {"b1@example.com": ("Bertha", "Works", "employee", "admin", "en", "UTC")}
    # An empty cell says nothing, but for the department.
    assert import_file("email,name,kind,role,locale,timezone\nb1@example.com,,,,,\n").stdout == "0 added, 0 updated, 1 unchanged\n"
    assert import_file("department,email\n,b1@example.com\n").stdout == "0 added, 1 updated, 0 unchanged\n"
    assert people("b1") == {"b1@example.com": ("Bertha", None, "employee", "admin", "en", "UTC")}
    # Who has no name in the file is called by the address.
    assert import_file("email\nb2.nobody@example.com\n").stdout == "1 added, 0 updated, 0 unchanged\n"
    assert people("b2")["b2.nobody@example.com"][0] == "b2.nobody"


@pytest.mark.parametrize("content", [
    b"email,name,department\nc@example.com,M\xc3\xbcller,\"R&D, \"\"Lab\"\" 1\"\n",
    b"\xef\xbb\xbfemail,name,department\r\nc@example.com,M\xc3\xbcller,\"R&D, \"\"Lab\"\" 1\"\r\n",
    b"\r\n\"email\",\"name\",\"department\"\r\n\r\n\"c@example.com\",\"M\xc3\xbcller\",\"R&D, \"\"Lab\"\" 1\"",
    b" email ,name,department\n  c@example.com , M\xc3\xbcller ,\" R&D, \"\"Lab\"\" 1 \"\n"])
def test_files_of_any_spreadsheet_say_the_same(import_file, people, database, content):
    database.rows("delete from turnout.users where email = 'c@example.com'")
    assert import_file(content).stdout == "1 added, 0 updated, 0 unchanged\n"
    assert people("c@")["c@example.com"][:2] == ("Müller", 'R&D, "Lab" 1')


def test_changes_are_told_in_words_and_as_json(import_file):
    import_file("email,name,department\nd1@example.com,Dora,Works\n")
    text = "email,name,department\nd2@example.com,Dan,Lab\nd1@example.com,Dora,\n"
    dry = import_file(text, "--dry-run", "-v").stdout.splitlines()
    assert sorted(dry[:-1]) == ["added d2@example.com", 'updated d1@example.com: department "Works" -> ""']
    assert dry[-1] == "1 added, 1 updated, 0 unchanged (dry run: nothing was written)"
    told = json.loads(import_file(text, "-j").stdout)
    assert {name: told[name] for name in ("added", "updated", "unchanged", "dry_run")} == {
        "added": 1, "updated": 1, "unchanged": 0, "dry_run": False}
    assert sorted(told["changes"], key=lambda change: change["line"]) == [
        {"line": 2, "change": "added", "email": "d2@example.com", "before": None, "after": {
            "name": "Dan", "department": "Lab", "kind": "employee", "role": "participant", "locale": "en", "timezone": "UTC"}},
        {"line": 3, "change": "updated", "email": "d1@example.com", "before": {"department": "Works"}, "after": {"department": None}}]
    assert json.loads(import_file(text, "-j", "--dry-run").stdout) == {
        "added": 0, "updated": 0, "unchanged": 2, "dry_run": True, "changes": []}
    assert import_file(text, "--verbose").stdout == "0 added, 0 updated, 2 unchanged\n"


def test_a_dry_run_writes_nothing_and_an_import_that_changes_nothing_neither(import_file, database):
    text = "email,name\ne1@example.com,Eve\n"
    before = rows_of(database)
    assert import_file(text, "--dry-run").stdout == "1 added, 0 updated, 0 unchanged (dry run: nothing was written)\n"
    assert rows_of(database) == before
    import_file(text)
    after = rows_of(database)
    assert after != before
    assert import_file(text).stdout == "0 added, 0 updated, 1 unchanged\n"
    assert rows_of(database) == after


def test_each_change_is_audited_and_announced(import_file, database):
    import_file("email,name,department\nf1@example.com,Fay,Works\nf2@example.com,Fred,Works\n")
    mark = database.value("select coalesce(max(id), 0) from turnout.changes")
    import_file("email,name,department\nf1@example.com,Fay,Mill\nf2@example.com,Fred,Works\n")
    user = database.value("select id from turnout.users where email = 'f1@example.com'")
    log = database.rows("select action, before, after, request_id is not null from turnout.audit_log where entity_id = %s order by id", (user,))
    assert [row[0] for row in log] == ["user.imported", "user.updated"]
    assert log[0][2]["name"] == "Fay" and log[1][1:] == ({"department": "Works"}, {"department": "Mill"}, True)
    assert database.rows("select kind, key from turnout.changes where id > %s", (mark,)) == [("user", user)]


def test_registrations_keep_the_department_that_was_theirs(turnout, import_file, database):
    person, organizer = Person(turnout, department="Works"), Person(turnout, "organizer")
    event = organizer.event()
    assert person.register(event).status == 201
    import_file(f"email,department,name\n{person.email},Mill,Renamed\n")
    assert eventually(lambda: turnout.get("/api/users/me", person.token).json()["department"]) == "Mill"
    assert database.rows("select department from turnout.registrations where user_id = %s", (person.id,)) == [("Works",)]
    assert database.rows("select department, registered from turnout.event_department_counts where event_id = %s", (event["id"],)) == [("Works", 1)]


def test_an_imported_role_counts_at_once_for_tokens_without_one(turnout, import_file):
    token = turnout.token("promoted@example.com", role=server.UNSET)
    assert turnout.get("/api/users/me", token).json()["role"] == "participant"
    assert turnout.post("/api/events", token, json=event_fields()).status == 403
    import_file("email,role\npromoted@example.com,organizer\n")
    assert turnout.post("/api/events", token, json=event_fields()).status == 201
    assert eventually(lambda: turnout.get("/api/users/me", token).json()["role"]) == "organizer"


# What is refused

BAD = [("email", "nobody", "/email must be an e-mail address"), ("email", "", "/email must be given"), ("email", "a b@example.com", "/email must be"),
       ("email", "a@b@example.com", "/email must be"), ("email", "Anna <a@example.com>", "/email must be"), ("email", f"{'a' * 250}@x.de", "/email must be"),
       ("name", "n" * 256, "/name must have at most 255"), ("name", "tab\tin it", "/name must have"), ("department", "d" * 256, "/department must have"),
       ("kind", "robot", "/kind must be employee or guest"), ("kind", "Guest", "/kind must be"), ("role", "root", "/role must be participant"),
       ("locale", "deutsch!", "/locale must be a language tag"), ("timezone", "FOO3", "/timezone must be the name"), ("timezone", "europe/berlin", "/timezone")]


@pytest.fixture(scope="module")
def good():
    return {"email": "g1@example.com", "name": "Gerd", "department": "Works", "kind": "guest", "role": "organizer", "locale": "de-AT",
            "timezone": "Europe/Vienna"}


def test_every_bad_row_is_named_by_its_line_and_nothing_is_written(import_file, database, people, good):
    def line(number, field=None, value=None):
        whole = {**good, "email": f"g{number}@example.com"}
        return ",".join({**whole, field: value}.values() if field else whole.values())

    head = ",".join(good)
    before = rows_of(database)
    lines = [head, line(0), *(line(number + 1, field, value) for number, (field, value, _) in enumerate(BAD))]
    complaints = refused(import_file("\n".join(lines) + "\n", check=False), *(f"{number + 3}: {says}" for number, (_, _, says) in enumerate(BAD)))
    assert len(complaints) == len(BAD)
    assert rows_of(database) == before
    # The same without the bad rows.
    assert import_file("\n".join(lines[:2])).stdout == "1 added, 0 updated, 0 unchanged\n"
    assert people("g0")["g0@example.com"] == ("Gerd", "Works", "guest", "organizer", "de-AT", "Europe/Vienna")


def test_a_bad_row_behind_thousands_changes_nothing_and_only_the_first_mistakes_are_listed(import_file, database, people):
    before = rows_of(database)
    text = "email\n" + "".join(f"h{number}@example.com\n" for number in range(1200))
    refused(import_file(text + "nobody\n", check=False), "1202: /email must be")
    complaints = refused(import_file(text + "nobody\n" * 50, check=False), "1202: ", "1221: ")
    assert len(complaints) == 21 and complaints[-1].endswith("people.csv: and 30 more")
    assert rows_of(database) == before
    assert import_file(text).stdout == "1200 added, 0 updated, 0 unchanged\n"
    assert len(people("h")) == 1200


def test_an_address_that_stands_twice_is_named_with_both_lines(import_file, database):
    before = rows_of(database)
    text = "email,name\ni1@example.com,One\ni2@example.com,Two\nI1@EXAMPLE.COM,Three\n i1@example.com ,Four\nÄ@example.com,Five\nä@example.com,Six\n"
    complaints = refused(import_file(text, check=False), "4: /email is the address of line 2, too", "5: /email is the address of line 4, too",
                         "7: /email is the address of line 6, too")
    assert len(complaints) == 3
    assert rows_of(database) == before
    assert import_file("email,name\ni1@example.com,One\ni2@example.com,Two\n").stdout == "2 added, 0 updated, 0 unchanged\n"


@pytest.mark.parametrize("content, complaint", [
    ("", "1: expected a header line"), ("\n\n", "1: expected a header line"), ("name,department\na,b\n", "1: expected a column named email"),
    ("email,phone\na@example.com,1\n", "1: phone is no column of ours"), ("email,Email\na@example.com,b@example.com\n", "1: Email stands twice in the header"),
    ("email;name\na@example.com;A\n", "1: email;name is no column of ours"), ("email,\na@example.com,\n", "1: the header holds a name that is empty"),
    ("email,name\na@example.com\n", "2: has another number of fields than the header"), ("email\n\"a@example.com\n", "2: has a quote that is not closed"),
    (b"email,name\na@example.com,M\xfcller\n", "2: name is not UTF-8"), ("email\na@example.com\n".encode("utf-16"), "1: holds a NUL byte"),
    (b"email,name\na@example.com,A\0B\n", "1: holds a NUL byte")])
def test_a_file_that_cannot_be_read_is_refused_with_its_line(import_file, content, complaint):
    refused(import_file(content, check=False), complaint)


def test_bad_usage_is_said(turnout, import_file, tmp_path):
    for arguments, why in ((["users", "import"], "expected one file"), (["users", "import", "a", "b"], "expected one file"),
                           (["--dry-run", "migrate"], "--dry-run and --verbose belong to"), (["-v", "show", "config"], "--dry-run and --verbose belong to")):
        done = turnout.ctl(*arguments, check=False)
        assert done.returncode == 2 and why in done.stderr
    missing = turnout.ctl("users", "import", tmp_path / "none.csv", check=False)
    assert missing.returncode == 1 and "none.csv: No such file" in missing.stderr
    assert import_file("email\n").stdout == "0 added, 0 updated, 0 unchanged\n"


# Side by side with others

def test_two_imports_at_once_do_not_wait_for_each_other(postgres, turnout, import_file, database):
    text = "email\nj1@example.com\n"
    with psycopg.connect(postgres.dsn(turnout.database, APP)) as other:
        other.execute("select count(*) from turnout.users_import('other', null, '[]', false)")
        done = import_file(text, check=False)
        assert done.returncode == 1 and "another import of users is running" in done.stderr
        # Looking is no import.
        assert import_file(text, "--dry-run").stdout.startswith("1 added")
    assert import_file(text).stdout == "1 added, 0 updated, 0 unchanged\n"


def test_somebody_who_is_met_at_first_sight_during_the_import_is_updated_by_it(postgres, turnout, import_file, database, people):
    with psycopg.connect(postgres.dsn(turnout.database, APP)) as other:
        other.execute("select outcome from turnout.user_seen('turnout', 'k1', 'k1@example.com', 'Karl', null, null, null, null, true, null)")
        result = {}
        importing = threading.Thread(target=lambda: result.update(done=import_file("email,department\nk0@example.com,Works\nk1@example.com,Works\n")))
        importing.start()
        wait_until(lambda: database.value("select count(*) from pg_locks where not granted") > 0, "the import waits for the sign-in")
        other.commit()
        importing.join(60)
    assert result["done"].stdout == "1 added, 1 updated, 0 unchanged\n"
    assert people("k1")["k1@example.com"][:2] == ("Karl", "Works")
    assert database.value("select subject from turnout.users where email = 'k1@example.com'") == "k1"


@pytest.mark.slow
@pytest.mark.full
def test_a_whole_company_is_taken_over_in_bounded_time_and_memory(turnout, tmp_path, people):
    count = 100_000 if os.environ.get("TURNOUT_FULL") else 3000
    path, out = tmp_path / "company.csv", tmp_path / "out"

    def take_over(department):
        """What the program says, its rows a second and its memory in MiB."""
        path.write_text("email,name,department,kind,timezone\n" + "".join(
            f"Z{number * 7919 % count:06d}@example.com,Person {number} Müller,{department} {number % 40},employee,Europe/Berlin\n"
            for number in range(count)), encoding="utf-8")
        started = time.monotonic()
        with open(out, "wb") as file:
            running = subprocess.Popen([server.programs() / "turnoutctl", "-c", turnout.configuration_file, "users", "import", path],
                                       stdin=subprocess.DEVNULL, stdout=file, stderr=file)
        _, status, used = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
        return running.returncode, out.read_text(), count / (time.monotonic() - started), used.ru_maxrss / 1024

    for department, said in (("Works", f"{count} added, 0 updated, 0 unchanged\n"), ("Works", f"0 added, 0 updated, {count} unchanged\n"),
                             ("Mill", f"0 added, {count} updated, 0 unchanged\n")):
        status, text, rate, memory = take_over(department)
        print(f"\n{text.strip()}: {rate:,.0f} rows a second, {memory:.0f} MiB")
        assert (status, text) == (0, said)
        # Promised are 500 rows a second at least, and 300 bytes a row beside the 45 MiB of the program; fails at five times that.
        assert rate > 100
        assert memory < 5 * (45 + count * 300 / 2**20)
    assert len(people("Z00000")) == 10
