"""The rules of turnout as a test calls them: one method per function, ids made here, answers as Python values."""

import collections
import datetime
import itertools
import json
import typing
import uuid

Answer = collections.namedtuple("Answer", "outcome body etag ref")
Page = collections.namedtuple("Page", "outcome items next_start next_id")

Keyed = collections.namedtuple("Keyed", "outcome body etag ref replayed")

numbers = itertools.count(1)


def new_id():
    return uuid.uuid4()


def from_now(**delta):
    """A moment relative to now, as the API writes it."""
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(**delta)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def answer_of(row):
    outcome, body, etag, ref = row
    return Answer(outcome, None if body is None else json.loads(body), etag, ref and str(ref))


REGISTER = ("select outcome, body, etag, ref from turnout.register_many("
            "%s::uuid[], %s::uuid[], %s::text[], %s::uuid[], %s::text[], %s::uuid[], %s::uuid[], %s, %s) order by item")
BATCH = ("select item, outcome, body, etag, ref from turnout.registration_batch("
         "%s::text[], %s::uuid[], %s::uuid[], %s::text[], %s::uuid[], %s::text[], %s::uuid[], %s::uuid[], %s, %s)")
BATCH_KEYED = ("select item, outcome, body, etag, ref, replayed from turnout.registration_batch_with_keys("
               "%s::text[], %s::uuid[], %s::uuid[], %s::text[], %s::uuid[], %s::text[], %s::uuid[], %s::uuid[], %s, %s::text[], "
               "%s::bytea[], %s, %s)")
CANCEL = "select outcome, body, etag, ref from turnout.registration_cancel(%s, %s, %s, %s, %s, %s)"
KEYED = ("select outcome, body, etag, ref, replayed from turnout.write_with_key("
         "%s, 'test', %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)")
REGISTER_KEYED = ("select item, outcome, body, etag, ref, replayed from turnout.register_many_with_keys("
                  "%s::uuid[], %s::uuid[], %s::text[], %s::uuid[], %s::text[], %s::uuid[], %s::uuid[], %s, %s::text[], %s::bytea[], %s, %s)")
UPDATE = "select outcome, body, etag, ref from turnout.event_update('test', %s, %s, %s, %s, %s, %s)"


class Order(typing.NamedTuple):
    """An item of registration_batch. Made by `comes` and `leaves`."""
    kind: str
    actor: uuid.UUID
    event: uuid.UUID | None
    person: uuid.UUID | None
    registration: uuid.UUID
    action: uuid.UUID
    role: str | None
    key: str | None


def comes(event, person, actor=None, role=None, key=None, action=None):
    return Order("register", actor or person, event, person, new_id(), action or new_id(), role, key)


def leaves(registration, actor, role=None, key=None, action=None):
    return Order("cancel", actor, None, None, registration, action or new_id(), role, key)


def batch_arguments(orders, resent=False, wait=0):
    """Arguments of BATCH."""
    def column(name):
        return [getattr(order, name) for order in orders]
    return (column("kind"), column("action"), column("registration"), ["test"] * len(orders), column("actor"), column("role"),
            column("event"), column("person"), resent, wait)


def register_arguments(event, *people, actor=None, action=None, resent=False, wait=False, role=None):
    """Arguments of REGISTER for one event: each person for themselves, or all by `actor`."""
    count = len(people)
    return ([action or new_id() for _ in people], [new_id() for _ in people], ["test"] * count,
            [actor or person for person in people], [role] * count, [event] * count, list(people), resent, wait)


def register_keyed_arguments(event, *orders, asked=b"register", keep="24 hours", actor=None, role=None, resent=False, wait=False):
    """Arguments of REGISTER_KEYED for one event; an order is a person and a key, or None for none."""
    people = [person for person, _ in orders]
    plain = register_arguments(event, *people, actor=actor, role=role, resent=resent, wait=wait)
    return (*plain[:8], [key for _, key in orders], [asked] * len(orders), keep, wait)


