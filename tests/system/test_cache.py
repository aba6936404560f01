"""The hot cache as its users see it: bodies that come from it are the bodies of PostgreSQL, in each encoding and for each caller, and
whoever finds nothing there is served all the same."""

import contextlib
import gzip
import itertools
import os
import signal
import socket
import struct
import threading
import time

import pytest

import brotli
from api import Person, etag
from load import run_clients
from metrics import grown, scrape
from reloading import reload
from sql_harness import Database, wait_until

LONG_TEXT = "Pages, B-trees, the journal, and why none of them is ever enough. " * 60
PATTERNS = ("list", "event", "stats", "user")


@pytest.fixture(scope="module")
def organizer(turnout):
    return Person(turnout, "organizer")


@pytest.fixture(scope="module")
def event(organizer):
    """An event whose body is worth compressing; nobody changes it."""
    return organizer.event(category="encodings", description=LONG_TEXT)


def read(who, path, **keywords):
    answer = who.get(path, **keywords)
    assert answer.status == 200, answer
    return answer


def settled(who, path):
    """The answer, once it comes from the cache and no change of before is still on its way into it."""
    turnout = getattr(who, "turnout", who)

    def twice_the_same():
        before = scrape(turnout)
        first, second = read(who, path), read(who, path)
        hits = sum(grown(turnout, before, "cache_hits_total", pattern=pattern) for pattern in PATTERNS)
        return second if hits >= 2 and first.body == second.body else None

    return wait_until(twice_the_same, f"{path} is in the cache")


def path_of(event):
    return f"/api/events/{event['id']}"


def in_flight(turnout):
    return scrape(turnout).sum("http_requests_in_flight", listener="public")


class Reader(threading.Thread):
    """Reads once, beside the test."""

    def __init__(self, turnout, path, token=None):
        super().__init__(daemon=True)
        self.turnout, self.path, self.token, self.answer = turnout, path, token, None
        self.start()

    def run(self):
        self.answer = self.turnout.get(self.path, self.token)
        self.turnout.disconnect()

    def result(self):
        self.join(60)
        assert self.answer is not None, "no answer in a minute"
        return self.answer


def cold_path(organizer, limit=37, **fields):
    """Of a page with one event that nobody has asked for yet, so that nothing is on its way into the cache either."""
    event = organizer.event(category="cold", **fields)
    return event, f"/api/events?category=cold&limit={limit}"


class Crowd(threading.Thread):
    """So many clients that read the same at once, beside the test."""

    def __init__(self, turnout, path, count):
        super().__init__(daemon=True)
        self.turnout, self.path, self.count, self.answers = turnout, path, count, []
        self.connected, self.all_connected = 0, threading.Event()
        self.start()

    async def script(self, client, _number):
        await client.connect()
        self.connected += 1
        if self.connected == self.count:
            self.all_connected.set()
        return await client.get(self.path)

    def run(self):
        self.answers = run_clients(self.turnout.port, self.count, self.script)

    def wait_until_all_wait(self):
        # First without looking: reading the metrics would take the interpreter from those who connect.
        assert self.all_connected.wait(60)
        wait_until(lambda: in_flight(self.turnout) == self.count, "all of them wait")

    def results(self):
        self.join(60)
        assert len(self.answers) == self.count
        return self.answers


@contextlib.contextmanager
def stopped_refresher(turnout):
    pid = turnout.kill("refresher", how=signal.SIGSTOP)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def held_renders(database):
    """Nothing that reads seats ends while this lasts: neither renders nor the workers' own queries."""
    with database.connect("postgres", autocommit=False) as holder:
        holder.execute("lock table turnout.event_seats in access exclusive mode")
        yield


def waits_for_a_lock(database, role):
    return database.value("select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' "
                          "and application_name like %s", (f"turnout {role}%",))


# --- what is served ---

