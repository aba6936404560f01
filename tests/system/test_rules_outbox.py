"""What is owed, how an operator has a hand in it, when it is forgotten, and what looking at it costs. Leases: test_rules_mail.py."""

import collections
import re
import uuid

import pytest

from sql_harness import Database, Session, database_numbers
from sql_rules import Rules, from_now, new_id
from test_rules_mail import Mail, not_looking_back, register, row
from test_rules_plans import Watched

TRANSFER = "select outcome, body, etag, ref from turnout.registration_transfer('test', %s, %s, null, %s, %s, false)"
RENEW = "select turnout.mail_renew('here/1', %s, '1 minute')"
# Nothing is owed from before, and nothing holds it up.
QUIET = ("update turnout.outbox set state = 'dropped', leased_by = null, leased_until = null where state in ('owed', 'leased', 'dead')",
         "select turnout.mail_resume()")
# Mail of an event that is not for anybody who is there.
STRANGERS = """
    insert into turnout.outbox (kind, dedupe_key, event_id, registration_id, user_id, generation)
    select 'confirmation', gen_random_uuid() || ':confirmation:1', %s, gen_random_uuid(), gen_random_uuid(), 1
    from generate_series(1, %s)"""


@pytest.fixture(scope="module")
def scratch(postgres, template):
    """A database whose tables were empty when they were last analyzed: to plans made then, all indexes look alike. Not consistent at
    the end, as mail of it is forgotten."""
    database = Database.copied(postgres, f"turnout_outbox_{next(database_numbers)}", template)
    with database.connect("postgres") as superuser:
        superuser.execute("alter table turnout.outbox set (autovacuum_enabled = off)")
        superuser.execute("vacuum analyze")
    yield database
    database.drop()


@pytest.fixture()
def rules(database):
    with database.connect() as connection:
        for statement in QUIET:
            connection.execute(statement)
        yield Rules(connection)


@pytest.fixture()
def mail(rules):
    return Mail(rules.connection)


def call(rules, function, *parameters):
    return rules.connection.execute(f"select turnout.{function}({', '.join(['%s'] * len(parameters))})", parameters).fetchone()[0]


# --- what it costs ---


def scanned(plans):
    """(rows, what and how) of each look at a table of many rows."""
    found = []
    for plan in plans:
        lines = plan.splitlines()
        for number, line in enumerate(lines):
            scan = re.search(r"Scan.* on (outbox|registrations_?\w*|events|users) .*actual rows=(\d+)", line)
            if scan:
                removed = [int(rows) for below in lines[number + 1:number + 5] for rows in re.findall(r"Removed by Filter: (\d+)", below)]
                found.append((int(scan.group(2)) + sum(removed), line.strip()))
    return found


def test_a_letter_costs_the_same_whatever_else_is_owed_and_was_ever_registered(scratch):
    """By plans that were made while there was nothing."""
    assert scratch.value("select pg_relation_size('turnout.outbox')") == 0, "this test is the first of those that fill this database"
    watched = Watched(scratch)
    rules, mail = watched.rules, Mail(watched.connection)

    def all_of_it(event):
        rules.update(event, venue=f"Room {new_id()}")
        letters = mail.letters(limit=10)
        watched.connection.execute(RENEW, ([letter["id"] for letter in letters],))
        mail.done(letters[:5], "temporary", "450 later")
        assert mail.release() == 5
        return letters
    event = rules.event(capacity=1000)
    register(rules, event, *rules.people(10))
    all_of_it(event)
    register(rules, event, *rules.people(500))
    rules.update(event, venue="Elsewhere")
    watched.plans.clear()
    letters = all_of_it(event)
    assert len(letters) == 10
    ours = [plan for plan in watched.plans if "outbox" in plan and "insert into" not in plan]
    watched.connection.close()
    looks = scanned(ours)
    assert len(looks) > 10, ours
    # Ten letters are looked at, by two at a time where it is the first at or behind an id; and what was dropped on the way.
    assert [look for look in looks if look[0] > 110] == []


