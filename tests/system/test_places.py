"""Places handed on, lists of people, and events of thousands that are cancelled, as people see it."""

import signal

import pytest

from api import Person, eventually
from metrics import grown, scrape
from sql_harness import Database, wait_until
from sql_rules import Rules
from traffic import wait_replaced


@pytest.fixture(scope="module")
def database(postgres, turnout):
    under = Database(postgres, turnout.database)
    yield under
    under.assert_consistent()


@pytest.fixture(scope="module")
def organizer(turnout):
    return Person(turnout, "organizer")


def transfer(who, registration, user, headers=None):
    return who.post(f"/api/registrations/{registration['id']}/transfer", json={"user": user}, headers=headers)


def register_list(who, event, people, headers=None):
    return who.post(f"/api/events/{event['id']}/registrations", json={"user_ids": people}, headers=headers)


def mails(database, event):
    return sorted(database.rows("select o.kind, u.email from turnout.outbox o join turnout.users u on u.id = o.user_id"
                                " where o.event_id = %s", (event["id"],)))


def test_a_place_goes_to_a_colleague_by_address_and_both_see_it(turnout, database, organizer):
    event, (giver, waiting, colleague) = organizer.event(capacity=1), (Person(turnout) for _ in range(3))
    mine = giver.register(event).json()
    waiting.register(event)
    assert colleague.id
    answer = transfer(giver, mine, colleague.email.upper())
    assert (answer.status, answer.headers["cache-control"]) == (200, "private, no-store"), answer
    theirs = answer.json()
    assert colleague.registration(theirs).json() == theirs and theirs["status"] == "registered"
    assert giver.registration(mine).json()["status"] == "cancelled"
    assert eventually(organizer.read, event, "registered_count", "waitlisted_count") == (1, 1)
    assert mails(database, event) == sorted([("confirmation", giver.email), ("waitlisted", waiting.email),
                                             ("cancelled", giver.email), ("confirmation", colleague.email)])
    log = organizer.get(f"/api/events/{event['id']}/log?entity=registration").json()["log"]
    assert [(entry["action"], entry["entity_id"]) for entry in log[:2]] == [
        ("registration.received", theirs["id"]), ("registration.transferred", mine["id"])]
    assert log[0]["after"]["transferred_from"] == mine["id"] and log[1]["after"]["transferred_to"] == theirs["id"]
    # Who is not of this registration may not know of it; who manages the event may hand it on.
    assert transfer(waiting, theirs, giver.id).problem == "not-found"
    assert transfer(organizer, theirs, giver.id).json()["user_id"] == giver.id


def test_each_refusal_of_a_transfer_has_its_name(turnout, organizer):
    event = organizer.event(capacity=1, guests_allowed=False)
    giver, waiting, guest, employee = Person(turnout), Person(turnout), Person(turnout, kind="guest"), Person(turnout)
    mine, queued = giver.register(event).json(), waiting.register(event).json()
    refused = transfer(waiting, queued, employee.id)
    assert (refused.status, refused.problem, refused.json()["registration_status"]) == (409, "not-registered", "waitlisted")
    assert transfer(giver, mine, giver.id).problem == "already-registered"
    refused = transfer(giver, mine, guest.id)
    assert (refused.status, refused.problem, refused.json()["rule"]) == (403, "not-eligible", "guests_not_allowed")
    assert transfer(giver, mine, "nobody@example.com").problem == "invalid-fields"
    assert transfer(giver, mine, employee.id).status == 200


def test_a_transfer_and_a_list_with_their_key_give_the_byte_same_answer(turnout, organizer):
    event, giver, colleague = organizer.event(capacity=2), Person(turnout), Person(turnout)
    mine, key = giver.register(event).json(), {"Idempotency-Key": '"once"'}
    first = transfer(giver, mine, colleague.id, key)
    assert first.status == 200 and transfer(giver, mine, colleague.id, key).body == first.body
    assert transfer(giver, mine, organizer.id, key).problem == "key-reused"
    people = [Person(turnout).id for _ in range(3)]
    first = register_list(organizer, event, people, key)
    assert [one["outcome"] for one in first.json()["results"]] == ["registered", "waitlisted", "waitlisted"]
    organizer.cancel(first.json()["results"][0]["registration"])
    assert register_list(organizer, event, people, key).body == first.body
    assert register_list(organizer, event, people[:2], key).problem == "key-reused"