class Rules:
    """Calls the rules on one connection, each call its own transaction unless the connection says otherwise."""

    def __init__(self, connection):
        self.connection = connection
        # An organizer for the events of this test.
        self.organizer = self.person(role="organizer")

    def call(self, statement, *parameters):
        return [answer_of(row) for row in self.connection.execute(statement, parameters).fetchall()]

    # People

    def person(self, department="Sales", kind="employee", role="participant", name=None):
        """A new person, in the users table as the directory would have put them there."""
        number, person = next(numbers), new_id()
        self.connection.execute(
            "insert into turnout.users (id, email, name, department, kind, role) values (%s, %s, %s, %s, %s, %s)",
            (person, f"person{number}.{person.hex[:8]}@example.com", name or f"Person {number}", department, kind, role))
        return person

    def people(self, count, **properties):
        return [self.person(**properties) for _ in range(count)]

    def seen(self, subject, email, issuer="https://id.example.com", name="Name", department="Sales", kind="employee",
             locale="en", timezone="Asia/Tokyo", verified=True, role=None):
        row = self.connection.execute(
            "select outcome, body, role, ref from turnout.user_seen(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (issuer, subject, email, name, department, kind, locale, timezone, verified, role)).fetchone()
        return answer_of(row)

    # Events

    def create(self, person=None, role=None, **fields):
        """event_create with the required fields filled in; a field of None is sent as null, of Ellipsis left out."""
        whole = {"title": "Event", "start_datetime": from_now(days=10), "end_datetime": from_now(days=10, hours=2),
                 "capacity": 10, **fields}
        whole = {name: value for name, value in whole.items() if value is not ...}
        return self.call("select outcome, body, etag, ref from turnout.event_create('test', %s, %s, %s, %s, %s)",
                         new_id(), person or self.organizer, role, new_id(), json.dumps(whole))[0]

    def draft(self, **fields):
        made = self.create(**fields)
        assert made.outcome == "created", made
        return uuid.UUID(made.ref)

    def event(self, **fields):
        """A published event; fields that no API call may set (a start in the past) go through `set_event` afterwards."""
        event = self.draft(**fields)
        published = self.publish(event)
        assert published.outcome == "ok", published
        return event

    def set_event(self, event, **columns):
        """Sets columns of an event behind the rules' back, to make time pass."""
        for name, value in columns.items():
            self.connection.execute(f"update turnout.events set {name} = %s where id = %s", (value, event))

    def read(self, event, person=None, role=None):
        return self.call("select outcome, body, etag, ref from turnout.event_get(%s, %s, %s)", person, role, event)[0]

    def update(self, event, person=None, role=None, if_version=None, **fields):
        return self.call(UPDATE, new_id(), person or self.organizer, role, event, if_version, json.dumps(fields))[0]

    def _simple(self, function, event, person, role):
        return self.call(f"select outcome, body, etag, ref from turnout.{function}('test', %s, %s, %s, %s)",
                         new_id(), person or self.organizer, role, event)[0]

    def publish(self, event, person=None, role=None):
        return self._simple("event_publish", event, person, role)

    def cancel_event(self, event, person=None, role=None):
        return self._simple("event_cancel", event, person, role)

    def delete(self, event, person=None, role=None):
        return self._simple("event_delete", event, person, role)

    def page(self, person=None, role=None, category=None, status=None, start=None, to=None, q=None, limit=50,
             after=(None, None)):
        row = self.connection.execute(
            "select outcome, body, next_start, next_id"
            " from turnout.events_list(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (person, role, category, status, start, to, q, limit, *after)).fetchone()
        return Page(row[0], json.loads(row[1]), row[2], row[3])

    # Registrations

    def register(self, event, *people, **how):
        return self.call(REGISTER, *register_arguments(event, *people, **how))

    def cancel(self, registration, person, role=None, action=None, resent=False):
        return self.call(CANCEL, "test", action or new_id(), person, role, registration, resent)[0]

    def batch(self, *orders, **how):
        """registration_batch; `comes` and `leaves` make the orders."""
        rows = self.connection.execute(BATCH, batch_arguments(orders, **how)).fetchall()
        assert [row[0] for row in rows] == list(range(1, len(orders) + 1))
        return [answer_of(row[1:]) for row in rows]

    def batch_keyed(self, *orders, resent=False, wait=0, keep="24 hours"):
        """registration_batch_with_keys; what was asked is told by the order's kind, event and registration."""
        *plain, resent, wait = batch_arguments(orders, resent, wait)
        asked = [f"{order.event or order.registration}".encode() for order in orders]
        rows = self.connection.execute(BATCH_KEYED, (
            *plain, resent, [order.key for order in orders], asked, keep, wait)).fetchall()
        assert [row[0] for row in rows] == list(range(1, len(orders) + 1))
        return [Keyed(*row[1:]) for row in rows]

    # Under an Idempotency-Key; the answers as they are, bodies as text

    def keyed(self, write, key, person, target=None, asked=None, if_version=None, fields=None, role=None, resent=False,
              keep="24 hours"):
        """write_with_key. What is asked is told by the write and its target, unless `asked` says otherwise."""
        row = self.connection.execute(KEYED, (
            write, new_id(), person, role, target, if_version, fields and json.dumps(fields), resent, key,
            asked or f"{write} {target} {fields}".encode(), keep)).fetchone()
        return Keyed(*row)

    def register_keyed(self, event, *orders, **how):
        """register_many_with_keys; an order is a person and a key, or None for none."""
        rows = self.connection.execute(REGISTER_KEYED, register_keyed_arguments(event, *orders, **how)).fetchall()
        assert [row[0] for row in rows] == list(range(1, len(orders) + 1))
        return [Keyed(*row[1:]) for row in rows]

    def registration(self, registration, person, role=None):
        return self.call("select outcome, body, etag, ref from turnout.registration_get(%s, %s, %s)",
                         person, role, registration)[0]

    def mine(self, person, limit=50, after=(None, None)):
        row = self.connection.execute(
            "select outcome, body, next_at, next_id from turnout.registrations_mine(%s, %s, %s, %s)",
            (person, limit, *after)).fetchone()
        return Page(row[0], json.loads(row[1]), row[2], row[3])

    # For who manages an event

    def roster(self, event, person=None, role=None, status=None, name=None, limit=50, after=(None, None, None)):
        """(outcome, body, position of the next page or None)."""
        row = self.connection.execute(
            "select outcome, body, next_place, next_id, next_key"
            " from turnout.event_roster(%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (person or self.organizer, role, event, status, name, limit, *after)).fetchone()
        return row[0], row[1] and json.loads(row[1]), (*row[2:4], row[4] or "") if row[3] else None

    def whole_roster(self, event, limit=50, **how):
        """All pages, one after the other."""
        found, after = [], (None, None, None)
        while after is not None:
            outcome, page, after = self.roster(event, limit=limit, after=after, **how)
            assert outcome == "ok" and (len(page) == limit if after else len(page) <= limit)
            found += page
        return found

    def log(self, event, person=None, role=None, entity=None, registration=None, limit=50, after=None):
        row = self.connection.execute(
            "select outcome, body, next_place, next_id from turnout.event_log(%s, %s, %s, %s, %s, %s, %s)",
            (person or self.organizer, role, event, entity, registration, limit, after)).fetchone()
        return row[0], row[1] and json.loads(row[1]), row[2]

    def states(self, event):
        """Person → status of everybody on an event."""
        return dict(self.connection.execute(
            "select user_id, status from turnout.registrations where event_id = %s", (event,)).fetchall())

    def waiting(self, event):
        """The people waiting, in the order of the queue."""
        return [row[0] for row in self.connection.execute(
            "select user_id from turnout.registrations where event_id = %s and status = 'waitlisted' order by queue_no",
            (event,)).fetchall()]

    def counts(self, event):
        return self.connection.execute(
            "select registered_count, waitlisted_count from turnout.event_seats where event_id = %s", (event,)).fetchone()
