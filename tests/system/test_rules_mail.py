"""Who gets which mail and when, as the rules decide it: what is leased, what is not right any more, what becomes of a try."""

import json

import psycopg
import pytest

from sql_harness import Session
from sql_rules import Rules

LEASE = "select state, wait, place, id, letter from turnout.mail_lease(%s, %s, %s, %s, 3, %s)"
DONE = "select id, state from turnout.mail_done(%s, %s, %s, %s, 3, '1 minute', '4 minutes')"


class Mail:
    """What a mailer does, without sending."""

    def __init__(self, connection, owner="here/1"):
        self.connection = connection
        self.owner = owner

    def lease(self, limit=100, lease="1 minute", rate=0, place=None):
        """The state, what came with it, and the letters."""
        rows = self.connection.execute(LEASE, (self.owner, limit, lease, rate, place)).fetchall()
        letters = [json.loads(row[4]) for row in rows if row[0] == "mail"]
        assert [letter["id"] for letter in letters] == [row[3] for row in rows if row[0] == "mail"]
        return rows[0][0], rows[0][1:3], letters

    def letters(self, **how):
        return self.lease(**how)[2]

    def done(self, letters, outcome="sent", words=None):
        rows = self.connection.execute(DONE, (self.owner, [letter["id"] for letter in letters], [outcome] * len(letters),
                                              [words] * len(letters))).fetchall()
        return dict(rows)

    def release(self, crashed=False):
        return self.connection.execute("select turnout.mail_release(%s, %s, 3)", (self.owner, crashed)).fetchone()[0]


@pytest.fixture()
def rules(database):
    with database.connect() as connection:
        connection.execute("update turnout.outbox set state = 'dropped', leased_by = null, leased_until = null where state in ('owed', 'leased')")
        connection.execute("update turnout.mail_stream set paused_at = null, next_send_at = now(), slow_step = 0, slow_until = null")
        yield Rules(connection)


@pytest.fixture()
def mail(rules):
    return Mail(rules.connection)


def register(rules, event, *people):
    return [answer.body["id"] for answer in rules.register(event, *people)]


def kinds(letters):
    return [letter["kind"] for letter in letters]


def row(database, letter):
    return database.rows("select state, attempts, last_error from turnout.outbox where id = %s", (letter["id"],))[0]


def test_what_is_owed_is_given_once_with_everything_that_a_letter_says(rules, mail):
    event = rules.event(title="Summer party", venue="Roof", timezone="Europe/Berlin", start_datetime="2027-06-03T16:00:00Z",
                        end_datetime="2027-06-03T20:00:00Z")
    person = rules.person(name="Ada")
    registration, = register(rules, event, person)
    state, _, (letter,) = mail.lease()
    assert state == "mail"
    assert (letter["kind"], letter["attempts"], letter["to"]["id"], letter["to"]["name"]) == ("confirmation", 0, str(person), "Ada")
    assert letter["dedupe_key"] == f"{registration}:confirmation:1"
    assert letter["registration"] == {"id": registration, "status": "registered", "generation": 1, "position": None}
    told = letter["event"]
    assert (told["id"], told["title"], told["venue"], told["version"]) == (str(event), "Summer party", "Roof", 2)
    assert (told["start"], told["local_start"], told["offset_start"]) == ("2027-06-03T16:00:00Z", "2027-06-03T18:00:00", "+02:00")
    assert mail.lease()[0] == "empty"
    assert mail.done([letter]) == {letter["id"]: "sent"}
    assert mail.lease()[0] == "empty"


@pytest.mark.parametrize("zone, offset", [("Asia/Kolkata", "+05:30"), ("America/St_Johns", "-02:30"), ("UTC", "+00:00"),
                                          ("Pacific/Chatham", "+12:45")])
def test_zones_with_odd_offsets_are_told_exactly(rules, mail, zone, offset):
    event = rules.event(timezone=zone, start_datetime="2027-07-03T16:00:00Z", end_datetime="2027-07-03T17:00:00Z")
    register(rules, event, rules.person())
    assert mail.letters()[0]["event"]["offset_start"] == offset


def test_two_mailers_at_once_are_given_different_letters(database, rules, mail):
    event = rules.event(capacity=100)
    register(rules, event, *rules.people(10))
    with database.connect() as connection:
        other = Mail(connection, "there/2")
        one, two = mail.letters(limit=6), other.letters(limit=6)
        assert (len(one), len(two)) == (6, 4)
        assert not {letter["id"] for letter in one} & {letter["id"] for letter in two}
        # ... and what one holds the other one cannot speak for.
        assert other.done(one) == {}
        assert len(mail.done(one)) == 6


