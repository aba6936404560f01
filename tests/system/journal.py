"""What each client was told, and the proof that the database says the same.

A journal holds an entry for each registration and cancel that a client asked for: what, when, and the answer or that there was
none. Each request has an id of its own, and the audit log writes it down, so each row of the log is some client's request and
each answer has its row or none. `prove` replays the log of each event by the plain rules in Python (a seat if one is free and
nobody waits, else the end of the queue; a freed seat to the first in the queue) and compares with rows, counters and mails.
"""

import asyncio
import collections
import random
import time

from load import ConnectionLost

JOINED = ("registration.registered", "registration.waitlisted")
# The outcomes after which nothing may have been written.
NOTHING_DONE = ("overloaded", "database-unavailable", "event-full")
MAILS = {"registration.registered": "confirmation", "registration.waitlisted": "waitlisted",
         "registration.promoted": "promoted", "registration.cancelled": "cancelled"}


class Entry:
    """A request: `status` is None where the connection was lost before an answer."""

    __slots__ = ("email", "event", "kind", "request_id", "sent", "ended", "status", "body", "problem", "retry_after")

    def __init__(self, email, event, kind, request_id):
        self.email, self.event, self.kind, self.request_id = email, event, kind, request_id
        self.sent, self.ended, self.status, self.body, self.problem = time.monotonic(), None, None, None, None
        self.retry_after = 0

    @property
    def unknown(self):
        return self.status is None or self.problem == "outcome-unknown"

    @property
    def done(self):
        return self.status in (200, 201)

    def __repr__(self):
        return f"<{self.kind} {self.request_id} {self.email} {self.event[:8]}: {self.status} {self.body or self.problem}>"


class Journal:
    def __init__(self, turnout, name="j"):
        self.turnout, self.name = turnout, name
        self.entries = []
        self.tokens = {}
        self.in_flight = 0
        # Requests that were answered with what was done.
        self.decided = 0
        # When a connection was lost with a request in flight.
        self.lost = []

    def token(self, email):
        if email not in self.tokens:
            number = len(self.tokens)
            self.tokens[email] = self.turnout.token(email, department=f"Department {number % 25}")
        return self.tokens[email]

    async def _ask(self, client, entry, method, path, data=None):
        """Sends until a server takes the connection. What is lost then stays unknown."""
        while True:
            try:
                await client.connect()
                break
            except OSError:
                await asyncio.sleep(0.01)
        self.entries.append(entry)
        entry.sent = time.monotonic()
        self.in_flight += 1
        try:
            answer = await client.request(method, path, data, token=self.token(entry.email),
                                          headers=[("X-Request-Id", entry.request_id)])
        except ConnectionLost:
            client.close()
            self.lost.append(time.monotonic())
            return entry
        finally:
            self.in_flight -= 1
            entry.ended = time.monotonic()
        entry.status = answer.status
        if answer.status < 300:
            entry.body = answer.json()
            self.decided += 1
        else:
            entry.problem = answer.json()["type"].removeprefix("/problems/")
            entry.retry_after = int(answer.header("retry-after") or 0)
            assert entry.retry_after > 0 or answer.status != 503, f"{entry}: a 503 that does not say when to come again"
        return entry

    def _entry(self, email, event, kind):
        return Entry(email, event, kind, f"{self.name}-{len(self.entries)}-{time.monotonic_ns()}")

    async def register(self, client, email, event):
        return await self._ask(client, self._entry(email, event, "register"), "POST", "/api/registrations", {"event_id": event})

    async def cancel(self, client, email, event, registration):
        return await self._ask(client, self._entry(email, event, "cancel"), "DELETE", f"/api/registrations/{registration}")

    async def mine(self, client, email, event):
        """The person's registration for the event as the API tells it, or None; asked until somebody answers."""
        while True:
            try:
                answer = await client.get("/api/registrations?limit=100", token=self.token(email))
                if answer.status == 200:
                    found = [row for row in answer.json()["registrations"] if row["event_id"] == event]
                    return found[0] if found else None
            except (ConnectionLost, OSError):
                client.close()
            await asyncio.sleep(0.02)

    async def register_until_decided(self, client, email, event, read_back=False):
        """As a patient person does: again after a 503 or a lost connection. Answers the registration.

        read_back: what became of a request without an answer is read first.
        """
        while True:
            entry = await self.register(client, email, event)
            if entry.done:
                return entry.body
            assert entry.status in (None, 503), f"{entry}: clients of a rush expect no such answer"
            if entry.unknown and read_back:
                row = await self.mine(client, email, event)
                if row is not None and row["status"] != "cancelled":
                    return row
            await self.pause(entry)

    async def cancel_until_decided(self, client, email, event, registration):
        while True:
            entry = await self.cancel(client, email, event, registration)
            if entry.done:
                return
            await self.pause(entry)

    @staticmethod
    async def pause(entry):
        """What Retry-After says, and not all at the same time; at once, nearly, after a lost connection."""
        await asyncio.sleep((entry.retry_after or 0.05) * random.uniform(0.5, 1.5))

    def statuses(self):
        return dict(collections.Counter(entry.problem or entry.status or "lost" for entry in self.entries))

    def unknown(self):
        return [entry for entry in self.entries if entry.unknown]


