"""What concerns thousands of people of an event is written for a thousand at a time: the counters are right after each step,
nobody is passed meanwhile, and everybody is told exactly once, whoever goes on."""

import json

import pytest

from sql_harness import Session
from sql_rules import Rules, from_now, new_id

# As in event_cancel, event_update and promotions_at_once.
STEP = 1000
WORK = "select turnout.event_work_step(1000)"
OWED = ("select count(*), count(distinct registration_id) from turnout.outbox where event_id = %s and kind = %s")


@pytest.fixture()
def rules(database):
    with database.connect() as connection:
        yield Rules(connection)


@pytest.fixture(scope="module")
def crowd(database):
    """2,300 people of some departments, in no particular order of ids."""
    with database.connect() as connection:
        yield [row[0] for row in connection.execute(
            "insert into turnout.users (id, email, name, department)"
            " select gen_random_uuid(), 'crowd' || n || '@example.com', 'Crowd ' || n, nullif('D' || n %% 7, 'D0')"
            " from generate_series(1, %s) n returning id", (2300,)).fetchall()]
    assert_consistent(database)


def assert_consistent(database):
    """With statistics of the crowd: without them each look at the log reads all of it."""
    database.rows("analyze turnout.registrations, turnout.audit_log, turnout.outbox")
    database.assert_consistent()


def same_as_rows(database, event):
    """The counters are those of the rows, of the event and by department."""
    assert database.rows("select registered_count, waitlisted_count, checked_in_count from turnout.event_seats where event_id = %s",
                         (event,)) == database.rows(
        "select count(*) filter (where status = 'registered'), count(*) filter (where status = 'waitlisted'), count(checked_in_at)"
        " from turnout.registrations where event_id = %s", (event,))
    assert database.rows("select department, registered, waitlisted, checked_in from turnout.event_department_counts where event_id = %s"
                         " order by 1", (event,)) == database.rows(
        "select coalesce(department, ''), count(*) filter (where status = 'registered'), count(*) filter (where status = 'waitlisted'),"
        " count(checked_in_at) from turnout.registrations where event_id = %s group by 1 order by 1", (event,))


def fill(rules, event, crowd):
    for at in range(0, len(crowd), STEP):
        rules.register(event, *crowd[at:at + STEP])


def step(rules):
    return rules.connection.execute(WORK).fetchone()[0]


def work(database, event):
    return [row[0] for row in database.rows("select kind from turnout.event_work where event_id = %s order by 1", (event,))]


def left(rules, event):
    return sum(rules.counts(event))


def test_a_large_event_is_closed_at_once_and_its_people_are_cancelled_in_steps(rules, database, crowd):
    event = rules.event(capacity=2000)
    fill(rules, event, crowd)
    database.rows("update turnout.registrations set checked_in_at = now() where event_id = %s and user_id = %s", (event, crowd[1500]))
    database.rows("update turnout.event_seats set checked_in_count = 1 where event_id = %s", (event,))
    database.rows("update turnout.event_department_counts set checked_in = 1 where (event_id, department) ="
                  " (select event_id, coalesce(department, '') from turnout.registrations where event_id = %s and user_id = %s)",
                  (event, crowd[1500]))
    cancelled = rules.cancel_event(event)
    assert (cancelled.outcome, cancelled.body["status"], left(rules, event)) == ("ok", "cancelled", 1300)
    assert (cancelled.body["registered_count"], cancelled.body["waitlisted_count"]) == (1000, 300)
    same_as_rows(database, event)
    # Closed for all: who is not reached yet may still leave by themselves, and is told that, once.
    assert rules.register(event, rules.person())[0].outcome == "event_closed"
    mine = rules.mine(crowd[2299]).items[0]["id"]
    assert rules.cancel(mine, crowd[2299]).body["status"] == "cancelled"
    assert rules.waiting(event)[0] == crowd[2000], "nobody is promoted any more"
    steps = []
    while done := step(rules):
        steps.append((done, left(rules, event)))
        same_as_rows(database, event)
    assert steps == [(1000, 299), (299, 0)]
    assert set(rules.states(event).values()) == {"cancelled"} and work(database, event) == []
    assert database.rows(OWED, (event, "event_cancelled")) == [(2299, 2299)]
    assert database.rows("select distinct actor_id, request_id from turnout.audit_log where event_id = %s"
                         " and action = 'registration.event_cancelled'", (event,)) == [(rules.organizer, "test")]


