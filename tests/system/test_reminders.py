"""Reminders and invitations as people get them: by mail, once each, whatever hosts there are."""

import re

import psycopg
import pytest

from api import Person, from_now
from mailing import post
from sql_harness import wait_until


@pytest.fixture()
def office(postgres, make_database):
    with post(postgres, make_database(), reminder_interval="100ms") as one:
        yield one


def remind_soon(office, events, people):
    """Events with people who had their seats before the moment, five minutes ago."""
    for number in range(events):
        office.owe(people, title=f"Event {number}")
    office.rows("update turnout.outbox set state = 'sent', sent_at = now() returning 1")
    # Before the moment also where that is counted from a start that is over.
    office.rows("update turnout.registrations set registered_at = now() - interval '1 day', seated_at = now() - interval '1 day' returning 1")
    office.rows("update turnout.events set start_datetime = now() + interval '10 hours', end_datetime = now() + interval '12 hours',"
                " reminders = '[{\"minutes_before\": 605}]' returning 1")


def test_a_thousand_people_are_owed_their_reminders_by_two_statements(postgres, office):
    remind_soon(office, 10, 100)
    office.database.execute(f"alter database {office.name} set log_statement = 'all'")
    before = len(postgres.log_text())
    turnout = office.daemon(smtp_url=None, smtp_tls="off", mail_from=None, reminder_interval="1h")
    wait_until(lambda: office.rows("select from turnout.job_runs where job = 'reminders'"), "the run is noted")
    assert office.rows("select rows, outcome, started_at <= finished_at from turnout.job_runs where job = 'reminders'") == [(1000, "done", True)]
    turnout.stop()
    ran = re.findall(r"execute (\w+): select turnout\.(?:owe_reminders|job_ran)\(", postgres.log_text()[before:])
    assert sorted(ran) == ["job_ran", "owe_reminders"]
    assert office.states() == {"owed": 1000, "sent": 1000}


def test_of_two_hosts_and_many_runs_each_person_gets_one(office):
    remind_soon(office, 10, 20)
    one, two = office.daemon(), office.daemon()
    office.sink.wait(200)
    runs = {turnout: len(turnout.log_lines("a job did its work", "reminders")) for turnout in (one, two)}
    assert 1 <= sum(runs.values()) <= 2
    office.settle()
    assert set(office.sink.by_message_id().values()) == {1}
    assert len(office.sink.recipients()) == 200
    assert office.rows("select sum(rows)::integer from turnout.job_runs where job = 'reminders'") == [(200,)]


def test_what_was_missed_while_nobody_ran_is_caught_up_before_the_start_and_not_after_it(office):
    turnout = office.daemon(start=False)
    remind_soon(office, 2, 3)
    begun, = office.rows("select min(id::text) from turnout.events")[0]
    office.rows("update turnout.events set start_datetime = now() - interval '1 minute' where id = %s returning 1", begun)
    turnout.start()
    office.sink.wait(3)
    office.settle()
    assert office.rows("select event_id::text = %s, count(*) from turnout.outbox where kind = 'reminder' group by 1", begun) == [(False, 3)]


def test_who_gives_the_seat_up_before_it_is_sent_gets_none(office):
    turnout = office.daemon()
    organizer, stays, goes = Person(turnout, "organizer"), Person(turnout), Person(turnout)
    event = organizer.event(start_datetime=from_now(hours=10), end_datetime=from_now(hours=12), reminders=[])
    stays.register(event)
    going = goes.register(event).json()
    office.rows("update turnout.registrations set registered_at = now() - interval '1 hour', seated_at = now() - interval '1 hour' returning 1")
    office.rows("update turnout.mail_stream set paused_at = now() returning 1")
    assert organizer.patch(event, reminders=[{"minutes_before": 605}]).status == 200
    wait_until(lambda: len(office.rows("select from turnout.outbox where kind = 'reminder'")) == 2, "both are owed theirs")
    assert goes.cancel(going).status == 200
    office.rows("update turnout.mail_stream set paused_at = null returning 1")
    office.settle()
    assert office.rows("select u.email, o.state::text from turnout.outbox o join turnout.users u on u.id = o.user_id where o.kind = 'reminder'"
                       " order by 1") == sorted([(stays.email, "sent"), (goes.email, "dropped")])


def test_the_survey_is_offered_an_hour_after_the_end_to_those_who_were_there(office):
    office.daemon()
    addresses = office.owe(4)
    office.sink.wait(4)
    office.settle()
    office.rows("update turnout.registrations r set checked_in_at = now() from turnout.users u where u.id = r.user_id and u.email = any(%s)"
                " returning 1", addresses[:3])
    office.rows("update turnout.event_seats set checked_in_count = 3 returning 1")
    office.rows("update turnout.events set start_datetime = now() - interval '3 hours', end_datetime = now() - interval '61 minutes' returning 1")
    office.sink.wait(7)
    office.settle()
    assert sorted(one.recipient for one in office.sink.taken[4:]) == sorted(addresses[:3])


def test_a_reminder_interval_of_a_daemon_that_runs_changes_at_a_reload(office):
    turnout = office.daemon(reminder_interval="1h")
    remind_soon(office, 1, 2)
    turnout.configure(reminder_interval="50ms")
    turnout.ctl("reload")
    office.sink.wait(2)


@pytest.mark.parametrize("statement", ["delete from turnout.job_runs", "truncate turnout.reminder_marks"])
def test_the_daemon_cannot_change_the_record(postgres, office, statement):
    with psycopg.connect(postgres.dsn(office.name, "turnout_app"), autocommit=True) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)
        connection.execute("select count(*) from turnout.job_runs")
