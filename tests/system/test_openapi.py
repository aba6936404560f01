"""The description of the API against the server that serves it: every answer that it describes is provoked and held against it,
member by member and header by header. tests/lint/openapi.py holds the document against the source; its reader of schemas is used
here."""

import importlib.util
import itertools
import json
import re
import uuid

import pytest

from api import Person, etag, event_fields, from_now, set_event
from reloading import reload
from server import NO_LIMITS
from sql_harness import TOP, Database, wait_until
from unsubscribing import token_for

loader = importlib.util.spec_from_file_location("openapi_lint", TOP / "tests" / "lint" / "openapi.py")
lint = importlib.util.module_from_spec(loader)
loader.loader.exec_module(lint)

SOURCE = TOP / "src" / "api" / "openapi.json"
DOCUMENT = lint.Document(json.loads(SOURCE.read_text(encoding="utf-8")))
OPERATIONS = {operation["operationId"]: (method.upper(), path, operation)
              for path, method, operation, _ in lint.operations(DOCUMENT)}
# What HTTP itself says in every answer, and the description of headers need not repeat.
EVERYWHERE = {"server", "date", "content-length", "content-type", "connection", "x-content-type-options"}
# In every answer to a write of a user, as the document says at its beginning.
LIMITS = {"ratelimit-policy", "ratelimit"}
# What a link does that needs nobody to be signed in.
WITH_TOKEN = ("readCalendarFeed", "showUnsubscribe", "unsubscribe")
JSON = {"Content-Type": "application/json"}
numbers = itertools.count(1)


def members_of(schema, value):
    """Member → schemas, of everything that describes a value which is an object."""
    schema = DOCUMENT.follow(schema)
    found = {name: [inner] for name, inner in schema.get("properties", {}).items()}
    fitting = [part for part in schema.get("oneOf", []) if not list(lint.fits(DOCUMENT, part, value, ""))]
    for part in schema.get("allOf", []) + fitting:
        for name, inner in members_of(part, value).items():
            found.setdefault(name, []).extend(inner)
    return found


