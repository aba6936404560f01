"""Idempotency-Key as the rules see it: one effect and one answer for each key, whatever happens around it."""

import json
import re

import pytest

from sql_harness import TOP, Session
from sql_rules import KEYED, REGISTER_KEYED, Rules, from_now, new_id, register_keyed_arguments

FIELDS = {"title": "Keyed", "start_datetime": from_now(days=10), "end_datetime": from_now(days=10, hours=1), "capacity": 5}


@pytest.fixture(scope="module")
def rules(database):
    with database.connect() as connection:
        yield Rules(connection)


@pytest.fixture
def other(database):
    """A session whose transactions the test ends."""
    session = Session(database, "other")
    yield session
    session.close()


def stored(database, person):
    return database.rows("select key, outcome from turnout.idempotency_keys where user_id = %s order by key", (person,))


def actions(database, entity):
    return [row[0] for row in database.rows("select action from turnout.audit_log where entity_id = %s order by id", (entity,))]


# Each write as (what is written to, arguments of `keyed`, what the log says of it once).
WRITES = {
    "event_create": lambda rules: (new_id(), {"fields": FIELDS}, "event.created"),
    "event_update": lambda rules: (rules.draft(), {"fields": {"title": "Edited"}, "if_version": 1}, "event.updated"),
    "event_delete": lambda rules: (rules.draft(), {}, "event.deleted"),
    "event_publish": lambda rules: (rules.draft(), {}, "event.published"),
    "event_cancel": lambda rules: (rules.event(), {}, "event.cancelled"),
}


@pytest.mark.parametrize("write", WRITES)
def test_a_write_sent_again_with_its_key_is_done_once_and_answered_the_same(rules, database, write):
    target, arguments, action = WRITES[write](rules)
    first = rules.keyed(write, f"once {write}", rules.organizer, target, **arguments)
    assert first.outcome in ("created", "ok", "deleted") and not first.replayed, first
    if first.outcome != "deleted":
        # What has happened since does not show.
        rules.set_event(target, title="Something else", version=17)
    again = rules.keyed(write, f"once {write}", rules.organizer, target, **arguments)
    assert again == first._replace(replayed=True)
    assert actions(database, target).count(action) == 1
    # Without the key it is another write, and with another key, too.
    assert rules.keyed(write, f"twice {write}", rules.organizer, target if write != "event_create" else new_id(),
                       **arguments)[:4] != first[:4]


def test_registering_and_cancelling_again_with_the_key_is_done_once_and_answered_the_same(rules, database):
    event, person = rules.event(), rules.person()
    registered = rules.register_keyed(event, (person, "in"))[0]
    assert registered.outcome == "registered" and not registered.replayed
    cancelled = rules.keyed("registration_cancel", "out", person, registered.ref)
    assert cancelled.outcome == "ok" and json.loads(cancelled.body)["status"] == "cancelled"
    assert rules.register_keyed(event, (person, "in"))[0] == registered._replace(replayed=True)
    assert rules.states(event) == {person: "cancelled"}
    assert rules.register_keyed(event, (person, "in again"))[0].outcome == "registered"
    assert rules.keyed("registration_cancel", "out", person, registered.ref) == cancelled._replace(replayed=True)
    assert rules.states(event) == {person: "registered"}
    assert actions(database, registered.ref) == ["registration.registered", "registration.cancelled", "registration.registered"]
    # 200 is stored like 201.
    existing = rules.register_keyed(event, (person, "existing"))[0]
    assert existing.outcome == "existing"
    assert rules.register_keyed(event, (person, "existing"))[0] == existing._replace(replayed=True)


def test_a_refusal_is_not_stored_and_the_key_is_as_new(rules, database):
    event = rules.event(capacity=1, waitlist_enabled=False)
    rules.register(event, rules.person())
    person = rules.person()
    assert rules.register_keyed(event, (person, "full"))[0].outcome == "full"
    assert stored(database, person) == []
    # Under the same key even something else may be asked.
    rules.update(event, capacity=2)
    assert rules.register_keyed(event, (person, "full"), asked=b"else")[0].outcome == "registered"
    assert stored(database, person) == [("full", "registered")]
    assert rules.keyed("event_publish", "not mine", person, rules.event()).outcome == "forbidden"
    assert stored(database, person) == [("full", "registered")]


def test_a_key_of_another_request_is_refused_and_changes_nothing(rules, database):
    one, two, person = rules.event(), rules.event(), rules.person()
    assert rules.register_keyed(one, (person, "key"), asked=b"one")[0].outcome == "registered"
    refused = rules.register_keyed(two, (person, "key"), asked=b"two")[0]
    assert refused == ("key_reused", None, None, None, False)
    assert rules.states(two) == {}
    assert rules.keyed("registration_cancel", "key", person, new_id()).outcome == "key_reused"
    # Its accepted twins: the first request again, and the second one under its own key.
    assert rules.register_keyed(one, (person, "key"), asked=b"one")[0].outcome == "registered"
    assert rules.register_keyed(two, (person, "own key"), asked=b"two")[0].outcome == "registered"


