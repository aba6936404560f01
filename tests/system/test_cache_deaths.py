"""Processes that die or stand still while everybody reads: the refresher every second, a worker in the middle of a look, and a
refresher that has thousands of entries to render again and never a second to live."""

import json
import os
import signal
import time

import pytest

import cached
from load import run_clients
from metrics import scrape
from own_postgres import own_postgres
from sql_harness import wait_until
from traffic import is_alive, pids, wait_replaced
from watch import Watch, event_numbers, list_numbers

FULL = bool(os.environ.get("TURNOUT_FULL"))
KILLS = 60 if FULL else 5
ENTRIES = 5000 if FULL else 800


@pytest.fixture(scope="module")
def cluster():
    with own_postgres() as running:
        yield running


@pytest.fixture(scope="module")
def world(cluster):
    with cached.world_of(cluster, workers=2, ping_interval="200ms", ping_timeout="3s") as made:
        made.events = made.add_events(30)
        yield made


def exact(numbers, host_events):
    """What reads numbers from a body, after the whole of it has been looked at: JSON, all members, an event that there is."""
    def read(body):
        value = json.loads(body)
        for event in value.get("events", [value]):
            assert event["id"] in host_events and event["title"].isdigit() and event["capacity"] == 1000000
        return numbers(body)
    return read


def watched(world):
    known = set(world.events)
    paths = {f"/api/events/{event}": exact(event_numbers, known) for event in world.events[:10]}
    return paths | {path: exact(list_numbers, known) for path in ("/api/events", "/api/events?limit=7")}


def rates(before, after):
    hits, misses = (after.sum(name) - before.sum(name) for name in ("cache_hits_total", "cache_misses_total"))
    return hits, misses


@pytest.mark.full
@pytest.mark.alone
def test_a_refresher_that_is_killed_every_second_is_not_noticed(world, capsys):
    turnout, shares = world.turnout, []
    for path in watched(world):
        cached.wait_cached(turnout, path)
    with Watch(turnout, watched(world), pause=0.001) as watch, cached.Writers(world.cluster, turnout, world.events, rate=20):
        for _ in range(KILLS):
            killed = time.monotonic()
            cached.kill_refresher(turnout, signal.SIGKILL)
            # Back when of what was asked meanwhile nine in ten were hits.
            while True:
                before = scrape(turnout)
                watch.wait_for_answers(200)
                hits, misses = rates(before, scrape(turnout))
                if hits > 9 * misses:
                    break
                assert time.monotonic() - killed < 20, f"{hits} hits, {misses} misses"
            shares.append(time.monotonic() - killed)
            wait_until(lambda killed=killed: time.monotonic() > killed + 1, "a second has passed")
    watch.check()
    assert set(watch.statuses) == {200}
    with capsys.disabled():
        print(f"\n{KILLS} kills, {watch.answers} answers, slowest {watch.slowest * 1000:.0f} ms, hits back after at most "
              f"{max(shares):.2f} s", end="")


@cached.crashes
def test_after_a_crash_of_the_refresher_nothing_that_it_left_is_served(world):
    turnout = world.turnout
    cached.wait_cached(turnout, "/api/events")
    with Watch(turnout, watched(world), pause=0.002) as watch, cached.Writers(world.cluster, turnout, world.events, rate=20):
        for how in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS):
            before = scrape(turnout)
            cached.kill_refresher(turnout, how)
            assert cached.counted(turnout, "cache_distrusted_total") == before.sum("cache_distrusted_total") + 1
            # All is rendered again, not found.
            wait_until(lambda before=before: cached.counted(turnout, "cache_renders_total") - before.sum("cache_renders_total") >= 12,
                       "what is asked for is rendered")
            cached.wait_cached(turnout, *watched(world))
            watch.wait_for_answers(100)
    watch.check()
    # The twin: one that is only killed leaves what may be kept.
    before = scrape(turnout)
    cached.kill_refresher(turnout, signal.SIGKILL)
    assert cached.counted(turnout, "cache_distrusted_total") == before.sum("cache_distrusted_total")
    cached.wait_cached(turnout, "/api/events")


def test_a_worker_that_stands_still_holds_up_nobody_else_and_is_replaced(world):
    turnout = world.turnout
    pid = pids(turnout, "worker")[0]
    with cached.Writers(world.cluster, turnout, world.events, rate=50) as writers, \
            Watch(turnout, watched(world), connections=16, requests_each=20) as watch:
        watch.wait_for_answers(200)
        # In the middle of whatever: it may hold a pin for as long as it stands still.
        os.kill(pid, signal.SIGSTOP)
        versions = dict(writers.last)
        watch.wait_for_answers(200)
        for event in world.events[:3]:
            watch.wait_shown(f"/api/events/{event}", version=versions.get(event, 1))
        wait_replaced(turnout, "worker", pid, patience=30)
        watch.wait_for_answers(200)
    assert watch.regressions == []
    # Those whose connections it had were lost with it, nobody else.
    assert len(watch.failures) <= 16, watch.failures
    # As the refresher tells it now and then.
    wait_until(lambda: cached.counted(turnout, "cache_pins") == 0, "nothing that the one before it had is kept from being used again")
    assert not is_alive(pid)


@pytest.mark.full
@pytest.mark.nosan
def test_a_refresher_that_never_lives_longer_than_a_second_makes_progress(cluster, capsys):
    """And says that everything shows a moment only when that is true."""
    with cached.world_of(cluster, with_redis=False, workers=2, coherent_time="1m", changes_poll="500ms") as world:
        turnout = world.turnout
        events = world.add_many(ENTRIES)
        for _ in range(2):
            ask_for(turnout, events)
        wait_until(lambda: cached.counted(turnout, "cache_entries", pattern="event") >= ENTRIES * 0.95, "all are cached")
        # Slowly enough that one life is not enough for all.
        world.tap.delay("refresher render", lambda: 0.04)
        began = time.monotonic()
        world.admin.execute(cached.ONE_MORE, (events,))
        committed = time.time()
        before, kills, deadline = scrape(turnout), 0, time.monotonic() + 120
        while not says_it_shows(turnout, committed):
            assert time.monotonic() < deadline, f"no progress after {kills} kills"
            cached.kill_refresher(turnout, signal.SIGKILL)
            kills += 1
            lived = time.monotonic() + 1
            wait_until(lambda lived=lived: time.monotonic() > lived or says_it_shows(turnout, committed), "a second of life")
        world.tap.delay("refresher render", None)
        old = [event for event in events if cached.version_of(turnout, event) < 2]
        rendered = cached.counted(turnout, "cache_renders_total", pattern="event") - before.sum("cache_renders_total", pattern="event")
        assert old == [], f"{len(old)} of {len(events)} are old although everything is said to be new"
        with capsys.disabled():
            print(f"\n{len(events)} entries, {kills} kills, {rendered:.0f} renders, {time.monotonic() - began:.1f} s", end="")
        assert kills >= 1


def says_it_shows(turnout, moment):
    """Whether everything in the cache is said to show every commit up to the moment, which is one of time.time()."""
    return cached.counted(turnout, "cache_coherent_timestamp_seconds") > moment


def ask_for(turnout, events):
    """Each once, many at a time."""
    left = list(events)

    async def script(client, _):
        while left:
            answer = await client.get(f"/api/events/{left.pop()}")
            assert answer.status == 200, answer.body
    run_clients(turnout.port, 16, script)