def undescribed(schema, value, where=""):
    """Members of an answer that the description does not know."""
    if isinstance(value, dict):
        known = members_of(schema, value)
        for name, inner in value.items():
            if name not in known:
                yield f"{where}/{name}"
            for part in known.get(name, []):
                yield from undescribed(part, inner, f"{where}/{name}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from undescribed(DOCUMENT.follow(schema).get("items", {}), inner, f"{where}/{number}")


def assert_headers_as_described(answer, described):
    described = {name.lower(): DOCUMENT.follow(header) for name, header in described.items()}
    for name, header in described.items():
        assert name in answer.headers or not header.get("required"), f"{name} is missing: {answer}"
    for name, value in answer.headers.items():
        if name in EVERYWHERE or (name in LIMITS and name not in described):
            continue
        assert name in described, f"{name} is not described: {answer}"
        schema = described[name]["schema"]
        value = int(value) if schema["type"] == "integer" else value
        assert list(lint.fits(DOCUMENT, schema, value, name)) == []


def assert_as_described(operation, method, answer, status=None):
    """An answer fits what is described under its status."""
    described = DOCUMENT.follow(operation["responses"][status or str(answer.status)])
    assert_headers_as_described(answer, described.get("headers", {}))
    assert "x-request-id" in answer.headers
    if "content" not in described:
        assert answer.body == b"" and "content-type" not in answer.headers
        return
    kind = answer.headers["content-type"].removesuffix("; charset=utf-8")
    assert kind in described["content"], answer
    schema = described["content"][kind]["schema"]
    if not kind.endswith("json"):
        assert list(lint.fits(DOCUMENT, schema, answer.body.decode(), "")) == [], answer
        return
    value = answer.json()
    assert list(lint.fits(DOCUMENT, schema, value, "")) == [], answer
    if value.get("openapi") is None:
        assert list(undescribed(schema, value)) == [], answer
    if answer.status >= 400:
        assert (value["status"], value["request_id"]) == (answer.status, answer.headers["x-request-id"])


class Scene:
    """Somebody who asks, and what an operation needs to be asked at all."""

    def __init__(self, turnout, database):
        self.turnout, self.database = turnout, database
        self.organizer, self.person = Person(turnout, "organizer"), Person(turnout)

    def request(self, name, who=None, headers=None, body=None, query="", path=None, **keywords):
        """The operation, as it is when all goes well, but for what is given. `who`: a person, a token, or "nobody"."""
        method, template, _ = OPERATIONS[name]
        path = path or template
        if name in WITH_TOKEN and not query:
            query = f"?token={self.link_token(name)}"
        if "{id}" in path:
            path = path.replace("{id}", self.fresh_id(name))
        if body is None and "json" not in keywords:
            keywords["json"] = self.usual_body(name)
        if name == "updateEvent" and headers is None:
            headers = {"If-Match": "*"}
        token = None if who == "nobody" else getattr(who or self.usual(name), "token", who)
        return self.turnout.request(method, path + query, token, headers=headers, body=body, **keywords)

    def link_token(self, name):
        if name == "readCalendarFeed":
            return self.person.post("/api/users/me/calendar-feed").json()["url"].split("=")[1]
        return token_for(self.turnout, self.person.id, "reminders")

    def usual_body(self, name):
        if name == "register":
            return {"event_id": self.organizer.event()["id"]}
        if name == "transferRegistration":
            return {"user": self.organizer.id}
        if name == "registerList":
            return {"user_ids": [self.person.id]}
        return {"createEvent": event_fields(), "updateEvent": {"title": "New"}}.get(name)

    def usual(self, name):
        """Whom the operation is for."""
        own = ("listMyRegistrations", "register", "readRegistration", "cancelRegistration", "transferRegistration", "readMe",
               "createCalendarFeed", "deleteCalendarFeed")
        return self.person if name in own else self.organizer

    def fresh_id(self, name):
        if name in ("readRegistration", "cancelRegistration", "transferRegistration"):
            return self.person.register(self.organizer.event()).json()["id"]
        return (self.organizer.event() if name == "readEventCalendar" else self.organizer.draft())["id"]


@pytest.fixture(scope="module")
def scene(postgres, turnout):
    database = Database(postgres, turnout.database)
    yield Scene(turnout, database)
    # Nobody else's rows were changed behind the rules' back.
    database.assert_consistent()


def test_the_served_document_is_the_one_of_the_source(turnout):
    answer = turnout.get("/api/openapi.json")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.body == SOURCE.read_bytes()
    again = turnout.get("/api/openapi.json", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status, again.body) == (304, b"")


def test_every_route_of_the_server_is_described_and_every_described_one_is_served(turnout):
    table = re.findall(r'\{HTTP_METHOD_(\w+), "(/api/[^"]*)", ', (TOP / "src" / "api" / "routes.c").read_text(encoding="utf-8"))
    assert len(table) > 10
    assert sorted(table) == sorted((method, path) for method, path, _ in OPERATIONS.values())
    for path in {path for _, path in table}:
        described = {method for method, one in table if one == path}
        described |= {"HEAD"} if "GET" in described else set()
        real = path.replace("{id}", str(uuid.uuid4()))
        answer = turnout.request("OPTIONS", real)
        assert (answer.status, set(answer.headers["allow"].split(", "))) == (204, described | {"OPTIONS"})
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - described:
            refused = turnout.request(method, real)
            assert (refused.status, refused.problem) == (405, "method-not-allowed")
            assert set(refused.headers["allow"].split(", ")) == described | {"OPTIONS"}
        for method in described:
            assert turnout.request(method, real).status not in (405, 501), (method, path)
    for unknown in ("/", "/api", "/api/", "/api/event", "/api/events/", "/api/events/x/y", "/api/users", "/healthz", "/readyz",
                    "/metrics"):
        assert turnout.get(unknown).problem == "not-found", unknown


# How each status comes about. A function takes the scene and the operation's name, and yields answers.

def good(scene, name):
    yield scene.request(name)
    if name == "readEventStats":
        event = scene.organizer.event()
        scene.person.register(event)
        yield scene.request(name, path=OPERATIONS[name][1].replace("{id}", event["id"]))
    if name in ("listEventRegistrations", "readEventLog"):
        event = scene.organizer.event(capacity=1)
        for who in (scene.person, scene.organizer):
            who.register(event)
        scene.organizer.patch(event, title="Newer", registration_opens_at=from_now(days=-1))
        path = OPERATIONS[name][1].replace("{id}", event["id"])
        first = scene.request(name, path=path, query="?limit=1")
        assert "link" in first.headers
        yield first
        yield scene.request(name, path=path)
    if name in ("listEvents", "listMyRegistrations"):
        for _ in range(2):
            scene.person.register(scene.organizer.event())
        first = scene.request(name, query="?limit=1")
        assert "link" in first.headers
        yield first
    if name == "register":
        event = scene.organizer.event(capacity=1)
        yield scene.request(name, json={"event_id": event["id"]})
        yield scene.request(name, who=scene.organizer, json={"event_id": event["id"]})
    if name == "registerList":
        event, guest = scene.organizer.event(capacity=1, guests_allowed=False), Person(scene.turnout, kind="guest")
        answer = scene.request(name, path=OPERATIONS[name][1].replace("{id}", event["id"]),
                               json={"user_ids": [scene.person.id, scene.organizer.id, scene.person.id, guest.id, str(uuid.uuid4())]})
        assert [one["outcome"] for one in answer.json()["results"]] == ["registered", "waitlisted", "existing", "refused", "refused"]
        yield answer
    if name == "readEvent":
        yield scene.request(name, path=f"/api/events/{scene.organizer.event()['id']}", who="nobody")


def repeated(scene, name):
    event = scene.organizer.event()
    scene.person.register(event)
    yield scene.request(name, json={"event_id": event["id"]})


def not_modified(scene, name):
    path = OPERATIONS[name][1].replace("{id}", scene.organizer.event()["id"])

    def unchanged():
        answer = scene.request(name, path=path, headers={"If-None-Match": scene.request(name, path=path).headers["etag"]})
        return answer if answer.status == 304 else None
    # What was written before may still be on its way into the cache, between the two.
    yield wait_until(unchanged, "it is what it was a moment ago")


def unreadable(scene, name):
    yield scene.request(name, query="?%zz")
    if "413" in OPERATIONS[name][2]["responses"] and name not in ("cancelRegistration", "unsubscribe"):
        headers = {**JSON, "If-Match": "*"}
        yield scene.request(name, body=b"{", headers=headers)
        yield scene.request(name, body=b"[]", headers=headers)


def without_token(scene, name):
    yield scene.request(name, who="no.good.token")
    if {} not in OPERATIONS[name][2].get("security", []):
        yield scene.request(name, who="nobody")


def forbidden(scene, name):
    # Whoever comes with the address of another identity is nobody here.
    yield scene.request(name, who=scene.turnout.token(scene.usual(name).email, sub=f"another {next(numbers)}"))
    if name == "createEvent":
        yield scene.request(name, who=scene.person)
    if name in ("updateEvent", "deleteEvent", "publishEvent", "cancelEvent", "listEventRegistrations", "readEventLog",
                "readEventStats", "registerList"):
        yield scene.request(name, who=scene.person, path=OPERATIONS[name][1].replace("{id}", scene.organizer.event()["id"]))
    if name == "register":
        yield scene.request(name, json={"event_id": scene.organizer.event()["id"], "user_id": scene.organizer.id})
        guest = Person(scene.turnout, kind="guest")
        yield scene.request(name, who=guest, json={"event_id": scene.organizer.event(guests_allowed=False)["id"]})
    if name == "transferRegistration":
        guest = Person(scene.turnout, kind="guest")
        made = scene.person.register(scene.organizer.event(guests_allowed=False)).json()
        yield scene.request(name, path=OPERATIONS[name][1].replace("{id}", made["id"]), json={"user": guest.id})
        event = scene.organizer.event(department_limit=1)
        giver, holder, receiver = (Person(scene.turnout, department=name) for name in ("Giving", "Same", "Same"))
        made = giver.register(event).json()
        assert holder.register(event).json()["status"] == "registered"
        yield scene.request(name, who=giver, path=OPERATIONS[name][1].replace("{id}", made["id"]), json={"user": receiver.id})


def not_found(scene, name):
    if name == "register":
        yield scene.request(name, json={"event_id": str(uuid.uuid4())})
    elif name == "readMe":
        vanished = Person(scene.turnout)
        assert vanished.get("/api/users/me").status == 200
        scene.database.rows("delete from turnout.users where email = %s", (vanished.email,))
        # The token is remembered by the worker that has seen it, on this kept connection.
        yield wait_until(lambda: (gone := scene.request(name, who=vanished)).status == 404 and gone, "nobody knows of them any more")
    elif name in WITH_TOKEN:
        yield scene.request(name, query="?token=none")
    else:
        yield scene.request(name, path=OPERATIONS[name][1].replace("{id}", str(uuid.uuid4())))
        yield scene.request(name, path=OPERATIONS[name][1].replace("{id}", "none"))


def with_key(key):
    return {"Idempotency-Key": key, "If-Match": "*"}


def key_in_use(scene, name):
    """Some other transaction works under the key."""
    key = f"in use {next(numbers)}"
    with scene.database.connect() as holder, holder.transaction():
        holder.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"{scene.usual(name).id} {key}",))
        refused = scene.request(name, headers=with_key(f'"{key}"'))
        assert refused.problem == "key-in-use" and "retry-after" in refused.headers, refused
        yield refused
    assert scene.request(name, headers=with_key(f'"{key}"')).status < 300


