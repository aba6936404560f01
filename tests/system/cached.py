"""What tests of the hot cache need: a turnoutd whose way to PostgreSQL and Redis can be disturbed, events whose numbers only grow,
people who change them, and looks at what is in the cache.

Events are named by their version: `title` is the number that `version` is, as pages of the list show no version.
"""

import contextlib
import itertools
import os
import threading
import time

import psycopg
import pytest

from metrics import scrape
from own_postgres import connect, own_turnout
from own_redis import OwnRedis
from server import Turnout
from sql_harness import APP, wait_until
from tap import Tap
from traffic import add_event, pids, wait_replaced

# Of tests that bring about a crash.
crashes = pytest.mark.skipif("TURNOUT_SANITIZER_LOGS" in os.environ, reason="a sanitizer reports the crash that the test brings about")
# What a refresher may need at most from commit to new body, where nothing is wrong: five times what is promised.
SOON = 0.5

ONE_MORE = ("update turnout.events set version = version + 1, title = (version + 1)::text where id = any(%s) returning id::text, version")
# Events by the thousand, as add_event makes them one by one.
MANY = """
with made as (
  insert into turnout.events (id, event_year, title, start_datetime, end_datetime, status, capacity)
  select gen_random_uuid(), extract(year from start_at at time zone 'UTC'), '1', start_at, start_at + interval '2 hours', 'published', 10
  from (select now() + %(starts_in)s::interval + n * interval '1 second' as start_at from generate_series(1, %(count)s) n) moments
  returning id, capacity
), seats as (
  insert into turnout.event_seats (event_id, capacity) select id, capacity from made
)
select id::text from made
"""
ONE_REGISTERED = "update turnout.event_seats set registered_count = registered_count + 1 where event_id = any(%s)"


class World:
    """One turnoutd with everything around it."""

    def __init__(self, cluster, redis, tap, redis_tap, turnout):
        self.cluster, self.redis, self.tap, self.redis_tap, self.turnout = cluster, redis, tap, redis_tap, turnout
        self.admin = connect(cluster, turnout)

    def add_events(self, count, **fields):
        return [add_event(self.admin, 1000000, "1", **fields) for _ in range(count)]

    def add_many(self, count, starts_in="60 days"):
        return [row[0] for row in self.admin.execute(MANY, {"count": count, "starts_in": starts_in}).fetchall()]

    def change(self, *events):
        """A committed edit and a registration of each; answers the version of the last."""
        return change(self.admin, *events)


@contextlib.contextmanager
def world_of(cluster, with_redis=True, **options):
    """`cluster`: of own_postgres. The way to it and to Redis leads through taps."""
    with contextlib.ExitStack() as stack:
        redis = redis_tap = None
        if with_redis:
            redis = stack.enter_context(OwnRedis())
            redis_tap = stack.enter_context(Tap(redis.socket, postgres=False))
            options = {**redis.options, "redis_socket": redis_tap.path, **options}
        tap = stack.enter_context(Tap(cluster.socket / f".s.PGSQL.{cluster.port}"))
        turnout = stack.enter_context(own_turnout(cluster, through=tap.folder, access_log="no", **options))
        world = World(cluster, redis, tap, redis_tap, turnout)
        try:
            yield world
        finally:
            tap.let_go()
            world.admin.close()


@contextlib.contextmanager
def second_host(cluster, first, **options):
    """Another turnoutd beside the first: its own folder and sockets, the same database, keys and Redis."""
    shared = {name: first.options[name] for name in ("jwt_keys_file", "cursor_key_file", "redis_socket", "redis_password_file")
              if name in first.options}
    turnout = Turnout(cluster.dsn(first.database, APP), first.options["database_owner"], access_log="no", **{**shared, **options})
    turnout.key, turnout.database = first.key, first.database
    try:
        yield turnout.start()
    finally:
        turnout.remove()


