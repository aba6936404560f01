"""The audit: counters that say something else than the rows are named, everywhere that somebody may look; nothing is corrected,
and a crowd that registers meanwhile looks like no mistake."""

import json
import uuid

import psycopg
import pytest

from metrics import scrape
from sql_harness import OWNER, wait_until
from traffic import Traffic, add_event, add_user, everyday

# Each makes the first event's counters say something else, and what the audit calls that: (counter, department, stored, counted).
DRIFTS = {
    "a seat that nobody holds": ("update turnout.event_seats set registered_count = registered_count + 1",
                                 ("registered_count", None, 3, 2)),
    "a person on the waitlist too few": ("update turnout.event_seats set waitlisted_count = 0", ("waitlisted_count", None, 0, 1)),
    "a visitor too many": ("update turnout.event_seats set checked_in_count = 1", ("checked_in_count", None, 1, 0)),
    "an answer that nobody gave": ("update turnout.event_seats set survey_count = 7", ("survey_count", None, 7, 0)),
    "a department's seat too few": ("update turnout.event_department_counts set registered = 0 where department = 'Sales'",
                                    ("registered", "Sales", 0, 1)),
    "a waiting person of a department too many": ("update turnout.event_department_counts set waitlisted = 4 where department = ''",
                                                  ("waitlisted", "", 4, 1)),
    "a visitor of a department too many": ("update turnout.event_department_counts set checked_in = 1 where department = 'Sales'",
                                           ("checked_in", "Sales", 1, 0)),
}


@pytest.fixture(scope="module")
def audited(postgres, make_database):
    """A turnoutd that audits again as soon as it has ended, with a session of the owner on its database."""
    from conftest import run_turnout  # pylint: disable=import-outside-toplevel
    turnout = run_turnout(postgres, make_database(), workers=2, audit_interval="50ms", audit_rows=100)
    try:
        turnout.start()
        with psycopg.connect(postgres.dsn(turnout.database, OWNER), autocommit=True) as session:
            turnout.sql = session
            yield turnout
    finally:
        turnout.remove()


@pytest.fixture
def event(audited):
    """An event with two seats and three people: of Sales, of IT, and one of no department who waits."""
    made = add_event(audited.sql, 2)
    number = uuid.uuid4().hex[:8]
    for department in ("Sales", "IT", None):
        email = f"{department or 'none'}.{number}@example.com"
        add_user(audited.sql, email, department)
        claims = {} if department is None else {"department": department}
        assert audited.post("/api/registrations", token=audited.token(email, **claims), json={"event_id": made}).status == 201
    return made


def audit(turnout, *arguments):
    """Status, and what `turnoutctl -j audit` says."""
    run = turnout.ctl("-j", "audit", *arguments, check=False)
    return run.returncode, json.loads(run.stdout)


def drifts(said):
    return [(drift["counter"], drift["department"], drift["stored"], drift["counted"]) for drift in said["drifts"]]


def injected(turnout, statement, event):
    statement += (" and" if " where " in statement else " where") + " event_id = %s"
    turnout.sql.execute("begin")
    count = turnout.sql.execute(statement, (event,)).rowcount
    turnout.sql.execute("commit")
    assert count == 1, "no drift was injected"


def open_findings(turnout, event):
    return turnout.sql.execute("select counter, department, stored, counted from turnout.audit_findings"
                               " where event_id = %s and cleared_at is null", (event,)).fetchall()


def gauge(turnout):
    return scrape(turnout).sum("audit_drift")


def copy_of_counters(turnout, event):
    seats = "select capacity, registered_count, waitlisted_count, checked_in_count, survey_count from turnout.event_seats"
    counts = "select department, registered, waitlisted, checked_in from turnout.event_department_counts"
    return [turnout.sql.execute(f"{query} where event_id = %s order by 1", (event,)).fetchall() for query in (seats, counts)]


def put_back(turnout, event, copy):
    turnout.sql.execute("update turnout.event_seats set (registered_count, waitlisted_count, checked_in_count, survey_count)"
                        " = (%s, %s, %s, %s) where event_id = %s", (*copy[0][0][1:], event))
    for department, registered, waitlisted, checked_in in copy[1]:
        turnout.sql.execute("update turnout.event_department_counts set (registered, waitlisted, checked_in) = (%s, %s, %s)"
                            " where event_id = %s and department = %s", (registered, waitlisted, checked_in, event, department))


