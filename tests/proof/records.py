"""What the driver wrote down, as the checker reads it: who was set up, each request with its answer, and which faults there were.

Standard library only, and nothing of the driver or of the system tests: the files are the whole agreement between the two programs
(README.md describes them).
"""

import collections
import json
import math
import pathlib

# Headers of an answer that belong to its delivery, not to what was decided.
DELIVERY = {"date", "connection", "x-request-id", "ratelimit", "ratelimit-policy"}


class Request:
    """A request. `ended`: when its answer was there or its connection was seen to be lost; infinite where the client itself let go
    of it, so that nobody knows until when it may still act. `status` is None where no answer came."""

    def __init__(self, line):
        self.number, self.id, self.sent = line["n"], line["request"], line["at"]
        self.who, self.what, self.event = line["who"], line["what"], line["event"]
        self.registration, self.key, self.capacity = line.get("registration"), line.get("key"), line.get("capacity")
        self.final = line.get("final", False)
        self.ended, self.status, self.body, self.headers, self.answer = math.inf, None, None, None, {}

    def told(self, line):
        self.ended, self.status, self.body = line["at"], line["status"], line["body"]
        self.headers = [(name, value) for name, value in line["headers"] if name.lower() not in DELIVERY]
        self.answer = json.loads(self.body) if self.body else {}

    @property
    def problem(self):
        return self.answer.get("type", "").removeprefix("/problems/") if self.status and self.status >= 400 else None

    @property
    def unknown(self):
        """Whether the client can't know what became of it."""
        return self.status is None or self.problem == "outcome-unknown"

    @property
    def done(self):
        return self.status in (200, 201)

    @property
    def order(self):
        """What is tried again under one key is one order."""
        return (self.who, self.key) if self.key else self.number

    def __str__(self):
        answer = "no answer" if self.status is None else f"{self.status} {self.answer.get('status') or self.problem or ''}".strip()
        return f"{self.what} {self.id} of {self.who} at event {str(self.event)[:8]} ({answer})"


class Records:
    """`people`: e-mail → {kind, department}; `events`: id → what the event was set up with; `requests` in the order of sending."""

    def __init__(self, world, lines, faults=()):
        self.people = {person["email"]: person for person in world["people"]}
        self.organizers = set(world["organizers"])
        self.events = {event["id"]: event for event in world["events"]}
        self.faults = list(faults)
        self.requests, known = [], {}
        for line in lines:
            if line["t"] == "ask":
                known[line["n"]] = Request(line)
                self.requests.append(known[line["n"]])
            elif line["t"] == "told":
                known[line["n"]].told(line)
            elif line["t"] == "lost" and line["by"] == "server":
                known[line["n"]].ended = line["at"]
        self.by_id = {request.id: request for request in self.requests}
        if len(self.by_id) != len(self.requests):
            raise ValueError("two requests have one id: the driver is broken")
        self.orders = collections.defaultdict(list)
        for request in self.requests:
            self.orders[request.order].append(request)

    @classmethod
    def read(cls, folder):
        folder = pathlib.Path(folder)
        lines = json_lines(folder / "clients.jsonl")
        return cls(json.loads((folder / "world.json").read_text(encoding="utf-8")), lines, json_lines(folder / "faults.jsonl"))


def json_lines(path):
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