def test_a_reminder_costs_the_same_however_many_are_reminded(scratch):
    watched = Watched(scratch)
    rules, mail = watched.rules, Mail(watched.connection)
    event = rules.event(capacity=1000, start_datetime=from_now(minutes=30), end_datetime=from_now(minutes=90),
                        reminders=[{"minutes_before": 60}, {"minutes_before": 40}])
    register(rules, event, *rules.people(400))
    watched.connection.execute("update turnout.registrations set registered_at = now() - interval '1 day', seated_at = now() - interval '1 day'"
                               " where event_id = %s", (event,))
    watched.connection.execute("update turnout.outbox set state = 'sent', leased_by = null, leased_until = null")
    assert call(rules, "owe_reminders") == 400
    watched.plans.clear()
    letters = mail.letters(limit=10)
    assert [letter["kind"] for letter in letters] == ["reminder"] * 10
    assert mail.release() == 10
    looks = scanned(plan for plan in watched.plans if "outbox" in plan)
    watched.connection.close()
    assert len(looks) > 4 and [look for look in looks if look[0] > 60] == []


READ = """select sum(pg_stat_get_xact_tuples_returned(c.oid))::integer from pg_class c join pg_index i on i.indexrelid = c.oid
          where i.indrelid = 'turnout.outbox'::regclass"""


class Counted:
    """How many index entries of the outbox, living and dead, a statement looks at."""

    def __init__(self, connection):
        self.connection = connection

    def __call__(self, work):
        with self.connection.transaction():
            before = self.connection.execute(READ).fetchone()[0]
            result = work()
            return result, self.connection.execute(READ).fetchone()[0] - before


def test_what_was_sent_is_not_looked_at_again_while_an_old_snapshot_is_held(scratch):
    """Nothing can be vacuumed then, and each letter leaves dead entries in the index of owed and in that of leased mail."""
    with scratch.connect() as connection, scratch.connect(autocommit=False) as holder:
        for statement in QUIET:
            connection.execute(statement)
        rules, mail, counted = Rules(connection), Mail(connection), Counted(connection)
        holder.execute("set transaction isolation level repeatable read")
        holder.execute("select count(*) from turnout.outbox")
        event = rules.event(capacity=3000)
        register(rules, event, *rules.people(600))
        place, sent = None, 0
        while sent < 500:
            (_, (_, place), letters), read = counted(lambda: mail.lease(limit=20, place=place))  # pylint: disable=cell-var-from-loop
            place = not_looking_back(place)
            assert read <= 20 * 10 or sent == 0, f"a lease looks at {read} entries after {sent} letters"
            ids = [letter["id"] for letter in letters]
            _, read = counted(lambda: connection.execute(RENEW, (ids,)))  # pylint: disable=cell-var-from-loop
            assert read <= 20 * 8, f"renewing looks at {read} entries after {sent} letters"
            told, read = counted(lambda: mail.done(letters))  # pylint: disable=cell-var-from-loop
            assert len(told) == 20 and read <= 20 * 8, f"telling looks at {read} entries after {sent} letters"
            sent += len(letters)
        # The twin: from the start, all that was sent is walked over.
        (state, _, letters), read = counted(lambda: mail.lease(limit=20))
        assert state == "mail" and len(letters) == 20 and read > 500
        holder.rollback()


# --- what is owed ---


class Owed:
    """Who is owed which mail by what is done: {(kind, person): how many}, of one event and since the last look."""

    def __init__(self, rules, event):
        self.rules, self.event, self.seen = rules, event, 0

    def __call__(self):
        rows = self.rules.connection.execute("select id, kind, user_id from turnout.outbox where event_id = %s and id > %s",
                                             (self.event, self.seen)).fetchall()
        self.seen = max([self.seen, *(row[0] for row in rows)])
        return dict(collections.Counter((kind, person) for _, kind, person in rows))


def test_joining_waiting_leaving_and_coming_back_owe_one_mail_each(rules):
    event, (one, two, three) = rules.event(capacity=1, waitlist_limit=2), rules.people(3)
    owed = Owed(rules, event)
    first, second, third = register(rules, event, one, two, three)
    assert owed() == {("confirmation", one): 1, ("waitlisted", two): 1, ("waitlisted", three): 1}
    # Who asks again, and who is refused, is owed nothing.
    assert [answer.outcome for answer in rules.register(event, one, two, rules.person())] == ["existing", "existing", "full"]
    assert owed() == {}
    rules.cancel(third, three)
    assert owed() == {("cancelled", three): 1}
    action = new_id()
    rules.cancel(first, one, action=action)
    assert owed() == {("cancelled", one): 1, ("promoted", two): 1}
    # The same order once more, and another one where there is nothing left to cancel.
    rules.cancel(first, one, action=action, resent=True)
    rules.cancel(first, one)
    assert owed() == {}
    register(rules, event, one)
    assert owed() == {("waitlisted", one): 1}
    rules.cancel(second, two)
    assert owed() == {("cancelled", two): 1, ("promoted", one): 1}