@pytest.mark.parametrize("what", DRIFTS)
def test_a_counter_that_differs_is_named_until_it_is_put_right(audited, event, what):
    statement, expected = DRIFTS[what]
    right = copy_of_counters(audited, event)
    assert audit(audited, "--event", event) == (0, {"events": 1, "rows": 3, "drifts": []})
    # Room for a seat that nobody holds.
    audited.sql.execute("update turnout.event_seats set capacity = 3 where event_id = %s", (event,))
    injected(audited, statement, event)
    wrong = copy_of_counters(audited, event)

    status, said = audit(audited, "--event", event)
    assert (status, drifts(said)) == (1, [expected])
    counter, department, stored, counted = expected
    wait_until(lambda: open_findings(audited, event) == [expected] and gauge(audited) == 1, "the finding is on the page")
    where = f"department={department}" if department else 'department=""' if department == "" else "department=all"
    wait_until(lambda: audited.log_lines("a counter differs from the rows", f"event={event}", f"counter={counter}", where,
                                         f"stored={stored}", f"counted={counted}"), "a line names both figures")
    assert copy_of_counters(audited, event) == wrong, "something was corrected"

    put_back(audited, event, right)
    wait_until(lambda: open_findings(audited, event) == [] and gauge(audited) == 0, "the finding is cleared")
    assert audit(audited, "--event", event)[0] == 0
    first, last, cleared, times = audited.sql.execute(
        "select first_seen_at, last_seen_at, cleared_at, times_seen from turnout.audit_findings where event_id = %s",
        (event,)).fetchone()
    assert first <= last < cleared and times >= 2


def test_a_registration_that_no_counter_knows_is_found(audited, event):
    """The rows changed and not the counters; the department of the row has no counter at all."""
    rights = ("update turnout.registrations set department = %s where event_id = %s and department = %s", "Legal", event, "Sales")
    audited.sql.execute(rights[0], rights[1:])
    status, said = audit(audited, "--event", event)
    assert (status, drifts(said)) == (1, [("registered", "Legal", 0, 1), ("registered", "Sales", 1, 0)])
    audited.sql.execute(rights[0], ("Sales", event, "Legal"))
    assert audit(audited, "--event", event)[0] == 0


def test_all_events_are_audited_and_each_difference_is_a_line(audited, event):
    other = add_event(audited.sql, 5)
    for which in (event, other):
        audited.sql.execute("update turnout.event_seats set survey_count = 9 where event_id = %s", (which,))
    count = audited.sql.execute("select count(*) from turnout.events").fetchone()[0]
    run = audited.ctl("audit", check=False)
    lines = run.stdout.splitlines()
    assert run.returncode == 1
    assert sorted(lines[:-1]) == sorted(f"event {which}: survey_count is 9, rows are 0" for which in (event, other))
    assert lines[-1].startswith(f"{count} events and ") and lines[-1].endswith("2 counters differ, nothing was corrected")
    audited.sql.execute("update turnout.event_seats set survey_count = 0")
    run = audited.ctl("audit")
    assert run.stdout.splitlines()[-1].endswith("no counter differs") and len(run.stdout.splitlines()) == 1


def test_what_was_found_of_an_event_that_is_deleted_is_cleared_with_the_round(audited):
    draft = add_event(audited.sql, 5, status="draft")
    audited.sql.execute("update turnout.event_seats set survey_count = 9 where event_id = %s", (draft,))
    wait_until(lambda: open_findings(audited, draft), "the drift is found")
    organizer = audited.token("organizer@example.com", role="organizer")
    assert audited.delete(f"/api/events/{draft}", token=organizer).status in (200, 204)
    wait_until(lambda: not open_findings(audited, draft) and gauge(audited) == 0, "the finding is cleared")


def test_wrong_use_has_a_status_of_its_own(audited, event):
    for arguments in (("--event", "nonsense"), ("--event", str(uuid.uuid4())), (event,), ("--event",)):
        run = audited.ctl("audit", *arguments, check=False)
        assert (run.returncode, run.stdout) == (2, ""), arguments
        assert run.stderr
    assert audited.ctl("show", "pools", "--event", event, check=False).returncode == 2
    assert audited.ctl("audit", "--event", event).returncode == 0
    away = audited.folder / "away.conf"
    away.write_text(audited.configuration_file.read_text().replace(f"dbname={audited.database}", "dbname=nobody"))
    run = audited.ctl("-c", str(away), "audit", check=False)
    assert (run.returncode, run.stdout) == (3, "") and "nobody" in run.stderr


