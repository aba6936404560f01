"""Who is reminded of what, and when: by the clock on the wall of the event's zone, once, also after a pause, a move, a night on which
the clocks change."""

import datetime
import zoneinfo

import psycopg
import pytest

from sql_harness import Session, wait_until
from sql_rules import Rules, from_now

UTC = datetime.timezone.utc


@pytest.fixture()
def rules(database):
    with database.connect() as connection:
        # Events of other tests are none of ours.
        connection.execute("update turnout.events set status = 'completed' where status = 'published'")
        connection.execute("update turnout.outbox set state = 'dropped', leased_by = null, leased_until = null where state in ('owed', 'leased')")
        yield Rules(connection)


def moments(database, start, zone, reminders=None):
    rows = database.rows("select turnout.reminder_moments(%s, %s, %s::jsonb) order by 1",
                         (start, zone, None if reminders is None else psycopg.types.json.Json(reminders)))
    return [row[0].astimezone(zoneinfo.ZoneInfo(zone)).replace(tzinfo=None).isoformat(timespec="minutes") for row in rows]


@pytest.mark.parametrize("start, zone, wall", [
    ("2027-06-03T16:00:00Z", "Europe/Berlin", "2027-06-02T09:00"),
    # Already the 4th in Tokyo, still the 3rd in Honolulu.
    ("2027-06-03T20:00:00Z", "Asia/Tokyo", "2027-06-03T09:00"),
    ("2027-06-04T05:00:00Z", "Pacific/Honolulu", "2027-06-02T09:00"),
    # The clocks go forward in the night before, and back.
    ("2027-03-28T08:00:00Z", "Europe/Berlin", "2027-03-27T09:00"),
    ("2027-10-31T08:00:00Z", "Europe/Berlin", "2027-10-30T09:00"),
    ("2027-03-29T08:00:00Z", "Europe/Berlin", "2027-03-28T09:00"),
    ("2027-11-01T08:00:00Z", "Europe/Berlin", "2027-10-31T09:00"),
])
def test_people_are_reminded_at_nine_on_the_wall_of_the_day_before(database, start, zone, wall):
    assert moments(database, start, zone) == [wall]


def test_an_event_may_say_when_instead(database):
    start = "2027-06-03T16:00:00Z"
    assert moments(database, start, "Europe/Berlin", []) == []
    assert moments(database, start, "Europe/Berlin", [{"days_before": 7, "time": "10:30"}, {"minutes_before": 90}]) == [
        "2027-05-27T10:30", "2027-06-03T16:30"]
    # On the day itself: 08:00 is before the start, 19:00 is not.
    assert moments(database, start, "Europe/Berlin", [{"days_before": 0, "time": "08:00"}, {"days_before": 0, "time": "19:00"}]) == [
        "2027-06-03T08:00"]


@pytest.mark.parametrize("start, time, instant", [
    # 02:30 does not exist in the night of the 28th of March: it is what would have been 02:30, which the clock calls 03:30.
    ("2027-03-28T12:00:00Z", "02:30", "2027-03-28T01:30:00Z"),
    # ... and comes twice in the night of the 31st of October: then the second time.
    ("2027-10-31T12:00:00Z", "02:30", "2027-10-31T01:30:00Z"),
])
def test_an_hour_that_is_not_there_or_twice_is_still_one_moment(database, start, time, instant):
    row, = database.rows("select turnout.reminder_moments(%s, 'Europe/Berlin', %s::jsonb)",
                         (start, psycopg.types.json.Json([{"days_before": 0, "time": time}])))
    assert row[0].astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") == instant


# Owing. A moment "so many minutes before the start" that lies a little ahead or behind of now.

def soon(rules, due_in, capacity=100, **fields):
    """A published event that starts in ten hours, whose only reminder is due in so many minutes (negative: was)."""
    return rules.event(start_datetime=from_now(hours=10), end_datetime=from_now(hours=12), capacity=capacity,
                       reminders=[{"minutes_before": 600 - due_in}], **fields)


def seated(database, rules, event, *people, ago="1 hour"):
    """Registered, and in their seats for so long."""
    rules.register(event, *people)
    database.rows("update turnout.registrations set registered_at = now() - %s::interval, seated_at = now() - %s::interval"
                  " where event_id = %s and user_id = any(%s) and status = 'registered' returning 1", (ago, ago, event, list(people)))


def owe(rules):
    return rules.connection.execute("select turnout.owe_reminders()").fetchone()[0]


def reminded(database, event):
    return [row[0] for row in database.rows("select user_id from turnout.outbox where event_id = %s and kind = 'reminder' order by id", (event,))]


def wanted(rules, event):
    """Why each reminder of the event is wrong now, as the mailer will see it."""
    return [row[0] for row in rules.connection.execute(
        "select l.wrong from turnout.mail_letters(array(select id from turnout.outbox where event_id = %s and kind = 'reminder' and state = 'owed'"
        " order by id)) l order by l.id", (event,)).fetchall()]


