"""One call of many orders tells each what it would be told alone, and leaves the same behind: compared with a twin world in
which the same orders are sent one by one. First all cancels, those of who waits before the others, then all registrations."""

import collections
import itertools
import json
import random
import uuid

import pytest

from sql_rules import Answer, REGISTER, Rules, comes, from_now, leaves, new_id

ADMIN, COLLEAGUE, STRANGER, ORGANIZER, NOBODY = "an admin", "a colleague", "another organizer", "the organizer", "nobody"


class World:
    """Events, people and orders by name, so that two worlds can be compared."""

    def __init__(self, connection):
        self.connection = connection
        self.rules = Rules(connection)
        self.ids = {ORGANIZER: self.rules.organizer, NOBODY: None}
        self.names = {}
        self.add_people([(ADMIN, "Sales", "employee", "admin"), (COLLEAGUE, "Sales", "employee", "participant"),
                         (STRANGER, "Sales", "employee", "organizer")])

    def add_people(self, rows):
        rows = [(new_id(), *row) for row in rows]
        self.ids.update((row[1], row[0]) for row in rows)
        self.connection.execute(
            "insert into turnout.users (id, email, name, department, kind, role)"
            " select id, id || '@example.com', 'Name', department, kind, role"
            " from unnest(%s::uuid[], %s::text[], %s::text[], %s::text[]) p (id, department, kind, role)",
            ([row[0] for row in rows], *([row[column] for row in rows] for column in (2, 3, 4))))

    def add_event(self, name, **fields):
        self.ids[name] = self.rules.draft(title=name, **fields)
        return self.ids[name]

    def read_registrations(self):
        self.registrations = {row[:2]: row[2] for row in self.connection.execute(
            "select event_id, user_id, id from turnout.registrations").fetchall()}

    def registration(self, event, person):
        return self.registrations[self.ids[event], self.ids[person]]

    def order(self, kind, event, person, actor):
        if kind == "register":
            return comes(self.ids[event], self.ids[person])._replace(actor=self.ids[actor])
        return leaves(self.registrations.get((self.ids[event], self.ids[person])) or new_id(), self.ids[actor])

    def told(self, value):
        """What a body says, with names for ids and without moments."""
        if isinstance(value, dict):
            return {key: "then" if value[key] is not None and (key.endswith("_at") or key == "retry_after")
                    else self.told(value[key]) for key in value}
        if isinstance(value, str):
            return self.names.get(value, value)
        return value

    def look(self, orders):
        """Gives names to what there is now."""
        self.names = {str(value): name for name, value in self.ids.items()}
        for row in self.connection.execute("select id, event_id, user_id from turnout.registrations").fetchall():
            if str(row[1]) in self.names:
                self.names[str(row[0])] = f"{self.names[str(row[1])]} / {self.names[str(row[2])]}"
        self.names.update((str(order.action), f"order {number}") for number, order in enumerate(orders))
        self.names.update((str(order.registration), "no registration") for order in orders
                          if str(order.registration) not in self.names)

    def state(self):
        """Everything that the rules keep of the events: rows, places in line, counters, mail, log."""
        events = [value for name, value in self.ids.items() if name.startswith("event")]

        def rows(query):
            found = self.connection.execute(query, (events,)).fetchall()
            return collections.Counter(
                json.dumps([self.names.get(str(value), "before") if isinstance(value, uuid.UUID) else self.told(value)
                            for value in row]) for row in found)

        return {
            "registrations": rows(
                "select event_id, user_id, status, generation, department, last_action_id,"
                " case when status = 'waitlisted' then"
                "   rank() over (partition by event_id, status order by queue_no) end"
                " from turnout.registrations where event_id = any(%s)"),
            "seats": rows("select event_id, registered_count, waitlisted_count from turnout.event_seats where event_id = any(%s)"),
            "departments": rows("select event_id, department, registered, waitlisted from turnout.event_department_counts"
                                " where event_id = any(%s) and (registered > 0 or waitlisted > 0)"),
            "mail": rows("select event_id, user_id, registration_id, kind, generation from turnout.outbox where event_id = any(%s)"),
            # In whose name somebody is promoted is a test of its own.
            "log": rows("select event_id, entity_id, action, case when action <> 'registration.promoted' then actor_id end,"
                        " before, after, case when action <> 'registration.promoted' then action_id end"
                        " from turnout.audit_log where event_id = any(%s) and entity = 'registration'"),
        }


def told(world, orders, answers):
    world.look(orders)
    return [(answer.outcome, world.told(answer.body), world.told(answer.ref)) for answer in answers]


