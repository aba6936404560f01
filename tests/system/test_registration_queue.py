"""Who registers while others do waits a moment, and leaves with them in one commit; how many may wait, and for how long, is bounded."""

import concurrent.futures

import pytest

from reloading import reload
from sql_harness import wait_until
from waiting_room import Place, answers, daemon

CALLS = "orders_call_seconds_count"


@pytest.fixture(scope="module")
def one_worker(postgres, make_database):
    with daemon(postgres, make_database(), workers=1, queue_timeout="20s", db_statement_timeout="20s", db_acquire_timeout="20s") as running:
        yield running


@pytest.fixture
def place(one_worker, postgres):
    with concurrent.futures.ThreadPoolExecutor(16) as threads:
        made = Place(one_worker, postgres, threads)
        yield made
        made.close()


@pytest.mark.parametrize("most, calls", [("128", 2), ("3", 4)])
def test_those_who_come_while_a_call_is_in_flight_form_the_next_one(place, most, calls):
    reload(place.turnout, batch_max=most)
    before = place.figure(CALLS)
    with place.held_up():
        begun = place.begin_all(place.people)
        place.wait(7)
    assert [answer.status for answer in answers(begun)] == [201] * 8
    assert place.figure(CALLS) - before == calls, "7 wait: one call of 7, or of 3, 3 and 1"
    reload(place.turnout, batch_max="256")


def test_one_call_decides_for_several_events_and_people_who_leave(place):
    made = place.register(place.people[0], place.events[1]).json()["id"]
    before = place.figure(CALLS)
    with place.held_up():
        begun = place.begin_all(place.people[:1])
        begun += [place.threads.submit(place.people[0].delete, f"/api/registrations/{made}")]
        begun += [place.begin(place.people[number], place.events[number % 3]) for number in range(1, 8)]
        place.wait(8)
    assert [answer.status for answer in answers(begun)] == [201, 200] + [201] * 7
    assert place.figure(CALLS) - before == 2
    assert sorted(place.rows(place.people[0])) == [("cancelled",), ("registered",)]


def test_past_queue_max_people_are_told_at_once_to_come_again(place):
    reload(place.turnout, queue_max="3")
    refused = place.figure("orders_dropped_total", reason="queue-full")
    with place.held_up():
        begun = place.begin_all(place.people[:4])
        place.wait(3)
        answer = place.register(place.people[4])
        assert (answer.status, answer.problem) == (503, "overloaded") and int(answer.headers["retry-after"]) >= 1
        assert not any(one.done() for one in begun), "it was told before those in front of it"
        # Reads do not stand in that queue.
        assert place.people[4].get("/api/registrations").status == 200
    assert place.figure("orders_dropped_total", reason="queue-full") == refused + 1
    assert [answer.status for answer in answers(begun)] == [201] * 4
    assert place.rows(place.people[4]) == []
    assert place.register(place.people[4]).status == 201
    reload(place.turnout, queue_max="5000")


def test_past_queue_timeout_people_are_told_to_come_again_and_nothing_was_done(place):
    reload(place.turnout, queue_timeout="300ms")
    with place.held_up():
        begun = place.begin_all(place.people[:4])
        late = answers(begun[1:])
        assert [(answer.status, answer.problem) for answer in late] == [(503, "overloaded")] * 3
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in late)
        assert not begun[0].done(), "who is in flight is not given up"
    assert begun[0].result(60).status == 201
    assert [place.rows(person) for person in place.people[1:4]] == [[]] * 3
    reload(place.turnout, queue_timeout="20s")
    assert [place.register(person).status for person in place.people[1:4]] == [201] * 3


def test_who_leaves_before_it_costs_a_statement_is_not_registered_and_who_leaves_after_is(place):
    def order(person):
        body = b'{"event_id":"%s"}' % place.events[0].encode()
        client = place.turnout.connect()
        client.sendall(b"POST /api/registrations HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"
                       b"Content-Length: %d\r\n\r\n%s" % (person.token.encode(), len(body), body))
        return client
    late = place.figure("orders_dropped_total", reason="late")
    with place.held_up():
        with order(place.people[0]):
            place.wait(0)
            with order(place.people[1]):
                place.wait(1)
                stays = place.begin(place.people[2])
                place.wait(2)
    assert stays.result(60).status == 201
    assert [place.rows(person) for person in place.people[:3]] == [[("registered",)], [], [("registered",)]]
    assert place.figure("orders_dropped_total", reason="late") == late + 1
    wait_until(lambda: place.turnout.log_lines("decided for a client that has gone", "outcome=registered"), "that is logged")


POISON = "create table turnout.poisoned as select %s::uuid as id"
TRIGGER = """
grant select on turnout.poisoned to public;
create function turnout.poison() returns trigger language plpgsql as $$
begin
  if exists (select from turnout.poisoned p where p.id = new.user_id) then
    raise exception 'poison' using errcode = 'internal_error';
  end if;
  return new;
end $$;
create trigger poison before insert on turnout.registrations for each row execute function turnout.poison()
"""


def test_an_order_that_postgresql_refuses_fails_alone(place):
    bad = place.people[5]
    place.database.execute(POISON, (bad.id,))
    place.database.execute(TRIGGER)
    try:
        with place.held_up():
            begun = place.begin_all(place.people)
            place.wait(7)
        told = answers(begun)
    finally:
        place.database.execute("drop trigger poison on turnout.registrations; drop table turnout.poisoned; drop function turnout.poison()")
    assert [answer.status for answer in told] == [201] * 5 + [500] + [201] * 2
    assert told[5].problem == "internal" and place.rows(bad) == []
    assert place.register(bad).status == 201


def test_an_event_whose_seats_are_held_keeps_only_its_own_people_waiting(place):
    """The row is held for as long as it takes to see it: the event is stuck, others are decided, and then its people, too."""
    with place.held_up("select from turnout.event_seats where event_id = %s for update", place.events[0]):
        begun = [place.begin(person) for person in place.people[:6]]
        wait_until(lambda: place.figure("orders_stuck_events") == 1 and place.figure("orders_waiting") >= 5, "the event is stuck")
        others = [place.register(person, place.events[1]) for person in place.people]
        assert [answer.status for answer in others] == [201] * 8
        assert not any(one.done() for one in begun)
    assert [answer.status for answer in answers(begun)] == [201] * 6
    wait_until(lambda: place.figure("orders_busy_events") == 0, "an event that nobody asks for is an ordinary one again")
    assert place.figure("orders_stuck_events") == place.figure("orders_waiting") == 0
