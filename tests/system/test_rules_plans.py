"""Plans: no statement of the rules reads a big table from end to end, on a database of some size, by generic plans.

auto_explain reports the plan of each statement inside each function as it runs; the settings are the server's own, but for what
the functions pin themselves. The connection that watches is a superuser's acting as turnout_app.
"""

import json
import re
import uuid

import pytest

import sql_data
from sql_harness import Database, database_numbers
from sql_rules import Rules, comes, from_now, leaves, new_id

# Tables that grow with the years; partitions by the beginning of their names.
BIG = re.compile(r"Seq Scan on (?:turnout\.)?(events|registrations\w*|survey_responses\w*|users|user_names|outbox|audit_log|changes|event_seats"
                 r"|event_department_counts|event_organizers|idempotency_keys)\b")

WATCH = """
load 'auto_explain';
set auto_explain.log_min_duration = 0;
set auto_explain.log_nested_statements = on;
set auto_explain.log_level = notice;
set auto_explain.log_analyze = on;
set auto_explain.log_timing = off;
set client_min_messages = notice;
set plan_cache_mode = force_generic_plan;
"""


class Watched:
    """A connection that keeps the plans of what runs on it."""

    def __init__(self, database, user="turnout_app"):
        self.plans = []
        self.connection = database.connect("postgres")
        self.connection.add_notice_handler(self._keep)
        self.connection.execute(WATCH)
        self.connection.execute(f"set session authorization {user}")
        self.rules = Rules(self.connection)
        self.plans.clear()

    def _keep(self, diagnostic):
        if "plan:" in (diagnostic.message_primary or ""):
            self.plans.append(diagnostic.message_primary)

    def assert_by_index(self, statements=1):
        assert len(self.plans) >= statements, "nothing was watched"
        for plan in self.plans:
            assert not BIG.search(plan), plan
        self.plans.clear()


@pytest.fixture(scope="module")
def filled(postgres, template):
    """A database of 2,000 events and some 30,000 registrations."""
    database = Database.copied(postgres, f"turnout_plans_{next(database_numbers)}", template)
    sql_data.fill(database.owner_dsn, users=2000, events=2000, most=30)
    yield database
    database.assert_consistent()
    database.drop()


@pytest.fixture()
def watched(filled):
    one = Watched(filled)
    yield one
    one.connection.close()


def test_the_database_is_of_some_size(filled):
    assert filled.value("select count(*) from turnout.events") == 2000
    assert filled.value("select count(*) from turnout.registrations") > 20000


def test_registering_waiting_and_cancelling_look_everything_up(watched, filled):
    rules = watched.rules
    event = rules.event(capacity=1, department_limit=1)
    people = rules.people(4)
    watched.plans.clear()
    answers = rules.register(event, *people)
    watched.assert_by_index(3)
    rules.register(event, *people, resent=True)
    watched.assert_by_index()
    rules.cancel(answers[0].ref, people[0])
    watched.assert_by_index(8)
    rules.cancel(answers[1].ref, people[1], resent=True)
    watched.assert_by_index()
    rules.register(event, people[0], wait=True)
    watched.assert_by_index()
    rules.registration(answers[2].ref, people[2])
    rules.mine(people[2])
    watched.assert_by_index(3)
    # Somebody with a history, over all years.
    busy = filled.value("select user_id from turnout.registrations group by 1 order by count(*) desc limit 1")
    rules.mine(busy, limit=5)
    watched.assert_by_index()


def test_promoting_past_limits_and_closing_looks_everything_up(watched):
    rules = watched.rules
    event = rules.event(capacity=1, guests_allowed=False)
    rules.register(event, *rules.people(30))
    watched.plans.clear()
    rules.update(event, capacity=5)
    rules.update(event, department_limit=1, capacity=8)
    rules.set_event(event, start_datetime=from_now(minutes=-1), registration_closes_at=from_now(hours=1))
    rules.register(event, rules.person())
    watched.assert_by_index(10)


def test_events_are_read_and_written_by_index(watched):
    rules = watched.rules
    event = rules.draft(organizer_ids=[str(person) for person in rules.people(3)])
    watched.assert_by_index()
    rules.read(event, rules.organizer)
    rules.update(event, title="Edited", organizer_ids=[str(rules.organizer)])
    rules.publish(event)
    rules.register(event, *rules.people(3))
    watched.plans.clear()
    rules.update(event, venue="Moved")
    rules.cancel_event(event)
    rules.delete(rules.draft())
    watched.assert_by_index(10)
    rules.connection.execute("select turnout.events_import('plans', %s, %s)", (rules.organizer, json.dumps([
        {"title": "x", "start_datetime": from_now(days=1), "end_datetime": from_now(days=2), "capacity": 1}] * 5)))
    watched.assert_by_index()


