"""The oversell proof in its short form (tests/proof/README.md says what it proves), and the proof of its checker: each property broken
by hand makes it complain, in words that say what is wrong.
"""

import asyncio
import copy
import json
import os
import pathlib
import re
import sys

import pytest

# A client and a checker in Python; the engine runs with sanitizers in test_registration_*.py.
pytestmark = pytest.mark.nosan

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "proof"))

# pylint: disable=wrong-import-position
from checker import Check  # noqa: E402
from harm import WEIGHTS  # noqa: E402
from oversell import Round, parse  # noqa: E402
from records import Records, json_lines  # noqa: E402
from traffic import allow_descriptors  # noqa: E402

SANITIZED = bool(os.environ.get("TURNOUT_SANITIZER_LOGS"))
SEED = os.environ.get("TURNOUT_CRASH_SEED", "1")
SHORT = ["--seed", SEED, *(["--seconds", "5", "--clients", "100", "--kills", "6"] if SANITIZED else
                           ["--seconds", "10", "--clients", "600", "--kills", "25"]), "--daemons", "1", "--pace", "20"]


def test_nothing_is_oversold_lost_or_doubled_while_processes_die(tmp_path, capsys):
    allow_descriptors()
    options = parse(SHORT)
    with Round(options, options.seed, tmp_path) as one:
        right = one.run()
        with capsys.disabled():
            print()
            one.report()
    assert right, f"{one.complaints}\n{one.output}"
    assert one.harm.kills >= options.kills
    assert all(one.harm.hits[kind] > 0 for kind in WEIGHTS), one.harm.hits


# --- the checker ---

class World:
    """A quiet round, its files and its database; what a test breaks is as it was for the next one."""

    def __init__(self, connection, folder):
        self.connection, self.folder = connection, folder
        self.setup = json.loads((folder / "world.json").read_text(encoding="utf-8"))
        self.lines = json_lines(folder / "clients.jsonl")
        self.events = {event["title"]: event["id"] for event in self.setup["events"]}

    def findings(self, breaking):
        lines = copy.deepcopy(self.lines)
        with self.connection.transaction(force_rollback=True):
            breaking(self, lines)
            return list(Check(self.connection, Records(self.setup, lines)).run())

    def one(self, query, **parameters):
        row = self.connection.execute(query, {**self.events, **parameters}).fetchone()
        assert row is not None, f"there is nothing to break: {query}"
        return row

    def change(self, statement, **parameters):
        changed = self.connection.execute(statement, {**self.events, **parameters}).rowcount
        assert changed > 0, f"nothing is broken: {statement}"


class Rehearsed(Round):
    """Before the rush some people do, one after the other, what there must be to break; in the rush they do nothing."""

    ACTORS = 60

    def _rush(self):
        crowd, everybody = self.crowd, self.crowd.people
        asyncio.run(self._rehearse(everybody))
        crowd.people = everybody[self.ACTORS:]
        try:
            return super()._rush()
        finally:
            crowd.people = everybody

    async def _rehearse(self, people):
        event = {event["title"]: event["id"] for event in self.crowd.world["events"]}

        async def asks(number, status, what, title, key=None, **details):
            told = await people[number].ask(0, what, event[title], key=key, **details)
            assert (told.status, told.answer.get("status")) == status, told.answer
            return told.answer.get("id")

        registered, again, waits, cancelled, full = (201, "registered"), (200, "registered"), (201, "waitlisted"), (200, "cancelled"), 409
        # Numbers that are multiples of 11 are guests; 1 and 13 are of one department.
        for number in (5, 13):
            await asks(number, registered, "register", "room for all")
            await asks(number, again, "register", "room for all")
        for _ in range(2):
            await asks(6, registered, "register", "room for all", key="the same")
        for number in (1, 13):
            await asks(number, registered, "register", "hot")
            await asks(number, registered, "register", "departments")
        leaves = await asks(1, registered, "register", "one seat")
        for number in (2, 3, 4):
            await asks(number, waits, "register", "one seat")
        await asks(1, cancelled, "cancel", "one seat", registration=leaves)
        await asks(1, waits, "register", "one seat")
        for number in range(20, 50):
            await asks(number, registered, "register", "no waitlist")
        await asks(50, (full, full), "register", "no waitlist")
        for person in people:
            person.close()
        await asyncio.sleep(0)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quiet")
    options = parse(["--seconds", "1", "--clients", "250", "--kills", "0", "--requests", "600", "--daemons", "1", "--think", "0.1",
                     "--seed", SEED])
    allow_descriptors()
    with Rehearsed(options, options.seed, folder) as one:
        assert one.run(), f"{one.complaints}\n{one.output}"
        assert one.crowd.lost == 0
        with one.connect() as connection:
            yield World(connection, folder)


