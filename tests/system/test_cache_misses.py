"""What is not there yet: asked for by many at once, on one host and on two; a cache that is much too small; readers that take their
time with what they were given."""

import asyncio
import collections
import random
import socket
import time

import pytest

import cached
from load import run_clients
from metrics import grown, scrape
from own_postgres import own_postgres
from sql_harness import wait_until
from traffic import add_event, allow_descriptors

CROWD = 1000
# A hundred to one: what the same cache as a list by last use would have hit, in points.
WITHIN = 10


@pytest.fixture(scope="module")
def cluster():
    with own_postgres() as running:
        yield running


@pytest.fixture(scope="module")
def world(cluster):
    with cached.world_of(cluster, workers=2, fill_timeout="10s") as made:
        yield made


def ask_together(ports, path, count):
    """So many requests at the same moment, dealt out to the ports; answers the statuses and bodies as counters."""
    allow_descriptors(4 * count)
    connected = 0
    go = None

    async def script(client, number):
        nonlocal connected, go
        go = go or asyncio.Event()
        client.address = ports[number % len(ports)]
        await client.connect()
        connected += 1
        if connected == count:
            go.set()
        await go.wait()
        answer = await client.get(path)
        return answer.status, answer.body
    answers = run_clients(ports[0], count, script)
    return collections.Counter(status for status, _ in answers), collections.Counter(body for _, body in answers)


def asked_themselves(turnout):
    """Statements of workers that read."""
    return cached.counted(turnout, "db_statement_seconds_count", role="worker", pool="read")


def cold(world, event, *turnouts):
    for turnout in turnouts:
        cached.drop(turnout, f"events:{event}")
    for key in world.redis.keys(event):
        world.redis.call("DEL", key)


def test_a_thousand_who_ask_for_the_same_thing_at_once_cost_one_query(world):
    event = world.add_events(1)[0]
    turnout = world.turnout
    cached.wait_coherent(turnout)
    cached.wait_cached(turnout, f"/api/events/{event}")
    cold(world, event, turnout)
    before, own = scrape(turnout), asked_themselves(turnout)
    statuses, bodies = ask_together([turnout.port], f"/api/events/{event}", CROWD)
    assert statuses == {200: CROWD} and len(bodies) == 1
    after = scrape(turnout)
    assert after.sum("cache_renders_total", pattern="event") - before.sum("cache_renders_total", pattern="event") == 1
    assert asked_themselves(turnout) == own
    # They were not all hits: a part of them waited for the one.
    assert after.sum("cache_misses_total", pattern="event") > before.sum("cache_misses_total", pattern="event")


def test_on_two_hosts_it_is_one_query_in_all(cluster, world):
    event = world.add_events(1)[0]
    first = world.turnout
    # The way of the first to PostgreSQL is longer, so that the query is under way while the other host asks.
    with cached.second_host(cluster, first, redis_socket=world.redis.socket, fill_timeout="10s", workers=2) as second:
        cached.wait_coherent(first, second)
        for turnout in (first, second):
            cached.wait_cached(turnout, f"/api/events/{event}")
        for _ in range(3):
            cold(world, event, first, second)
            world.tap.delay("refresher render", lambda: 0.02)
            before = [scrape(turnout) for turnout in (first, second)]
            own = [asked_themselves(turnout) for turnout in (first, second)]
            statuses, bodies = ask_together([first.port, second.port], f"/api/events/{event}", CROWD)
            world.tap.delay("refresher render", None)
            assert statuses == {200: CROWD} and len(bodies) == 1
            renders = [scrape(turnout).sum("cache_renders_total", pattern="event") - page.sum("cache_renders_total", pattern="event")
                       for turnout, page in zip((first, second), before)]
            assert sum(renders) == 1, renders
            assert [asked_themselves(turnout) for turnout in (first, second)] == own


# --- a cache that is too small ---

def zipf(count, requests, exponent=0.9, seed=7):
    chance = random.Random(seed)
    weights = [1 / (rank + 1) ** exponent for rank in range(count)]
    return chance.choices(range(count), weights, k=requests)


def lru_hits(trace, sizes, room):
    """How often a list by last use of so many bytes has what is asked for."""
    held, used, hits = collections.OrderedDict(), 0, []
    for name in trace:
        if name in held:
            held.move_to_end(name)
            hits.append(True)
            continue
        hits.append(False)
        held[name] = sizes[name]
        used += sizes[name]
        while used > room:
            used -= held.popitem(last=False)[1]
    return hits


