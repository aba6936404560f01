"""Each way in which something old could come back, made to happen for certain. Every test here fails when the one guard that it
names is taken out; test_coherence.py shows that nothing else gets through."""

import contextlib
import os
import signal

import pytest

import cached
from metrics import scrape
from own_postgres import own_postgres
from own_redis import Session
from sql_harness import wait_until

# The refresher runs with sanitizers in test_coherence.py.
pytestmark = pytest.mark.nosan


@pytest.fixture(scope="module")
def cluster():
    with own_postgres() as running:
        yield running


@pytest.fixture(scope="module")
def world(cluster):
    with cached.world_of(cluster, workers=2, fill_timeout="100ms", stale_max="100ms", coherent_time="3s", changes_poll="1500ms",
                         ping_timeout="30s", redis_timeout="200ms") as made:
        yield made


@pytest.fixture
def event(world):
    """An event whose first version is in the cache and, where somebody looks, in Redis."""
    made = world.add_events(1)[0]
    cached.wait_cached(world.turnout, f"/api/events/{made}")
    wait_until(lambda: world.redis.keys(made), "the event is in Redis")
    return made


def never_less(world, event, version, times=60):
    """On fresh connections, so that both workers answer."""
    for _ in range(times):
        assert cached.version_of(world.turnout, event) >= version
        world.turnout.disconnect()


def test_an_old_body_in_redis_does_not_follow_an_entry_that_was_evicted(world, event):
    """Guard: the floor of the key, by which bodies from Redis are measured."""
    key = world.redis.keys(event)[0]
    old = world.redis.call("GET", key)
    version = world.change(event)
    cached.wait_version(world.turnout, event, version)
    wait_until(lambda: world.redis.call("GET", key) not in (None, old), "Redis has the new one")
    before = scrape(world.turnout)
    assert world.redis.call("SET", key, old) == "OK"
    cached.drop(world.turnout, f"events:{event}")
    # `cache drop` may take what is in Redis along.
    assert world.redis.call("SET", key, old) == "OK"
    never_less(world, event, version)
    after = scrape(world.turnout)
    assert after.sum("cache_unpublished_total", reason="older") > before.sum("cache_unpublished_total", reason="older")
    # The twin: what is in Redis and not too old is taken.
    wait_until(lambda: world.redis.call("GET", key) not in (None, old), "Redis has the new one again")
    before = scrape(world.turnout)
    new = world.redis.call("GET", key)
    cached.drop(world.turnout, f"events:{event}")
    world.redis.call("SET", key, new)
    never_less(world, event, version, 2)
    assert scrape(world.turnout).sum("cache_fills_total", source="redis") > before.sum("cache_fills_total", source="redis")


def test_a_body_from_redis_is_not_taken_when_its_event_has_changed_while_the_entry_was_gone(world, event):
    """Guard: a change that is read raises the floor, also of a key that is not cached."""
    key = world.redis.keys(event)[0]
    old = world.redis.call("GET", key)
    cached.drop(world.turnout, f"events:{event}")
    version = world.change(event)
    reads = cached.counted(world.turnout, "cache_feed_reads_total")
    wait_until(lambda: cached.counted(world.turnout, "cache_feed_reads_total") > reads + 1, "the change has been read")
    world.redis.call("SET", key, old)
    never_less(world, event, version, 4)


def test_a_calendar_from_redis_is_not_taken_when_its_event_has_changed_while_the_entry_was_gone(world, event):
    """Guard: the same floor, of the event's calendar."""
    path = f"/api/events/{event}/calendar.ics"
    cached.wait_cached(world.turnout, path)
    key, = wait_until(lambda: [key for key in world.redis.keys(event) if b"calendars:" in key], "the calendar is in Redis")
    old = world.redis.call("GET", key)
    cached.drop(world.turnout, f"calendars:{event}")
    version = world.change(event)
    reads = cached.counted(world.turnout, "cache_feed_reads_total")
    wait_until(lambda: cached.counted(world.turnout, "cache_feed_reads_total") > reads + 1, "the change has been read")
    world.redis.call("SET", key, old)
    for _ in range(4):
        assert f"\r\nSEQUENCE:{2 * version}\r\n" in world.turnout.get(path).body.decode()
        world.turnout.disconnect()


def test_a_render_that_was_overtaken_by_a_worker_is_not_published(world, event):
    """Guard: the ticket, compared with what workers have served themselves since the statement of the render was sent."""
    cached.drop(world.turnout, f"events:{event}")
    for key in world.redis.keys(event):
        world.redis.call("DEL", key)
    before = scrape(world.turnout)
    world.tap.hold("refresher render")
    try:
        cached.version_of(world.turnout, event)  # by the worker itself, after fill_timeout
        answers = world.tap.wait_held_with("refresher render", event.encode())
        version = world.change(event)
        # This one, too, and it shows the change.
        assert cached.version_of(world.turnout, event) == version
        world.tap.release("refresher render", answers)
        never_less(world, event, version, 4)
    finally:
        world.tap.let_go()
    after = scrape(world.turnout)
    assert after.sum("cache_unpublished_total", reason="overtaken") > before.sum("cache_unpublished_total", reason="overtaken")
    # The twin: without a delay it is published.
    cached.wait_cached(world.turnout, f"/api/events/{event}")
    assert cached.version_of(world.turnout, event) == version