def test_what_was_read_once_is_read_from_memory_the_next_time(turnout, organizer, event):
    for pattern, path in (("list", "/api/events?category=encodings"), ("event", path_of(event)), ("user", "/api/users/me"),
                          ("stats", f"/api/dashboard/events/{event['id']}/stats")):
        same = settled(organizer, path)
        before = scrape(turnout)
        assert read(organizer, path).body == same.body
        assert grown(turnout, before, "cache_hits_total", pattern=pattern) == 1, pattern
        for name in ("cache_misses_total", "cache_own_queries_total", "cache_renders_total", "cache_stale_total"):
            assert grown(turnout, before, name, pattern=pattern) == 0, (pattern, name)


def test_the_same_question_has_one_entry_whatever_way_it_is_asked(turnout, event):
    settled(turnout, "/api/events?category=encodings")
    before = scrape(turnout)
    ways = ("category=encodings&limit=50", "limit=050&category=encodings", "status=published&category=encodings",
            "category=%65ncodings")
    bodies = {read(turnout, f"/api/events?{way}").body for way in ways}
    assert len(bodies) == 1 and event["id"] in bodies.pop().decode()
    assert grown(turnout, before, "cache_hits_total", pattern="list") == len(ways)


def test_a_page_of_the_cache_leads_to_the_next_one_however_published_was_asked_for(turnout, organizer):
    made = [organizer.event(category="paging")["id"] for _ in range(3)]

    def walk(query, rest):
        found, path = [], f"/api/events?category=paging&limit=1{query}"
        while path:
            page = read(turnout, path).json()
            found += [item["id"] for item in page["events"]]
            path = page["next_cursor"] and f"/api/events?category=paging&limit=1{rest}&cursor={page['next_cursor']}"
        return found

    for query, rest in itertools.product(("", "&status=published"), repeat=2):
        wait_until(lambda: walk(query, rest) == made, "the pages show all three events, each once")


def test_what_is_asked_wrongly_is_refused_by_the_rules_and_never_cached(turnout):
    before = scrape(turnout)
    for query in ("category=", "category=-x", "category=A", "status=open", "status=", "limit=0", "limit=x", "cursor=x", "colour=red",
                  "status=published&status=published"):
        answer = turnout.get(f"/api/events?{query}")
        assert (answer.status, answer.problem) == (422, "invalid-fields"), (query, answer)
    assert turnout.get("/api/events/none").status == 404
    assert grown(turnout, before, "cache_hits_total") == 0


def test_texts_and_times_are_not_cached(turnout, event):
    before = scrape(turnout)
    for query in ("q=journal", "from=2020-01-01T00:00:00Z", "to=2199-01-01T00:00:00Z"):
        for _ in range(2):
            assert event["id"] in read(turnout, f"/api/events?category=encodings&{query}").body.decode()
    for name in ("cache_hits_total", "cache_misses_total"):
        assert grown(turnout, before, name) == 0


# --- representations ---

def test_compressed_bodies_hold_what_the_plain_one_does(turnout, event):
    path = path_of(event)
    plain = settled(turnout, path)
    assert "content-encoding" not in plain.headers
    for accepted, name, suffix, decompress in (("gzip", "gzip", "-gz", gzip.decompress), ("gzip, br", "br", "-br", brotli.decompress)):
        packed = read(turnout, path, headers={"Accept-Encoding": accepted})
        assert packed.headers["content-encoding"] == name
        assert len(packed.body) == int(packed.headers["content-length"]) < len(plain.body) // 2
        assert decompress(packed.body) == plain.body
        assert packed.headers["etag"] == plain.headers["etag"].removesuffix('"') + suffix + '"'
        for header in ("vary", "cache-control", "content-type"):
            assert packed.headers[header] == plain.headers[header]
    assert "accept-encoding" in plain.headers["vary"].lower()


