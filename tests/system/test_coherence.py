"""Nothing goes backwards: whatever happens to refresher, Redis, PostgreSQL and what lies between them, nobody is shown less than
somebody was shown before on that host."""

import contextlib
import os
import random
import signal
import threading
import time

import psycopg
import pytest

import cached
from own_postgres import own_postgres
from sql_harness import wait_until
from traffic import peers_of, pids, stopped, wait_replaced
from watch import Watch, event_numbers, list_numbers, stats_numbers

# What nobody has committed must not reach the disk by itself: the crash has to lose it.
CRASHING = {"wal_level": "minimal", "max_wal_senders": "0", "bgwriter_delay": "10000ms", "checkpoint_timeout": "1h",
            "wal_buffers": "64MB", "autovacuum": "off"}


@pytest.fixture(scope="module")
def cluster():
    with own_postgres(**CRASHING) as running:
        yield running


@pytest.fixture(scope="module")
def world(cluster):
    """With times so short that everything that has to do with them happens in seconds."""
    with cached.world_of(cluster, workers=2, fill_timeout="200ms", stale_max="300ms", coherent_time="2s",
                         changes_poll="500ms", ping_timeout="30s", complete_interval="1h", prune_interval="1h") as made:
        made.events = made.add_events(8)
        yield made


# --- the disturbances: each takes some two seconds and answers what shows that it happened ---

def the_refresher_is_killed(world):
    killed = [cached.kill_refresher(world.turnout, signal.SIGKILL) for _ in range(3)]
    assert all(before != after for before, after in killed)
    return killed


def the_refresher_is_restarted(world):
    before = cached.refresher(world.turnout)
    for _ in range(3):
        pid = cached.refresher(world.turnout)
        world.turnout.ctl("@refresher", "restart")
        wait_replaced(world.turnout, "refresher", pid)
    assert cached.refresher(world.turnout) != before
    return before


def the_refresher_crashes(world):
    before = cached.counted(world.turnout, "cache_distrusted_total")
    cached.kill_refresher(world.turnout, signal.SIGSEGV)
    assert cached.counted(world.turnout, "cache_distrusted_total") == before + 1
    return before


def redis_is_restarted(world):
    for _ in range(2):
        pid = world.redis.process.pid
        world.redis.restart()
        assert world.redis.process.pid != pid
        wait_until(lambda: world.redis.keys(), "turnoutd writes to the new Redis")
    return world.redis.keys()


def fills_are_slow(world):
    for name in ("refresher render", "refresher feed"):
        world.tap.delay(name, lambda: random.uniform(0, 0.15))
    world.redis_tap.delay("", lambda: random.uniform(0, 0.04))
    try:
        before = world.tap.delayed
        wait_until(lambda: world.tap.delayed > before + 40 and world.redis_tap.delayed > 10, "answers come late")
        for _ in range(3):
            before = world.tap.delayed
            cached.drop(world.turnout, "events:*")
            wait_until(lambda before=before: world.tap.delayed > before + 5, "what was dropped comes late")
    finally:
        for name in ("refresher render", "refresher feed"):
            world.tap.delay(name, None)
        world.redis_tap.delay("", None)
    return world.tap.delayed


def writes_reach_redis_late(world):
    held = 0
    for _ in range(4):
        world.redis_tap.hold("", up=True)
        wait_until(lambda: world.redis_tap.held_up("") > 0, "something is on its way to Redis")
        deadline = time.monotonic() + 0.2
        wait_until(lambda: time.monotonic() > deadline, "newer things have happened")
        held += world.redis_tap.held_up("")
        world.redis_tap.let_go()
        wait_until(lambda: world.redis.keys(), "Redis is written to again")
    assert held > 0
    return held


def redis_is_restored_from_an_old_file(world):
    wait_until(lambda: world.redis.keys(f"events:{world.events[0]}"), "events are in Redis")
    key = world.redis.keys(f"events:{world.events[0]}")[0]
    old_file, old_value = world.redis.save(), world.redis.call("GET", key)
    wait_until(lambda: world.redis.call("GET", key) not in (None, old_value), "something newer is in Redis")
    world.redis.stop()
    world.redis.file.write_bytes(old_file)
    world.redis.start()
    restored = world.redis.call("EXISTS", key)
    for _ in range(5):
        cached.drop(world.turnout, "events:*")
    assert restored == 1
    return restored