def alone(rules, order):
    if order.kind == "cancel":
        return rules.cancel(order.registration, order.actor, action=order.action)
    return rules.call(REGISTER, [order.action], [order.registration], ["test"], [order.actor], [order.role], [order.event],
                      [order.person], False, False)[0]


def one_by_one(world, orders):
    """Each order by a call of its own. Who leaves an event does not come to it in the same call."""
    stored = {row[0]: row for row in world.connection.execute(
        "select id, event_id, user_id, status from turnout.registrations where id = any(%s)",
        ([order.registration for order in orders],)).fetchall()}
    answers, leaving = [None] * len(orders), set()

    def turn(number):
        order = orders[number]
        return (order.kind == "register", order.kind == "cancel" and stored.get(order.registration, "    ")[3] != "waitlisted", number)

    for number in sorted(range(len(orders)), key=turn):
        order = orders[number]
        if (order.event, order.person) in leaving:
            answers[number] = Answer("busy", None, None, str(order.event))
            continue
        answers[number] = alone(world.rules, order)
        if order.kind == "cancel" and answers[number].outcome != "not_found":
            leaving.add(stored[order.registration][1:3])
        if answers[number].outcome == "busy":
            event = order.event or stored[order.registration][1]
            answers[number] = answers[number]._replace(ref=str(event))
    return answers


def assert_same(one, orders_of_one, answers_of_one, twin, orders_of_twin, answers_of_twin):
    together, apart = told(one, orders_of_one, answers_of_one), told(twin, orders_of_twin, answers_of_twin)
    for number, (first, second) in enumerate(zip(together, apart, strict=True)):
        assert first == second, one.told(json.loads(json.dumps(orders_of_one[number], default=str)))
    states = one.state(), twin.state()
    for part in states[0]:
        more, less = states[0][part] - states[1][part], states[1][part] - states[0][part]
        assert not more and not less, f"{part}: only together {list(more)[:3]}, only one by one {list(less)[:3]}"


PEOPLE = ["new", "registered", "waiting", "cancelled", "attended", "guest", "without department", "unknown"]
ACTORS = ["self", ORGANIZER, COLLEAGUE, NOBODY]
# What stands when the people who were there before have come, and what is changed behind the rules' back afterwards. As many
# seats as there are people before, so that nobody waits without reason but where it is said.
EVENTS = {
    "open": {"seats": 1000},
    "nearly full": {"seats": 5},
    "full": {"waitlist_enabled": False},
    "waitlist at its limit": {"waitlist_limit": 3},
    "waiting": {},
    "employees only": {"guests_allowed": False, "seats": 7},
    "department at its limit": {"department_limit": 3, "seats": 50},
    "early": {"registration_opens_at": from_now(hours=2), "seats": 5},
    "closed": {"registration_closes_at": from_now(seconds=-5), "seats": 5},
    "begun": {"start_datetime": from_now(seconds=-5), "registration_closes_at": from_now(hours=1), "seats": 5},
    "over": {"start_datetime": from_now(hours=-2), "registration_closes_at": None, "end_datetime": from_now(seconds=-5)},
    "cancelled": {"status": "cancelled"},
    "completed": {"status": "completed"},
    "draft": {"status": "draft"},
    "held": {},
}


def everything(world):
    """Every state of an event, of a person, and who asks what: an order for each."""
    rules, plans = world.rules, []
    for kind, state, actor in itertools.product(("register", "cancel"), PEOPLE, ACTORS):
        plans.append((kind, state, actor, f"{state} / {kind} / {actor}"))
    for event in EVENTS:
        world.add_people([(f"{event}: {name}", None if state == "without department" else f"Department {number % 7}",
                           "guest" if state == "guest" else "employee", "participant")
                          for number, (_, state, _, name) in enumerate(plans) if state != "unknown"])
        world.ids.update((f"{event}: {name}", new_id()) for _, state, _, name in plans if state == "unknown")
        world.add_event(f"event {event}", capacity=1000)
        rules.publish(world.ids[f"event {event}"])

    def of(*states):
        return [(event, f"{event}: {name}") for event in EVENTS for _, state, _, name in plans if state in states]

    def come(*states):
        rules.batch(*(comes(world.ids[f"event {event}"], world.ids[person]) for event, person in of(*states)))

    come("registered", "attended", "cancelled")
    world.read_registrations()
    rules.batch(*(leaves(world.registration(f"event {event}", person), rules.organizer) for event, person in of("cancelled")))
    for event in EVENTS:
        set_capacity(world, event, 0)
    come("waiting")
    world.read_registrations()
    return plans