def test_who_weighs_encodings_gets_what_it_weighs_most_and_who_accepts_none_the_plain_body(turnout, event):
    path = path_of(event)
    settled(turnout, path)
    for accepted, encoding in (("gzip;q=1.0, br;q=0.9", "gzip"), ("br;q=0, *", "gzip"), ("identity, br;q=0.5", None),
                               ("identity;q=0", None), ("deflate", None), ("identity;q=0, gzip;q=0.1", "gzip"), ("*;q=0", None)):
        answer = read(turnout, path, headers={"Accept-Encoding": accepted})
        assert answer.headers.get("content-encoding") == encoding, accepted


def test_a_body_that_does_not_pay_is_not_compressed(turnout, organizer):
    settled(organizer, "/api/users/me")
    assert "content-encoding" not in read(organizer, "/api/users/me", headers={"Accept-Encoding": "br, gzip"}).headers


def test_who_holds_a_representation_is_told_so_when_it_is_the_one_that_would_be_sent(turnout, event):
    path = path_of(event)
    settled(turnout, path)
    tags = {accepted: read(turnout, path, headers={"Accept-Encoding": accepted}).headers["etag"]
            for accepted in ("identity", "gzip", "br")}
    assert len(set(tags.values())) == 3
    for accepted in tags:
        for held, tag in tags.items():
            answer = turnout.get(path, headers={"Accept-Encoding": accepted, "If-None-Match": f'"x", {tag}'})
            if held != accepted:
                assert answer.status == 200 and answer.headers["etag"] == tags[accepted]
                continue
            assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", tag)
            assert "content-encoding" not in answer.headers and "content-length" not in answer.headers
            assert "vary" in answer.headers and "cache-control" in answer.headers
    assert turnout.get(path, headers={"If-None-Match": "*"}).status == 304


def test_head_says_of_the_cached_body_what_get_does(turnout, event):
    path = path_of(event)
    settled(turnout, path)
    for accepted in ("identity", "gzip", "br"):
        headers = {"Accept-Encoding": accepted}
        whole, head = read(turnout, path, headers=headers), turnout.request("HEAD", path, headers=headers)
        assert (head.status, head.body) == (200, b"")
        for name in ("content-length", "content-type", "etag", "cache-control", "vary"):
            assert head.headers[name] == whole.headers[name]
        assert head.headers.get("content-encoding") == whole.headers.get("content-encoding")
        conditional = turnout.request("HEAD", path, headers={**headers, "If-None-Match": whole.headers["etag"]})
        assert (conditional.status, conditional.body) == (304, b"")


def test_an_edit_takes_the_tag_of_each_representation(turnout, organizer):
    event = organizer.event(description=LONG_TEXT)
    for number, accepted in enumerate(("identity", "gzip", "br")):
        path = path_of(event)

        def current():
            answer = read(turnout, path, headers={"Accept-Encoding": accepted})
            return answer if answer.headers["etag"].startswith(f'"{event["version"]}.') else None

        shown = wait_until(current, "the cache shows the last edit")
        edited = organizer.patch(event, if_match=shown.headers["etag"], title=f"Edit {number}")
        assert edited.status == 200, (accepted, edited)
        event = edited.json()
        stale = organizer.patch(event, if_match=shown.headers["etag"], title="Too late")
        assert (stale.status, stale.problem) == (412, "version-conflict")


# --- for whom ---

def test_the_same_body_is_public_without_a_token_and_private_with_one(turnout, organizer, event):
    for path in (path_of(event), "/api/events?category=encodings"):
        same = settled(turnout, path)
        before = scrape(turnout)
        own = read(organizer, path)
        assert grown(turnout, before, "cache_hits_total") == 1
        assert own.body == same.body and own.headers["etag"] == same.headers["etag"]
        assert same.headers["cache-control"].startswith("public, max-age=1,")
        assert own.headers["cache-control"] == "private, no-cache"
        assert "authorization" in own.headers["vary"].lower() and "authorization" in same.headers["vary"].lower()
        conditional = organizer.get(path, headers={"If-None-Match": own.headers["etag"]})
        assert (conditional.status, conditional.headers["cache-control"]) == (304, "private, no-cache")
    assert settled(organizer, "/api/users/me").headers["cache-control"] == "private, no-store"