def evicted_entries_come_back_old_in_redis(world):
    replaced = 0
    for _ in range(8):
        keys = world.redis.keys(":events:")
        old = {key: world.redis.call("GET", key) for key in keys}
        seen = dict(world.writers.last)
        wait_until(lambda: all(world.writers.last.get(event) != seen.get(event) for event in world.events[:4]), "all is changed")
        for key, value in old.items():
            if value is not None:
                replaced += world.redis.call("SET", key, value) == "OK"
        cached.drop(world.turnout, "events:*")
    assert replaced > 8
    return replaced


def workers_serve_themselves(world):
    pid = cached.refresher(world.turnout)
    before = cached.counted(world.turnout, "db_statement_seconds_count", role="worker", pool="read")
    for seconds in (0.5, 3.0):
        with stopped([pid]):
            until = time.monotonic() + seconds
            wait_until(lambda until=until: time.monotonic() > until, "longer than fill_timeout, than coherent_time and stale_max")
    asked = cached.counted(world.turnout, "db_statement_seconds_count", role="worker", pool="read") - before
    assert asked > 0, "no worker has asked PostgreSQL itself"
    return asked


def the_listening_connection_is_ended(world):
    turnout = world.turnout
    for _ in range(3):
        reads = cached.counted(turnout, "cache_feed_reads_total")
        wait_until(lambda reads=reads: cached.counted(turnout, "cache_feed_reads_total") > reads, "it reads changes")
        lost = cached.counted(turnout, "db_connections_lost_total", role="refresher", pool="feed")
        listening = cached.backend(world, "refresher feed")
        assert [world.admin.execute("select pg_terminate_backend(%s)", (pid,)).fetchone()[0] for pid in listening] == [True]
        wait_until(lambda lost=lost: cached.counted(turnout, "db_connections_lost_total", role="refresher", pool="feed") > lost,
                   "the loss is noticed")
    return lost + 1


def everything_is_dropped(world):
    before = cached.counted(world.turnout, "cache_misses_total")
    for _ in range(20):
        cached.drop(world.turnout, "*")
    assert cached.counted(world.turnout, "cache_misses_total") > before
    return before


DISTURBANCES = [the_refresher_is_killed, the_refresher_is_restarted,
                pytest.param(the_refresher_crashes, marks=cached.crashes), redis_is_restarted, fills_are_slow,
                writes_reach_redis_late, redis_is_restored_from_an_old_file, evicted_entries_come_back_old_in_redis,
                workers_serve_themselves, the_listening_connection_is_ended, everything_is_dropped]


def watched(world, organizer=False):
    paths = {f"/api/events/{event}": event_numbers for event in world.events[:4]}
    paths |= {"/api/events": list_numbers, "/api/events?limit=4": list_numbers}
    if organizer:
        paths |= {f"/api/dashboard/events/{event}/stats": stats_numbers for event in world.events[:2]}
    return paths


@pytest.mark.parametrize("disturb", DISTURBANCES, ids=lambda function: function.__name__)
def test_nothing_goes_backwards_while(world, disturb, capsys):
    admin = world.turnout.token("admin@example.com", "admin")
    assert world.turnout.get("/api/users/me", admin).status == 200
    with Watch(world.turnout, watched(world, organizer=True), token=admin) as watch, \
            cached.Writers(world.cluster, world.turnout, world.events, rate=60) as writers:
        world.writers = writers
        watch.wait_for_answers(500)
        commits = writers.commits
        shown = disturb(world)
        watch.wait_for_answers(500)
        wait_until(lambda: writers.commits > commits + 20, "changes went on meanwhile")
        writers.going = False
        writers.thread.join(30)
        for event in world.events[:4]:
            watch.wait_shown(f"/api/events/{event}", version=writers.last.get(event, 1))
    watch.check()
    assert {status for status, count in watch.statuses.items() if count} == {200}
    with capsys.disabled():
        print(f"\n{disturb.__name__}: {watch.answers} answers, {writers.commits} changes, stale {watch.stale}, slowest "
              f"{watch.slowest * 1000:.0f} ms ({shown})", end="")


