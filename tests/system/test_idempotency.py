"""Idempotency-Key: the same request with the same key has one effect and the same answer, byte for byte, whatever is killed, cut or
asked elsewhere meanwhile. Two turnoutd stand on one database, as two hosts would; the first has a proxy before PostgreSQL."""

import asyncio
import collections
import concurrent.futures
import contextlib
import os
import signal
import types
import uuid

import psycopg
import pytest

from api import Person, event_fields
from conftest import run_turnout
from load import run_clients
from proxy import Proxy
from server import Response
from sql_harness import OWNER, Database, wait_until
from traffic import SCALE, wait_replaced
from wire import Wire, request

# Of an answer, what belongs to the delivery and not to what was decided.
DELIVERY = {"date", "x-request-id", "connection"}
# Seconds after which a write is given up: long enough that no busy machine does so by itself.
GIVE_UP = "20s"


def essence(answer):
    """What must be the same: status, headers in their order, body."""
    return answer.status, [header for header in answer.header_list if header[0] not in DELIVERY], answer.body


def key_header(key):
    return {"Idempotency-Key": f'"{key}"'}


def new_key():
    return str(uuid.uuid4())


@pytest.fixture(scope="module")
def place(postgres, make_database):
    """`here` (one worker, behind the proxy), `there` (two workers) on one database, with the same keys of identity."""
    name = make_database()
    made = types.SimpleNamespace(database=Database(postgres, name))
    with contextlib.ExitStack() as stack:
        made.proxy = stack.enter_context(Proxy(postgres.socket, postgres.port))
        made.here = run_turnout(postgres, name, workers=1, db_acquire_timeout=GIVE_UP)
        stack.callback(made.here.remove)
        made.here.configure(database=made.here.options["database"].replace(str(postgres.socket), str(made.proxy.folder)))
        made.there = run_turnout(postgres, name, workers=2, db_acquire_timeout=GIVE_UP, jwt_keys_file=made.here.folder / "jwks.json")
        stack.callback(made.there.remove)
        made.there.key = made.here.key
        made.here.start()
        made.there.start()
        made.organizer, made.person = Person(made.here, "organizer"), Person(made.here)
        yield made
    made.database.assert_consistent()


@pytest.fixture(autouse=True)
def proxy_lets_through(place):
    yield
    place.proxy.cuts = []
    place.proxy.held = False


@pytest.fixture
def threads():
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.fixture
def hold(postgres, place):
    """A function that locks a table, so that a write stops before it commits: `with hold("outbox"): …`"""
    @contextlib.contextmanager
    def lock(table):
        with psycopg.connect(postgres.dsn(place.database.name, OWNER)) as holder:
            holder.execute(f"lock table turnout.{table} in exclusive mode")
            yield
            holder.rollback()
    return lock


def waiting(place, statement="write_with_key", count=1):
    """Waits until so many transactions are at the statement and wait for a lock."""
    wait_until(lambda: place.database.value(
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like %s",
        (f"%{statement}%",)) >= count, f"{statement} waits for a lock")


class Watch:
    """Tells whether a statement has run to its end since the watch was made."""

    def __init__(self, place):
        self.place, self.since = place, place.database.value("select clock_timestamp()")

    def has_run(self, statement):
        return self.place.database.value(
            "select count(*) from pg_stat_activity where datname = current_database() and state = 'idle' and query like %s"
            " and query_start > %s and application_name like 'turnout worker%%'", (f"%{statement}%", self.since)) > 0


def effects(place, event):
    """What the log says of the event and everybody on it."""
    return [row[0] for row in place.database.rows("select action from turnout.audit_log where event_id = %s order by id", (event["id"],))]


def at(turnout, person):
    """The same person at the other host."""
    other = Person(turnout)
    other.email, other.token = person.email, person.token
    return other


# --- the header ---

GOOD = {
    "uuid": '"8e03978e-40d5-43dd-bc93-6894a57f9324"', "bare uuid": "8e03978e-40d5-43dd-bc93-6894a57f9324",
    "space": '" "', "separators": '"with a space, a comma; and more"', "escapes": r'"a \"quoted\" word and a \\"', "longest": '"' + "x" * 255 + '"',
    "longest bare": "x" * 255, "longest of escapes": '"' + r"\\" * 255 + '"', "signs": "!#$%&'()*+-./:<=>?@[]^_`{|}~"}