def test_everybody_is_shown_themselves_with_the_role_that_their_token_names(turnout):
    first, second = Person(turnout), Person(turnout)
    elsewhere = turnout.token(first.email, "organizer")
    for _ in range(3):
        for person in (first, second):
            assert read(person, "/api/users/me").json()["email"] == person.email
        assert read(first, "/api/users/me").json()["role"] == "participant"
        assert turnout.get("/api/users/me", elsewhere).json()["role"] == "organizer"


def test_a_draft_shows_to_its_organizer_alone_until_it_is_published(turnout, organizer):
    other = Person(turnout, "organizer")
    draft = organizer.draft(category="drafts")
    path = path_of(draft)
    for _ in range(3):
        own = read(organizer, path)
        assert own.json()["status"] == "draft" and own.headers["cache-control"] == "private, no-cache"
        for stranger in (turnout, other):
            assert stranger.get(path).status == 404
            assert read(stranger, "/api/events?category=drafts").json()["events"] == []
        assert turnout.get("/api/events?category=drafts&status=draft").json()["events"] == []
        assert [item["id"] for item in read(organizer, "/api/events?category=drafts&status=draft").json()["events"]] == [draft["id"]]
    assert turnout.ctl("show", "cache", f"events:{draft['id']}", check=False).returncode != 0
    assert organizer.post(f"{path}/publish").status == 200
    for stranger in (turnout, other):
        assert wait_until(lambda: stranger.get(path).status == 200, "everybody sees it")
    assert read(turnout, path).headers["cache-control"].startswith("public")


def test_what_was_answered_to_a_writer_shows_to_all_a_moment_later(turnout, organizer, event):
    for number in range(5):
        event = organizer.patch(event, title=f"Title {number}").json()
        assert event["title"] == f"Title {number}"
        wait_until(lambda: read(turnout, path_of(event)).headers["etag"] == etag(event), "the event shows the edit")
        wait_until(lambda: read(turnout, "/api/events?category=encodings").json()["events"][0]["title"] == event["title"],
                   "the list shows the edit")


def test_where_nothing_is_public_the_cache_serves_those_who_may_read(new_turnout):
    turnout = new_turnout(workers=1, public_read="no")
    organizer = Person(turnout, "organizer")
    path = path_of(organizer.event())
    settled(organizer, path)
    for closed in (path, "/api/events"):
        assert turnout.get(closed).status == 401
        assert read(organizer, closed).headers["cache-control"] == "private, no-cache"
    assert reload(turnout, public_read="yes")["public_read"][1] == "yes"
    assert read(turnout, path).headers["cache-control"].startswith("public")


def test_without_a_cache_everything_is_asked_of_postgresql(new_turnout):
    turnout = new_turnout(workers=1, cache_size="0")
    organizer = Person(turnout, "organizer")
    event = organizer.event(description=LONG_TEXT)
    assert turnout.processes("refresher") == []
    for path in (path_of(event), "/api/events", "/api/users/me", f"/api/dashboard/events/{event['id']}/stats"):
        assert "content-encoding" not in read(organizer, path, headers={"Accept-Encoding": "br"}).headers
    edited = organizer.patch(event, title="At once").json()
    assert read(turnout, path_of(event)).json() == edited
    page = scrape(turnout)
    assert page.sum("cache_hits_total") == page.sum("cache_misses_total") == page.sum("cache_own_queries_total") == 0


# --- what is not there ---