def rounds(turnout):
    return turnout.sql.execute("select ended_at from turnout.audit_round").fetchone()[0]


def test_a_crowd_at_work_looks_like_no_mistake_and_a_mistake_is_seen_through_it(audited):
    """Everything that changes a counter happens all the time: seats, waitlist, promotions, revivals."""
    before = audited.sql.execute("select count(*) from turnout.audit_findings").fetchone()[0]
    events = [add_event(audited.sql, 3) for _ in range(3)]
    looks = 0
    with Traffic(audited.port, 36, everyday(audited, events)) as traffic:
        traffic.wait_for_answers(200)
        begun = traffic.answered
        while looks < 60 or traffic.answered < begun + 400:
            for event in events:
                looked = "select events_read, drifts::text from turnout.audit_events(null, 100, %s)"
                assert audited.sql.execute(looked, (event,)).fetchone() == (1, "{}")
                looks += 1
        ended = rounds(audited)
        wait_until(lambda: rounds(audited) > ended, "the scheduler has gone round")
        assert audited.sql.execute("select count(*) from turnout.audit_findings").fetchone()[0] == before
        assert audit(audited)[0] == 0
        audited.sql.execute("update turnout.event_seats set survey_count = 1 where event_id = %s", (events[0],))
        wait_until(lambda: open_findings(audited, events[0]) == [("survey_count", None, 1, 0)], "the mistake is found")
        audited.sql.execute("update turnout.event_seats set survey_count = 0 where event_id = %s", (events[0],))
        wait_until(lambda: not open_findings(audited, events[0]), "and cleared")
    assert traffic.failures == []
    print(f"{looks} looks at 3 events during {traffic.answered - begun} requests, no false alarm")


def place(turnout):
    return turnout.sql.execute("select after_event from turnout.audit_round").fetchone()[0]


def test_a_round_goes_in_small_steps_and_its_successor_goes_on_where_it_ended(audited):
    """100 rows a step: four events and their rows at most."""
    for _ in range(12):
        add_event(audited.sql, 5)
    wait_until(lambda: place(audited) is not None, "a round is under way")
    places = set()
    wait_until(lambda: places.add(place(audited)) or len(places) >= 4, "it goes on step by step")
    # Nobody else makes a step while somebody is at one: here, the test is.
    with audited.sql.transaction():
        audited.sql.execute("select pg_advisory_xact_lock(hashtextextended('turnout.audit_step', 0))")
        kept = place(audited)
        scheduler = audited.kill("scheduler")
        wait_until(lambda: [row["pid"] for row in audited.processes("scheduler") if row["state"] == "ready"] not in ([], [scheduler]),
                   "it has a successor")
        assert place(audited) == kept
    ended = rounds(audited)
    wait_until(lambda: rounds(audited) > ended, "the round is ended")


def test_hosts_share_a_round(audited, new_turnout):
    other = new_turnout(database=audited.database, workers=1, audit_interval="50ms", audit_rows=100)
    def audited_by(turnout):
        return scrape(turnout).sum("audit_events_total")
    before = [audited_by(turnout) for turnout in (audited, other)]
    wait_until(lambda: all(audited_by(turnout) > count for turnout, count in zip((audited, other), before)), "both make steps")
    wait_until(lambda: scrape(audited).sum("audit_round_timestamp_seconds") == scrape(other).sum("audit_round_timestamp_seconds") > 0,
               "both know when the last round ended")
    assert not audited.log_lines("a job failed", "job=audit") and not other.log_lines("a job failed", "job=audit")


def test_who_stops_it_between_two_steps_leaves_the_round_where_it_is(new_turnout, postgres):
    turnout = new_turnout(workers=1, audit_interval="50ms", audit_rows=100)
    with psycopg.connect(postgres.dsn(turnout.database, OWNER), autocommit=True) as session:
        turnout.sql = session
        for _ in range(30):
            add_event(session, 5)
        wait_until(lambda: place(turnout) is not None, "a round is under way")
        assert turnout.stop() == 0
        assert session.execute("select count(*) from turnout.job_runs where job = 'audit' and finished_at is null").fetchone()[0] == 0
        kept = place(turnout)
        turnout.start()
        wait_until(lambda: place(turnout) != kept, "it goes on")