def test_what_workers_gave_up_on_is_not_believed_again(world, event):
    """Guard: who extends coherent_until begins a new generation where a worker has served itself beside what lies there."""
    generation = cached.generation(world.turnout)
    world.tap.hold("refresher feed")
    try:
        world.tap.wait_held("refresher feed")
        # After the snapshot of the read whose answer waits.
        version = world.change(event)
        wait_until(lambda: cached.version_of(world.turnout, event) == version, "a worker asks PostgreSQL itself")
        world.tap.release("refresher feed", 1)
        never_less(world, event, version)
        wait_until(lambda: cached.generation(world.turnout) > generation, "a new generation")
    finally:
        world.tap.let_go()
    cached.wait_cached(world.turnout, f"/api/events/{event}")
    # The twin: after a lapse that no worker noticed, nothing is thrown away. Nobody reads meanwhile.
    generation = cached.generation(world.turnout)
    world.tap.hold("refresher feed")
    world.tap.wait_held("refresher feed")
    world.tap.let_go()
    assert cached.is_hit(world.turnout, f"/api/events/{event}")
    assert cached.generation(world.turnout) == generation


def test_a_change_that_a_refresher_did_not_live_to_read_is_read_by_its_successor(world, event):
    """Guard: the cursor in shared memory. What needs no rendering is kept."""
    other = world.add_events(1)[0]
    cached.wait_cached(world.turnout, f"/api/events/{other}")
    generation = cached.generation(world.turnout)
    os.kill(cached.refresher(world.turnout), signal.SIGSTOP)
    version = world.change(event)
    cached.kill_refresher(world.turnout, signal.SIGKILL)
    cached.wait_version(world.turnout, event, version)
    assert cached.generation(world.turnout) == generation
    before = cached.counted(world.turnout, "cache_misses_total")
    assert cached.is_hit(world.turnout, f"/api/events/{other}")
    assert cached.counted(world.turnout, "cache_misses_total") == before


def test_a_change_that_was_committed_while_nobody_listened_is_read_after_the_reconnect(world, event):
    """Guard: the first read of a connection goes on where the last one of its predecessor ended."""
    lost = cached.counted(world.turnout, "db_connections_lost_total", role="refresher", pool="feed")
    world.tap.hold("refresher feed")
    try:
        assert world.tap.cut("refresher feed") == 1
        wait_until(lambda: cached.counted(world.turnout, "db_connections_lost_total", role="refresher", pool="feed") > lost,
                   "the loss is noticed")
        listening = world.admin.execute("select count(*) from pg_stat_activity where datname = current_database()"
                                        " and application_name = 'turnout refresher feed' and query ilike '%listen%'").fetchone()[0]
        assert listening == 0
        version = world.change(event)
    finally:
        world.tap.let_go()
    cached.wait_version(world.turnout, event, version)
    never_less(world, event, version, 10)


def test_a_host_that_starts_takes_nothing_from_redis_that_is_older_than_its_start(world, event):
    """Guard: the first snapshot of the feed is the floor of everything."""
    turnout = world.turnout
    key = world.redis.keys(event)[0]
    old = world.redis.call("GET", key)
    turnout.stop()
    version = world.change(event)
    turnout.start()
    world.redis.call("SET", key, old)
    never_less(world, event, version)


def test_a_write_that_reaches_redis_late_does_not_replace_a_newer_body(cluster, world, event):
    """Guard: the script in Redis compares versions. The other host would take what it finds there."""
    key = world.redis.keys(event)[0]
    with cached.second_host(cluster, world.turnout, redis_socket=world.redis.socket) as other:
        cached.drop(world.turnout, f"events:{event}")
        world.redis.call("DEL", key)
        world.redis_tap.hold("", up=True)
        try:
            # Rendered without Redis, which does not answer; the result is on its way there.
            assert cached.version_of(world.turnout, event) == 1
            wait_until(lambda: held_writes(world, key), "the write is on its way")
            version = world.change(event)
            cached.wait_version(other, event, version)
            cached.drop(other, f"events:{event}")
            world.redis.call("DEL", key)
            cached.wait_version(other, event, version)
            wait_until(lambda: world.redis.call("GET", key), "the other host has written to Redis")
            monitor = Monitor(world.redis)
        finally:
            world.redis_tap.let_go()
        wait_until(lambda: monitor.commands(key, "eval", body_of(1)), "the late write has reached Redis")
        wait_until(lambda: cached.version_of(world.turnout, event) == version, "this host shows the change, too")
        assert body_of(version).encode().replace(b"\\", b"") in world.redis.call("GET", key)
        assert monitor.commands(key, "set", body_of(1)) == []


def body_of(version):
    """As the monitor prints it."""
    return f'\\"version\\":{version},'


class Monitor:
    """Everything that Redis does from now on, also what scripts do."""

    def __init__(self, redis):
        self.session = Session(redis.socket, redis.password)
        assert self.session.call("MONITOR") == "OK"
        self.lines = []

    def commands(self, key, word, fragment):
        """The commands with this key, this word at their beginning and this in their arguments."""
        self.session.socket.settimeout(0.02)
        with contextlib.suppress(TimeoutError):
            while True:
                self.lines.append(self.session._line().decode(errors="replace"))  # pylint: disable=protected-access
        return [line[:100] for line in self.lines
                if key.decode() in line and line.split("] ", 1)[1].lower().startswith(f'"{word}') and fragment in line]


def held_writes(world, key):
    """Not what asks for the key: what has a body in it."""
    return sum(key in piece and b'"version":1,' in piece for pair in list(world.redis_tap.pairs) for piece in list(pair.up))