def test_a_place_that_is_handed_over_owes_both_a_mail_and_nobody_else(rules):
    event, (giver, waits, colleague) = rules.event(capacity=1), rules.people(3)
    owed = Owed(rules, event)
    place, _ = register(rules, event, giver, waits)
    owed()
    answer = rules.call(TRANSFER, new_id(), giver, place, str(colleague))[0]
    assert answer.outcome == "ok" and owed() == {("cancelled", giver): 1, ("confirmation", colleague): 1}
    # Also to somebody in line, whose place there is gone.
    answer = rules.call(TRANSFER, new_id(), colleague, answer.ref, str(waits))[0]
    assert answer.outcome == "ok" and owed() == {("cancelled", colleague): 1, ("confirmation", waits): 1}
    # Who has come back to where they were before is owed mail again: it is another generation.
    assert rules.call(TRANSFER, new_id(), waits, answer.ref, str(giver))[0].outcome == "ok"
    assert owed() == {("cancelled", waits): 1, ("confirmation", giver): 1}


def test_a_list_owes_each_person_on_it_what_became_of_them(rules):
    event, (one, two, three) = rules.event(capacity=2), rules.people(3)
    owed = Owed(rules, event)
    register(rules, event, one)
    owed()
    listed = rules.connection.execute("select outcome from turnout.register_list('test', %s, %s, null, %s, %s, false)", (
        new_id(), rules.organizer, event, f'{{"user_ids": ["{one}", "{two}", "{three}", "{uuid.uuid4()}"]}}')).fetchone()
    assert listed == ("ok",)
    assert owed() == {("confirmation", two): 1, ("waitlisted", three): 1}


@pytest.mark.parametrize("edit, told", [
    ({"venue": "Elsewhere"}, True), ({"start_datetime": from_now(days=11), "end_datetime": from_now(days=11, hours=2)}, True),
    ({"end_datetime": from_now(days=10, hours=5)}, True), ({"timezone": "Europe/Berlin"}, True),
    ({"title": "Another name"}, False), ({"description": "More"}, False), ({"category": "sports"}, False),
    ({"waitlist_enabled": False}, False), ({"registration_closes_at": from_now(days=5)}, False)],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else "")
def test_only_another_time_or_place_is_told_to_everybody_who_is_on_it(rules, edit, told):
    event, (one, waits, gone) = rules.event(capacity=1), rules.people(3)
    left = register(rules, event, one, waits, gone)[2]
    rules.cancel(left, gone)
    owed = Owed(rules, event)
    owed()
    assert rules.update(event, **edit).outcome == "ok"
    assert owed() == ({("changed", one): 1, ("changed", waits): 1} if told else {})
    # The same once more changes nothing.
    assert rules.update(event, **edit).outcome == "unchanged" and owed() == {}


def test_what_makes_room_owes_those_who_get_it_a_mail_and_cancelling_the_event_all_who_were_on_it(rules):
    event, (one, two, three, gone) = rules.event(capacity=1), rules.people(4)
    left = register(rules, event, one, two, three, gone)[3]
    rules.cancel(left, gone)
    owed = Owed(rules, event)
    owed()
    assert rules.update(event, capacity=2).outcome == "ok"
    assert owed() == {("promoted", two): 1}
    assert rules.update(event, capacity=3, venue="Larger").outcome == "ok"
    assert owed() == {("promoted", three): 1, ("changed", one): 1, ("changed", two): 1, ("changed", three): 1}
    assert rules.cancel_event(event).outcome == "ok"
    assert owed() == {("event_cancelled", person): 1 for person in (one, two, three)}
    assert rules.cancel_event(event).outcome == "wrong_status" and owed() == {}


def test_a_draft_owes_nothing(rules):
    draft = rules.draft()
    rules.update(draft, venue="Elsewhere")
    rules.cancel_event(draft)
    assert Owed(rules, draft)() == {}


# --- what is still right ---


def test_a_confirmation_does_not_outlive_an_event_whose_people_are_cancelled_in_steps(rules, database, mail):
    """A thousand people are cancelled with the event, the others by the scheduler a little later."""
    event, person = rules.event(), rules.person()
    register(rules, event, person)
    rules.set_event(event, status="cancelled")
    assert mail.lease()[0] == "empty"
    assert database.rows("select state, last_error from turnout.outbox where event_id = %s", (event,)) == [
        ("dropped", "the event has been cancelled since")]
    # Of an event that has taken place it is sent.
    other = rules.event()
    register(rules, other, rules.person())
    rules.set_event(other, status="completed", start_datetime=from_now(hours=-3), end_datetime=from_now(hours=-1))
    assert [letter["kind"] for letter in mail.letters()] == ["confirmation"]