def key_reused(scene, name):
    headers = with_key(f"reused-{next(numbers)}")
    assert scene.request(name, headers=headers).status < 300
    other = {"createEvent": event_fields(title="Another"), "createCalendarFeed": {}, "deleteCalendarFeed": {}}
    refused = scene.request(name, headers=headers, **({"json": other[name]} if name in other else {}))
    assert refused.problem == "key-reused", refused
    yield refused


def conflict(scene, name):
    yield from key_in_use(scene, name)
    if name not in ("createEvent", "registerList", "createCalendarFeed", "deleteCalendarFeed"):
        yield from wrong_state(scene, name)


def wrong_state(scene, name):
    organizer, person, database = scene.organizer, scene.person, scene.database
    template = OPERATIONS[name][1]
    if name in ("publishEvent", "deleteEvent"):
        yield scene.request(name, path=template.replace("{id}", organizer.event()["id"]))
    elif name == "cancelEvent":
        event = organizer.event()
        set_event(database, event, status="completed")
        yield scene.request(name, path=template.replace("{id}", event["id"]))
    elif name == "updateEvent":
        event = organizer.event()
        for who in (person, organizer):
            who.register(event)
        yield scene.request(name, path=template.replace("{id}", event["id"]), json={"capacity": 1})
        set_event(database, event, status="completed")
        yield scene.request(name, path=template.replace("{id}", event["id"]))
    elif name == "cancelRegistration":
        event = organizer.event()
        made = person.register(event).json()
        set_event(database, event, status="completed")
        yield scene.request(name, path=template.replace("{id}", made["id"]))
    elif name == "transferRegistration":
        def transfer(event, then):
            made = person.register(event).json()
            then(made)
            return scene.request(name, path=template.replace("{id}", made["id"]), json={"user": organizer.id})
        both, begun, over = organizer.event(), organizer.event(), organizer.event()
        yield transfer(organizer.event(), person.cancel)
        yield transfer(both, lambda made: organizer.register(both))
        yield transfer(begun, lambda made: set_event(database, begun, start_datetime=from_now(seconds=-1)))
        yield transfer(over, lambda made: organizer.post(f"/api/events/{over['id']}/cancel"))
        assert transfer(organizer.event(), lambda made: None).status == 200
    else:
        full, closed, over = organizer.event(capacity=1, waitlist_limit=0), organizer.event(), organizer.event()
        organizer.register(full)
        set_event(database, closed, registration_closes_at=from_now(seconds=-1))
        organizer.post(f"/api/events/{over['id']}/cancel")
        for event in (full, closed, over, organizer.event(registration_opens_at=from_now(hours=1))):
            yield scene.request(name, json={"event_id": event["id"]})
        yield scene.request(name, who=organizer, json={"event_id": organizer.draft()["id"]})


