"""What people are told of a write whose connection to PostgreSQL was cut while it was at work."""

import pathlib
import shutil
import socket
import tempfile
import threading

import psycopg
import pytest

from api import Person
from conftest import run_turnout
from sql_harness import APP, OWNER, Database, wait_until

WAITS = "select count(*) from pg_stat_activity where datname = %s and wait_event_type = 'Lock' and query like '%%registration_batch%%'"
# Told so by the rule, it has gone idle again; the lost one is not idle.
WAS_BUSY = "select count(*) from pg_stat_activity where datname = %s and state = 'idle' and query like '%%registration_batch%%'"
REGISTERED = "select count(*) from turnout.registrations where event_id = %s"


class Cable:
    """A socket in a folder of its own that leads to PostgreSQL and can be cut: turnoutd sees the end, PostgreSQL does not."""

    def __init__(self, cluster):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="cab."))
        self.target = str(cluster.socket / f".s.PGSQL.{cluster.port}")
        self.pairs, self.plugged = [], True
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.folder / f".s.PGSQL.{cluster.port}"))
        self.listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near = self.listener.accept()[0]
            except OSError:
                return
            if not self.plugged:
                near.close()
                continue
            far = socket.socket(socket.AF_UNIX)
            far.connect(self.target)
            self.pairs.append((near, far))
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    @staticmethod
    def _pass_on(one, other):
        try:
            while data := one.recv(65536):
                other.sendall(data)
        except OSError:
            pass

    def cut(self):
        for near, _ in self.pairs:
            near.shutdown(socket.SHUT_RDWR)

    def unplug(self):
        """Cuts, and lets nobody in again."""
        self.plugged = False
        self.cut()

    def remove(self):
        self.listener.close()
        for pair in self.pairs:
            for end in pair:
                end.close()
        shutil.rmtree(self.folder)


@pytest.fixture
def cable(postgres):
    one = Cable(postgres)
    yield one
    one.remove()


@pytest.fixture
def turnout(postgres, make_database, cable):
    """One worker behind the cable, which gives up soon."""
    one = run_turnout(postgres, make_database(), workers=1, db_acquire_timeout="1s", queue_timeout="1s")
    one.configure(database=postgres.dsn(one.database, APP).replace(str(postgres.socket), str(cable.folder)))
    try:
        yield one.start()
    finally:
        one.remove()
    Database(postgres, one.database).assert_consistent()


def register_meanwhile(person, event):
    """Registers in a thread; answers the list that will hold the answer, and the thread."""
    answers = []
    asking = threading.Thread(target=lambda: answers.append(person.register(event)))
    asking.start()
    return answers, asking


@pytest.mark.parametrize("comes_back", [True, False])
def test_who_is_told_that_nothing_was_written_is_not_registered_later(postgres, turnout, cable, comes_back):
    organizer, person, other = Person(turnout, "organizer"), Person(turnout), Person(turnout)
    event = organizer.event()
    assert person.id and other.id
    with psycopg.connect(postgres.dsn(turnout.database, OWNER)) as holder, \
         psycopg.connect(postgres.dsn(turnout.database), autocommit=True) as watcher:

        def count(query, key):
            return watcher.execute(query, (key,)).fetchone()[0]

        # Somebody else's lock: the answer is "later", and nothing was written.
        holder.execute("select from turnout.event_seats where event_id = %s for update", (event["id"],))
        answer = other.register(event)
        assert (answer.status, answer.problem) == (503, "overloaded")
        holder.rollback()
        assert count(REGISTERED, event["id"]) == 0
        assert other.register(event).status == 201

        # Our own lost try holds the seats row; it commits when the lock that it waits for is gone.
        holder.execute("select from turnout.event_department_counts where event_id = %s for update", (event["id"],))
        answers, asking = register_meanwhile(person, event)
        wait_until(lambda: count(WAITS, turnout.database), "the registration waits in PostgreSQL")
        cable.cut()
        wait_until(lambda: count(WAS_BUSY, turnout.database), "it was sent again and found the row taken")
        if comes_back:
            asking.join()
        else:
            cable.unplug()
        assert count(REGISTERED, event["id"]) == 1
        holder.rollback()
        wait_until(lambda: count(REGISTERED, event["id"]) == 2, "the lost try has committed")
        asking.join()
    assert (answers[0].status, answers[0].problem) == (503, "outcome-unknown"), answers
    assert int(answers[0].headers["retry-after"]) > 0