def test_a_small_event_is_done_in_the_request(rules, database, crowd):
    event = rules.event(capacity=500)
    rules.register(event, *crowd[:STEP - 1])
    assert rules.cancel_event(event).etag == "3.0.0"
    assert work(database, event) == [] and step(rules) == 0


def test_whoever_dies_in_a_step_leaves_it_to_others_and_two_hosts_never_do_the_same(rules, database, crowd):
    large, other = rules.event(capacity=3000), rules.event(capacity=3000)
    for event in (large, other):
        fill(rules, event, crowd)
        rules.cancel_event(event)
    one, two = Session(database, "one"), Session(database, "two")
    try:
        assert one.run(WORK) == [(1000,)]
        # While the first is being worked on, the other goes on.
        assert two.run(WORK) == [(1000,)]
        assert two.run(WORK) == [(300,)], "its own event, not the one that is held"
        assert two.run(WORK) == [(0,)]
        two.commit()
        assert (left(rules, large), left(rules, other)) == (1300, 0)
        # Dies before its commit: nothing of it was done.
        one.rollback()
        assert left(rules, large) == 1300
        while two.run(WORK) != [(0,)]:
            two.commit()
        two.commit()
    finally:
        for session in (one, two):
            session.close()
    for event in (large, other):
        assert set(rules.states(event).values()) == {"cancelled"}
        assert database.rows(OWED, (event, "event_cancelled")) == [(2300, 2300)]


def test_raising_the_capacity_by_thousands_promotes_in_order_and_newcomers_pass_nobody(rules, database, crowd):
    event = rules.event(capacity=1)
    fill(rules, event, crowd)
    raised = rules.update(event, capacity=5000)
    assert (raised.body["registered_count"], raised.body["waitlisted_count"]) == (1001, 1299)
    assert work(database, event) == ["promote"] and rules.waiting(event) == crowd[1001:]
    # 3,999 seats are free, and 1,299 people wait for them. Who asks for one has the first thousand of these promoted.
    newcomers = rules.people(2)
    assert rules.register(event, newcomers[0])[0].outcome == "waitlisted"
    assert rules.waiting(event) == [*crowd[2001:], newcomers[0]]
    assert step(rules) == 300
    assert rules.waiting(event) == [] and work(database, event) == []
    assert rules.register(event, newcomers[1])[0].outcome == "registered"
    assert database.rows(OWED, (event, "promoted")) == [(2300, 2300)]
    assert step(rules) == 0


def test_who_cancels_while_promotions_are_under_way_frees_a_seat_for_nobody_twice(rules, database, crowd):
    event = rules.event(capacity=1, department_limit=1)
    fill(rules, event, crowd)
    # Seats for all, one of each department but for those of none.
    assert rules.update(event, capacity=5000).body["registered_count"] <= 1001
    rules.update(event, department_limit=None)
    rules.cancel(rules.mine(crowd[0]).items[0]["id"], crowd[0])
    while step(rules):
        pass
    assert rules.counts(event) == (2299, 0)
    assert database.rows(OWED, (event, "promoted")) == [(2299, 2299)]


def test_an_event_that_is_cancelled_or_closed_promotes_nobody_more(rules, database, crowd):
    for end in (rules.cancel_event, lambda event: rules.set_event(event, registration_closes_at=from_now(seconds=-1))):
        event = rules.event(capacity=1)
        fill(rules, event, crowd[:STEP + 200])
        rules.update(event, capacity=5000)
        assert work(database, event) == ["promote"]
        promoted = database.rows(OWED, (event, "promoted"))
        end(event)
        while step(rules):
            pass
        assert database.rows(OWED, (event, "promoted")) == promoted and work(database, event) == []


