"""Writes to one event wait for each other in the worker: those who waited too long, or have gone, are not served late."""

import concurrent.futures
import json
import pathlib
import socket
import struct

import psycopg
import pytest

from api import Person
from metrics import scrape
from reloading import reload
from sql_harness import OWNER, wait_until


@pytest.fixture
def held(postgres, new_turnout):
    """One worker, an event, and a session that holds its seats row until it is released."""
    turnout = new_turnout(workers=1, queue_timeout="60s")
    event = Person(turnout, "organizer").event(capacity=10)
    people = [Person(turnout) for _ in range(3)]
    for person in people:
        assert person.id
    with psycopg.connect(postgres.dsn(turnout.database, OWNER)) as session:
        session.execute("select from turnout.event_seats where event_id = %s for update", (event["id"],))
        yield turnout, event, people, session


def rows(turnout, person):
    return person.get("/api/registrations").json()["registrations"]


def test_everybody_behind_a_row_that_stays_held_is_told_to_come_again(held):
    turnout, event, people, session = held
    reload(turnout, queue_timeout="500ms")
    with concurrent.futures.ThreadPoolExecutor(3) as threads:
        answers = list(threads.map(lambda person: person.register(event), people))
    for answer in answers:
        assert (answer.status, answer.problem) == (503, "overloaded")
        assert int(answer.headers["retry-after"]) >= 1
    session.rollback()
    reload(turnout, queue_timeout="60s")
    assert [person.register(event).status for person in people] == [201] * 3


def is_connected(turnout, client_port):
    """Whether the kernel has turnout's end of a connection from this port of ours. Ports of the same number that others use, or that
    wait for their minute after a connection (TIME_WAIT), are none of ours."""
    rows = [line.split() for line in pathlib.Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()]
    return any(row[3] == "01" and row[1].endswith(f":{turnout.port:04X}") and row[2].endswith(f":{client_port:04X}") for row in rows)


def test_who_has_gone_while_waiting_behind_others_is_not_registered(held):
    """A client that goes while its order is with PostgreSQL is registered; so each step waits until turnout says that it is there."""
    turnout, event, people, session = held
    first, gone, last = people

    def figure(name, **labels):
        return scrape(turnout).sum(name, **labels)

    def asked():
        return figure("orders_waiting") + figure("orders_in_flight")

    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        before = threads.submit(first.register, event)
        wait_until(lambda: figure("orders_stuck_events") == 1, "the first one waits, and the event is only asked after now and then")
        body = json.dumps({"event_id": event["id"]}).encode()
        client = turnout.connect()
        client.sendall(b"POST /api/registrations HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + gone.token.encode() +
                       b"\r\nContent-Type: application/json\r\nContent-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body)
        wait_until(lambda: asked() == 2, "the second one waits behind it")
        behind = threads.submit(last.register, event)
        wait_until(lambda: asked() == 3, "the third one waits behind both")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, not an end
        port = client.getsockname()[1]
        assert is_connected(turnout, port)
        client.close()
        wait_until(lambda: not is_connected(turnout, port), "the second one has gone")
        session.rollback()
        assert before.result().status == 201
        assert behind.result().status == 201
    assert figure("orders_dropped_total", reason="event-busy") == 1
    assert rows(turnout, gone) == []
    assert len(rows(turnout, first)) == len(rows(turnout, last)) == 1