def test_people_are_told_what_is_and_never_what_was(database, rules, mail):
    event = rules.event(capacity=1)
    first, second = rules.people(2)
    seat, place = register(rules, event, first, second)
    rules.cancel(seat, first)
    letters = mail.letters()
    assert sorted(kinds(letters)) == ["cancelled", "promoted"]
    assert {letter["registration"]["id"] for letter in letters} == {seat, place}
    assert sorted(database.rows("select kind, last_error from turnout.outbox where registration_id = any(%s::uuid[]) and state = 'dropped'",
                                ([seat, place],))) == [
        ("confirmation", "the seat has been given up since"), ("waitlisted", "the person does not wait any more")]
    mail.done(letters)
    # Who comes again is told so, by a letter of the new generation.
    register(rules, event, first)
    assert [(letter["kind"], letter["registration"]["generation"], letter["registration"]["position"]) for letter in mail.letters()] == [
        ("waitlisted", 2, 1)]


def test_of_two_changes_the_newer_one_is_told(rules, mail):
    event = rules.event()
    register(rules, event, rules.person())
    mail.done(mail.letters())
    rules.update(event, venue="Hall 1")
    rules.update(event, venue="Hall 2")
    letter, = mail.letters()
    assert (letter["kind"], letter["event"]["venue"]) == ("changed", "Hall 2")


def test_a_temporary_failure_waits_longer_each_time_and_the_last_try_is_dead(database, rules, mail):
    register(rules, rules.event(), rules.person())
    for attempt, least in ((1, 39), (2, 79)):
        letter, = mail.letters()
        assert letter["attempts"] == attempt - 1
        assert mail.done([letter], "temporary", "450 later") == {letter["id"]: "owed"}
        wait = database.value("select extract(epoch from next_attempt_at - now()) from turnout.outbox where id = %s", (letter["id"],))
        assert least <= wait <= 61 * attempt
        state, (told, _), _ = mail.lease()
        assert state == "empty" and 0 < told <= wait * 1000000
        database.rows("update turnout.outbox set next_attempt_at = now() where id = %s returning id", (letter["id"],))
    assert mail.done(mail.letters(), "temporary", "450 never") == {letter["id"]: "dead"}
    assert row(database, letter) == ("dead", 3, "450 never")


def test_refused_for_ever_is_dead_at_once_and_unsent_counts_for_nothing(database, rules, mail):
    register(rules, rules.event(), *rules.people(2))
    one, two = mail.letters()
    assert mail.done([one], "permanent", "550 nobody here") == {one["id"]: "dead"}
    assert row(database, one) == ("dead", 1, "550 nobody here")
    assert mail.done([two], "unsent", "no connection") == {two["id"]: "owed"}
    assert row(database, two) == ("owed", 0, None)
    assert [letter["id"] for letter in mail.letters()] == [two["id"]]


def test_what_a_dead_mailer_held_is_owed_again_to_its_successor_at_once(database, rules, mail):
    register(rules, rules.event(), *rules.people(3))
    held = mail.letters()
    assert Mail(rules.connection, "there/2").release(crashed=True) == 0
    assert mail.release(crashed=True) == 3
    again = mail.letters()
    assert [letter["attempts"] for letter in again] == [1, 1, 1]
    assert mail.release() == 3
    assert [letter["attempts"] for letter in mail.letters()] == [1, 1, 1]
    mail.release(crashed=True)
    mail.letters()
    assert mail.release(crashed=True) == 3
    assert {row(database, letter)[:2] for letter in held} == {("dead", 3)}


def test_a_lease_that_ran_out_is_taken_over_and_its_owner_cannot_speak_any_more(database, rules, mail):
    register(rules, rules.event(), rules.person())
    letter, = mail.letters()
    with database.connect() as connection:
        other = Mail(connection, "there/2")
        assert other.letters() == []
        database.rows("update turnout.outbox set leased_until = now() - interval '1 second' where id = %s returning id", (letter["id"],))
        taken, = other.letters()
        assert (taken["id"], taken["attempts"]) == (letter["id"], 1)
        assert mail.done([letter]) == {}
        assert connection.execute("select turnout.mail_renew('here/1', %s, '1 minute')", ([letter["id"]],)).fetchall() == []
        assert connection.execute("select turnout.mail_renew('there/2', %s, '1 minute')", ([letter["id"]],)).fetchall() == [(letter["id"],)]
        assert other.done([taken]) == {letter["id"]: "sent"}


def not_looking_back(place):
    """However long the test takes: the last part of a place is when what lies before it was looked at."""
    return "/".join([*place.split("/")[:2], "9000000000"])