def test_everybody_is_told_of_an_edit_once_and_of_the_last_one(rules, database, crowd):
    def told(version):
        return database.value("select count(distinct registration_id) from turnout.outbox where event_id = %s and kind = 'changed'"
                              " and generation = %s", (event, version))
    event = rules.event(capacity=5000)
    fill(rules, event, crowd)
    first = rules.update(event, venue="Hall 1").body["version"]
    assert (told(first), work(database, event)) == (1000, ["changed"])
    assert step(rules) == 1000
    # Who is told of the second edit need not be told of the first.
    second = rules.update(event, venue="Hall 2").body["version"]
    late = rules.person()
    rules.register(event, late)
    assert (step(rules), step(rules), step(rules)) == (1000, 301, 0)
    assert (told(first), told(second)) == (2000, 2300)
    assert database.value("select count(*) from turnout.outbox where event_id = %s and kind = 'changed' and user_id = %s", (event, late)) == 0
    # Nobody is told of an edit of an event that is no more.
    third = rules.update(event, venue="Hall 3").body["version"]
    rules.set_event(event, status="completed")
    assert (step(rules), told(third), work(database, event)) == (0, 1000, [])
    rules.set_event(event, status="published")
    fourth = rules.update(event, venue="Hall 4").body["version"]
    rules.cancel_event(event)
    while step(rules):
        pass
    assert told(fourth) == 1000
    assert database.rows(OWED, (event, "event_cancelled")) == [(2301, 2301)]


# Every limit that is raised promotes the first who now may

RAISED = {
    "capacity": ({"capacity": 1}, {"capacity": 2}),
    "department_limit": ({"department_limit": 1}, {"department_limit": 2}),
    "no department_limit": ({"department_limit": 1}, {"department_limit": None}),
    "guests_allowed": ({"guests": True}, {"guests_allowed": True}),
    "registration_closes_at": ({"closed": "registration_closes_at"}, {"registration_closes_at": from_now(days=2)}),
    "no registration_closes_at": ({"closed": "registration_closes_at"}, {"registration_closes_at": None}),
    "start_datetime": ({"closed": "start_datetime"},
                       {"start_datetime": from_now(days=20), "end_datetime": from_now(days=20, hours=1)}),
}


@pytest.mark.parametrize("limit", RAISED)
def test_raising_it_promotes_the_first_who_now_may_and_nobody_else(rules, limit):
    before, raise_to = RAISED[limit]
    kind = "guest" if before.get("guests") else "employee"
    holder, first, second = rules.person(), rules.person(kind=kind), rules.person(kind=kind)
    event = rules.event(**{"capacity": 2, **{name: value for name, value in before.items() if name in ("capacity", "department_limit")}})
    if before.get("guests") or before.get("closed"):
        # Full, so that they wait; then the second seat comes free while none of them may take it.
        leaver = rules.person()
        answers = rules.register(event, holder, leaver, first, second)
        if before.get("guests"):
            rules.update(event, guests_allowed=False)
        else:
            rules.set_event(event, **{before["closed"]: from_now(seconds=-1)})
        rules.cancel(answers[1].ref, leaver)
    else:
        rules.register(event, holder, first, second)
    assert rules.counts(event) == (1, 2) and rules.waiting(event) == [first, second]
    assert rules.update(event, title="Still for those").body["registered_count"] == 1, "an edit of something else promotes nobody"
    assert rules.update(event, **raise_to).outcome == "ok"
    assert rules.waiting(event) == [second] and rules.states(event)[first] == "registered"


# Who cannot take a seat blocks nobody, in any mixture of rules

