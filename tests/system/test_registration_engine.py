"""Many who register at once: a lost connection, a row that somebody holds, and nobody else at all."""

import concurrent.futures
import os
import statistics
import time
import uuid

import psycopg
import pytest

from proxy import Proxy
from sql_harness import APP, wait_until
from waiting_room import Place, answers, daemon

FULL = bool(os.environ.get("TURNOUT_FULL"))
LONG = {"queue_timeout": "20s", "db_statement_timeout": "20s", "db_acquire_timeout": "20s"}
# Seconds for which somebody's transaction holds the row, and for which people wait for it.
HELD, PATIENCE = (30, 5) if FULL else (3, 1)


@pytest.fixture
def threads():
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        yield pool


@pytest.fixture(scope="module")
def behind_proxy(postgres, make_database):
    with Proxy(postgres.socket, postgres.port) as proxy, daemon(postgres, make_database(), proxy, workers=1, **LONG) as turnout:
        turnout.proxy = proxy
        yield turnout


@pytest.mark.parametrize("moment", ["before", "during", "after"])
def test_a_connection_that_is_lost_under_a_batch_costs_nobody_and_registers_nobody_twice(postgres, behind_proxy, threads, moment):
    proxy = behind_proxy.proxy
    place = Place(behind_proxy, postgres, threads)
    made = place.register(place.people[1], place.events[1]).json()["id"]
    with place.held_up():
        begun = place.begin_all(place.people)
        leaves = threads.submit(place.people[1].delete, f"/api/registrations/{made}")
        place.wait(8)
        proxy.cut("registration_batch", moment)
    told = answers(begun)
    assert len(proxy.fired) == 1, "no connection was cut: the test shows nothing"
    assert [answer.status for answer in told] == [201] * 8 and leaves.result(60).status == 200
    assert [place.rows(person) for person in place.people[2:]] == [[("registered",)]] * 6
    assert sorted(place.rows(place.people[1])) == [("cancelled",), ("registered",)]
    assert place.database.execute("select count(*) from turnout.audit_log where action = 'registration.registered'"
                                  " and event_id = %s", (place.events[0],)).fetchone()[0] == 8
    # What they were told is what there is, and who asks again is told the same.
    again = [place.register(person) for person in place.people]
    assert [answer.status for answer in again] == [200] * 8
    assert [answer.json()["id"] for answer in again] == [answer.json()["id"] for answer in told]
    place.close()


def test_a_row_that_somebody_holds_costs_its_own_people_503_and_others_nothing(postgres, make_database, threads, capsys):
    with daemon(postgres, make_database(), workers=2, queue_timeout=f"{PATIENCE}s") as turnout:
        place = Place(turnout, postgres, threads, people=12)
        others = place.people[6:]

        def others_for(seconds):
            """How long those of other events wait, who register and leave all the time."""
            took, end = [], time.monotonic() + seconds
            while time.monotonic() < end:
                for number, person in enumerate(others):
                    begun = time.monotonic()
                    answer = place.register(person, place.events[1 + number % 2])
                    took.append(time.monotonic() - begun)
                    assert answer.status == 201, answer
                    assert person.cancel(answer.json()).status == 200
            return sorted(took)[len(took) * 99 // 100] * 1000, len(took)

        before, _ = others_for(HELD / 3)
        with place.held_up("select from turnout.event_seats where event_id = %s for update", place.events[0]):
            asked = time.monotonic()
            begun = [place.begin(person) for person in place.people[:6]]
            wait_until(lambda: place.figure("orders_stuck_events") > 0, "the row is seen to be held")
            during, count = others_for(HELD)
            told = answers(begun)
            assert time.monotonic() - asked >= PATIENCE
            assert [(answer.status, answer.problem) for answer in told] == [(503, "overloaded")] * 6
            assert all(int(answer.headers["retry-after"]) >= 1 for answer in told)
        assert [place.rows(person) for person in place.people[:6]] == [[]] * 6
        assert [place.register(person).status for person in place.people[:6]] == [201] * 6
        place.close()
    with capsys.disabled():
        print(f"\n  other events, p99: {before:.1f} ms before, {during:.1f} ms of {count} while one was held for {HELD} s")
    assert during < 5 * max(before, 20)


def test_who_registers_while_nobody_else_does_waits_for_no_more_than_the_statement(postgres, make_database, threads, capsys):
    """The same statement, of people of the same kind, by turns."""
    count = 40
    with daemon(postgres, make_database(), workers=1) as turnout:
        place = Place(turnout, postgres, threads, people=count)
        with psycopg.connect(postgres.dsn(turnout.database, APP), autocommit=True) as bare:
            through, direct = [], []
            for number, person in enumerate(place.people):
                begun = time.monotonic()
                answer = place.register(person)
                through.append(time.monotonic() - begun)
                assert answer.status == 201, answer
                ids = [str(uuid.uuid4()), str(uuid.uuid4()), person.id, place.events[1]]
                begun = time.monotonic()
                outcome = bare.execute(
                    "select outcome from turnout.registration_batch('{register}', array[%s::uuid], array[%s::uuid], '{idle}',"
                    " array[%s::uuid], '{NULL}', array[%s::uuid], array[%s::uuid], false, 0)",
                    (ids[0], ids[1], ids[2], ids[3], ids[2]), prepare=True).fetchone()[0]
                direct.append(time.monotonic() - begun)
                assert outcome == "registered", number
        place.close()
    more = (statistics.median(through) - statistics.median(direct)) * 1000
    with capsys.disabled():
        print(f"\n  alone: {statistics.median(through) * 1000:.2f} ms by HTTP, {statistics.median(direct) * 1000:.2f} ms by the bare statement:"
              f" {more:.2f} ms more")
    assert more < 5