def test_without_deaths_everybody_is_answered_and_the_checker_has_nothing_to_say(world):
    records = Records(world.setup, world.lines)
    unknown = [str(request) for request in records.requests if request.unknown]
    assert unknown == []
    assert world.findings(lambda world, lines: None) == []


def told(lines, wanted):
    """The first answer that is wanted: (its request, its line, its body)."""
    asked = {line["n"]: line for line in lines if line["t"] == "ask"}
    for line in lines:
        if line["t"] == "told":
            body = json.loads(line["body"])
            if wanted(asked[line["n"]], line, body):
                return asked[line["n"]], line, body
    raise AssertionError("there is no such answer to break")


def retell(line, code, **fields):
    line["status"] = code
    line["body"] = json.dumps({**json.loads(line["body"]), **fields})


def joined_once(ask, line, body):
    return ask["what"] == "register" and line["status"] == 201 and not ask["key"] and body["status"] == "registered"


# Each breaks one thing. The name is the property.

def break_capacity_in_the_log(world, _lines):
    event = world.events["one seat"]
    registration, user = world.one("select id, user_id from turnout.registrations where event_id = %(event)s and status = 'waitlisted'"
                                   " order by queue_no limit 1", event=event)
    world.change("""insert into turnout.audit_log (action, entity, entity_id, event_id, after)
                    values ('registration.promoted', 'registration', %(id)s, %(event)s, jsonb_build_object('user_id', %(user)s::text))""",
                 id=registration, event=event, user=user)


def break_capacity_in_what_clients_were_told(world, lines):
    event, asked = world.events["one seat"], {line["n"]: line for line in lines if line["t"] == "ask"}
    for line in lines:
        if line["t"] == "told" and asked[line["n"]]["event"] == event and '"waitlisted"' in line["body"]:
            retell(line, line["status"], status="registered")


def break_department_limit(world, _lines):
    world.setup = copy.deepcopy(world.setup)
    next(event for event in world.setup["events"] if event["title"] == "departments")["department_limit"] = 1


def break_acknowledged(world, lines):
    ask, _, body = told(lines, joined_once)
    world.change("delete from turnout.audit_log where request_id = %(request)s", request=ask["request"])
    world.change("delete from turnout.registrations where id = %(id)s", id=body["id"])


def break_acknowledged_cancel(world, lines):
    ask, _, _ = told(lines, lambda ask, line, body: ask["what"] == "cancel" and line["status"] == 200 and not ask["key"])
    world.change("delete from turnout.audit_log where action = 'registration.cancelled' and request_id = %(request)s",
                 request=ask["request"])


def break_acknowledged_place(_world, lines):
    _, line, body = told(lines, lambda ask, line, body: line["status"] == 201 and body["status"] == "waitlisted")
    retell(line, 201, position=body["position"] + 1)


def break_refusal(_world, lines):
    _, line, _ = told(lines, joined_once)
    retell(line, 409, type="/problems/event-full")


def break_full(world, lines):
    event = world.events["room for all"]
    _, line, _ = told(lines, lambda ask, line, body: ask["event"] == event and line["status"] == 200 and ask["what"] == "register"
                      and not ask["key"])
    retell(line, 409, type="/problems/event-full")


def refused_once(ask, line, body):
    return ask["what"] == "register" and line["status"] == 409 and not ask["key"]


def break_eligibility(_world, lines):
    _, line, _ = told(lines, refused_once)
    retell(line, 403, type="/problems/not-eligible")


def break_expected(_world, lines):
    _, line, _ = told(lines, refused_once)
    retell(line, 500, type="/problems/internal")


