"""What many people asked for goes to PostgreSQL in one call: when its connection breaks, or its worker dies, each of them is told what
became of their own request, and it was done once."""

import concurrent.futures
import contextlib
import types
import uuid

import psycopg
import pytest

from api import Person
from conftest import run_turnout
from metrics import scrape
from proxy import Proxy
from sql_harness import Database, wait_until
from traffic import add_event, wait_replaced

# Of an answer, what belongs to the delivery and not to what was decided.
DELIVERY = {"date", "x-request-id", "connection"}


@pytest.fixture(scope="module")
def place(postgres, make_database):
    """`here` (one worker, so that all meet in it, behind a proxy) and `there` on one database, with the same keys of identity."""
    name = make_database()
    made = types.SimpleNamespace(database=Database(postgres, name))
    patient = {"db_acquire_timeout": "20s", "db_statement_timeout": "20s", "queue_timeout": "20s"}
    with contextlib.ExitStack() as stack:
        made.proxy = stack.enter_context(Proxy(postgres.socket, postgres.port))
        made.here = run_turnout(postgres, name, workers=1, **patient)
        stack.callback(made.here.remove)
        made.here.configure(database=made.here.options["database"].replace(str(postgres.socket), str(made.proxy.folder)))
        made.there = run_turnout(postgres, name, workers=2, jwt_keys_file=made.here.folder / "jwks.json", **patient)
        stack.callback(made.there.remove)
        made.there.key = made.here.key
        made.here.start()
        made.there.start()
        made.sql = stack.enter_context(psycopg.connect(postgres.dsn(name, "postgres"), autocommit=True))
        made.people = [Person(made.here) for _ in range(8)]
        for person in made.people:
            assert person.id
        yield made
    made.database.assert_consistent()


@pytest.fixture
def threads():
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        yield pool


def waiting(place, count):
    wait_until(lambda: scrape(place.here).sum("orders_waiting") == count and scrape(place.here).sum("orders_in_flight") == 1,
               f"{count} wait behind the first")


@contextlib.contextmanager
def first_in_flight(place, postgres, threads, event):
    """Whoever comes within the block waits behind one whose call is held up, and all leave together at its end."""
    with psycopg.connect(postgres.dsn(place.here.database, "postgres")) as holder:
        holder.execute("lock table turnout.event_seats in exclusive mode")
        first = threads.submit(place.people[0].register, event)
        waiting(place, 0)
        yield
        holder.rollback()
    assert first.result(60).status == 201


def statuses(place, event):
    return dict(place.sql.execute("select user_id::text, status::text from turnout.registrations where event_id = %s",
                                  (event["id"],)).fetchall())


def actions(place, event):
    return sorted(place.sql.execute("select action, entity_id::text from turnout.audit_log where event_id = %s and entity = 'registration'",
                                    (event["id"],)).fetchall())


@pytest.mark.parametrize("moment", ["before", "during", "after"])
def test_everybody_whose_common_call_was_cut_is_told_what_was_done_and_it_was_done_once(place, postgres, threads, moment):
    """Four seats: two people come, two leave, and two more wait for a place."""
    event = {"id": add_event(place.sql, 4)}
    leaving, coming = place.people[1:3], place.people[3:8]
    held = [person.register(event).json() for person in leaving]
    calls = scrape(place.here).sum("orders_call_seconds_count")
    with first_in_flight(place, postgres, threads, event):
        left = [threads.submit(person.cancel, registration) for person, registration in zip(leaving, held)]
        waiting(place, 2)
        came = []
        for person in coming:  # one behind the other
            came.append(threads.submit(person.register, event))
            waiting(place, 2 + len(came))
        place.proxy.cut("registration_batch", moment)
    left, came = [one.result(60) for one in left], [one.result(60) for one in came]
    assert place.proxy.fired == [("registration_batch", moment)], "no connection was cut: the test shows nothing"
    assert scrape(place.here).sum("orders_call_seconds_count") == calls + 2, "they did not leave together"
    assert [(answer.status, answer.json()["status"]) for answer in left] == [(200, "cancelled")] * 2
    assert [(answer.status, answer.json()["status"], answer.json()["position"]) for answer in came] == (
        [(201, "registered", None)] * 3 + [(201, "waitlisted", 1), (201, "waitlisted", 2)])
    expected = {place.people[0].id: "registered"} | {person.id: "cancelled" for person in leaving}
    expected |= {person.id: answer.json()["status"] for person, answer in zip(coming, came)}
    assert statuses(place, event) == expected
    done = actions(place, event)
    assert len(done) == len(set(done)) == 10, done


def essence(answer):
    """What must be the same: status, headers in their order, body."""
    return answer.status, [header for header in answer.header_list if header[0] not in DELIVERY], answer.body


def test_everybody_with_a_key_gets_the_same_answer_again_after_their_worker_died_behind_the_commit(place, postgres, threads):
    """Two seats and four people with keys in one call, decided and committed; nobody has heard of it when the worker is killed."""
    event = {"id": add_event(place.sql, 3)}
    people = place.people[1:5]
    keys = {person: {"Idempotency-Key": f'"{uuid.uuid4()}"'} for person in people}

    def stored():
        return dict(place.sql.execute("select user_id::text, body from turnout.idempotency_keys where key = any (%s)",
                                      ([header["Idempotency-Key"].strip('"') for header in keys.values()],)).fetchall())
    with first_in_flight(place, postgres, threads, event):
        lost = [threads.submit(person.register, event, headers=keys[person]) for person in people]
        waiting(place, len(people))
        place.proxy.held = True  # the worker finds no connection to ask what became of them
        place.proxy.cut("registration_batch_keyed", "after")
    wait_until(lambda: len(stored()) == len(people), "all are committed")
    assert place.proxy.fired and not any(one.done() for one in lost), "there is an answer already: the test shows nothing"
    before = actions(place, event)
    victim = place.here.kill("worker")
    for one in lost:
        with pytest.raises(OSError):
            one.result(60)
    elsewhere = {}
    for person in people:
        there = Person(place.there)
        there.token = person.token
        elsewhere[person] = there.register(event, headers=keys[person])
        assert (elsewhere[person].status, elsewhere[person].body.decode()) == (201, stored()[person.id])
    place.proxy.held = False
    wait_replaced(place.here, "worker", victim)
    place.here.wait_ready()
    assert [essence(person.register(event, headers=keys[person])) for person in people] == [essence(elsewhere[person]) for person in people]
    assert sorted(answer.json()["status"] for answer in elsewhere.values()) == ["registered"] * 2 + ["waitlisted"] * 2
    assert actions(place, event) == before
    # Their twins, by other keys: those who have a row are told of it.
    assert [person.register(event, headers={"Idempotency-Key": f'"{uuid.uuid4()}"'}).status for person in people] == [200] * 4