def stale(scene, name):
    event = scene.organizer.event()
    tag = etag(event)
    scene.organizer.patch(event, title="Newer")
    for wrong in (tag, f"W/{tag}"):
        yield scene.request(name, path=f"/api/events/{event['id']}", headers={"If-Match": wrong})


def too_large(scene, name):
    yield scene.request(name, body=b" " * 300000, headers=JSON)


def wrong_media_type(scene, name):
    yield scene.request(name, body=b"{}", headers={"Content-Type": "text/plain", "If-Match": "*"})


def invalid(scene, name):
    if "409" in OPERATIONS[name][2]["responses"]:
        yield from key_reused(scene, name)
    yield scene.request(name, query="?colour=red")
    if name in ("listEvents", "listMyRegistrations", "listEventRegistrations", "readEventLog"):
        yield scene.request(name, query="?limit=0")
        yield scene.request(name, query="?cursor=x")
    if name == "listEventRegistrations":
        yield scene.request(name, query="?status=x&name=" + "n" * 256)
    if name == "readEventLog":
        yield scene.request(name, query="?entity=user&registration_id=x")
    if name == "listEvents":
        yield scene.request(name, query="?from=x&to=x&status=x&category=X")
    if name == "registerList":
        for wrong in ([], ["x"], [str(uuid.uuid4())] * 1001, "x"):
            yield scene.request(name, json={"user_ids": wrong})
    if name == "transferRegistration":
        for wrong in ("nobody", "nobody@example.com", str(uuid.uuid4()), 1, None):
            yield scene.request(name, json={"user": wrong})
    if name in ("createEvent", "updateEvent", "register", "registerList", "transferRegistration", "publishEvent", "cancelEvent", "deleteEvent",
                "createCalendarFeed", "deleteCalendarFeed"):
        yield scene.request(name, json={"colour": 1, "title": 1, "event_id": 1}, headers={**JSON, "If-Match": "*"})
    if name == "register":
        event = scene.organizer.event()
        yield scene.request(name, who=scene.organizer, json={"event_id": event["id"], "user_id": str(uuid.uuid4())})