def test_hundreds_who_ask_for_what_is_not_there_cost_one_query(new_turnout, postgres):
    turnout = new_turnout(fill_timeout="30s", db_statement_timeout="1m")
    database = Database(postgres, turnout.database)
    # No event has ever been written there: no change that is still on its way has anything rendered twice.
    path = "/api/events?category=nothing&limit=37"
    before, count = scrape(turnout), 300
    with held_renders(database):
        crowd = Crowd(turnout, path, count)
        crowd.wait_until_all_wait()
    answers = crowd.results()
    assert [answer.status for answer in answers] == [200] * count and len({answer.body for answer in answers}) == 1
    assert grown(turnout, before, "cache_misses_total", pattern="list") == count
    assert grown(turnout, before, "cache_fills_total", pattern="list") == 1
    assert grown(turnout, before, "cache_own_queries_total", pattern="list") == 0


def test_hundreds_whom_the_refresher_does_not_help_cost_a_query_or_two_of_each_worker(new_turnout, postgres):
    turnout = new_turnout(fill_timeout="100ms", ping_timeout="1m", db_statement_timeout="1m")
    database = Database(postgres, turnout.database)
    _, path = cold_path(Person(turnout, "organizer"))
    before, count = scrape(turnout), 300
    with stopped_refresher(turnout):
        with held_renders(database):
            crowd = Crowd(turnout, path, count)
            crowd.wait_until_all_wait()
        assert [answer.status for answer in crowd.results()] == [200] * count
        # One for those who came before it was sent, one for those who came later.
        assert 1 <= grown(turnout, before, "cache_own_queries_total", pattern="list") <= 4


def test_a_refresher_that_does_not_answer_is_waited_for_once(new_turnout):
    turnout = new_turnout(workers=1, fill_timeout="1s", ping_timeout="1m", coherent_time="5m")
    organizer = Person(turnout, "organizer")
    event, path = cold_path(organizer)
    before = scrape(turnout)
    with stopped_refresher(turnout):
        begun = time.monotonic()
        for limit in range(1, 11):
            page = read(turnout, f"/api/events?category=cold&limit={limit}").json()
            assert [item["id"] for item in page["events"]] == [event["id"]]
        took = time.monotonic() - begun
        print(f"ten reads of what is not there: {took:.2f} s")
        # Ten seconds, if each waited.
        assert took < 5
        assert grown(turnout, before, "cache_own_queries_total", pattern="list") == 10
        assert len(turnout.log_lines("the refresher does not answer")) == 1
    settled(turnout, path)
    turnout.wait_logged("the refresher answers again")


def test_nothing_is_asked_for_a_client_that_has_gone_while_it_waited(new_turnout):
    # Long against the look that it waits: what it waits for would be asked then.
    turnout = new_turnout(workers=1, fill_timeout="2s", ping_timeout="1m", coherent_time="5m")
    event, path = cold_path(Person(turnout, "organizer"))
    before = scrape(turnout)
    with stopped_refresher(turnout):
        with turnout.connect() as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
            wait_until(lambda: in_flight(turnout) == 1, "the request waits")
            # It is reset when it is closed: one that only says that it has said everything might still listen.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wait_until(lambda: grown(turnout, before, "http_requests_total", route="/api/events", code="other") == 1,
                   "the request is dropped")
        assert grown(turnout, before, "cache_own_queries_total", pattern="list") == 0
        assert in_flight(turnout) == 0
        assert event["id"] in read(turnout, path).body.decode()
        assert grown(turnout, before, "cache_own_queries_total", pattern="list") == 1


def test_a_worker_that_stops_answers_those_who_wait(new_turnout):
    turnout = new_turnout(workers=1, fill_timeout="1m", ping_timeout="1m", coherent_time="5m", shutdown_timeout="30s")
    event, path = cold_path(Person(turnout, "organizer"))
    turnout.disconnect()
    with stopped_refresher(turnout):
        reader = Reader(turnout, path)
        wait_until(lambda: in_flight(turnout) == 1, "the request waits")
        turnout.process.send_signal(signal.SIGTERM)
        answer = reader.result()
        assert (answer.status, answer.headers["connection"]) == (200, "close") and event["id"] in answer.body.decode()
    assert turnout.process.wait(60) == 0