@contextlib.contextmanager
def burning(world, count):
    """Takes transaction ids that leave no trace on the disk: nothing of the transaction that takes them is ever waited for, and
    the process that would write it by and by stands still."""
    writer = world.admin.execute("select pid from pg_stat_activity where backend_type = 'walwriter'").fetchone()[0]
    os.kill(writer, signal.SIGSTOP)
    session = cached.connect(world.cluster, world.turnout)
    try:
        # A temporary table is not logged; each block with an exception is a transaction below the one around it.
        session.execute("begin")
        session.execute("create temp table burnt (n integer)")
        session.execute(f"""do $$ begin for i in 1..{count} loop
            begin insert into burnt values (1); raise division_by_zero; exception when division_by_zero then null; end;
            end loop; end $$""")
        yield writer
    finally:
        session.close()


def next_xid(connection):
    return connection.execute("select pg_snapshot_xmax(pg_current_snapshot())::text::bigint").fetchone()[0]


def crash(world, paths):
    """Takes 20,000 ids, has everything rendered after them, and crashes PostgreSQL. Answers which id was next before, and after."""
    # Rendered again in snapshots of after ids that the crash takes back; a commit now would save them.
    with burning(world, 20000) as writer:
        cached.drop(world.turnout, "*")
        for path in paths:
            assert world.turnout.get(path).status == 200
        high = next_xid(world.admin)
        reads = cached.counted(world.turnout, "cache_feed_reads_total")
        wait_until(lambda: cached.counted(world.turnout, "cache_feed_reads_total") > reads + 1, "the feed has read up to there")
        # It comes back later than those who change something.
        world.tap.hold("refresher feed")
        os.kill(writer, signal.SIGKILL)
        world.admin.close()
        world.admin = wait_until(lambda: reconnected(world.cluster, world.turnout, writer), "PostgreSQL has recovered")
    return high, next_xid(world.admin)


def test_nothing_goes_backwards_when_a_crashed_postgresql_hands_out_the_same_transaction_ids_again(world, capsys):
    turnout, cluster, events = world.turnout, world.cluster, world.events
    # What the crash made wrong must be found out, not be believed for a short time only.
    turnout.configure(coherent_time="1m")
    turnout.ctl("reload")
    with Watch(turnout, watched(world), pause=0.002) as watch:
        with cached.Writers(cluster, turnout, events, rate=100):
            watch.wait_for_answers(200)
        # Where somebody has committed in this moment after all, they are not taken back: once more.
        for _ in range(10):
            world.tap.let_go()
            high, low = crash(world, watched(world))
            if low < high - 10000:
                break
        assert low < high - 10000, f"the ids do not start again lower: {high}, then {low}"
        crashed = time.monotonic()
        # Fewer transactions than were lost: all that now commits is below what was rendered and read before.
        with cached.Writers(cluster, turnout, events, rate=100) as writers:
            wait_until(lambda: writers.commits > 50, "changes after the crash")
        world.tap.let_go()
        for event in events[:4]:
            watch.wait_shown(f"/api/events/{event}", version=writers.last.get(event, 1))
        recovered = time.monotonic() - crashed
        cached.drop(turnout, "*")
        watch.wait_for_answers(200)
    assert watch.regressions == [], watch.regressions[:3]
    assert {status for status, count in watch.statuses.items() if count} <= {200, 503}
    # And it is the cache that shows it, not each worker by itself, although the ids are still the lower ones.
    cached.wait_cached(turnout, *watched(world))
    assert all(cached.version_of(turnout, event) >= writers.last.get(event, 1) for event in events)
    assert next_xid(world.admin) < high
    turnout.configure(coherent_time="2s")
    turnout.ctl("reload")
    with capsys.disabled():
        print(f"\nids after {high} began again at {low}; {watch.answers} answers, {watch.statuses}, new again after {recovered:.1f} s",
              end="")


def reconnected(cluster, turnout, dead):
    """A session with the server that came after `dead`, a process of it, was killed: for a moment the old one still lets people in."""
    with contextlib.suppress(psycopg.OperationalError):
        session = cached.connect(cluster, turnout)
        writer = session.execute("select pid from pg_stat_activity where backend_type = 'walwriter'").fetchone()
        if writer is not None and writer[0] != dead:
            return session
        session.close()
    return None


def test_all_workers_are_watched(world):
    """The readers above see what every worker serves."""
    with Watch(world.turnout, watched(world), requests_each=50) as watch:
        seen, lock = set(), threading.Lock()

        def look():
            with lock:
                seen.update(pid for pid in pids(world.turnout, "worker") if peers_of(pid, world.turnout.port))
            return len(seen) == 2
        wait_until(look, "both workers have connections of the readers")
        watch.wait_for_answers(200)
    watch.check()