@pytest.mark.parametrize("name", GOOD)
def test_a_key_is_a_string_in_quotes_or_the_same_bare(place, name):
    organizer, fields, text = Person(place.here, "organizer"), event_fields(title=name), GOOD[name]

    def post(header):
        answer = organizer.post("/api/events", json=fields, headers={"Idempotency-Key": header})
        assert answer.status == 201, answer
        return answer

    first = post(text)
    assert essence(post(f"  {text} ")) == essence(first)
    if '"' not in text:
        assert essence(post(f'"{text}"')) == essence(first)
    assert post('"another key"').json()["id"] != first.json()["id"]


BAD = {
    "nothing": ("", "empty"), "empty": ('""', "empty"), "too long": ('"' + "x" * 256 + '"', "255"), "too long and bare": ("x" * 256, "255"),
    "not closed": ('"open', "double quotes"), "a quote": ('"', "double quotes"), "more behind it": ('"a" b', "behind the closing quote"),
    "a parameter": ('"a";q=1', "behind the closing quote"), "a list": ('"a", "b"', "behind the closing quote"),
    "bare with a space": ("two words", "double quotes"), "bare with a comma": ("a,b", "double quotes"),
    "bare with a semicolon": ("a;b", "double quotes"), "bare with a quote": ('a"b', "double quotes"),
    "bare with a backslash": (r"a\b", "double quotes"), "an unknown escape": (r'"a\b"', "backslash"), "ends in an escape": ('"a\\', "backslash"),
    "a tab": ('"a\tb"', "printable ASCII"), "a bare tab": ("a\tb", "printable ASCII"), "not ASCII": ('"é"', "printable ASCII"),
    "bare and not ASCII": ("é", "printable ASCII")}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_key_is_refused_with_what_to_send(place, name):
    text, word = BAD[name]
    headers = {"Idempotency-Key": text.encode()}
    refused = place.organizer.post("/api/events", json=event_fields(), headers=headers)
    assert (refused.status, refused.problem) == (400, "bad-request"), refused
    assert word in refused.json()["detail"], refused
    # Where nothing is written it is not looked at.
    assert place.organizer.get("/api/users/me", headers=headers).status == 200


def test_a_key_that_stands_twice_and_one_with_a_control_character_are_refused(place):
    event = place.organizer.event()
    body = b'{"event_id":"%s"}' % event["id"].encode()

    def post(*lines):
        with Wire.tcp(place.here) as wire:
            wire.send(request("POST", "/api/registrations", f"Authorization: Bearer {place.person.token}",
                              "Content-Type: application/json", *lines, body=body))
            return wire.answer()

    for lines in (['Idempotency-Key: "a"', 'Idempotency-Key: "b"'], ['Idempotency-Key: "a', 'idempotency-key: b"'], ["Idempotency-Key: a"] * 2,
                  ['Idempotency-Key: "a\x01b"'], ['Idempotency-Key: "a\x7fb"']):
        refused = post(*lines)
        assert (refused.status, refused.problem) == (400, "bad-request"), lines
    assert effects(place, event) == ["event.created", "event.published"]
    assert post('Idempotency-Key: "a"').status == 201


# --- every write ---

def draft(place):
    return f"/api/events/{place.organizer.draft()['id']}"


def published(place):
    return f"/api/events/{place.organizer.event()['id']}"


def registration(place):
    return f"/api/registrations/{place.person.register(place.organizer.event()).json()['id']}"


def order(place):
    return {"event_id": place.organizer.event()["id"]}


# Name → (method, path, JSON or None, another body that is as good, headers, who)
WRITES = {
    "create an event": lambda p: ("POST", "/api/events", event_fields(), event_fields(title="Another"), {}, p.organizer),
    "edit an event": lambda p: ("PATCH", published(p), {"capacity": 11}, {"capacity": 12}, {"If-Match": "*"}, p.organizer),
    "delete an event": lambda p: ("DELETE", draft(p), None, {}, {}, p.organizer),
    "publish an event": lambda p: ("POST", draft(p) + "/publish", None, {}, {}, p.organizer),
    "cancel an event": lambda p: ("POST", published(p) + "/cancel", None, {}, {}, p.organizer),
    "register": lambda p: ("POST", "/api/registrations", order(p), order(p), {}, p.person),
    "cancel a registration": lambda p: ("DELETE", registration(p), None, {}, {}, p.person),
}