def break_200(_world, lines):
    _, line, _ = told(lines, joined_once)
    retell(line, 200)


def break_201(_world, lines):
    _, line, _ = told(lines, lambda ask, line, body: ask["what"] == "register" and line["status"] == 200 and not ask["key"])
    retell(line, 201)


def break_asked(_world, lines):
    ask, _, _ = told(lines, joined_once)
    lines[:] = [line for line in lines if line["n"] != ask["n"]]


def break_asked_row(world, _lines):
    user, year = world.one("""select u.id, e.event_year from turnout.users u, turnout.events e where e.id = %(event)s and not exists (
                              select from turnout.registrations r where r.event_id = e.id and r.user_id = u.id) limit 1""",
                           event=world.events["one seat"])
    world.change("""insert into turnout.registrations (event_year, id, event_id, user_id, status, queue_no, registered_at, last_action_at)
                    values (%(year)s, gen_random_uuid(), %(event)s, %(user)s, 'waitlisted', 1000000, now(), now())""",
                 year=year, event=world.events["one seat"], user=user)


def break_asked_user(world, _lines):
    world.change("insert into turnout.users (id, email, name) values (gen_random_uuid(), 'ghost@example.com', 'Ghost')")


def break_twice(world, lines):
    """The second try of an order acts again, under its own request id."""
    asked = {line["n"]: line for line in lines if line["t"] == "ask"}
    first = {}
    for ask in asked.values():
        if ask["key"] and ask["what"] == "register":
            other = first.setdefault((ask["who"], ask["key"]), ask)
            if other is not ask and world.connection.execute("select from turnout.audit_log where request_id = %s",
                                                             (other["request"],)).rowcount:
                break
    else:
        raise AssertionError("nobody has asked twice under a key")
    world.change("""insert into turnout.audit_log (actor_id, action, entity, entity_id, event_id, after, request_id)
                    select actor_id, action, entity, entity_id, event_id, after, %(again)s from turnout.audit_log
                    where request_id = %(request)s and action <> 'registration.promoted'""", again=ask["request"], request=other["request"])


def break_one_row(world, _lines):
    world.connection.execute("alter table turnout.registrations drop constraint registrations_event_id_user_id_event_year_key")
    world.change("""insert into turnout.registrations (event_year, id, event_id, user_id, status, queue_no, registered_at, cancelled_at,
                                                       last_action_at)
                    select event_year, gen_random_uuid(), event_id, user_id, 'cancelled', 1000000, now(), now(), now()
                    from turnout.registrations limit 1""")


def break_status(world, _lines):
    world.change("update turnout.registrations set status = 'waitlisted', seated_at = null where id = (select id from turnout.registrations"
                 " where status = 'registered' limit 1)")


def break_counter(world, _lines):
    world.change("update turnout.event_seats set registered_count = registered_count - 1 where event_id = %(event)s",
                 event=world.events["hot"])


def break_department_counter(world, _lines):
    world.change("update turnout.event_department_counts set waitlisted = waitlisted + 1 where event_id = %(event)s and department ="
                 " 'Department 1'", event=world.events["hot"])


def break_order_of_promotion(world, _lines):
    """The last in line is promoted instead of whoever was."""
    row, last = world.one("""select l.id, r.id from turnout.audit_log l
                             join turnout.registrations r on r.event_id = l.event_id and r.status = 'waitlisted' and r.id <> l.entity_id
                             where l.action = 'registration.promoted' order by l.id desc, r.queue_no desc limit 1""")
    world.change("update turnout.audit_log set entity_id = %(last)s where id = %(row)s", last=last, row=row)


def break_order_of_queue(world, _lines):
    first, last = world.one("select min(queue_no), max(queue_no) from turnout.registrations where event_id = %(event)s and"
                            " status = 'waitlisted'", event=world.events["one seat"])
    world.change("update turnout.registrations set queue_no = %(sum)s - queue_no where event_id = %(event)s and queue_no in (%(a)s, %(b)s)",
                 sum=first + last, a=first, b=last, event=world.events["one seat"])


