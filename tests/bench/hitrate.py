#!/usr/bin/python3
"""A browsing load from the hot cache: Zipf over 2,000 events and the pages of their categories, 50 edits and 20 registrations a
second meanwhile. Prints hits by pattern of keys, and the statements a second that reach PostgreSQL, by who sends them.

    TURNOUT_BIN=build hitrate.py [--seconds N] [--rate R] [--cache SIZE]
"""

import argparse
import pathlib
import random
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))

import cached  # noqa: E402  pylint: disable=wrong-import-position
from load import run_clients  # noqa: E402  pylint: disable=wrong-import-position
from loader import Loader  # noqa: E402  pylint: disable=wrong-import-position
from metrics import scrape  # noqa: E402  pylint: disable=wrong-import-position
from own_postgres import own_postgres  # noqa: E402  pylint: disable=wrong-import-position

EVENTS, CATEGORIES, EXPONENT = 2000, 12, 1.0
EDITS, REGISTRATIONS = 50, 20
PATTERNS = ("list", "event", "stats", "user")

BROWSE = "[list]\nweight = 20\npath = /api/events\n[list-of-20]\nweight = 10\npath = /api/events?limit=20\n" + "".join(
    f"[category-{number}]\nweight = {max(1, 24 // (number + 1))}\npath = /api/events?category=topic-{number}\n"
    for number in range(CATEGORIES)) + "[event]\nweight = 120\npath = /api/events/{event}\n[me]\nweight = 8\npath = /api/users/me\ntoken = any\n"
WRITE = f"""[edit]
weight = {EDITS}
method = PATCH
path = /api/events/{{event}}
header = If-Match: *
token = any
body = {{"description":"Edited {{uuid}}"}}
[register]
weight = {REGISTRATIONS}
method = POST
path = /api/registrations
token = any
body = {{"event_id":"{{event}}"}}
expect = 200 201
"""


def statements(page):
    """By role and pool: how many have been answered."""
    found = {}
    for labels in page.label_sets("db_statement_seconds_count"):
        found[(labels["role"], labels["pool"])] = page.sum("db_statement_seconds_count", **labels)
    return found


def report(before, after, seconds, transactions):
    print(f"{'':10} {'requests/s':>11} {'hits':>9} {'stale':>7} {'renders/s':>10}")
    total = [0, 0]
    for pattern in PATTERNS:
        hits, misses, stale, renders = (after.sum(name, pattern=pattern) - before.sum(name, pattern=pattern) for name in (
            "cache_hits_total", "cache_misses_total", "cache_stale_total", "cache_renders_total"))
        total = [total[0] + hits, total[1] + misses]
        if hits + misses > 0:
            print(f"{pattern:10} {(hits + misses) / seconds:11.1f} {hits / (hits + misses):9.2%} {stale:7.0f} {renders / seconds:10.1f}")
    print(f"{'all':10} {sum(total) / seconds:11.1f} {total[0] / sum(total):9.2%}")
    print("\nstatements a second: " + ", ".join(f"{role} {pool} {(count - statements(before).get((role, pool), 0)) / seconds:.1f}"
                                                for (role, pool), count in sorted(statements(after).items())))
    print(f"transactions a second that PostgreSQL counts: {transactions / seconds:.1f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--rate", type=int, default=4000, help="reads a second")
    parser.add_argument("--cache", default="64m", help="cache_size")
    wishes = parser.parse_args()
    chance = random.Random(1)
    with own_postgres() as cluster, cached.world_of(cluster, with_redis=False, workers=2, log_level="warning",
                                                    cache_size=wishes.cache) as world:
        events = world.add_events(EVENTS)
        world.admin.execute("""update turnout.events e set category = 'topic-' || n.place %% %s, start_datetime = start_datetime
            + n.place * interval '1 hour', end_datetime = end_datetime + n.place * interval '1 hour'
            from (select id, row_number() over (order by id) as place from turnout.events) n where n.id = e.id""", (CATEGORIES,))
        world.admin.execute("analyze")
        ranked = chance.choices(events, [1 / (rank + 1) ** EXPONENT for rank in range(EVENTS)], k=50000)
        admins = "\n".join(world.turnout.token(f"admin{number}@example.com", "admin") for number in range(20))

        def transactions():
            return world.admin.execute("select xact_commit from pg_stat_database where datname = current_database()").fetchone()[0]
        look_once(world.turnout, events)
        with Loader(world.turnout, ranked, mix=BROWSE, rate=wishes.rate, duration="10m", people=500) as reading, \
                Loader(world.turnout, ranked, mix=WRITE, rate=EDITS + REGISTRATIONS, duration="10m", connections=10, people=0,
                       tokens=writers_tokens(world, admins)) as writing:
            reading.wait_for_answers(5 * wishes.rate)
            before, counted, began = scrape(world.turnout), transactions(), time.monotonic()
            time.sleep(wishes.seconds)
            after, counted_after, seconds = scrape(world.turnout), transactions(), time.monotonic() - began
        for name, load in (("reads", reading), ("writes", writing)):
            latency = load.report
            assert latency["failed"] == 0, (name, latency["failures"][:3])
            print(f"{name}: {latency['answered'] / latency['seconds']:.0f}/s")
        report(before, after, seconds, counted_after - counted)


def look_once(turnout, events):
    """As on a host that has run for a while: each event has been looked at."""
    left = list(events)

    async def script(client, _):
        while left:
            answer = await client.get(f"/api/events/{left.pop()}")
            assert answer.status == 200, answer.body
    run_clients(turnout.port, 16, script)


def writers_tokens(world, tokens):
    path = world.turnout.folder / "admins"
    path.write_text(tokens + "\n", encoding="utf-8")
    return path


if __name__ == "__main__":
    main()