def without_if_match(scene, name):
    yield scene.request(name, headers={})


PROVOKE = {"200": good, "201": good, "204": good, "304": not_modified, "400": unreadable, "401": without_token, "403": forbidden,
           "404": not_found, "409": conflict, "412": stale, "413": too_large, "415": wrong_media_type, "422": invalid,
           "428": without_if_match}


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_answer_that_is_described_can_be_had_and_is_as_described(scene, name):
    method, _, operation = OPERATIONS[name]
    # 429, 500 and 503 have tests of their own, the default stands for what no operation does.
    for status in sorted(set(operation["responses"]) - {"429", "500", "503", "default"}):
        provoke = repeated if (name, status) == ("register", "200") else PROVOKE[status]
        answers = list(provoke(scene, name))
        assert answers
        for answer in answers:
            assert str(answer.status) == status, answer
            assert_as_described(operation, method, answer)


def test_too_many_requests_are_answered_as_described(scene):
    reload(scene.turnout, user_writes=1, user_writes_burst=1, user_reads=1, user_reads_burst=1, address_requests=1,
           address_requests_burst=1)
    try:
        for name, (method, _, operation) in OPERATIONS.items():
            def ask(name=name, who="nobody" if operation.get("security") == [{}] else scene.person, some=None if method == "GET" else {}):
                return scene.request(name, who=who, path=OPERATIONS[name][1].replace("{id}", str(uuid.uuid4())), json=some,
                                     query="?token=none" if name in WITH_TOKEN else "")
            refused = wait_until(lambda ask=ask: (answer := ask()).status == 429 and answer, "somebody asks too often")
            assert refused.problem == "rate-limited"
            assert_as_described(operation, method, refused)
    finally:
        reload(scene.turnout, **NO_LIMITS)