def test_a_key_is_its_users_own(rules):
    event = rules.event()
    people = rules.people(3)
    answers = rules.register_keyed(event, *((person, "the same") for person in people))
    assert [answer.outcome for answer in answers] == ["registered"] * 3
    assert len({answer.ref for answer in answers}) == 3
    # Who registers others acts under keys of their own.
    by_organizer = rules.register_keyed(event, (rules.person(), "the same"), actor=rules.organizer)[0]
    assert by_organizer.outcome == "registered" and by_organizer.ref not in {answer.ref for answer in answers}


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_running_key_is_refused_at_once_and_then_has_its_answer_or_is_as_new(rules, other, database, end):
    event, person = rules.event(), rules.person()
    first = other.run(REGISTER_KEYED, register_keyed_arguments(event, (person, "running")))
    assert first[0][1] == "registered"
    # The same connection would wait for ever, were it to wait for the key or the event.
    assert rules.register_keyed(event, (person, "running"))[0].outcome == "key_in_use"
    assert rules.keyed("event_create", "running", person, new_id(), fields=FIELDS, role="admin").outcome == "key_in_use"
    # Who sends it again may have met the own first try; another key is not concerned, nor is another person's.
    assert rules.register_keyed(event, (person, "running"), resent=True)[0].outcome == "busy"
    assert rules.keyed("event_create", "another", person, new_id(), fields=FIELDS, role="admin").outcome == "created"
    assert rules.keyed("event_create", "running", rules.person(), new_id(), fields=FIELDS, role="admin").outcome == "created"
    getattr(other, end)()
    answer = rules.register_keyed(event, (person, "running"), resent=True)[0]
    assert answer.outcome == "registered"
    assert (answer.ref == str(first[0][4])) == answer.replayed == (end == "commit")
    assert len(actions(database, answer.ref)) == 1


def test_a_stored_answer_is_given_while_others_ask_for_it_and_while_the_event_is_held(rules, other):
    event, person = rules.event(), rules.person()
    first = rules.register_keyed(event, (person, "key"))[0]
    # Neither has ended its transaction.
    again = other.run(REGISTER_KEYED, register_keyed_arguments(event, (person, "key")))
    assert (again[0][1], again[0][2]) == (first.outcome, first.body)
    other.run("select from turnout.event_seats where event_id = %s for update", (event,))
    assert rules.register_keyed(event, (person, "key"))[0] == first._replace(replayed=True)
    assert rules.register_keyed(event, (rules.person(), "key"))[0].outcome == "busy"
    other.rollback()


def test_an_answer_older_than_its_time_counts_as_absent_and_is_overwritten(rules, database):
    event, person = rules.event(), rules.person()
    first = rules.register_keyed(event, (person, "old"))[0]

    def age(hours):
        database.rows("update turnout.idempotency_keys set created_at = now() - %s * interval '1 hour' where user_id = %s",
                      (hours, person))

    age(23)
    assert rules.register_keyed(event, (person, "old"))[0].outcome == "registered"
    assert rules.register_keyed(event, (person, "old"), keep="22 hours", asked=b"else")[0].outcome == "existing"
    age(25)
    again = rules.register_keyed(event, (person, "old"))[0]
    assert (again.outcome, again.ref, again.replayed) == ("existing", first.ref, False)
    assert rules.register_keyed(event, (person, "old"))[0] == again._replace(replayed=True)
    # One row, and young again.
    database.rows("select turnout.prune_idempotency_keys('24 hours')")
    assert stored(database, person) == [("old", "existing")]
    age(25)
    assert database.value("select turnout.prune_idempotency_keys('24 hours')") >= 1
    assert stored(database, person) == []


def test_many_old_answers_are_pruned_in_portions(rules, database):
    person = rules.person()
    database.rows("insert into turnout.idempotency_keys (user_id, key, request_hash, outcome, created_at)"
                  " select %s, n::text, '', 'ok', now() - interval '30 hours' from generate_series(1, 10001) n", (person,))
    counts = [rules.connection.execute("select turnout.prune_idempotency_keys('24 hours')").fetchone()[0] for _ in range(3)]
    assert counts == [10000, 1, 0]