def test_a_guest_and_a_full_department_in_front_block_nobody_and_keep_their_places(rules):
    event = rules.event(capacity=2, department_limit=1)
    sales, legal = rules.person("Sales"), rules.person("Legal")
    refs = [answer.ref for answer in rules.register(event, sales, legal)]
    guest, blocked, able = rules.person("Guests", kind="guest"), rules.person("Sales"), rules.person("Works")
    rules.register(event, guest, blocked, able)
    rules.update(event, guests_allowed=False)
    assert rules.waiting(event) == [guest, blocked, able]
    rules.cancel(refs[1], legal)
    assert rules.waiting(event) == [guest, blocked] and rules.states(event)[able] == "registered"
    rules.cancel(refs[0], sales)
    assert rules.waiting(event) == [guest] and rules.states(event)[blocked] == "registered"
    # A full waitlist refuses newcomers, until its limit is raised; nobody is promoted by that.
    rules.update(event, waitlist_limit=1)
    newcomer = rules.person("Press")
    assert rules.register(event, newcomer)[0].outcome == "full"
    rules.update(event, waitlist_limit=2)
    assert rules.register(event, newcomer)[0].body["position"] == 2
    assert rules.register(event, rules.person("Press", kind="guest"))[0].outcome == "not_eligible"


# A list of people

def listed(rules, event, people, person=None, role=None, action=None, resent=False):
    return rules.call("select outcome, body, etag, ref from turnout.register_list('test', %s, %s, %s, %s, %s, %s)", action or new_id(),
                      person or rules.organizer, role, event, json.dumps({"user_ids": [str(one) for one in people]}), resent)[0]


def test_a_list_is_registered_in_its_order_with_an_outcome_for_each(rules):
    event = rules.event(capacity=2, guests_allowed=False, waitlist_limit=1)
    first, second, third, fourth, guest, unknown = *rules.people(4), rules.person(kind="guest"), new_id()
    rules.register(event, first)
    answer = listed(rules, event, [guest, second, first, third, second, unknown, fourth])
    results = answer.body["results"]
    assert [one["outcome"] for one in results] == ["refused", "registered", "existing", "waitlisted", "existing", "refused", "refused"]
    assert results[0]["problem"] == {"outcome": "not_eligible", "rule": "guests_not_allowed"}
    assert results[5]["problem"] == {"outcome": "invalid_fields",
                                     "errors": [{"pointer": "/user_ids/5", "detail": "must be the id of a user"}]}
    assert results[6]["problem"] == {"outcome": "full"}
    assert [one["user_id"] for one in results] == [str(one) for one in (guest, second, first, third, second, unknown, fourth)]
    assert rules.states(event) == {first: "registered", second: "registered", third: "waitlisted"}


def test_a_list_sent_again_over_a_new_connection_is_told_what_it_did(rules):
    event, people, action = rules.event(capacity=2), rules.people(3), new_id()
    first = listed(rules, event, people, action=action)
    again = listed(rules, event, people, action=action, resent=True)
    assert again == first and rules.counts(event) == (2, 1)
    assert {one["outcome"] for one in listed(rules, event, people).body["results"]} == {"existing"}


def test_a_list_is_for_who_manages_the_event_and_comes_back_busy_as_a_whole(rules, database):
    event, people = rules.event(), rules.people(2)
    assert listed(rules, event, people, person=people[0]).outcome == "forbidden"
    assert listed(rules, rules.draft(), people, person=people[0]).outcome == "not_found"
    assert {one["problem"]["outcome"] for one in listed(rules, rules.draft(), people).body["results"]} == {"not_published"}
    holder = Session(database, "holder")
    try:
        holder.run("select from turnout.event_seats where event_id = %s for update", (event,))
        busy = listed(rules, event, people)
        assert (busy.outcome, busy.body) == ("busy", None)
        holder.rollback()
    finally:
        holder.close()
    assert rules.states(event) == {}
    assert listed(rules, event, people, person=people[0], role="admin").outcome == "ok"