def test_every_answer_to_a_write_says_what_is_left_of_the_limit(scene):
    reload(scene.turnout, user_writes=1000, user_writes_burst=1000)
    try:
        for name, (method, _, operation) in OPERATIONS.items():
            for answer in good(scene, name):
                assert_as_described(operation, method, answer)
                assert set(answer.headers) & LIMITS == (set() if method == "GET" else LIMITS)
            if name in WITH_TOKEN:
                continue  # without it they are an address's, not a user's
            refused = scene.request(name, query="?colour=red")
            assert set(refused.headers) & LIMITS == (set() if method == "GET" else LIMITS)
    finally:
        reload(scene.turnout, **NO_LIMITS)


def test_a_method_that_a_path_does_not_have_is_answered_as_described(scene):
    for _, path, operation in OPERATIONS.values():
        answer = scene.turnout.request("PUT", path.replace("{id}", str(uuid.uuid4())))
        assert answer.status == 405
        assert_as_described(operation, "PUT", answer, "default")


def some_address(turnout, name):
    """Of an operation: what it names need not be there."""
    query = f"?token={token_for(turnout, str(uuid.uuid4()), 'reminders')}" if name in WITH_TOKEN else ""
    return OPERATIONS[name][1].replace("{id}", str(uuid.uuid4())) + query


def test_a_failure_of_the_server_is_answered_as_described_and_stands_in_the_log(new_turnout, postgres):
    turnout = new_turnout(workers=1)
    organizer = Person(turnout, "organizer")
    Database(postgres, turnout.database).rows("alter schema turnout rename to elsewhere")
    for name, (method, _, operation) in OPERATIONS.items():
        if "500" not in operation["responses"]:
            continue
        answer = turnout.request(method, some_address(turnout, name), organizer.token)
        assert (answer.status, answer.problem) == (500, "internal"), answer
        assert_as_described(operation, method, answer)
        turnout.wait_logged("a statement failed", answer.headers["x-request-id"])
        assert "elsewhere" not in answer.body.decode() and "select" not in answer.body.decode()
    Database(postgres, turnout.database).rows("alter schema elsewhere rename to turnout")
    assert organizer.get("/api/users/me").status == 200


def test_an_unreachable_database_is_answered_as_described(new_turnout, postgres):
    turnout = new_turnout(start=False, workers=1, db_connect_timeout="100ms", db_acquire_timeout="100ms")
    turnout.configure(database=f"host={turnout.folder} dbname=nowhere user=nobody")
    turnout.start(ready=False)

    def listening():
        try:
            return turnout.internal("/healthz").status == 200
        except OSError:
            return False

    wait_until(listening, "the worker listens")
    token = turnout.token("somebody@example.com")
    for name, (method, _, operation) in OPERATIONS.items():
        if "503" not in operation["responses"]:
            continue
        answer = turnout.request(method, some_address(turnout, name), token)
        assert (answer.status, answer.problem) == (503, "database-unavailable"), answer
        assert_as_described(operation, method, answer)
    assert turnout.get("/api/openapi.json").status == 200


def test_a_seats_row_that_somebody_holds_is_answered_as_described_after_a_while(new_turnout, postgres):
    turnout = new_turnout(workers=1, db_acquire_timeout="200ms", queue_timeout="2s")
    database = Database(postgres, turnout.database)
    organizer = Person(turnout, "organizer")
    event = organizer.event()
    made = organizer.register(event).json()
    with database.connect("postgres", autocommit=False) as holder:
        holder.execute("select from turnout.event_seats where event_id = %s for update", (event["id"],))
        for name, answer in (("register", Person(turnout).register(event)), ("cancelRegistration", organizer.cancel(made)),
                             ("updateEvent", organizer.patch(event, capacity=5)),
                             ("cancelEvent", organizer.post(f"/api/events/{event['id']}/cancel"))):
            assert (answer.status, answer.problem) == (503, "overloaded"), answer
            assert_as_described(OPERATIONS[name][2], OPERATIONS[name][0], answer)
        # Other events are not held up.
        assert organizer.register(organizer.event()).status == 201
    assert organizer.cancel(made).status == 200
    database.assert_consistent()