def test_a_list_tells_of_each_person_what_registering_alone_would_have(turnout, organizer):
    event, guest = organizer.event(capacity=1, guests_allowed=False, waitlist_enabled=False), Person(turnout, kind="guest")
    first, second = Person(turnout), Person(turnout)
    before = scrape(turnout)
    results = register_list(organizer, event, [guest.id, first.id, second.id, first.id]).json()["results"]
    assert [one["outcome"] for one in results] == ["refused", "registered", "refused", "existing"]
    for refused, who in ((results[0], guest), (results[2], second)):
        alone = who.register(event).json()
        assert refused["problem"] == {name: alone[name] for name in alone if name not in ("instance", "request_id")}
    assert first.registration(results[1]["registration"]).json() == results[1]["registration"]
    assert eventually(lambda: grown(turnout, before, "registrations_total")) == 6
    assert register_list(first, event, [first.id]).problem == "forbidden"
    draft = organizer.draft()
    assert register_list(organizer, draft, [first.id]).json()["results"][0]["problem"]["type"] == "/problems/not-published"
    assert register_list(first, draft, [first.id]).problem == "not-found"


def test_a_list_as_long_as_it_may_be_is_registered_and_a_longer_one_refused(database, organizer):
    event = organizer.event(capacity=900)
    with database.connect() as connection:
        people = [str(row[0]) for row in connection.execute(
            "insert into turnout.users (id, email, name) select gen_random_uuid(), 'list' || n || '@example.com', 'L'"
            " from generate_series(1, 1001) n returning id").fetchall()]
    refused = register_list(organizer, event, people)
    assert refused.problem == "invalid-fields" and refused.json()["errors"][0]["pointer"] == "/user_ids"
    wrong = register_list(organizer, event, [people[0], "x", 1])
    assert [error["pointer"] for error in wrong.json()["errors"]] == ["/user_ids/1", "/user_ids/2"]
    results = register_list(organizer, event, people[:1000]).json()["results"]
    assert [one["outcome"] for one in results] == ["registered"] * 900 + ["waitlisted"] * 100
    assert [one["user_id"] for one in results] == people[:1000]


def test_a_scheduler_that_dies_while_a_large_event_is_cancelled_leaves_the_rest_to_its_successor(new_turnout, postgres):
    turnout = new_turnout(event_work_interval="20ms")
    database, organizer = Database(postgres, turnout.database), Person(turnout, "organizer")
    event = organizer.event(capacity=2000)
    with database.connect() as connection, database.connect("postgres") as holder:
        crowd = [row[0] for row in connection.execute(
            "insert into turnout.users (id, email, name) select gen_random_uuid(), 'crowd' || n || '@example.com', 'C'"
            " from generate_series(1, 2200) n returning id").fetchall()]
        for at in range(0, len(crowd), 1000):
            Rules(connection).register(event["id"], *crowd[at:at + 1000])
        # Somebody reads a person of the second step so that this step has to wait.
        holder.autocommit = False
        holder.execute("select from turnout.registrations where event_id = %s and user_id = %s for update", (event["id"], crowd[1500]))
        answer = organizer.post(f"/api/events/{event['id']}/cancel")
        assert (answer.status, answer.json()["status"]) == (200, "cancelled"), answer
        assert answer.json()["registered_count"] + answer.json()["waitlisted_count"] == 1200
        refused = Person(turnout).register(event)
        assert (refused.status, refused.problem) == (409, "event-closed"), refused
        wait_until(lambda: database.rows("select pid from pg_stat_activity where datname = %s and wait_event_type = 'Lock'"
                                         " and query like '%%event_work_step%%'", (turnout.database,)), "the step waits")
        wait_replaced(turnout, "scheduler", turnout.kill("scheduler", how=signal.SIGKILL))
        holder.rollback()
    wait_until(lambda: database.value("select registered_count + waitlisted_count from turnout.event_seats where event_id = %s",
                                      (event["id"],)) == 0, "nobody is left")
    wait_until(lambda: database.value("select count(*) from turnout.event_work") == 0, "nothing is left to do")
    assert database.rows("select count(*), count(distinct user_id) from turnout.outbox where event_id = %s and kind = 'event_cancelled'",
                         (event["id"],)) == [(2200, 2200)]
    assert eventually(organizer.read, event, "registered_count", "waitlisted_count", "status") == (0, 0, "cancelled")
    wait_until(lambda: database.rows("select id from turnout.job_runs where job = 'event-work' and outcome = 'done' and rows > 0"),
               "the work is on record")
    runs = database.value("select count(*) from turnout.job_runs where job = 'event-work'")
    assert runs <= 4, "looking for work in vain leaves no record"
    database.rows("analyze turnout.registrations, turnout.audit_log, turnout.outbox")
    database.assert_consistent()