def test_keys_are_looked_up_taken_and_stored_by_index(watched):
    rules = watched.rules
    event, people = rules.event(), rules.people(3)
    watched.connection.execute("insert into turnout.idempotency_keys (user_id, key, request_hash, outcome) select %s, n::text, '', 'ok'"
                               " from generate_series(1, 20000) n on conflict do nothing", (rules.organizer,))
    watched.plans.clear()
    for _ in range(2):
        rules.register_keyed(event, *((person, "key") for person in people), (rules.organizer, "17"), (rules.organizer, None))
        watched.assert_by_index(4)
        rules.keyed("event_update", "edit", rules.organizer, event, fields={"title": "Keyed"})
        watched.assert_by_index(3)
    watched.connection.execute("select turnout.prune_idempotency_keys('24 hours')")
    watched.assert_by_index()


LISTS = [
    {}, {"category": "social"}, {"status": "completed"}, {"status": "completed", "category": "social"},
    {"start": "2026-01-01T00:00:00Z"}, {"start": "2026-01-01T00:00:00Z", "to": "2027-01-01T00:00:00Z", "category": "training"},
    {"q": "会議"}, {"q": "議"}, {"q": "town hall"}, {"q": "town hall 17", "category": "social", "status": "completed"},
    {"q": "東京", "to": "2027-01-01T00:00:00Z"}, {"status": "cancelled"}, {"status": "draft"},
]


@pytest.mark.parametrize("filters", LISTS, ids=lambda filters: ",".join(filters) or "none")
def test_every_filter_of_the_list_uses_an_index(watched, filters):
    """For nobody, an organizer and an admin; the first page and the next."""
    for role in (None, "organizer", "admin"):
        page = watched.rules.page(role and watched.rules.organizer, role=role, limit=5, **filters)
        assert page.outcome == "ok"
        watched.rules.page(role and watched.rules.organizer, role=role, limit=5, **filters,
                           after=(page.next_start or 0, page.next_id or uuid.UUID(int=0)))
        watched.assert_by_index(2)


ROSTERS = [{}, {"status": "registered"}, {"status": "waitlisted"}, {"status": "cancelled"}, {"name": "person 1"}, {"name": ""},
           {"name": "p" * 40}, {"name": "person", "status": "waitlisted"}]


def test_the_roster_and_the_log_of_a_large_event_read_little_more_than_a_page(watched, filled):
    """Whatever the size of the event: no scan goes further than what the page shows, in either order and by either filter."""
    rules = watched.rules
    event = rules.event(capacity=200)
    people = rules.people(300)
    made = rules.register(event, *people)
    for number in range(0, 300, 20):
        rules.cancel(made[number].ref, people[number])
    filled.rows("vacuum analyze turnout.user_names, turnout.registrations")
    # As large as an event whose people are looked up along the names.
    filled.rows("update turnout.event_seats set last_queue_no = 1000000 where event_id = %s", (event,))
    watched.plans.clear()
    for filters in ROSTERS:
        first = rules.roster(event, limit=5, **filters)
        if first[2] is not None:
            assert rules.roster(event, limit=5, after=first[2], **filters)[1]
        for plan in watched.plans:
            # Counting who waits before the first of the page walks along the waitlist, and that alone. Few wait here: who of
            # them has a name is asked of all.
            rows = [int(count) for line in plan.splitlines() if "Scan" in line and "registrations_2" in line and " b_" not in line
                    for count in re.findall(r"actual rows=(\d+)", line)]
            assert len(filters) == 2 or all(count <= 6 for count in rows), plan
            assert "registrations_2" not in plan or " b_" not in plan or "Index Only Scan" in plan, plan
        watched.assert_by_index(3)
    for filters in ({}, {"entity": "event"}, {"entity": "registration"}, {"registration": made[0].ref}):
        _, _, after = rules.log(event, limit=1, **filters)
        rules.log(event, limit=5, after=after, **filters)
        for plan in watched.plans:
            assert all(int(count) <= 6 for line in plan.splitlines() if "on audit_log" in line
                       for count in re.findall(r"actual rows=(\d+)", line)), plan
        watched.assert_by_index(4)


def test_a_name_that_has_little_to_do_with_a_large_event_joins_the_two_as_a_whole(watched, filled):
    rules = watched.rules
    event = rules.event(capacity=10)
    rules.register(event, rules.person(name="Unlike 9999"))
    filled.rows("insert into turnout.users (id, email, name) select gen_random_uuid(), 'unlike' || n || '@example.com', 'Unlike ' || n"
                " from generate_series(1, 3500) n")
    filled.rows("vacuum analyze turnout.user_names, turnout.registrations")
    filled.rows("update turnout.event_seats set last_queue_no = 1000000 where event_id = %s", (event,))
    watched.plans.clear()
    assert [row["user"]["name"] for row in rules.roster(event, name="unlike")[1]] == ["Unlike 9999"]
    assert any("Hash Semi Join" in plan for plan in watched.plans), watched.plans
    watched.assert_by_index(5)


def test_people_are_found_by_index(watched, filled):
    rules = watched.rules
    rules.seen("plans", "plans@example.com")
    rules.seen("plans", "plans@example.com")
    rules.seen("imported", "user77@example.com")
    rules.seen("somebody else", "user77@example.com")
    rules.connection.execute("select outcome from turnout.user_get(%s, null)", (rules.organizer,))
    watched.assert_by_index(6)


