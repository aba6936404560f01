"""Redis and PostgreSQL go away, stand still and come back under a host that serves from its cache."""

import os
import time

import pytest

import cached
from own_postgres import own_postgres
from sql_harness import wait_until
from watch import Watch, event_numbers, list_numbers

FULL = bool(os.environ.get("TURNOUT_FULL"))
# Seconds.
REDIS_TIMEOUT = 0.1
STALE_MAX = 25 if FULL else 2
# What a fill asks of Redis before it goes on: get, lease; and what it waits for at most where another host has the lease.
CALLS = 3


@pytest.fixture(scope="module")
def cluster():
    with own_postgres() as running:
        yield running
        if not running.running:
            running.start()


@pytest.fixture(scope="module")
def world(cluster):
    with cached.world_of(cluster, workers=2, redis_timeout=f"{REDIS_TIMEOUT * 1000:.0f}ms", coherent_time="1s", changes_poll="400ms",
                         stale_max=f"{STALE_MAX}s") as made:
        made.events = made.add_events(20)
        yield made


def cold_times(world, rounds=12):
    """How long requests take that find nothing in the cache."""
    found = []
    for number in range(rounds):
        event = world.events[number % len(world.events)]
        cached.drop(world.turnout, f"events:{event}")
        began = time.monotonic()
        assert cached.version_of(world.turnout, event) >= 1
        found.append(time.monotonic() - began)
    return found


@pytest.mark.alone
def test_redis_stopped_frozen_and_back_costs_nobody_more_than_its_time_out(world, capsys):
    turnout, slowest = world.turnout, {}
    wait_until(lambda: cached.counted(turnout, "redis_available") == 1, "Redis is connected")
    slowest["there"] = max(cold_times(world))
    world.redis.stop()
    slowest["stopped"] = max(cold_times(world))
    wait_until(lambda: cached.counted(turnout, "redis_available") == 0, "the metrics say that Redis is left alone")
    world.redis.start()
    wait_until(lambda: cached.counted(turnout, "redis_available") == 1, "Redis is asked again", 30)
    slowest["back"] = max(cold_times(world))
    wait_until(lambda: world.redis.keys("events:"), "Redis is written to")
    world.redis.freeze()
    try:
        slowest["frozen"] = max(cold_times(world))
        wait_until(lambda: cached.counted(turnout, "redis_available") == 0, "the metrics say that Redis is left alone")
        slowest["left alone"] = max(cold_times(world))
    finally:
        world.redis.thaw()
    wait_until(lambda: cached.counted(turnout, "redis_available") == 1, "Redis is asked again", 30)
    slowest["thawed"] = max(cold_times(world))
    with capsys.disabled():
        print("\nslowest cold request, ms: " + ", ".join(f"{name} {seconds * 1000:.0f}" for name, seconds in slowest.items()), end="")
    assert max(slowest.values()) < 5 * CALLS * REDIS_TIMEOUT
    # an outage soon after another one brings no second line
    assert 1 <= len(turnout.log_lines("level=warning", "Redis cannot be used")) <= 2


def test_cached_reads_outlive_postgresql_for_as_long_as_they_may(world, capsys):
    turnout, cluster = world.turnout, world.cluster
    paths = {f"/api/events/{event}": event_numbers for event in world.events[:5]} | {"/api/events": list_numbers}
    for path in paths:
        cached.wait_cached(turnout, path)
    assert "age" not in turnout.get("/api/events").headers
    with Watch(turnout, paths, pause=0.002) as watch:
        watch.wait_for_answers(50)
        stopped = time.monotonic()
        cluster.stop()
        wait_until(lambda: watch.stale > 50, "answers say their Age")
        answer = turnout.get("/api/events")
        assert answer.status == 200 and int(answer.headers["age"]) >= 1
        wait_until(lambda: 503 in watch.statuses, "stale answers end", STALE_MAX + 30)
        ended = time.monotonic() - stopped
        refused = wait_until(lambda: (lambda given: given if given.status == 503 else None)(turnout.get("/api/events")), "refused")
        assert refused.problem == "database-unavailable" and int(refused.headers["retry-after"]) >= 1
        cluster.start()
        world.admin = cached.connect(cluster, turnout)
        version = world.change(world.events[0])
        watch.wait_shown(f"/api/events/{world.events[0]}", version=version)
        wait_until(lambda: "age" not in turnout.get("/api/events").headers, "nothing is stale")
    assert watch.regressions == []
    assert set(watch.statuses) == {200, 503}
    early = [failure for failure in watch.failures if failure[0] < stopped + STALE_MAX]
    assert early == [], early[:3]
    with capsys.disabled():
        print(f"\nserved for {ended:.1f} s without PostgreSQL (stale_max {STALE_MAX} s, coherent_time 1 s), {watch.stale} with Age", end="")
    cached.wait_cached(turnout, *paths)