class _Event:
    """An event as the replay of its audit log leaves it."""

    def __init__(self, capacity):
        self.capacity = capacity
        self.rows = {}  # registration → [user, status, generation]
        self.queue = []  # of registrations
        self.seated = 0
        self.freed_by = []  # requests, one for each free seat that nobody has been given yet
        self.mails = collections.Counter()


def _replay(event, row, asked, users):
    """Takes one row of the log; complains where the rules would have done something else."""
    _, action, registration, after, request_id, actor = row
    known = event.rows.get(registration)
    where = f"{action} {registration} request {request_id}"
    if action == "registration.promoted":
        assert event.queue and event.queue[0] == registration, f"{where}: not the first in the queue"
        assert request_id in event.freed_by, f"{where}: no seat was freed by this request"
        event.queue.pop(0)
        known[1] = "registered"
        event.seated += 1
        event.freed_by.remove(request_id)
    elif action in JOINED:
        entry = asked.get(request_id)
        assert entry is not None and entry.kind == "register", f"{where}: nobody asked for it"
        assert users[entry.email] == actor == after["user_id"], f"{where}: for somebody else"
        assert known is None or (known[0] == actor and known[1] == "cancelled"), f"{where}: was {known} already"
        assert known is not None or all(other[0] != actor for other in event.rows.values()), f"{where}: a second row"
        status = action.rpartition(".")[2]
        free = event.seated < event.capacity and not event.queue
        assert status == ("registered" if free else "waitlisted"), f"{where}: {event.seated} seated, {len(event.queue)} waiting"
        if free:
            event.seated += 1
        else:
            event.queue.append(registration)
            assert after["position"] == len(event.queue), f"{where}: told position {after['position']}"
        event.rows[registration] = [actor, status, (known[2] if known else 0) + 1]
    else:
        assert action == "registration.cancelled", where
        entry = asked.get(request_id)
        assert entry is not None and entry.kind == "cancel", f"{where}: nobody asked for it"
        assert users[entry.email] == actor == known[0] and known[1] != "cancelled", f"{where}: was {known}"
        if known[1] == "registered":
            event.seated -= 1
            event.freed_by.append(request_id)
        else:
            event.queue.remove(registration)
        known[1] = "cancelled"
    assert event.seated <= event.capacity, f"{where}: oversold"
    event.mails[(registration, MAILS[action], event.rows[registration][2])] += 1


def _check_answer(entry, written, rows_of_person):
    """The answer of one request against what the log says that it did."""
    assert len(written) <= 1, f"{entry}: acted {len(written)} times"
    if entry.unknown:
        return
    if entry.status == 201:
        assert written, f"{entry}: acknowledged and not in the database"
        _, action, registration, after, _, _ = written[0]
        assert entry.body["id"] == registration, f"{entry}: {registration}"
        assert action == f"registration.{entry.body['status']}" and after["position"] == entry.body["position"], entry
    elif entry.status == 200 and entry.kind == "register":
        assert not written, f"{entry}: said that it was there already, and wrote it"
        assert entry.body["id"] in rows_of_person and entry.body["status"] in ("registered", "waitlisted"), entry
    elif entry.status == 200:
        assert entry.body["status"] == "cancelled" and entry.body["id"] in rows_of_person, entry
    else:
        assert entry.problem in NOTHING_DONE, f"{entry}: what is that?"
        assert not written, f"{entry}: told that nothing was done, and it was"


