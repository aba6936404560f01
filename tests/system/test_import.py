"""turnoutctl events import: a file of events is written whole or not at all, and every bad row is named by its line."""

import csv
import io
import json

import pytest

from api import eventually


def event(number=1, **fields):
    return {"title": f"Workshop {number}", "start_datetime": "2027-03-01T09:00:00+01:00", "end_datetime": "2027-03-01T17:00:00+01:00",
            "timezone": "Europe/Berlin", "venue": "Raum 1", "category": "workshop", "capacity": 20, **fields}


@pytest.fixture
def organizer(turnout):
    return turnout.get("/api/users/me", token=turnout.token("imports@example.com", "organizer")).json()


@pytest.fixture
def import_file(turnout, organizer, tmp_path):
    def run(text, name="events.json", check=True):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return turnout.ctl("events", "import", path, check=check)
    return run


def titles(turnout, status="published"):
    answer = turnout.get(f"/api/events?status={status}&limit=100&category=workshop", token=turnout.token("imports@example.com", "organizer"))
    return [row["title"] for row in answer.json()["events"]]


def test_a_json_array_is_written_with_its_status_and_organizers(turnout, import_file):
    rows = [event(1, status="published", organizers=["imports@example.com"], title="講演会 🎉"),
            event(2, organizers=["imports@example.com"], title="Still a draft")]
    assert import_file(json.dumps(rows, ensure_ascii=False)).stdout == "2 events imported\n"
    assert "講演会 🎉" in eventually(titles, turnout)
    assert "Still a draft" in titles(turnout, "draft")


def test_csv_is_written_like_json(turnout, import_file):
    out = io.StringIO()
    rows = [event(3, status="published", organizers="imports@example.com", waitlist_enabled="no", title='A "quoted", title')]
    writer = csv.DictWriter(out, rows[0].keys(), lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    assert import_file(out.getvalue(), "events.csv").stdout == "1 events imported\n"
    answer = turnout.get("/api/events?q=quoted").json()["events"]
    assert [row["title"] for row in answer] == ['A "quoted", title']
    whole = turnout.get(f"/api/events/{answer[0]['id']}").json()
    assert (whole["capacity"], whole["waitlist_enabled"]) == (20, False)


def test_a_bad_row_is_named_by_its_line_and_nothing_is_written(turnout, import_file):
    rows = [event(10, status="published", organizers=["imports@example.com"], title="Never written"),
            event(11, capacity=0), event(12, timezone="FOO3", organizers=["nobody@example.com"])]
    text = "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n"
    done = import_file(text, check=False)
    assert done.returncode == 1
    assert "events.json:3: /capacity " in done.stderr
    assert "events.json:4: /timezone " in done.stderr
    assert "events.json:4: /organizers/0 " in done.stderr
    assert ":2:" not in done.stderr
    assert done.stderr.endswith("nothing was written\n")
    assert "Never written" not in titles(turnout)
    # The same file without its bad rows is written.
    assert import_file("[\n" + json.dumps(rows[0]) + "\n]").returncode == 0
    assert "Never written" in eventually(titles, turnout)


def test_csv_lines_are_counted_through_quoted_line_ends(import_file):
    head = ",".join(event())
    good = ",".join(f'"{value}"' for value in event(20, title="two\nlines", organizers="imports@example.com").values())
    done = import_file(f"{head},organizers\n{good}\n" + good.replace('"20"', '"-1"') + "\nshort,row\n", "events.csv", check=False)
    assert done.returncode == 1
    assert "events.csv:6: has another number of fields than the header" in done.stderr


@pytest.mark.parametrize("text, complaint", [
    ("", "expected a header line"), ("{}", "expected a JSON array of events"), ("[{]", ":1: "), ("[{},]", "expected an event behind the comma"),
    ('[{"title":"a","title":"b"}]', "duplicate"), ("[] []", "expected nothing behind the array"), ('title\n"open', "has a quote that is not closed"),
    ('[\n{"title":"\\ud800"}]', ":2: "),
])
def test_an_unreadable_file_is_refused_with_its_line(import_file, text, complaint):
    done = import_file(text, check=False)
    assert done.returncode == 1
    assert complaint in done.stderr
    assert "nothing was written" in done.stderr


def test_an_empty_array_is_no_mistake(import_file):
    assert import_file("[]").stdout == "0 events imported\n"


def test_thousands_of_rows_are_one_transaction(owner, import_file):
    rows = [event(number, title=f"Bulk {number}", organizers=["imports@example.com"]) for number in range(2000)]
    rows.append(event(2001, capacity="many"))
    text = "[" + ",\n".join(json.dumps(row) for row in rows) + "]"
    done = import_file(text, check=False)
    assert "events.json:2001: /capacity " in done.stderr
    count = "select count(*) from turnout.events where title like 'Bulk %'"
    assert owner.execute(count).fetchone() == (0,)
    assert import_file("[" + ",\n".join(json.dumps(row) for row in rows[:-1]) + "]").stdout == "2000 events imported\n"
    assert owner.execute(count).fetchone() == (2000,)


def test_a_file_that_is_missing_is_named(turnout, organizer):
    done = turnout.ctl("events", "import", "/nonexistent.json", check=False)
    assert done.returncode == 1
    assert "/nonexistent.json: No such file or directory" in done.stderr
