"""The history of each event, played again from its audit log by the rules as a person would apply them: one row at a time, with a
queue that is a list. Shares no code and no SQL with the server.
"""

import bisect
import math

MAILS = {"registered": "confirmation", "waitlisted": "waitlisted", "promoted": "promoted", "cancelled": "cancelled"}


class Findings(list):
    """What is wrong, a sentence each; and how much has been looked at, so that a proof of nothing is seen to be one."""

    def __init__(self):
        super().__init__()
        self.looked_at = {}

    def count(self, what, number=1):
        self.looked_at[what] = self.looked_at.get(what, 0) + number


class Place:
    """What a person has at an event. `past`: (since when, status), oldest first."""

    def __init__(self, registration, person):
        self.registration, self.person = registration, person
        self.status, self.generation = None, 0
        self.past = [(-math.inf, None)]

    def become(self, status, at):
        self.status = status
        self.past.append((at, status))

    def was(self, status, begin, end):
        """Whether it had the status at some moment of the time."""
        first = bisect.bisect_right(self.past, begin, key=lambda entry: entry[0]) - 1
        return any(found == status and since <= end for since, found in self.past[first:])


class Event:
    """One event, row by row."""

    def __init__(self, settings, people, findings):
        self.id, self.settings, self.people, self.findings = settings["id"], dict(settings), people, findings
        self.places = {}  # registration → Place
        self.of = {}  # e-mail → Place
        self.queue = []  # of Place, in the order of joining
        self.seated = 0
        self.departments = {}  # of those seated
        self.mails = {}  # (registration, kind, generation) → how often owed
        self.joins = {}  # registration → True, in the order of their last joining
        self.most = 0
        # (since when, seated, waiting, seated by department, settings): what a refusal is compared with.
        self.moments = [(-math.inf, 0, 0, {}, dict(settings))]
        self.promoted = []  # rows of one run of promotions, which have no order among themselves

    def wrong(self, sentence):
        self.findings.append(f"event {self.id[:8]}: {sentence}")

    def fits(self, email):
        """Whether a person may take a seat if there is one."""
        person, limit = self.people[email], self.settings["department_limit"]
        if person["kind"] == "guest" and not self.settings["guests_allowed"]:
            return False
        return limit is None or person["department"] is None or self.departments.get(person["department"], 0) < limit

    def next_in_line(self):
        return next((place for place in self.queue if self.fits(place.person)), None)

    def _seat(self, email, by):
        self.seated += by
        department = self.people[email]["department"]
        self.departments[department] = self.departments.get(department, 0) + by
        self.most = max(self.most, self.seated)

    def _above(self, row):
        if self.seated > self.settings["capacity"]:
            self.wrong(f"OVERSOLD: {self.seated} people have a seat of {self.settings['capacity']} after row {row['id']} of the audit log")
        limit = self.settings["department_limit"]
        for department, people in self.departments.items():
            if limit is not None and department is not None and people > limit:
                self.wrong(f"department {department} has {people} seats of {limit} after row {row['id']} of the audit log")

    def _owe(self, place, kind):
        mail = (place.registration, MAILS[kind], place.generation)
        self.mails[mail] = self.mails.get(mail, 0) + 1

    def play(self, row):
        kind = row["action"].rpartition(".")[2]
        if kind == "promoted":
            self.promoted.append(row)
            return
        self.end_promotions()
        if row["entity"] == "event":
            if kind != "updated":
                self.wrong(f"row {row['id']} of the audit log says {row['action']}: nobody asked for that")
            self.settings.update((row["after"] or {}).items())
        elif kind == "cancelled":
            self._cancel(row)
        else:
            self._join(row, kind)
        self._above(row)
        self.moments.append((row["at"], self.seated, len(self.queue), dict(self.departments), dict(self.settings)))

    def end_promotions(self):
        """The log of one transaction does not order its promotions: the first so many who may have to be those promoted."""
        rows, self.promoted = self.promoted, []
        if not rows:
            return
        given = {row["entity_id"]: row for row in rows}
        if len(given) != len(rows):
            self.wrong(f"somebody was promoted twice near row {rows[0]['id']} of the audit log")
        for _ in range(len(given)):
            first = self.next_in_line()
            if first is None or first.registration not in given:
                others = ", ".join(sorted(given))
                self.wrong(f"promoted out of order near row {rows[0]['id']} of the audit log: {others} got a seat, and the first in "
                           f"line who may take one was {first.registration if first else 'nobody'}")
                break
            self._promote(first, given.pop(first.registration))
        for registration, row in given.items():
            place = self.places.get(registration)
            if place is not None and place in self.queue:
                self._promote(place, row)
        self._above(rows[-1])
        self.moments.append((rows[-1]["at"], self.seated, len(self.queue), dict(self.departments), dict(self.settings)))

    def _promote(self, place, row):
        self.findings.count("promotions")
        self.queue.remove(place)
        self._seat(place.person, 1)
        place.become("registered", row["at"])
        self._owe(place, "promoted")

    def _join(self, row, status):
        self.findings.count("joinings")
        registration, email, where = row["entity_id"], row["email"], f"row {row['id']} of the audit log"
        if email not in self.people:
            self.wrong(f"{where}: {email} joined, whom nobody set up")
            return
        place = self.of.get(email)
        if place is None:
            place = self.of[email] = self.places[registration] = Place(registration, email)
        elif place.registration != registration:
            self.wrong(f"{where}: {email} has a second registration, {registration} beside {place.registration}")
            return
        elif place.status != "cancelled":
            self.wrong(f"{where}: {email} joined who was {place.status} already")
            return
        passed, fits, free = self.next_in_line(), self.fits(email), self.seated < self.settings["capacity"]
        if free and passed is not None:
            self.wrong(f"{where}: {email} joined while {passed.person} waited for a seat that was free")
        if self.people[email]["kind"] == "guest" and not self.settings["guests_allowed"]:
            self.wrong(f"{where}: {email} is a guest, and guests are not allowed")
        limit = self.settings["waitlist_limit"]
        room = self.settings["waitlist_enabled"] and (limit is None or len(self.queue) < limit)
        right = "registered" if free and fits else "waitlisted" if room else "full"
        if status != right:
            self.wrong(f"{where}: {email} became {status} and had to be {right}: {self.seated} of {self.settings['capacity']} seats are "
                       f"taken and {len(self.queue)} people wait")
        place.generation += 1
        place.become(status, row["at"])
        if status == "registered":
            self._seat(email, 1)
        else:
            self.queue.append(place)
            if row["after"].get("position") != len(self.queue):
                self.wrong(f"{where}: {email} was told place {row['after'].get('position')} and has {len(self.queue)}")
        self.joins.pop(registration, None)
        self.joins[registration] = True
        self._owe(place, status)

    def _cancel(self, row):
        self.findings.count("cancellations")
        place, where = self.places.get(row["entity_id"]), f"row {row['id']} of the audit log"
        if place is None or place.status in (None, "cancelled"):
            self.wrong(f"{where}: {row['entity_id']} was cancelled and was {place.status if place else 'never made'}")
            return
        if place.status == "registered":
            self._seat(place.person, -1)
        else:
            self.queue.remove(place)
        place.become("cancelled", row["at"])
        self._owe(place, "cancelled")

    def end(self):
        self.end_promotions()
        left = self.next_in_line()
        if left is not None and self.seated < self.settings["capacity"]:
            self.wrong(f"{left.person} waits at the end while a seat is free that they may take")

    def could_refuse(self, email, begin, end):
        """Whether at some moment of the time neither a seat nor a place in the queue was to be had by the person."""
        first = bisect.bisect_right(self.moments, begin, key=lambda moment: moment[0]) - 1
        person = self.people[email]
        for since, seated, waiting, departments, settings in self.moments[first:]:
            if since > end:
                break
            limit, department = settings["department_limit"], person["department"]
            fits = limit is None or department is None or departments.get(department, 0) < limit
            room = settings["waitlist_enabled"] and (settings["waitlist_limit"] is None or waiting < settings["waitlist_limit"])
            if not (seated < settings["capacity"] and fits) and not room:
                return True
        return False