def _check_order(entries, written):
    """Who was answered before another one asked stands before them in the log: joins of all people, everything of one person."""
    acted = sorted(((written[entry.request_id][0][0], entry) for entry in entries if entry.request_id in written),
                   key=lambda pair: pair[0], reverse=True)
    earliest, own = float("inf"), {}
    for _, entry in acted:
        if entry.status == 201:
            assert entry.sent <= earliest, f"{entry} asked after somebody behind it in the log was answered"
            earliest = min(earliest, entry.ended)
        # What became of a lost request is told late or never, but it may not undo what the person did after losing it.
        key = (entry.email, entry.event)
        if key in own:
            assert entry.sent <= own[key][0], f"{entry} was asked after {own[key][1]} had ended, and acted before it"
        if key not in own or entry.ended < own[key][0]:
            own[key] = (entry.ended, entry)


def prove(connection, journal, events):
    """Fails unless the database explains every answer. `events`: id → capacity. Answers figures for printing."""
    users = {email: str(user) for email, user in connection.execute("select email, id from turnout.users").fetchall()}
    asked = {entry.request_id: entry for entry in journal.entries}
    assert len(asked) == len(journal.entries), "request ids are not unique: the test is wrong"
    log = [(number, action, str(entity), after, request_id, str(actor), str(event), action_id)
           for number, action, entity, after, request_id, actor, event, action_id in connection.execute(
               "select id, action, entity_id, after, request_id, actor_id, event_id, action_id from turnout.audit_log"
               " where entity = 'registration' order by id").fetchall()]
    actions = collections.Counter((row[1], row[2], row[7]) for row in log)
    assert max(actions.values(), default=1) == 1, f"an action was done twice: {actions.most_common(1)}"

    state = {event: _Event(capacity) for event, capacity in events.items()}
    written = collections.defaultdict(list)
    rows_of = collections.defaultdict(set)
    for row in log:
        assert row[6] in state, f"{row}: at an event that nobody was asked about"
        _replay(state[row[6]], row[:6], asked, users)
        if row[1] != "registration.promoted":
            written[row[4]].append(row[:6])
        if row[1] in JOINED:
            rows_of[(row[5], row[6])].add(row[2])
    for entry in journal.entries:
        _check_answer(entry, written.get(entry.request_id, []), rows_of[(users.get(entry.email), entry.event)])
    _check_order(journal.entries, written)

    for event, replayed in state.items():
        rows = connection.execute("select id, user_id, status, generation from turnout.registrations where event_id = %s"
                                  " order by queue_no", (event,)).fetchall()
        found = {str(row[0]): [str(row[1]), row[2], row[3]] for row in rows}
        assert found == replayed.rows, f"event {event}: rows are not what the log tells"
        assert [str(row[0]) for row in rows if row[2] == "waitlisted"] == replayed.queue, f"event {event}: order of the queue"
        counts = connection.execute("select registered_count, waitlisted_count, capacity from turnout.event_seats"
                                    " where event_id = %s", (event,)).fetchone()
        assert counts == (replayed.seated, len(replayed.queue), replayed.capacity), f"event {event}: counters {counts}"
        departments = connection.execute("""
            select department, registered, waitlisted from turnout.event_department_counts
            where event_id = %s and registered + waitlisted > 0
            except all
            select coalesce(department, ''), count(*) filter (where status = 'registered')::integer,
                   count(*) filter (where status = 'waitlisted')::integer
            from turnout.registrations where event_id = %s and status <> 'cancelled' group by 1""", (event, event)).fetchall()
        assert departments == [], f"event {event}: counters of departments {departments}"
        mails = collections.Counter((str(registration), kind, generation) for registration, kind, generation in connection.execute(
            "select registration_id, kind, generation from turnout.outbox where event_id = %s", (event,)).fetchall())
        assert mails == replayed.mails, f"event {event}: mails {(mails - replayed.mails) or (replayed.mails - mails)}"
    return {"requests": len(journal.entries), "actions": len(log), "unknown": len(journal.unknown())}