def test_of_two_reminders_that_wait_the_later_one_is_sent(rules, database, mail):
    event = rules.event(start_datetime=from_now(minutes=30), end_datetime=from_now(minutes=90),
                        reminders=[{"minutes_before": 60}, {"minutes_before": 40}])
    person, = register(rules, event, rules.person())
    mail.done(mail.letters())
    for minutes in (60, 40):
        database.rows("insert into turnout.outbox (kind, dedupe_key, event_id, registration_id, user_id, due_at)"
                      " select 'reminder', %s || ':reminder:' || extract(epoch from d.at)::bigint, e.id, %s, gen_random_uuid(), d.at"
                      " from turnout.events e, lateral (select e.start_datetime - make_interval(mins => %s)) d (at) where e.id = %s",
                      (person, person, minutes, event))
    database.rows("update turnout.outbox o set user_id = r.user_id from turnout.registrations r where r.id = o.registration_id and r.id = %s",
                  (person,))
    letter, = mail.letters()
    assert letter["dedupe_key"].startswith(f"{person}:reminder:")
    assert database.rows("select state, last_error, due_at > (select start_datetime - interval '50 minutes' from turnout.events where id = %s)"
                         " from turnout.outbox where registration_id = %s and kind = 'reminder' order by due_at", (event, person)) == [
        ("dropped", "a later reminder is owed", False), ("leased", None, True)]


def test_thousands_that_are_not_right_any_more_hold_up_nobody_for_long(rules, mail):
    event = rules.event()
    rules.connection.execute(STRANGERS, (event, 4500))
    register(rules, event, rules.person())
    left = "select count(*) from turnout.outbox where state = 'owed'"
    place = None
    for still_owed in (2501, 501):
        state, (wait, place), _ = mail.lease(place=place)
        assert (state, wait, rules.connection.execute(left).fetchone()[0]) == ("later", 0, still_owed)
    state, _, letters = mail.lease(place=place)
    assert (state, [letter["kind"] for letter in letters]) == ("mail", ["confirmation"])


# --- what an operator does ---


def test_dead_mail_is_shown_with_the_servers_words_and_sent_again_as_new(rules, database, mail):
    event, people = rules.event(title="Party"), rules.people(3)
    register(rules, event, *people)
    letters = mail.letters()
    assert mail.done(letters[:2], "permanent", "550 nobody here") == {letter["id"]: "dead" for letter in letters[:2]}
    mail.done(letters[2:])
    shown = rules.connection.execute("select id, kind, email, event_id, title, attempts, error from turnout.mail_dead(0, 10)").fetchall()
    assert shown == [(letter["id"], "confirmation", letter["to"]["email"], event, "Party", 1, "550 nobody here") for letter in letters[:2]]
    assert rules.connection.execute("select id from turnout.mail_dead(%s, 10)", (letters[0]["id"],)).fetchall() == [(letters[1]["id"],)]
    assert mail.lease()[0] == "empty"
    assert call(rules, "mail_retry", letters[1]["id"]) == 1
    assert row(database, letters[1])[:2] == ("owed", 0)
    again, = mail.letters()
    assert again["id"] == letters[1]["id"] and mail.done([again]) == {again["id"]: "sent"}
    # What was sent is not sent again, and what a mailer has is its own.
    assert call(rules, "mail_retry", again["id"]) == 0
    assert call(rules, "mail_retry", None) == 1
    held, = mail.letters()
    assert (held["id"], call(rules, "mail_retry", held["id"]), call(rules, "mail_retry", 0)) == (letters[0]["id"], 0, 0)


def test_mail_that_waits_for_its_next_try_can_be_tried_at_once(rules, mail):
    register(rules, rules.event(), rules.person())
    letter, = mail.letters()
    mail.done([letter], "temporary", "450 later")
    assert mail.lease()[0] == "empty"
    # All that is dead is something else.
    assert call(rules, "mail_retry", None) == 0 and mail.lease()[0] == "empty"
    assert call(rules, "mail_retry", letter["id"]) == 1
    assert [again["id"] for again in mail.letters()] == [letter["id"]]