def test_everybody_is_owed_one_however_often_it_is_asked(database, rules):
    events = [soon(rules, -5) for _ in range(3)]
    people = rules.people(4)
    for event in events:
        seated(database, rules, event, *people)
    assert owe(rules) == 12
    assert [owe(rules) for _ in range(4)] == [0] * 4
    for event in events:
        assert sorted(map(str, reminded(database, event))) == sorted(map(str, people))
        assert wanted(rules, event) == [None] * 4


def test_nothing_is_owed_before_its_moment_or_after_the_start_or_for_a_draft(database, rules):
    early, late, draft = soon(rules, 5), soon(rules, -5), rules.draft(
        start_datetime=from_now(hours=10), end_datetime=from_now(hours=12), reminders=[{"minutes_before": 605}])
    people = rules.people(2)
    for event in (early, late):
        # Before the moment also where that is counted from a start that is over.
        seated(database, rules, event, *people, ago="11 hours")
    rules.set_event(late, start_datetime=from_now(minutes=-1))
    assert owe(rules) == 0
    assert (reminded(database, early), reminded(database, late), reminded(database, draft)) == ([], [], [])
    # The moment comes, and the start is ahead again.
    rules.set_event(early, reminders=psycopg.types.json.Json([{"minutes_before": 605}]))
    rules.set_event(late, start_datetime=from_now(hours=10))
    assert owe(rules) == 4


def test_who_had_no_seat_before_the_moment_is_not_reminded_and_who_was_promoted_in_time_is(database, rules):
    event = soon(rules, -5, capacity=2)
    first, second, promoted, waiting, fresh = rules.people(5)
    seated(database, rules, event, first, second)
    rules.register(event, promoted, waiting)
    registration = database.value("select id from turnout.registrations where event_id = %s and user_id = %s", (event, first))
    rules.cancel(registration, first)
    # Promoted an hour before the moment.
    database.rows("update turnout.registrations set registered_at = now() - interval '2 hours', seated_at = now() - interval '65 minutes'"
                  " where event_id = %s and user_id = %s returning 1", (event, promoted))
    rules.update(event, capacity=3)
    rules.update(event, capacity=4)
    rules.register(event, fresh)
    assert owe(rules) == 2
    assert sorted(map(str, reminded(database, event))) == sorted(map(str, (second, promoted)))


def test_who_has_theirs_is_not_looked_at_again(database, rules):
    event = soon(rules, -5)
    seated(database, rules, event, *rules.people(3))

    def scans():
        return rules.connection.execute("select sum(coalesce(seq_scan, 0) + coalesce(idx_scan, 0))::integer from pg_stat_xact_user_tables"
                                        " where schemaname = 'turnout' and relname ~ '^registrations'").fetchone()[0]

    def looks():
        with rules.connection.transaction():
            before = scans()
            owe(rules)
            return scans() - before
    assert looks() > 0
    # Somebody else's transaction may still be under way.
    wait_until(lambda: looks() == 0, "the mark saves the look")
    rules.set_event(event, reminders=psycopg.types.json.Json([{"minutes_before": 603}]))
    assert looks() > 0


def hand_over(rules, database, event, giver, taker):
    registration = database.value("select id from turnout.registrations where event_id = %s and user_id = %s", (event, giver))
    answer, = rules.call("select outcome, body, etag, ref from turnout.registration_transfer('test', gen_random_uuid(), %s, null, %s, %s, false)",
                         giver, registration, str(taker))
    assert answer.outcome == "ok"


def test_who_was_handed_a_seat_after_the_moment_is_not_reminded_whether_others_were_already_or_not(database, rules):
    before, after = soon(rules, -5), soon(rules, -5)
    giver, stays, taker = rules.people(3)
    for event in (before, after):
        seated(database, rules, event, giver, stays)
    hand_over(rules, database, before, giver, taker)
    assert owe(rules) == 3
    hand_over(rules, database, after, giver, taker)
    assert [owe(rules) for _ in range(3)] == [0] * 3
    assert reminded(database, before) == [stays]
    assert sorted(map(str, reminded(database, after))) == sorted(map(str, (giver, stays)))
    # Who was handed one in time is.
    in_time = soon(rules, -5)
    seated(database, rules, in_time, giver)
    hand_over(rules, database, in_time, giver, taker)
    database.rows("update turnout.registrations set registered_at = now() - interval '10 minutes' where event_id = %s and user_id = %s returning 1",
                  (in_time, taker))
    assert owe(rules) == 1
    assert reminded(database, in_time) == [taker]


