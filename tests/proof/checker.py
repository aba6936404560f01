#!/usr/bin/python3
"""The checker of the oversell proof: compares what a database holds with what clients wrote down, and says what is wrong.

    checker.py DSN FOLDER

FOLDER holds world.json, clients.jsonl and faults.jsonl (README.md says what stands in them). Needs psycopg, a role that may read
the tables, and nothing else of turnout: neither the server's SQL nor the driver's code is used. Prints what was looked at and each
finding as a sentence; exit status 1 where there is one.
"""

import collections
import json
import math
import sys

import psycopg

from history import Event, Findings
from records import Records

SHOWN = 20
# The refusals that may come. Each says that nothing was done.
REFUSALS = {(503, "overloaded"), (503, "database-unavailable"), (409, "event-full"), (409, "key-in-use"), (403, "not-eligible"),
            (409, "capacity-below-count")}


class Database:
    """What the tables hold, read in one snapshot."""

    def __init__(self, connection):
        with connection.transaction():
            read = lambda query: connection.execute(query).fetchall()  # noqa: E731
            self.users = {str(row[0]): row[1:] for row in read("select id, email, kind, department from turnout.users")}
            self.seats = {str(row[0]): row[1:] for row in read(
                "select event_id, registered_count, waitlisted_count, capacity from turnout.event_seats")}
            self.departments = {(str(event), name): (seated, waiting) for event, name, seated, waiting in read(
                "select event_id, department, registered, waitlisted from turnout.event_department_counts")}
            self.rows = collections.defaultdict(list)
            for event, *row in read("select event_id, id, user_id, status, queue_no, generation, department"
                                    " from turnout.registrations order by event_id, queue_no"):
                self.rows[str(event)].append([str(row[0]), str(row[1]), *row[2:]])
            self.mails = [(str(event), str(registration), kind, generation) for event, registration, kind, generation in read(
                "select event_id, registration_id, kind, generation from turnout.outbox")]
            self.keys = {(str(user), key): (outcome, body) for user, key, outcome, body in read(
                "select user_id, key, outcome, body from turnout.idempotency_keys")}
            names = ("id", "at", "actor", "action", "entity", "entity_id", "event_id", "before", "after", "request_id", "action_id")
            self.log = [dict(zip(names, row)) for row in read(
                "select id, extract(epoch from at)::float8, actor_id::text, action, entity, entity_id::text, event_id::text, before,"
                " after, request_id, action_id::text from turnout.audit_log where entity <> 'user' order by id")]