@pytest.mark.parametrize("name", WRITES)
def test_every_write_is_answered_the_same_by_every_worker_and_host_and_done_once(place, name):
    method, path, body, another_body, headers, who = WRITES[name](place)
    headers = {**headers, **key_header(new_key())}
    count = "select count(*) from turnout.audit_log"
    before = place.database.value(count)
    first = who.request(method, path, json=body, headers=headers)
    assert first.status in (200, 201, 204), first
    written = place.database.value(count)
    assert written > before
    elsewhere = at(place.there, who)
    for _ in range(3):
        assert essence(who.request(method, path, json=body, headers=headers)) == essence(first)
        assert essence(elsewhere.request(method, path, json=body, headers=headers)) == essence(first)
        place.there.disconnect()  # perhaps the other worker
    # Another request under the key: another body, another path and method, and another precondition.
    others = [(method, path, another_body, headers), ("POST", "/api/events", event_fields(title="Third"), headers)]
    if "If-Match" in headers:
        others.append((method, path, body, {**headers, "If-Match": '"7.0.0"'}))
    for other_method, other_path, other_body, other_headers in others:
        for asking in (who, elsewhere):
            refused = asking.request(other_method, other_path, json=other_body, headers=other_headers)
            assert (refused.status, refused.problem) == (422, "key-reused"), refused
    assert place.database.value(count) == written
    # Its accepted twin: somebody else's same key is another key.
    other = Person(place.here, "organizer")
    assert other.post("/api/events", json=event_fields(), headers=headers).status == 201


def test_the_answer_stays_while_the_world_goes_on(place):
    """Not rendered again from what is true now."""
    person, event, headers = Person(place.here), place.organizer.event(capacity=1), key_header(new_key())
    first = person.register(event, headers=headers)
    assert (first.status, first.json()["status"]) == (201, "registered")
    assert person.cancel(first.json()).status == 200
    place.organizer.post(f"/api/events/{event['id']}/cancel")
    assert essence(person.register(event, headers=headers)) == essence(first)
    assert person.register(event).problem == "event-closed"


def test_a_refusal_is_not_stored_and_the_same_key_runs_afresh(place):
    event, headers = place.organizer.event(capacity=1, waitlist_enabled=False), key_header(new_key())
    assert Person(place.here).register(event).status == 201
    person = Person(place.here)
    assert person.register(event, headers=headers).problem == "event-full"
    assert place.organizer.patch(event, capacity=2).status == 200
    made = person.register(event, headers=headers)
    assert made.status == 201, made
    assert essence(at(place.there, person).register(event, headers=headers)) == essence(made)


def test_an_answer_is_forgotten_after_its_time_whether_it_is_pruned_yet_or_not(place):
    fields, headers = event_fields(title="Old"), key_header(new_key())
    first = place.organizer.post("/api/events", json=fields, headers=headers)
    ages = "update turnout.idempotency_keys set created_at = now() - %s::interval where user_id = %s and key = %s"
    key = headers["Idempotency-Key"].strip('"')
    place.database.rows(ages, ("23 hours 50 minutes", place.organizer.id, key))
    assert essence(place.organizer.post("/api/events", json=fields, headers=headers)) == essence(first)
    place.database.rows(ages, ("24 hours 1 second", place.organizer.id, key))
    again = place.organizer.post("/api/events", json=fields, headers=headers)
    assert again.status == 201 and again.json()["id"] != first.json()["id"]
    assert essence(place.organizer.post("/api/events", json=fields, headers=headers)) == essence(again)


# --- while it runs ---

def test_a_key_that_is_in_use_here_or_elsewhere_is_refused_at_once_and_answered_afterwards(place, threads, hold):
    person, event = Person(place.here), place.organizer.event()
    assert person.id
    body, headers = {"event_id": event["id"]}, key_header(new_key())
    with hold("outbox"):
        running = threads.submit(person.register, event, headers=headers)
        waiting(place, "registration_batch_with_keys")
        # The first one waits for as long as it must; these do not, though they are for the same event.
        for turnout in (place.here, place.there, place.there):
            refused = at(turnout, person).register(event, headers=headers)
            assert (refused.status, refused.problem) == (409, "key-in-use"), refused
            assert int(refused.headers["retry-after"]) == 1
            turnout.disconnect()
        reused = at(place.there, person).post("/api/events", json=body, headers=headers)
        assert reused.status in (409, 422), reused
        assert not running.done()
    first = running.result(60)
    assert first.status == 201, first
    for turnout in (place.here, place.there):
        assert essence(at(turnout, person).register(event, headers=headers)) == essence(first)
    assert effects(place, event)[2:] == ["registration.registered"]


