"""Who registers alone waits for nobody: what the server adds to the statement itself is a millisecond at most."""

import statistics
import time

import psycopg
import pytest

from api import Person
from sql_harness import APP
from sql_rules import BATCH, batch_arguments, comes
from traffic import add_event

COUNT = 60
# Seconds that a registration may take above the bare statement.
ADDED = 0.001


def timed(function, *arguments):
    before = time.perf_counter()
    answer = function(*arguments)
    return time.perf_counter() - before, answer


@pytest.mark.alone
@pytest.mark.nosan
def test_an_idle_server_adds_next_to_nothing_to_the_statement(new_turnout, postgres):
    turnout = new_turnout(workers=1, access_log="no")
    with psycopg.connect(postgres.dsn(turnout.database, "postgres"), autocommit=True) as owner:
        event = add_event(owner, 10 * COUNT)
    people = [Person(turnout) for _ in range(2 * COUNT + 10)]
    for person in people:
        assert person.id
    served, bare = [], []
    with psycopg.connect(postgres.dsn(turnout.database, APP), autocommit=True, prepare_threshold=0) as session:
        def statement(person):
            return session.execute(BATCH, batch_arguments([comes(event, person.id)])).fetchall()
        for number, (one, other) in enumerate(zip(people[::2], people[1::2])):
            through, answer = timed(one.register, {"id": event})
            alone, row = timed(statement, other)
            assert answer.status == 201 and row[0][1] == "registered"
            if number >= 5:  # both have made their plans
                served.append(through)
                bare.append(alone)
    through, alone = statistics.median(served), statistics.median(bare)
    print(f"through the server {through * 1000:.2f} ms, the bare statement {alone * 1000:.2f} ms (medians of {len(served)})")
    assert through - alone < 5 * ADDED