def test_the_items_of_one_call_have_their_own_keys_and_answers(rules, other, database):
    event, elsewhere = rules.event(capacity=4, waitlist_enabled=False), rules.event()
    known, reused, running, twice, keyless, nobody, ghost, late = rules.people(8)
    answered = rules.register_keyed(event, (known, "known"))[0]
    rules.register_keyed(elsewhere, (reused, "reused"), asked=b"elsewhere")
    other.run(REGISTER_KEYED, register_keyed_arguments(elsewhere, (running, "running")))
    nobody, gone = new_id(), new_id()
    orders = [(known, "known"), (reused, "reused"), (running, "running"), (twice, "twice"), (twice, "twice"), (keyless, None),
              (nobody, "nobody"), (ghost, "ghost"), (late, "late")]
    arguments = list(register_keyed_arguments(event, *orders))
    # An administrator by token who is in no table: may act, and no answer can be stored for them.
    arguments[3][7], arguments[4][7] = gone, "admin"
    rows = rules.connection.execute(REGISTER_KEYED, arguments).fetchall()
    other.rollback()
    assert [(row[0], row[1], row[5]) for row in rows] == [
        (1, "registered", True), (2, "key_reused", False), (3, "key_in_use", False), (4, "registered", False),
        (5, "key_in_use", False), (6, "registered", False), (7, "not_eligible", False), (8, "registered", False),
        (9, "full", False)]
    assert (rows[0][2], str(rows[0][4])) == (answered.body, answered.ref)
    assert rules.counts(event) == (4, 0)
    assert stored(database, twice) == [("twice", "registered")]
    for person in (keyless, ghost, late, gone):
        assert stored(database, person) == []
    # Sent again as a whole: who has an answer gets it, the others ask afresh.
    again = [row[1] for row in rules.connection.execute(REGISTER_KEYED, arguments).fetchall()]
    assert again == ["registered", "key_reused", "full", "registered", "registered", "existing", "not_eligible", "existing", "full"]


def test_a_call_sent_again_without_a_stored_answer_is_still_resolved_by_its_action(rules):
    """The first try committed without a key's row, as one without a user does; the audit log knows the action."""
    event, person, gone = rules.event(), rules.person(), new_id()
    arguments = list(register_keyed_arguments(event, (person, "key"), actor=gone, role="admin"))
    assert rules.connection.execute(REGISTER_KEYED, arguments).fetchone()[1] == "registered"
    arguments[7] = True
    assert rules.connection.execute(REGISTER_KEYED, arguments).fetchone()[1] == "registered"
    arguments[7] = False
    assert rules.connection.execute(REGISTER_KEYED, arguments).fetchone()[1] == "existing"


def test_keys_go_with_their_user(rules, database):
    person, other_person = rules.people(2)
    for one in (person, other_person):
        assert rules.keyed("event_create", "mine", one, new_id(), fields=FIELDS, role="admin").outcome == "created"
    database.rows("delete from turnout.event_organizers where user_id = %s", (person,))
    database.rows("delete from turnout.users where id = %s", (person,))
    assert stored(database, person) == [] and stored(database, other_person) == [("mine", "created")]
    database.rows("insert into turnout.event_organizers select e.id, %s from turnout.events e where not exists"
                  " (select from turnout.event_organizers o where o.event_id = e.id)", (other_person,))


def test_what_is_stored_is_what_the_server_answers_with_2xx(database):
    table = re.findall(r'\{"(\w+)", (\d+), PROBLEM_\w+\}', (TOP / "src" / "api" / "answer.c").read_text(encoding="utf-8"))
    assert len(table) > 20
    for outcome, status in table:
        assert database.value("select turnout.is_success(%s)", (outcome,)) == (status.startswith("2")), outcome


def test_two_who_send_each_others_keys_and_events_crosswise_wait_for_nobody(rules, other):
    """Keys are tried before any row is locked, and never waited for."""
    one, two, person = rules.event(), rules.event(), rules.person()
    other.run(REGISTER_KEYED, register_keyed_arguments(one, (person, "a")))
    assert rules.register_keyed(two, (person, "b"))[0].outcome == "registered"
    # In the transaction that holds key a and event one: key b and event two; in the other one it is the other way round.
    assert other.run(REGISTER_KEYED, register_keyed_arguments(two, (person, "b")))[0][1] == "registered"
    assert rules.register_keyed(one, (person, "a"))[0].outcome == "key_in_use"
    assert rules.register_keyed(one, (rules.person(), "b"))[0].outcome == "busy"
    other.commit()
    assert rules.register_keyed(one, (person, "a"))[0].replayed
    assert rules.keyed("event_update", "c", rules.organizer, one, fields={"start_datetime": from_now(days=9)}).outcome == "ok"


def test_an_unknown_write_is_an_error_and_no_answer(rules):
    with pytest.raises(Exception, match="case not found"):
        rules.connection.execute(KEYED, ("users_delete", new_id(), rules.organizer, None, None, None, None, False, "x", b"", "1 hour"))
    assert rules.keyed("event_create", "x", rules.organizer, new_id(), fields=FIELDS).outcome == "created"
