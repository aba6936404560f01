"""The API as its users see it: people with tokens, and the events that they make.

    organizer, person = Person(turnout, "organizer"), Person(turnout)
    event = organizer.event(capacity=1)
    assert person.register(event).status == 201
"""

import datetime
import itertools
import os
import time

from sql_harness import wait_until

numbers = itertools.count(1)

# A year that has its partitions and lies ahead, for tests that name fixed moments.
YEAR = datetime.datetime.now(datetime.timezone.utc).year + 1


def from_now(**delta):
    """A moment relative to now, in whole seconds, as the API writes it."""
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(**delta)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def event_fields(**fields):
    """What a new event needs; a field of Ellipsis is left out."""
    whole = {"title": "Event", "start_datetime": from_now(days=10), "end_datetime": from_now(days=10, hours=2),
             "capacity": 10, **fields}
    return {name: value for name, value in whole.items() if value is not ...}


class Eventually:
    """See eventually()."""

    def __init__(self, read, patience=30):
        self.read, self.patience, self.found = read, patience, None

    def _until(self, right):
        deadline = time.monotonic() + self.patience
        while True:
            self.found = self.read()
            if right(self.found):
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)

    def __eq__(self, other):
        return self._until(lambda found: found == other)

    def __ne__(self, other):
        return self._until(lambda found: found != other)

    def __contains__(self, item):
        return self._until(lambda found: item in found)

    def __repr__(self):
        return f"at last {self.found!r}"


def eventually(read, *arguments, **keywords):
    """What read(*arguments, **keywords) answers a moment from now. Lists, events and profiles come from the hot cache, which shows a
    commit some milliseconds after it; who has written and reads, looks again until it is there:

        assert eventually(titles, turnout) == ["Lunch"]
    """
    return Eventually(lambda: read(*arguments, **keywords))


def etag(event):
    """What If-Match needs of an event's JSON."""
    return f'"{event["version"]}.{event["registered_count"]}.{event["waitlisted_count"]}"'


class Person:
    """Somebody with a token, who exists for turnoutd from the first request on. Further claims as keywords."""

    def __init__(self, turnout, role="participant", **claims):
        self.turnout = turnout
        self.email = f"{role}{next(numbers)}.{os.getpid()}@example.com"
        self.token = turnout.token(self.email, role, **claims)
        self.known_id = None

    @property
    def id(self):
        if self.known_id is None:
            answer = self.get("/api/users/me")
            assert answer.status == 200, answer
            self.known_id = answer.json()["id"]
        return self.known_id

    # Requests

    def request(self, method, path, **keywords):
        return self.turnout.request(method, path, self.token, **keywords)

    def get(self, path, **keywords):
        return self.request("GET", path, **keywords)

    def post(self, path, **keywords):
        return self.request("POST", path, **keywords)

    def delete(self, path, **keywords):
        return self.request("DELETE", path, **keywords)

    def patch(self, event, if_match="*", headers=None, **fields):
        """An edit of an event; if_match None sends none."""
        headers = dict(headers or {})
        if if_match is not None:
            headers["If-Match"] = if_match
        return self.request("PATCH", f"/api/events/{event['id']}", json=fields, headers=headers)

    # What is expected to go well

    def draft(self, **fields):
        answer = self.post("/api/events", json=event_fields(**fields))
        assert answer.status == 201, answer
        return answer.json()

    def event(self, **fields):
        """A published event."""
        answer = self.post(f"/api/events/{self.draft(**fields)['id']}/publish")
        assert answer.status == 200, answer
        return answer.json()

    def read(self, event, *names):
        """The event as it is read at this moment; with names, the values of these fields. See eventually()."""
        answer = self.get(f"/api/events/{event['id']}")
        assert answer.status == 200, answer
        return tuple(answer.json()[name] for name in names) if names else answer.json()

    # Registrations

    def register(self, event, headers=None, **fields):
        return self.post("/api/registrations", json={"event_id": event["id"], **fields}, headers=headers)

    def cancel(self, registration, headers=None):
        return self.delete(f"/api/registrations/{registration['id']}", headers=headers)

    def registration(self, registration):
        return self.get(f"/api/registrations/{registration['id']}")


def pages(get, path):
    """The bodies of all pages of a list; `get` sends the request. The Link header must lead where next_cursor does."""
    found, separator = [], "&" if "?" in path else "?"
    answer = get(path)
    while True:
        assert answer.status == 200, answer
        found.append(answer.json())
        cursor = found[-1]["next_cursor"]
        assert cursor is None or all(page["next_cursor"] != cursor for page in found[:-1]), "the pages go in a circle"
        if cursor is None:
            assert "link" not in answer.headers
            return found
        assert answer.headers["link"] == f'<{path}{separator}cursor={cursor}>; rel="next"'
        answer = get(f"{path}{separator}cursor={cursor}")


def logged(turnout, *fragments):
    """The line of the log that holds all of the fragments. A line is written behind the answer, so it is waited for."""
    lines = wait_until(lambda: turnout.log_lines(*fragments), f"{fragments} is logged")
    assert len(lines) == 1, lines
    return lines[0]


def set_event(database, event, **columns):
    """Sets columns of an event behind the rules' back, to make time pass."""
    for name, value in columns.items():
        database.rows(f"update turnout.events set {name} = %s where id = %s", (value, event["id"]))