def test_what_was_committed_late_is_found_before_the_place_every_few_seconds_and_while_nothing_is_due(database, rules, mail):
    """A transaction that began before the last letter was owed, and committed after that was taken."""
    event = rules.event(capacity=100)
    register(rules, event, rules.person())
    _, (_, place), (letter,) = mail.lease()
    late, later = register(rules, event, *rules.people(2))
    database.rows("update turnout.outbox set next_attempt_at = (select next_attempt_at from turnout.outbox where id = %s)"
                  " - case registration_id when %s then interval '1 second' else interval '1 hour' end"
                  " where registration_id = any(%s::uuid[])", (letter["id"], late, [late, later]))
    state, (_, empty), _ = mail.lease(place=not_looking_back(place))
    assert state == "empty"
    for found in ("/".join([*place.split("/")[:2], "0"]), not_looking_back(empty)):
        again, = mail.letters(place=found)
        assert again["registration"]["id"] == late
        mail.done([again], "unsent")
    # From the start, whatever there is.
    assert [one["registration"]["id"] for one in mail.letters()] == [later, late]


def test_a_place_passes_over_what_came_before_and_the_start_does_not(rules, mail):
    event = rules.event(capacity=100)
    register(rules, event, *rules.people(5))
    _, (_, place), letters = mail.lease(limit=3)
    place = not_looking_back(place)
    mail.done(letters[:1], "unsent")
    assert [letter["id"] for letter in mail.letters(place=place)] > [letter["id"] for letter in letters]
    assert mail.lease(place=place)[0] == "empty"
    assert [letter["id"] for letter in mail.letters()] == [letters[0]["id"]]


def test_a_rate_is_kept_over_all_mailers_together(database, rules, mail):
    event = rules.event(capacity=100)
    register(rules, event, *rules.people(60))
    with database.connect() as connection:
        other = Mail(connection, "there/2")
        given = len(mail.letters(rate=50)) + len(other.letters(rate=50))
        assert 10 <= given <= 13
        state, (wait, _), _ = mail.lease(rate=1)
        assert state == "later" and 0 < wait <= 2000000
    # Without a rate the rest comes at once.
    assert len(mail.letters()) == 60 - given


def test_a_server_that_wants_less_slows_everybody_down_until_it_goes_well(database, rules, mail):
    event = rules.event(capacity=100)
    register(rules, event, *rules.people(40))
    letters = mail.letters(limit=8)
    mail.done(letters[:2], "slow", "421 too many")
    with database.connect() as connection:
        state, (wait, _), _ = Mail(connection, "there/2").lease()
        assert state == "later" and 300000 < wait <= 1000000
    database.rows("update turnout.mail_stream set slow_until = now() returning 1")
    # Half as many at once, until something was sent.
    assert len(mail.letters(limit=8)) == 4
    mail.done(letters[2:3])
    assert len(mail.letters(limit=8)) == 8


def test_a_pause_holds_all_mail_and_is_told(rules, mail):
    register(rules, rules.event(), rules.person())
    rules.connection.execute("update turnout.mail_stream set paused_at = now(), paused_by = 'Ada'")
    assert mail.lease()[0] == "paused"
    rules.connection.execute("update turnout.mail_stream set paused_at = null")
    assert len(mail.letters()) == 1


def test_a_letter_that_somebody_is_changing_is_passed_over(database, rules, mail):
    register(rules, rules.event(), *rules.people(2))
    first = database.value("select min(id) from turnout.outbox where state = 'owed'")
    session = Session(database, "holder")
    try:
        session.begin("select id from turnout.outbox where id = %s for update", (first,))
        session.end()
        assert len(mail.letters()) == 1
        session.rollback()
        assert [letter["id"] for letter in mail.letters()] == [first]
    finally:
        session.close()


def test_the_status_counts_what_is_owed(database, rules, mail):
    register(rules, rules.event(), *rules.people(3))
    letters = mail.letters(limit=1)
    status = "select owed, due, leased, oldest_due_us > 0 from turnout.mail_status()"
    assert database.rows(status) == [(2, 2, 1, True)]
    mail.done(letters, "permanent", "no")
    dead = database.value("select dead from turnout.mail_status()")
    assert dead >= 1
    mail.done(mail.letters())
    assert database.rows(status) == [(0, 0, 0, False)]


def test_the_daemon_may_do_all_this_and_nothing_else_with_the_stream(database):
    with database.connect() as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("delete from turnout.mail_stream")
        connection.execute("update turnout.mail_stream set slow_step = 0")