def test_jobs_look_up_what_is_due(watched):
    rules = watched.rules
    events = [rules.event() for _ in range(3)]
    for event in events:
        rules.set_event(event, start_datetime=from_now(hours=-2), end_datetime=from_now(hours=-1))
    watched.plans.clear()
    for statement in ("select turnout.complete_ended_events(100)", "select turnout.prune_changes('1 hour')",
                      "select turnout.prune_changes('0')", "select turnout.prune_idempotency_keys('24 hours')",
                      "select turnout.job_finished(turnout.job_started('test', 'host'), 'ok', 3, null)",
                      "select turnout.audit_step(1000, '0')", "select turnout.schema_version()"):
        rules.connection.execute(statement)
        watched.assert_by_index()


def test_plans_made_while_the_tables_were_empty_are_right_when_they_are_not(postgres, template):
    """A connection that was open from the first day on: its generic plans were made without a row or a statistic."""
    database = Database.copied(postgres, f"turnout_empty_{next(database_numbers)}", template)
    watched = Watched(database)
    rules = watched.rules
    event = rules.event(capacity=3)
    people = rules.people(2)

    def everything(event, people):
        answers = rules.register(event, *people)
        rules.cancel(answers[0].ref, people[0])
        rules.registration(answers[1].ref, people[1])
        rules.mine(people[1])
        for filters in ({}, {"status": "waitlisted"}, {"name": "person"}):
            assert rules.roster(event, limit=1, **filters)[0] == "ok"
        rules.log(event)
        rules.log(event, entity="event")
        rules.read(event)
        rules.page(limit=5)
        rules.page(category="social", limit=5)
        rules.page(q="会議", limit=5)
        rules.update(event, capacity=4)
        for _ in range(2):
            rules.register_keyed(event, (people[0], "key"), (people[1], None))
        rules.seen(str(new_id()), f"{new_id()}@example.com")
        for call in ("changes_since('3', '{}', 100)", "changes_since('900', '{800,801}', 100)", "cache_warm(100)",
                     "cache_events_list('social', null, 5, null, null)"):
            rules.connection.execute(f"select turnout.{call}")
        for call in ("cache_event(%s)", "cache_stats(%s)", "event_stats(null, 'admin', %s)", "event_manage(null, 'admin', %s)"):
            rules.connection.execute(f"select turnout.{call}", (event,))

    everything(event, people)
    watched.assert_by_index(20)
    sql_data.fill(database.owner_dsn, users=500, events=1000, most=20)
    watched.plans.clear()
    everything(event, rules.people(2))
    watched.assert_by_index(20)
    watched.connection.close()
    database.drop()


def test_registering_reads_one_row_for_each_person_though_its_plan_was_made_on_analyzed_empty_tables(postgres, template):
    """A table that was empty when it was last analyzed is taken for empty until the next time: all its indexes seem equally good."""
    database = Database.copied(postgres, f"turnout_analyzed_{next(database_numbers)}", template)
    with database.connect("postgres") as superuser:
        superuser.execute("vacuum analyze")
    watched = Watched(database)
    rules = watched.rules
    event, others = rules.event(capacity=1000), [rules.event() for _ in range(20)]
    person = rules.person()
    rules.batch(comes(event, person))
    people = [person] + rules.people(200)
    for other in others:
        rules.batch(comes(other, person))
    rules.batch(*(comes(event, one) for one in people))
    mine = {row[0]: row[1] for row in watched.connection.execute(
        "select user_id, id from turnout.registrations where event_id = %s", (event,)).fetchall()}
    watched.plans.clear()
    rules.batch(comes(event, person), *(comes(event, one) for one in rules.people(5)))
    rules.batch(*(comes(event, one) for one in people[:5]), resent=True)
    looked = [plan for plan in watched.plans if "first_item" in plan]
    assert len(looked) == 2
    for plan in looked:
        scans = [line for line in plan.splitlines() if re.search("Scan.* on (registrations|audit_log|event_department)", line)]
        assert scans and all(int(rows) <= 1 for line in scans for rows in re.findall(r"actual rows=(\d+)", line)), plan
        assert all(int(rows) <= 20 for rows in re.findall(r"Rows Removed by (?:Join )?Filter: (\d+)", plan)), plan
    watched.plans.clear()
    assert rules.batch(leaves(mine[people[7]], people[7]))[0].outcome == "ok"
    looked = [plan for plan in watched.plans if "registration_id" in plan]
    for plan in looked:
        assert all(int(rows) <= 1 for line in plan.splitlines() if "Scan" in line and " on registrations" in line
                   for rows in re.findall(r"actual rows=(\d+)", line)), plan
    watched.connection.close()
    database.drop()


def test_the_watch_sees_a_sequential_scan_when_there_is_one(watched):
    """The twin of all the above."""
    watched.connection.execute("do $$ begin perform from turnout.events e where e.description = 'x'; end $$")
    with pytest.raises(AssertionError):
        watched.assert_by_index()