def test_a_key_whose_write_waits_for_its_event_is_in_use_too(place, postgres, threads):
    """Its transactions come and go, as somebody holds the event; between two of them nobody holds the key in PostgreSQL."""
    person, event, headers = Person(place.here), place.organizer.event(), key_header(new_key())
    assert person.id
    watch = Watch(place)
    with psycopg.connect(postgres.dsn(place.database.name, OWNER)) as holder:
        holder.execute("select from turnout.event_seats where event_id = %s for update", (event["id"],))
        running = threads.submit(person.register, event, headers=headers)
        wait_until(lambda: watch.has_run("registration_batch_with_keys"), "it was told that the event is busy")
        assert person.register(event, headers=headers).problem == "key-in-use"
    first = running.result(60)
    assert first.status == 201, first
    assert essence(person.register(event, headers=headers)) == essence(first)


def test_of_two_hundred_at_once_with_one_key_one_has_an_effect_and_all_get_its_answer(place):
    event, key, counts = place.organizer.event(capacity=5), new_key(), collections.Counter()
    token = Person(place.here).token
    ports = (place.here.port, place.there.port)

    async def script(client, number):
        client.address = ports[number % 2]
        while True:
            answer = await client.post("/api/registrations", {"event_id": event["id"]}, token=token,
                                       headers=[("Idempotency-Key", f'"{key}"')])
            counts[answer.status] += 1
            if answer.status != 409:
                lines = [line.partition(b": ") for line in answer.head.split(b"\r\n")[1:]]
                pairs = [(name.decode(), value.decode()) for name, _, value in lines]
                return essence(Response(answer.status, pairs, answer.body))
            assert answer.json()["type"] == "/problems/key-in-use" and answer.header("retry-after") == "1"
            # Sooner than asked for, but the machine is for the one that runs.
            await asyncio.sleep(0.02)

    answers = run_clients(ports[0], int(200 * max(1, SCALE)), script)
    print(f"answers by status: {dict(counts)}")
    assert answers[0][0] == 201 and all(answer == answers[0] for answer in answers)
    assert effects(place, event)[2:] == ["registration.registered"]


# --- crashes between commit and answer ---

CRASHES = ["register", "cancel", "create", "edit", "publish"]


def crash_cases(place):
    """For each of CRASHES: statement that is cut, method, path, JSON, headers, who."""
    event = place.organizer.event()
    new_person = Person(place.here)
    assert new_person.id
    yield ("registration_batch_keyed", "POST", "/api/registrations", {"event_id": event["id"]}, {}, new_person)
    made = new_person.register(place.organizer.event()).json()
    yield ("registration_batch_keyed", "DELETE", f"/api/registrations/{made['id']}", None, {}, new_person)
    yield ("event_create_keyed", "POST", "/api/events", event_fields(title=str(uuid.uuid4())), {}, place.organizer)
    yield ("event_update_keyed", "PATCH", f"/api/events/{event['id']}", {"title": "Cut"}, {"If-Match": "*"}, place.organizer)
    yield ("event_publish_keyed", "POST", f"/api/events/{place.organizer.draft()['id']}/publish", None, {}, place.organizer)


def crash_case(place, name):
    return list(crash_cases(place))[CRASHES.index(name)]


def log_count(place):
    return place.database.value("select count(*) from turnout.audit_log")


def stored(place, who, key):
    return place.database.rows("select body from turnout.idempotency_keys where user_id = %s and key = %s", (who.id, key))