def make_time_pass(world, plans):
    """What happened since, behind the rules' back: people came through the door, events were edited, begun, ended."""
    connection = world.connection
    attended = [world.registration(f"event {event}", f"{event}: {name}") for event in EVENTS
                for _, state, _, name in plans if state == "attended"]
    connection.execute("update turnout.registrations set checked_in_at = now() where id = any(%s)", (attended,))
    connection.execute(
        "update turnout.event_seats s set checked_in_count = n.people from (select event_id, count(*) as people"
        " from turnout.registrations where id = any(%s) group by 1) n where n.event_id = s.event_id", (attended,))
    connection.execute(
        "update turnout.event_department_counts c set checked_in = n.people from (select event_id, department, count(*) as people"
        " from turnout.registrations where id = any(%s) group by 1, 2) n"
        " where n.event_id = c.event_id and n.department = c.department", (attended,))
    for event, changes in EVENTS.items():
        changes = dict(changes)
        set_capacity(world, event, changes.pop("seats", 0))
        world.rules.set_event(world.ids[f"event {event}"], **changes)


def set_capacity(world, event, free):
    """As many seats as are taken, and some free ones."""
    for table, column in (("event_seats", "event_id"), ("events", "id")):
        world.connection.execute(
            f"update turnout.{table} t set capacity = n.taken + %s from (select event_id, registered_count as taken"
            f" from turnout.event_seats) n where n.event_id = t.{column} and t.{column} = %s", (free, world.ids[f"event {event}"]))


@pytest.fixture()
def twins(database):
    with database.connect() as one, database.connect() as twin:
        yield World(one), World(twin)


def test_every_order_is_told_in_a_crowd_what_it_is_told_alone(twins, database):
    orders = []
    for world in twins:
        plans = everything(world)
        make_time_pass(world, plans)
        asked = [(kind, event, f"{event}: {name}", f"{event}: {name}" if actor == "self" else actor)
                 for event in EVENTS for kind, _, actor, name in plans]
        random.Random(5).shuffle(asked)
        orders.append([world.order(kind, f"event {event}", person, actor) for kind, event, person, actor in asked])
    with database.connect(autocommit=False) as holder:
        holder.execute("select from turnout.event_seats where event_id = any(%s) for update",
                       ([world.ids["event held"] for world in twins],))
        together = twins[0].rules.batch(*orders[0])
        apart = one_by_one(twins[1], orders[1])
        assert_same(twins[0], orders[0], together, twins[1], orders[1], apart)
        # The connection was lost, and the same call comes again.
        before = twins[0].state()
        assert told(twins[0], orders[0], twins[0].rules.batch(*orders[0], resent=True)) == told(twins[0], orders[0], together)
        assert twins[0].state() == before
    seen = collections.Counter(answer.outcome for answer in together)
    print(dict(seen))
    assert set(seen) == {"registered", "waitlisted", "existing", "full", "not_found", "not_published", "forbidden", "event_closed",
                         "not_open_yet", "registration_closed", "not_eligible", "invalid_fields", "ok", "busy"}


@pytest.mark.parametrize("seed", range(2))
def test_crowds_that_come_and_go_end_where_they_would_one_by_one(twins, seed):
    """Few people, few seats, everybody at once and several times: for themselves, for others, by who may and who may not."""
    limits = {"event a": {"capacity": 3}, "event b": {"capacity": 4, "department_limit": 2},
              "event c": {"capacity": 2, "waitlist_limit": 3, "guests_allowed": False}, "event d": {"capacity": 2, "waitlist_enabled": False}}
    people = [f"person {number}" for number in range(14)]
    for world in twins:
        for name, fields in limits.items():
            world.add_event(name, **fields)
            world.rules.publish(world.ids[name])
        world.add_people([(name, f"Department {number % 4}" if number % 5 else None, "guest" if number % 6 == 1 else "employee",
                           "participant") for number, name in enumerate(people)])
    chance = random.Random(seed)
    for _ in range(12):
        asked = []
        for _ in range(chance.choice((1, 3, 25))):
            person = chance.choice(people)
            actor = chance.choice([person] * 6 + [ORGANIZER, ADMIN, STRANGER, COLLEAGUE])
            asked.append((chance.choice(("register", "register", "cancel")), chance.choice(list(limits)), person, actor))
        orders = []
        for world in twins:
            world.read_registrations()
            orders.append([world.order(*order) for order in asked])
        assert_same(twins[0], orders[0], twins[0].rules.batch(*orders[0]), twins[1], orders[1], one_by_one(twins[1], orders[1]))