def change(connection, *events):
    events = list(events)
    with connection.transaction():
        rows = dict(connection.execute(ONE_MORE, (events,)).fetchall())
        connection.execute(ONE_REGISTERED, (events,))
    return rows[events[-1]]


class Writers:
    """Changes events of a list in their turn, `batch` in a transaction, some `rate` transactions a second, until the block ends."""

    def __init__(self, cluster, turnout, events, rate=100, batch=1):
        self.cluster, self.turnout, self.events, self.pause, self.batch = cluster, turnout, events, 1 / rate, batch
        self.turns = itertools.cycle(events)
        self.commits = 0
        self.lost = 0
        self.last = {}  # version by event, committed for certain
        self.going = True
        self.error = None
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        wait_until(lambda: self.commits > 0 or self.error, "the first change")
        return self

    def __exit__(self, kind, error, trace):
        self.going = False
        self.thread.join(30)
        assert not self.thread.is_alive(), "the writers do not end"
        if self.error is not None and kind is None:
            raise self.error

    def _run(self):
        try:
            while self.going:
                try:
                    with connect(self.cluster, self.turnout) as connection:
                        self._write(connection)
                except psycopg.OperationalError:
                    self.lost += 1
                    time.sleep(0.02)
        except BaseException as error:  # pylint: disable=broad-except
            self.error = error

    def _write(self, connection):
        due = time.monotonic()
        while self.going:
            chosen = list(itertools.islice(self.turns, self.batch))
            with connection.transaction():
                rows = connection.execute(ONE_MORE, (chosen,)).fetchall()
                connection.execute(ONE_REGISTERED, (chosen,))
            self.last.update(rows)
            self.commits += 1
            due = max(due + self.pause, time.monotonic() - 1)
            time.sleep(max(0, due - time.monotonic()))


# --- looks ---

def version_of(turnout, event):
    answer = turnout.get(f"/api/events/{event}")
    assert answer.status == 200, answer
    return answer.json()["version"]


def counted(turnout, name, **labels):
    """A sum of the metrics now: counted(turnout, "cache_hits_total", pattern="event")."""
    return scrape(turnout).sum(name, **labels)


def generation(turnout):
    """As the refresher tells it once a second; a new one has not told it yet."""
    return wait_until(lambda: counted(turnout, "cache_generation"), "the generation is told")


def is_hit(turnout, path, **keywords):
    """Asks once; whether the hot cache answered."""
    before = counted(turnout, "cache_hits_total")
    answer = turnout.get(path, **keywords)
    assert answer.status == 200, answer
    return counted(turnout, "cache_hits_total") > before


def wait_cached(turnout, *paths, patience=20, **keywords):
    for path in paths:
        wait_until(lambda path=path: is_hit(turnout, path, **keywords), f"{path} is in the cache", patience)


def wait_coherent(*turnouts):
    """Until what has been committed by now is behind each cache: nothing of it is rendered or deleted any more."""
    now = time.time()
    for turnout in turnouts:
        wait_until(lambda turnout=turnout: counted(turnout, "cache_coherent_timestamp_seconds") > now, "what was written is known", 20)


def wait_version(turnout, event, version, patience=20):
    """Until the host shows this version of the event, or a later one; answers how long that took."""
    began = time.monotonic()
    wait_until(lambda: version_of(turnout, event) >= version, f"version {version} of {event} is shown", patience)
    return time.monotonic() - began


def drop(turnout, pattern):
    turnout.ctl("cache", "drop", pattern)


def refresher(turnout):
    return pids(turnout, "refresher")[0]


def kill_refresher(turnout, how, patience=20):
    """Ends the refresher by a signal and waits for its successor; answers both pids."""
    before = turnout.kill("refresher", how=how)
    return before, wait_replaced(turnout, "refresher", before, patience)[0]


def backend(world, name):
    """pids of PostgreSQL's processes that serve the connections of this name."""
    return [row[0] for row in world.admin.execute(
        "select pid from pg_stat_activity where datname = current_database() and application_name like %s",
        (f"turnout {name}%",)).fetchall()]