def test_dropped_mail_is_not_sent_and_not_owed_a_second_time(rules, database, mail):
    event, people = rules.event(), rules.people(3)
    register(rules, event, *people)
    dead, held = mail.letters(limit=2)
    mail.done([dead], "permanent", "550 nobody here")
    owed = database.value("select id from turnout.outbox where state = 'owed'")
    assert [call(rules, "mail_drop", number) for number in (dead["id"], owed, held["id"], 0)] == [1, 1, 0, 0]
    assert row(database, dead) == ("dropped", 1, "dropped by hand; before: 550 nobody here")
    assert mail.done([held]) == {held["id"]: "sent"} and call(rules, "mail_drop", held["id"]) == 0
    assert mail.lease()[0] == "empty" and call(rules, "mail_retry", None) == 0
    # Registering once more owes nothing new.
    register(rules, event, *people)
    assert mail.lease()[0] == "empty"


def test_who_paused_stays_named_and_resuming_forgets_also_what_slowed_us_down(rules, database, mail):
    register(rules, rules.event(), *rules.people(3))
    letter, = mail.letters(limit=1)
    assert (call(rules, "mail_pause", "Ada"), call(rules, "mail_pause", "Bob")) == (True, False)
    assert database.rows("select paused_by, paused_at <= now() from turnout.mail_status()") == [("Ada", True)]
    assert mail.lease()[0] == "paused"
    # What has been taken is told all the same.
    assert mail.done([letter], "slow", "421 too many") == {letter["id"]: "owed"}
    assert (call(rules, "mail_resume"), call(rules, "mail_resume")) == (True, False)
    assert database.rows("select paused_by, slow_until, slow_reason from turnout.mail_status()") == [(None, None, None)]
    assert len(mail.letters()) == 2


# --- what is forgotten ---


def test_mail_is_known_until_its_event_has_been_over_for_long(scratch):
    with scratch.connect() as connection:
        rules, mail = Rules(connection), Mail(connection)
        events = {}
        for name, ended in (("to come", None), ("just over", "1 hour"), ("long over", "15 days")):
            events[name] = rules.event()
            register(rules, events[name], *rules.people(2))
            if ended:
                scratch.rows("update turnout.events set start_datetime = now() - %s::interval - interval '1 hour',"
                             " end_datetime = now() - %s::interval where id = %s", (ended, ended, events[name]))
        letters = mail.letters()
        held = next(letter for letter in letters if letter["event"]["id"] == str(events["long over"]))
        mail.done([letter for letter in letters if letter != held])
        gone = new_id()
        connection.execute(STRANGERS, (gone, 3))

        def known():
            return [scratch.value("select count(*) from turnout.outbox where event_id = %s", (event,)) for event in (*events.values(), gone)]
        # All but what a mailer has just now.
        assert known() == [2, 2, 2, 3]
        assert (call(rules, "mail_prune", "14 days"), call(rules, "mail_prune", "14 days")) == (4, 0)
        assert known() == [2, 2, 1, 0]
        assert mail.done([held]) == {held["id"]: "sent"} and call(rules, "mail_prune", "14 days") == 1
        assert call(rules, "mail_prune", "30 minutes") == 2
        assert known() == [2, 0, 0, 0]


def test_much_is_forgotten_in_pieces_and_what_somebody_holds_is_passed_over(scratch):
    event, session = new_id(), Session(scratch, "holder")
    try:
        with scratch.connect() as connection:
            rules = Rules(connection)
            connection.execute(STRANGERS, (event, 10500))
            session.begin("select id from turnout.outbox where event_id = %s order by id limit 1 for update", (event,))
            held = session.end()[0][0]
            assert [call(rules, "mail_prune", "14 days") for _ in range(3)] == [10000, 499, 0]
            session.rollback()
            assert scratch.rows("select id from turnout.outbox where event_id = %s", (event,)) == [(held,)]
            assert call(rules, "mail_prune", "14 days") == 1
    finally:
        session.close()


# --- what a dead mailer leaves behind ---


def test_a_result_that_is_still_being_written_is_waited_for_by_the_successor(rules, database, mail):
    """The mailer died behind its last statement, which PostgreSQL has not ended yet."""
    register(rules, rules.event(), *rules.people(2))
    sent, other = mail.letters()
    last, successor = Session(database, "last words"), Session(database, "successor")
    try:
        last.begin("select id from turnout.mail_done('here/1', array[%s]::bigint[], '{sent}', '{NULL}', 3, '1 minute', '1 hour')", (sent["id"],))
        last.end()
        successor.begin("select turnout.mail_release('here/1', true, 3)")
        assert successor.settle() == "blocked"
        last.commit()
        assert successor.end() == [(1,)]
        successor.commit()
    finally:
        last.close()
        successor.close()
    assert (row(database, sent)[:2], row(database, other)[:2]) == (("sent", 1), ("owed", 1))