LONG = ("update turnout.events set description = (select string_agg(md5(id::text || n), ' ') from generate_series(1, %s) n)"
        " where id = any(%s)")


CACHE = 4 << 20
LINES = 270


@pytest.fixture(scope="module")
def crowded(cluster):
    """A turnoutd whose cache has room for a tenth of its events."""
    with cached.world_of(cluster, with_redis=False, workers=2, cache_size=CACHE) as made:
        # The search in these texts would take longer to make than the test takes.
        made.admin.execute("drop index turnout.events_search_idx")
        made.events = made.add_many(1800, starts_in="90 days")
        made.admin.execute(LONG, (LINES, made.events))
        cached.wait_coherent(made.turnout)
        yield made


@pytest.mark.nosan
def test_a_cache_of_a_tenth_of_what_is_asked_for_is_right_and_as_good_as_any(crowded, capsys):
    turnout, events = crowded.turnout, crowded.events
    trace = zipf(len(events), 3000)
    shown, slowest, warm = {}, 0.0, 1000
    for number, place in enumerate(trace):
        if number == warm:
            before = scrape(turnout)
        began = time.monotonic()
        answer = turnout.get(f"/api/events/{events[place]}")
        slowest = max(slowest, time.monotonic() - began)
        assert answer.status == 200
        if shown.setdefault(place, answer.body) is answer.body:
            assert answer.json()["id"] == events[place] and len(answer.json()["description"]) == LINES * 33 - 1
        assert answer.body == shown[place]
    after = scrape(turnout)
    hits, evicted = (after.sum(name, pattern="event") - before.sum(name, pattern="event")
                     for name in ("cache_hits_total", "cache_evictions_total"))
    rate = hits / (len(trace) - warm)
    size = after.sum("cache_bytes", pattern="event") / after.sum("cache_entries", pattern="event")
    expected = sum(lru_hits(trace, [size] * len(events), CACHE)[warm:]) / (len(trace) - warm)
    with capsys.disabled():
        print(f"\nhit rate {rate:.3f}, by last use {expected:.3f}; entries of {size / 1024:.0f} KiB, together "
              f"{len(events) * size / CACHE:.1f} times the cache, {evicted:.0f} evicted, slowest {slowest * 1000:.0f} ms", end="")
    assert evicted > 300 and len(events) * size > 8 * CACHE
    assert rate > expected - WITHIN / 100
    assert slowest < 1, "something stood still"


@pytest.mark.nosan
def test_a_new_event_is_cached_at_once_in_a_full_cache(crowded):
    turnout, before, old = crowded.turnout, scrape(crowded.turnout), iter(crowded.events)

    def is_full():
        assert all(turnout.get(f"/api/events/{next(old)}").status == 200 for _ in range(20))
        return grown(turnout, before, "cache_evictions_total") > 0
    wait_until(is_full, "the cache is full")
    for new in crowded.add_many(10):
        crowded.admin.execute(LONG, (LINES, [new]))
        wait_until(lambda new=new: len(turnout.get(f"/api/events/{new}").json()["description"]) > 1000, "it is shown")
        assert cached.is_hit(turnout, f"/api/events/{new}")


class SlowReader:
    """Asks, and takes a hundred bytes a second of the answer."""

    def __init__(self, turnout, path):
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        self.socket.settimeout(10)
        self.socket.connect(("127.0.0.1", turnout.port))
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        self.received = 0

    def read(self):
        self.received += len(self.socket.recv(10))


def test_slow_readers_of_long_pages_pin_nothing(world):
    turnout = world.turnout
    for number in range(100):
        add_event(world.admin, 10, f"{number}" + "\N{SNOWMAN}" * 240, starts_in="2 days")
    path = "/api/events?limit=100"
    answer = turnout.get(path)
    assert len(answer.body) > 80 << 10
    cached.wait_cached(turnout, path)
    hits = cached.counted(turnout, "cache_hits_total", pattern="list")
    readers = [SlowReader(turnout, path) for _ in range(10)]
    try:
        wait_until(lambda: cached.counted(turnout, "cache_hits_total", pattern="list") >= hits + 10, "all were served from the cache")
        for _ in range(30):
            for reader in readers:
                reader.read()
            # It is told now and then; somebody who has just been answered may have been seen at it.
            wait_until(lambda: cached.counted(turnout, "cache_pins") == 0, "none of them pins anything")
            cached.drop(turnout, "events:list:*")
            assert turnout.get(path).status == 200
        # None of them has been given up, and none has read a hundredth.
        assert all(0 < reader.received < 1000 for reader in readers)
    finally:
        for reader in readers:
            reader.socket.close()