class Check:
    """All checks of one database against the records of one round; `findings` are sentences."""

    def __init__(self, connection, records):
        self.records, self.findings = records, Findings()
        self.database = Database(connection)
        self.emails = {user: row[0] for user, row in self.database.users.items()}
        self.written = collections.defaultdict(list)  # request id → rows that the request itself caused
        self.events = {}

    def wrong(self, sentence):
        self.findings.append(sentence)

    def run(self):
        self.people()
        self.play()
        self.asked_for()
        self.answers()
        self.keys()
        self.order()
        self.acknowledged_seats()
        for event in self.events.values():
            self.rows(event)
            self.counters(event)
        self.mails()
        return self.findings

    def people(self):
        """Who is who: the rules below ask for kind and department, and are told those that were set up."""
        for email, kind, department in self.database.users.values():
            person = self.records.people.get(email)
            if person is None:
                if email not in self.records.organizers:
                    self.wrong(f"user {email} stands in the database, and nobody set them up")
            elif (kind, department) != (person["kind"], person["department"]):
                self.wrong(f"user {email} is {kind} of {department}, and was set up as {person['kind']} of {person['department']}")

    def play(self):
        """The audit log, row by row: capacity, order of the queue, one row a person."""
        self.events = {event: Event(settings, self.records.people, self.findings)
                       for event, settings in self.records.events.items()}
        for row in self.database.log:
            self.findings.count("rows of the audit log")
            event = self.events.get(row["event_id"])
            if event is None:
                self.wrong(f"row {row['id']} of the audit log is about event {row['event_id']}, which nobody set up")
                continue
            row["email"] = self.emails.get((row["after"] or {}).get("user_id"))
            event.play(row)
        for event in self.events.values():
            event.end()

    def asked_for(self):
        """No row that nobody asked for: each is some client's request, of that person, for that event, of that kind."""
        kinds = {"registration.registered": "register", "registration.waitlisted": "register", "registration.cancelled": "cancel",
                 "event.updated": "edit"}
        for row in self.database.log:
            where, request = f"row {row['id']} of the audit log ({row['action']})", self.records.by_id.get(row["request_id"])
            if row["action"] == "registration.promoted":
                if row["request_id"] is not None and request is None:
                    self.wrong(f"{where}: request {row['request_id']} was never sent")
                continue
            if request is None or request.what != kinds.get(row["action"]) or request.event != row["event_id"]:
                self.wrong(f"{where}: nobody asked for it (request {row['request_id']})")
                continue
            self.written[request.id].append(row)
            if self.emails.get(row["actor"]) != request.who or (row["entity"] == "registration" and row["email"] != request.who):
                self.wrong(f"{where}: {request} was carried out for {row['email']} in the name of {self.emails.get(row['actor'])}")
            if not request.sent <= row["at"]:
                self.wrong(f"{where}: written before {request} was sent")

    def answers(self):
        """Each answer against the log: what was acknowledged is there, what was refused is not, and the status is the right one."""
        for tries in self.records.orders.values():
            rows = [row for request in tries for row in self.written.get(request.id, [])]
            if len(rows) > 1:
                self.wrong(f"acted {len(rows)} times: {tries[0]}")
            for request in tries:
                if request.unknown:
                    self.findings.count("requests without a known outcome")
                elif request.done:
                    self.findings.count("acknowledged answers")
                    self._acknowledged(request, min(one.sent for one in tries), rows[0] if rows else None)
                else:
                    self._refused(request)

    def _acknowledged(self, request, begin, row):
        answer, event = request.answer, self.events.get(request.event)
        if request.what == "edit":
            if (row["after"] or {}).get("capacity") != request.capacity if row else not any(
                    moment[4]["capacity"] == request.capacity for moment in event.moments):
                self.wrong(f"acknowledged and not in the database: {request}")
            return
        if request.what == "mine":
            self._read(request)
            return
        place = event.of.get(request.who)
        if place is None or place.registration != answer["id"]:
            self.wrong(f"acknowledged and not in the database: {request}, registration {answer['id']}")
        elif request.status == 201:
            if row is None:
                self.wrong(f"acknowledged and not in the database: {request} was answered 201, and the audit log has no row of it")
            elif (answer["id"], answer["status"], answer["position"]) != (
                    row["entity_id"], row["action"].rpartition(".")[2], row["after"]["position"]):
                self.wrong(f"answered otherwise than it was done: {request} against row {row['id']} of the audit log")
        elif request.what == "register":
            if row is not None:
                self.wrong(f"answered 200, and it was this request that made the row: {request}, row {row['id']} of the audit log")
            elif answer["status"] not in ("registered", "waitlisted") or not place.was(answer["status"], begin, request.ended):
                self.wrong(f"told something that was not so at any moment between asking and answer: {request}")
        elif answer["status"] != "cancelled" or not place.was("cancelled", begin, request.ended):
            self.wrong(f"acknowledged and not in the database: {request} was not cancelled at any moment between asking and answer")

    def _read(self, request):
        """What somebody read when all was quiet is what is there."""
        self.findings.count("registrations read at the end")
        told = {row["event_id"]: (row["id"], row["status"]) for row in request.answer["registrations"]}
        held = {event.id: (place.registration, place.status) for event in self.events.values()
                for place in [event.of.get(request.who)] if place is not None}
        if request.final and told != held:
            self.wrong(f"{request.who} reads {told} at the end, and has {held}")

    def _refused(self, request):
        self.findings.count("refusals")
        if (request.status, request.problem) not in REFUSALS:
            self.wrong(f"an answer that nobody expects: {request}")
        elif self.written.get(request.id):
            self.wrong(f"told that nothing was done, and it was: {request}, row {self.written[request.id][0]['id']} of the audit log")
        elif request.problem == "event-full" and not self.events[request.event].could_refuse(request.who, request.sent, request.ended):
            self.wrong(f"told that all was full, and it was not at any moment between asking and answer: {request}")
        elif request.problem == "not-eligible" and (self.records.people[request.who]["kind"] != "guest"
                                                    or self.records.events[request.event]["guests_allowed"]):
            self.wrong(f"told that they may not, and they may: {request}")

    def keys(self):
        """Under one key all answers are the same, byte for byte, and stand in the database; no other keys do."""
        users = {email: user for user, email in self.emails.items()}
        asked = set()
        for order, tries in self.records.orders.items():
            if tries[0].key is None:
                continue
            user = users.get(order[0])
            asked.add((user, order[1]))
            done = [request for request in tries if request.done]
            if not done:
                continue
            self.findings.count("answers under keys", len(done))
            self.findings.count("answers under keys given again", len(done) - 1)
            for request in done[1:]:
                if (request.status, request.headers, request.body) != (done[0].status, done[0].headers, done[0].body):
                    self.wrong(f"another answer for the same key: {done[0]} and {request}")
            stored = self.database.keys.get((user, order[1]))
            if stored is None:
                self.wrong(f"answered under a key that is not in the database: {done[0]}")
            elif done[0].what != "edit" and json.loads(stored[1]) != done[0].answer:
                self.wrong(f"answered otherwise than is stored under the key: {done[0]}")
        for user, key in self.database.keys.keys() - asked:
            self.wrong(f"a key that nobody used is in the database: {key} of {self.emails.get(user)}")

    def order(self):
        """Who was answered before another one asked stands before them in the log: joinings of all people, everything of one."""
        earliest, own = math.inf, {}
        for row in reversed(self.database.log):
            request = self.records.by_id.get(row["request_id"])
            if row["action"] == "registration.promoted" or request is None or request.what == "edit":
                continue
            if row["action"] != "registration.cancelled" and request.status == 201:
                if request.sent > earliest:
                    self.wrong(f"out of order: {request} was asked after somebody behind it in the log had been answered")
                earliest = min(earliest, request.ended)
            key = (request.who, request.event)
            if key in own and request.sent > own[key].ended:
                self.wrong(f"out of order: {request} was asked after {own[key]} had ended, and acted before it")
            if key not in own or request.ended < own[key].ended:
                own[key] = request

    def acknowledged_seats(self):
        """Capacity once more, from the clients' files alone: a seat is held at least from the answer that gives it until its person
        next asks to give it back. At no moment are there more than the highest capacity that anybody had asked for by then."""
        changes = collections.defaultdict(list)
        per_person = collections.defaultdict(list)
        for request in self.records.requests:
            if request.what == "edit":
                changes[request.event].append((request.sent, 0, request.capacity))
            elif request.what in ("register", "cancel"):
                per_person[(request.who, request.event)].append(request)
        for (_, event), requests in per_person.items():
            requests.sort(key=lambda one: one.ended if one.what == "register" else one.sent)
            held = False
            cancels = [one for one in requests if one.what == "cancel"]
            for request in requests:
                if request.what == "cancel":
                    if held:
                        changes[event].append((request.sent, 1, -1))
                    held = False
                elif request.done and request.answer["status"] == "registered" and not held:
                    # An answer that may be older than a cancel says nothing about afterwards.
                    began = min(one.sent for one in self.records.orders[request.order])
                    if not any(cancel.sent <= request.ended and cancel.ended >= began for cancel in cancels):
                        changes[event].append((request.ended, 2, 1))
                        held = True
        for event, moments in changes.items():
            seats, capacity = 0, self.records.events[event]["capacity"]
            for at, kind, change in sorted(moments):
                capacity = max(capacity, change) if kind == 0 else capacity
                seats += change if kind else 0
                if kind == 2:
                    self.findings.count("acknowledged seats")
                if seats > capacity:
                    self.wrong(f"event {event[:8]}: OVERSOLD by what clients were told: {seats} seats of {capacity} at {at:.6f}")
                    break

    def rows(self, event):
        """The rows are what the log tells: one a person, in the order of joining."""
        rows = self.database.rows.get(event.id, [])
        self.findings.count("rows of registrations", len(rows))
        people = collections.Counter(row[1] for row in rows)
        for user, number in people.items():
            if number > 1:
                event.wrong(f"{self.emails.get(user)} has {number} rows")
        found = {row[0]: (self.emails.get(row[1]), row[2], row[4]) for row in rows}
        expected = {registration: (place.person, place.status, place.generation) for registration, place in event.places.items()}
        for registration in found.keys() - expected.keys():
            event.wrong(f"a row that nobody asked for: registration {registration} of {found[registration][0]}")
        for registration in expected.keys() - found.keys():
            event.wrong(f"a row is missing: registration {registration} of {expected[registration][0]}, {expected[registration][1]}")
        for registration in expected.keys() & found.keys():
            if found[registration] != expected[registration]:
                event.wrong(f"registration {registration} is {found[registration]}, and by the audit log {expected[registration]}")
        if len({row[3] for row in rows}) != len(rows):
            event.wrong("two rows have the same queue number")
        if [row[0] for row in rows if row[0] in expected] != [one for one in event.joins if one in found]:
            event.wrong("the queue numbers are not in the order in which people joined")
        for row in rows:
            person = self.records.people.get(self.emails.get(row[1]))
            if person is not None and row[5] != person["department"]:
                event.wrong(f"registration {row[0]} stands under department {row[5]}, its person under {person['department']}")

    def counters(self, event):
        """The counters are the rows counted."""
        rows = self.database.rows.get(event.id, [])
        counted = collections.Counter(row[2] for row in rows)
        expected = (counted["registered"], counted["waitlisted"], event.settings["capacity"])
        if self.database.seats.get(event.id) != expected:
            event.wrong(f"the seats row says {self.database.seats.get(event.id)} (registered, waitlisted, capacity), counted are {expected}")
        departments = collections.defaultdict(lambda: [0, 0])
        for row in rows:
            if row[2] != "cancelled":
                departments[row[5] or ""][row[2] == "waitlisted"] += 1
        said = {name: list(numbers) for (one, name), numbers in self.database.departments.items() if one == event.id and any(numbers)}
        if said != dict(departments):
            wrong = sorted(name for name in said.keys() | departments.keys() if said.get(name) != departments.get(name))
            event.wrong(f"the counters of departments {wrong} say {[said.get(name) for name in wrong]} (registered, waitlisted), counted"
                        f" are {[departments.get(name) for name in wrong]}")

    def mails(self):
        """Each outcome of the log owes one mail, and no other is owed."""
        owed = collections.Counter(self.database.mails)
        expected = collections.Counter({(event.id, *mail): number for event in self.events.values() for mail, number in event.mails.items()})
        self.findings.count("mails owed", sum(owed.values()))
        for mail, number in (owed - expected).items():
            self.wrong(f"mail {mail[2]} of registration {mail[1]} (joined for the {mail[3]}. time) is owed {number} times too often")
        for mail, number in (expected - owed).items():
            self.wrong(f"mail {mail[2]} of registration {mail[1]} (joined for the {mail[3]}. time) is not owed")


def main(arguments):
    if len(arguments) != 2 or arguments[0].startswith("-"):
        print(__doc__.strip())
        return 64
    with psycopg.connect(arguments[0], autocommit=True) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        check = Check(connection, Records.read(arguments[1]))
        findings = check.run()
    print("looked at: " + ", ".join(f"{number} {what}" for what, number in findings.looked_at.items()))
    for event in check.events.values():
        print(f"  event {event.id[:8]}: at most {event.most} of {event.settings['capacity']} seats taken at any moment, "
              f"{len(event.places)} people, {len(event.queue)} wait at the end")
    for sentence in findings[:SHOWN]:
        print(f"WRONG: {sentence}")
    if len(findings) > SHOWN:
        print(f"and {len(findings) - SHOWN} more")
    print(f"checker: {len(findings)} wrong" if findings else "checker: all is right")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