# --- what is no longer known to be true ---

def test_what_is_not_kept_up_is_served_with_its_age_until_it_is_too_old(new_turnout, postgres):
    turnout = new_turnout(workers=1, ping_timeout="1m", coherent_time="500ms", changes_poll="100ms", fill_timeout="200ms",
                          stale_max="1h")
    organizer = Person(turnout, "organizer")
    event = organizer.event(description=LONG_TEXT)
    path = path_of(event)
    fresh = settled(turnout, path)
    assert "age" not in fresh.headers
    with stopped_refresher(turnout):
        before = scrape(turnout)
        stale = wait_until(lambda: (answer := read(turnout, path)) and "age" in answer.headers and answer, "the body is marked as stale")
        assert stale.body == fresh.body and int(stale.headers["age"]) >= 0
        assert stale.headers["cache-control"] == fresh.headers["cache-control"]
        assert grown(turnout, before, "cache_stale_total", pattern="event") == 1
        wait_until(lambda: int(read(turnout, path).headers["age"]) > int(stale.headers["age"]), "it grows older")
        conditional = turnout.get(path, headers={"If-None-Match": fresh.headers["etag"]})
        assert conditional.status == 304 and "age" in conditional.headers
        assert "age" in turnout.request("HEAD", path).headers
        private = read(organizer, path, headers={"Accept-Encoding": "br"})
        assert (private.headers["cache-control"], private.headers["content-encoding"]) == ("private, no-cache", "br")
        assert "age" in private.headers

        edited = organizer.patch(event, title="Newer").json()
        assert read(turnout, path).body == fresh.body
        # Not by turnoutctl, which waits for the refresher, too.
        turnout.configure(stale_max="0s")
        turnout.process.send_signal(signal.SIGHUP)
        own = wait_until(lambda: (answer := read(turnout, path)) and "age" not in answer.headers and answer, "PostgreSQL is asked instead")
        assert own.json() == edited
        assert grown(turnout, before, "cache_own_queries_total", pattern="event") >= 1
    again = settled(turnout, path)
    assert again.json() == edited and "age" not in again.headers


def test_nobody_is_served_less_than_a_worker_has_found_out_itself(new_turnout, postgres):
    """A render under way knows less than the body that a worker had from PostgreSQL meanwhile: it is not published."""
    turnout = new_turnout(workers=1, ping_timeout="1m", coherent_time="5m", fill_timeout="100ms", db_statement_timeout="1m")
    database = Database(postgres, turnout.database)
    event, path = cold_path(Person(turnout, "organizer"), title="Old")

    def title(answer):
        return answer.json()["events"][0]["title"]

    before = scrape(turnout)
    with contextlib.ExitStack() as stopped:
        with held_renders(database):
            first = Reader(turnout, path)
            wait_until(lambda: waits_for_a_lock(database, "refresher") == 1, "the render has begun")
            stopped.enter_context(stopped_refresher(turnout))
            wait_until(lambda: waits_for_a_lock(database, "worker") == 1, "the worker asks PostgreSQL itself")
            database.rows("update turnout.events set title = 'New', version = version + 1 where id = %s", (event["id"],))
            second = Reader(turnout, path)
            wait_until(lambda: in_flight(turnout) == 2, "who comes later waits")
        assert first.result().status == 200
        assert title(second.result()) == "New"
        # The next render stands still, so that what was published before would be seen.
        with held_renders(database):
            stopped.close()
            wait_until(lambda: grown(turnout, before, "cache_unpublished_total", pattern="list", reason="overtaken") == 1,
                       "the render that knew less is thrown away")
            third = Reader(turnout, path)
            wait_until(lambda: in_flight(turnout) == 1, "nothing is there to be served")
    assert title(third.result()) == "New"
    assert title(settled(turnout, path)) == "New"