@pytest.mark.parametrize("name", CRASHES)
def test_the_answer_survives_its_worker_killed_between_commit_and_answer(place, threads, name):
    statement, method, path, body, headers, who = crash_case(place, name)
    key = new_key()
    headers = {**headers, **key_header(key)}
    before = log_count(place)
    place.proxy.held = True  # it finds no new connection to ask what became of it
    place.proxy.cut(statement, "after")
    lost = threads.submit(who.request, method, path, json=body, headers=headers)
    wait_until(lambda: stored(place, who, key), "the write is committed")
    assert place.proxy.fired and not lost.done(), "there is an answer already: the test shows nothing"
    written = log_count(place)
    assert written > before
    victim = place.here.kill("worker")
    with pytest.raises(OSError):
        lost.result(60)
    elsewhere = at(place.there, who).request(method, path, json=body, headers=headers)
    assert elsewhere.status in (200, 201) and elsewhere.body.decode() == stored(place, who, key)[0][0], elsewhere
    place.proxy.held = False
    wait_replaced(place.here, "worker", victim)
    place.here.wait_ready()
    assert essence(who.request(method, path, json=body, headers=headers)) == essence(elsewhere)
    assert log_count(place) == written
    if name == "create":
        assert elsewhere.headers["location"] == f"/api/events/{elsewhere.json()['id']}"


def test_who_was_killed_before_its_commit_keeps_the_key_until_postgresql_is_done_with_it(place, threads, hold):
    person, event, headers = Person(place.there), place.organizer.event(), key_header(new_key())
    assert person.id
    with hold("outbox"):
        lost = threads.submit(person.register, event, headers=headers)
        waiting(place, "registration_batch_with_keys")
        for process in place.there.processes("worker"):
            os.kill(process["pid"], signal.SIGKILL)
        with pytest.raises(OSError):
            lost.result(60)
        place.there.wait_ready()
        assert person.register(event, headers=headers).problem == "key-in-use"

    def answer():
        one = person.register(event, headers=headers)
        assert one.status == 201 or one.problem == "key-in-use", one
        return one if one.status == 201 else None

    first = wait_until(answer, "the key is free")
    assert essence(at(place.here, person).register(event, headers=headers)) == essence(first)
    assert effects(place, event)[2:] == ["registration.registered"]


# --- connections that are cut: the worker sends it again ---

@pytest.mark.parametrize("moment", ["before", "during", "after"])
@pytest.mark.parametrize("name", ["register", "create", "edit"])
def test_a_write_whose_connection_is_cut_is_sent_again_under_its_key(place, name, moment):
    """Also those that without a key are answered with outcome-unknown (test_in_flight.py)."""
    statement, method, path, body, headers, who = crash_case(place, name)
    headers = {**headers, **key_header(new_key())}
    before = log_count(place)
    place.proxy.cut(statement, moment, 2)
    answer = who.request(method, path, json=body, headers=headers)
    assert len(place.proxy.fired) == 2, "no connection was cut: the test shows nothing"
    assert answer.status in (200, 201), answer
    assert log_count(place) == before + 1
    assert essence(who.request(method, path, json=body, headers=headers)) == essence(answer)


def test_a_first_try_that_is_still_at_work_is_waited_for_and_its_answer_given(place, threads, hold):
    """Not 409: whoever asked has asked once."""
    fields, headers, watch = event_fields(title=str(uuid.uuid4())), key_header(new_key()), Watch(place)
    with hold("audit_log"):
        place.proxy.cut("event_create_keyed", "during")
        asking = threads.submit(place.organizer.post, "/api/events", json=fields, headers=headers)
        waiting(place)
        wait_until(lambda: place.proxy.fired, "the cut")
        wait_until(lambda: watch.has_run("write_with_key"), "it was sent again and found the key taken")
        assert not asking.done()
    answer = asking.result(60)
    assert answer.status == 201, answer
    assert essence(at(place.there, place.organizer).post("/api/events", json=fields, headers=headers)) == essence(answer)
    assert place.database.value("select count(*) from turnout.events where title = %s", (fields["title"],)) == 1


def test_what_became_of_keys_is_counted(place):
    def counts():
        text = place.here.internal("/metrics").body.decode()
        lines = [line for line in text.splitlines() if line.startswith("turnout_idempotency_keys_total{")]
        return {line.split('result="')[1].split('"')[0]: float(line.split()[-1]) for line in lines}

    before, headers = counts(), key_header(new_key())
    place.organizer.post("/api/events", json=event_fields(), headers=headers)
    fields = event_fields(title="Counted")
    headers = key_header(new_key())
    for body in (fields, fields, fields, event_fields(title="Else")):
        place.organizer.post("/api/events", json=body, headers=headers)
    after = counts()
    assert {name: after[name] - before[name] for name in after} == {"stored": 2, "replayed": 2, "reused": 1, "in-use": 0}