def break_seat_for_the_waiting(world, _lines):
    """A promotion that never happened: a seat stays free, and those who come next pass who waits."""
    world.change("delete from turnout.audit_log where id = (select min(id) from turnout.audit_log where action = 'registration.promoted')")


def break_order_of_one_person(world, _lines):
    """Somebody's first joining is done for their second request, and the other way round."""
    first, last = world.one("""select min(id), max(id) from turnout.audit_log where action in ('registration.registered',
                               'registration.waitlisted') group by entity_id having count(*) > 1 order by 1 limit 1""")
    world.change("""update turnout.audit_log l set request_id = o.request_id from turnout.audit_log o
                    where (l.id = %(a)s and o.id = %(b)s) or (l.id = %(b)s and o.id = %(a)s)""", a=first, b=last)


def break_mail(world, _lines):
    world.change("delete from turnout.outbox where id = (select min(id) from turnout.outbox where kind = 'promoted')")


def break_mail_once(world, _lines):
    world.change("""insert into turnout.outbox (kind, dedupe_key, event_id, registration_id, user_id, generation)
                    select kind, 'again', event_id, registration_id, user_id, generation from turnout.outbox limit 1""")


def break_key(_world, lines):
    keys = {}
    for line in lines:
        if line["t"] == "ask" and line["key"]:
            keys.setdefault((line["who"], line["key"]), []).append(line["n"])
    answered = {line["n"]: line for line in lines if line["t"] == "told" and line["status"] < 300}
    again = next(answered[tries[-1]] for tries in keys.values() if len(tries) > 1 and all(one in answered for one in tries))
    again["body"] = again["body"].replace("{", "{ ", 1)


def break_stored_key(world, _lines):
    world.change("delete from turnout.idempotency_keys where ctid = (select ctid from turnout.idempotency_keys limit 1)")


def break_reading(world, lines):
    _, line, body = told(lines, lambda ask, line, body: ask["what"] == "mine" and body["registrations"])
    retell(line, 200, registrations=body["registrations"][1:])


@pytest.mark.parametrize("breaking, sentence", [
    (break_capacity_in_the_log, "OVERSOLD: 2 people have a seat of 1"),
    (break_capacity_in_what_clients_were_told, "OVERSOLD by what clients were told: 2 seats of 1"),
    (break_department_limit, r"department Department \d+ has 2 seats of 1"),
    (break_acknowledged, "acknowledged and not in the database: register"),
    (break_acknowledged_cancel, "acknowledged and not in the database: cancel"),
    (break_acknowledged_place, "answered otherwise than it was done"),
    (break_refusal, "told that nothing was done, and it was"),
    (break_full, "told that all was full, and it was not"),
    (break_eligibility, "told that they may not, and they may"),
    (break_expected, "an answer that nobody expects"),
    (break_200, "answered 200, and it was this request that made the row"),
    (break_201, "was answered 201, and the audit log has no row of it"),
    (break_asked, "nobody asked for it"),
    (break_asked_row, "a row that nobody asked for"),
    (break_asked_user, "ghost@example.com stands in the database, and nobody set them up"),
    (break_twice, "acted 2 times"),
    (break_one_row, "has 2 rows"),
    (break_status, "and by the audit log"),
    (break_counter, "the seats row says"),
    (break_department_counter, r"the counters of departments \['Department 1'\] say"),
    (break_order_of_promotion, "promoted out of order"),
    (break_order_of_queue, "the queue numbers are not in the order in which people joined"),
    (break_seat_for_the_waiting, "waited for a seat that was free"),
    (break_order_of_one_person, "out of order: register .* acted before it"),
    (break_mail, "mail promoted .* is not owed"),
    (break_mail_once, "is owed 1 times too often"),
    (break_key, "another answer for the same key"),
    (break_stored_key, "answered under a key that is not in the database"),
    (break_reading, "reads .* at the end, and has"),
], ids=lambda value: value.__name__ if callable(value) else "")
def test_the_checker_complains_when_a_property_is_broken(world, breaking, sentence):
    before = world.setup
    try:
        findings = world.findings(breaking)
    finally:
        world.setup = before
    assert any(re.search(sentence, finding) for finding in findings), findings[:10]