def test_who_commits_late_still_gets_theirs(database, rules):
    """A seat that was taken before the moment, by a transaction that ends long after it."""
    event = soon(rules, -5)
    early, late = rules.people(2)
    seated(database, rules, event, early)
    session = Session(database, "slow", user="postgres")
    try:
        session.run("begin")
        session.run("insert into turnout.registrations (event_year, id, event_id, user_id, status, queue_no, registered_at, seated_at, last_action_at)"
                    " select event_year, gen_random_uuid(), id, %s, 'registered', 99, now() - interval '1 hour', now() - interval '1 hour', now()"
                    " from turnout.events where id = %s", (late, event))
        assert [owe(rules) for _ in range(4)] == [1, 0, 0, 0]
        assert database.value("select complete from turnout.reminder_marks where event_id = %s", (event,)) is False
        session.run("commit")
        assert owe(rules) == 1
        assert sorted(map(str, reminded(database, event))) == sorted(map(str, (early, late)))
    finally:
        session.close()
    # ... and then nobody looks again, once whatever else was under way, also of other tests, has ended.
    wait_until(lambda: owe(rules) == 0 and database.value("select complete from turnout.reminder_marks where event_id = %s", (event,)),
               "the mark is complete")
    database.rows("delete from turnout.registrations where event_id = %s and user_id = %s returning 1", (event, late))


def test_after_a_pause_only_the_newest_of_several_is_told(database, rules):
    event = rules.event(start_datetime=from_now(hours=10), end_datetime=from_now(hours=12),
                        reminders=[{"minutes_before": 640}, {"minutes_before": 610}, {"minutes_before": 30}])
    person, = rules.people(1)
    seated(database, rules, event, person, ago="3 hours")
    assert owe(rules) == 1
    assert database.value("select round(extract(epoch from now() - due_at) / 60) from turnout.outbox where event_id = %s and kind = 'reminder'",
                          (event,)) == 10


def test_an_event_that_moves_to_another_day_is_reminded_of_for_that_day(database, rules):
    event = soon(rules, -5)
    person, = rules.people(1)
    seated(database, rules, event, person)
    assert owe(rules) == 1
    rules.update(event, start_datetime=from_now(hours=34), end_datetime=from_now(hours=36))
    # The one that is owed is wrong now, and the new one is not due.
    assert wanted(rules, event) == ["the event has moved since"]
    assert owe(rules) == 0
    rules.set_event(event, reminders=psycopg.types.json.Json([{"minutes_before": 34 * 60 + 3}]))
    assert owe(rules) == 1
    assert wanted(rules, event).count(None) == 1


def test_who_cancels_before_it_is_sent_is_not_reminded(database, rules):
    event = soon(rules, -5)
    stays, goes = rules.people(2)
    seated(database, rules, event, stays, goes)
    assert owe(rules) == 2
    rules.cancel(database.value("select id from turnout.registrations where event_id = %s and user_id = %s", (event, goes)), goes)
    assert sorted(wanted(rules, event), key=str) == [None, "the registration has been cancelled since"]
    rules.cancel_event(event)
    assert None not in wanted(rules, event)


def test_two_hosts_at_once_owe_each_once(database, rules):
    event = soon(rules, -5)
    people = rules.people(20)
    seated(database, rules, event, *people)
    one, two = Session(database, "one"), Session(database, "two")
    try:
        one.run("begin")
        assert one.run("select turnout.owe_reminders()") == [(20,)]
        two.begin("select turnout.owe_reminders()")
        two.settle()
        one.run("commit")
        assert two.end() == [(0,)]
    finally:
        one.close()
        two.close()
    assert len(reminded(database, event)) == 20


# Invitations to the survey

def invite(rules):
    return rules.connection.execute("select turnout.owe_survey_invitations()").fetchone()[0]


def over(database, rules, ended_ago, present, absent):
    event = rules.event(capacity=100)
    people = rules.people(present + absent)
    rules.register(event, *people)
    database.rows("update turnout.registrations set checked_in_at = now() where event_id = %s and user_id = any(%s) returning 1",
                  (event, people[:present]))
    database.rows("update turnout.event_seats set checked_in_count = %s where event_id = %s returning 1", (present, event))
    database.rows("update turnout.event_department_counts set checked_in = %s where event_id = %s returning 1", (present, event))
    rules.set_event(event, start_datetime=from_now(hours=-200), end_datetime=from_now(minutes=-ended_ago), status="completed")
    return event, people


def test_who_was_there_is_invited_to_the_survey_an_hour_after_the_end_and_once(database, rules):
    event, people = over(database, rules, 61, present=3, absent=2)
    early, _ = over(database, rules, 59, present=2, absent=0)
    old, _ = over(database, rules, 3 * 24 * 60 + 61, present=2, absent=0)
    assert [invite(rules) for _ in range(3)] == [3, 0, 0]
    invited = database.rows("select event_id, user_id from turnout.outbox where kind = 'survey_invitation' and event_id = any(%s)",
                            ([event, early, old],))
    assert sorted(invited, key=str) == sorted(((event, person) for person in people[:3]), key=str)
    rules.set_event(early, end_datetime=from_now(minutes=-61))
    assert invite(rules) == 2
