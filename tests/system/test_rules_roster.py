"""The roster and the log of an event as SQL gives them: which people, in which order, by whichever way they are looked for."""

import json
import random

import pytest

from sql_rules import Rules, from_now, new_id


@pytest.fixture()
def rules(database):
    with database.connect() as connection:
        yield Rules(connection)


@pytest.fixture()
def owner(database):
    with database.connect("turnout_owner") as connection:
        yield connection


def names(rows):
    return [row["user"]["name"] for row in rows]


def found(rules, event, **how):
    return names(rules.whole_roster(event, **how))


def rename(rules, person, name):
    rules.connection.execute("update turnout.users set name = %s where id = %s", (name, person))


# Names

@pytest.mark.parametrize("name, prefixes, others", [
    ("Ångström", ["Å", "ång", "ÅNGSTRÖM", "A\u030angstro\u0308m", "\u212bng", "angstrom", "ANG"], ["ngström", "Ångströms", "o"]),
    ("Straße", ["straß", "STRASSE", "Strasse", "STRAẞE", "stras"], ["strae", "strase"]),
    ("Ｍａｒｙ Ａｎｎ", ["Mary A", "ｍａｒｙ", "MARY ANN"], ["Ann"]),
    ("Mary Ann", ["Ｍａｒｙ", "mary\u3000ann"], ["Ｍarya"]),
    ("佐藤 遥", ["佐", "佐藤", "佐藤 遥", "佐藤\u3000"], ["藤", "遥"]),
    ("ガルシア", ["ガ", "ｶﾞﾙ", "カ\u3099ル"], ["カ", "が"]),
    ("ﾊﾅｺ", ["ハナ", "ﾊﾅｺ"], ["バナ", "パナ"]),
    ("김민수", ["김", "\u1100\u1175\u11b7"], ["기"]),
    ("ΣΊΣΥΦΟΣ", ["Σίσυφος", "σισυφοσ"], ["φοσ"]),
    ("İpek", ["ipek", "İP", "IPEK"], ["pek"]),
    ("Łukasz Øster", ["lukasz o", "ŁUKASZ Ø"], ["l o"]),
    ("Æsa Œuvre", ["aesa", "Æ", "ÆSA OE"], ["asa"]),
    ("100% _sure_", ["100%", "100% _"], ["%", "_", "100_", "1%"]),
    ("C:\\new'x", ["c:\\", "C:\\NEW'"], ["c:new", "c:\\\\"]),
    ("x\U0010ffffy", ["x\U0010ffff", "X"], ["y"]),
])
def test_a_name_is_found_the_way_people_expect(rules, name, prefixes, others):
    event = rules.event()
    rules.register(event, rules.person(name=name), rules.person(name="Somebody Else"))
    for prefix in prefixes:
        assert found(rules, event, name=prefix) == [name], prefix
    for other in others:
        assert found(rules, event, name=other) == [], other


def test_a_prefix_longer_than_what_is_indexed_is_compared_in_full(rules):
    event = rules.event()
    long = "Wolfeschlegelsteinhausenbergerdorff-" * 4
    rules.register(event, rules.person(name=long + "a"), rules.person(name=long + "B"), rules.person(name=long[:40] + "x"))
    assert found(rules, event, name=long) == [long + "a", long + "B"] or found(rules, event, name=long) == [long + "B", long + "a"]
    assert found(rules, event, name=long.upper() + "b") == [long + "B"]
    assert found(rules, event, name=long + "c") == []
    assert len(found(rules, event, name=long[:32])) == 3
    # A name of one letter that unfolds into eighteen is no longer in the index than any other.
    rules.register(event, rules.person(name="\ufdfa" * 255))
    assert len(found(rules, event, name="\ufdfa" * 3)) == 1


def test_who_is_renamed_is_found_by_the_new_name_and_not_by_the_old_one(rules):
    event, person = rules.event(), rules.person(name="Anna Alt")
    rules.register(event, person)
    assert found(rules, event, name="anna a") == ["Anna Alt"]
    rename(rules, person, "Anna Neu")
    assert found(rules, event, name="anna a") == []
    assert found(rules, event, name="anna n") == ["Anna Neu"]


def test_a_rename_between_two_pages_neither_skips_nor_repeats_others(rules):
    event = rules.event()
    people = [rules.person(name=f"Page {letter}") for letter in "abcdef"]
    rules.register(event, *people)
    _, first, after = rules.roster(event, name="page", limit=2)
    # The last one of the page leaves for the end of the alphabet: the page goes on where it had ended.
    rename(rules, people[1], "Zoe")
    _, second, after = rules.roster(event, name="page", limit=2, after=after)
    assert names(first) + names(second) == ["Page a", "Page b", "Page c", "Page d"]
    _, third, after = rules.roster(event, name="page", limit=2, after=after)
    assert (names(third), after) == (["Page e", "Page f"], None)


# Ways of looking

@pytest.fixture(scope="module")
def crowd(database):
    """An event of 90 people, every third of them waiting, some gone; and 7,000 others by the same names."""
    with database.connect() as connection:
        rules = Rules(connection)
        event = rules.event(capacity=40, title="Crowd")
        draw = random.Random(7)
        people = [rules.person(name=draw.choice(["Anna", "anna", "Ben", "Änne", "Zoe"]) + f" {draw.randrange(50)}") for _ in range(90)]
        made = rules.register(event, *people)
        for number in range(0, 90, 9):
            rules.cancel(made[number].ref, people[number])
        connection.execute(
            "insert into turnout.users (id, email, name)"
            " select gen_random_uuid(), 'crowd' || n || '@example.com', (array['Anna', 'Anno', 'Ben'])[1 + n % 3] || ' ' || n"
            " from generate_series(1, 7000) n")
        yield event


def counted(database, event, size):
    """Lets the event look as large as that, which decides the way that is taken."""
    database.rows("update turnout.event_seats set last_queue_no = %s where event_id = %s", (size, event))


@pytest.mark.parametrize("size", [90, 1000000], ids=["from the event", "along the names"])
def test_each_way_of_looking_finds_the_same_in_the_same_order(rules, database, crowd, size):
    rows = database.rows("select n.key, r.user_id::text, r.status from turnout.registrations r"
                         " join turnout.user_names n on n.user_id = r.user_id where r.event_id = %s", (crowd,))
    counted(database, crowd, size)
    for name in ("", "a", "ann", "anna 1", "ben", "zoe", "zz"):
        for status in (None, "waitlisted", "cancelled"):
            expected = sorted((key, user) for key, user, had in rows if key.startswith(name) and status in (None, had))
            shown = rules.whole_roster(crowd, role="admin", status=status, name=name, limit=17)
            assert [row["user_id"] for row in shown] == [user for _, user in expected], (name, status)
    counted(database, crowd, 90)


def test_the_roster_is_in_the_order_of_joining_with_places_as_each_person_sees_theirs(rules, database, crowd):
    rows = rules.whole_roster(crowd, role="admin", limit=7)
    joined = database.rows("select user_id::text from turnout.registrations where event_id = %s order by queue_no", (crowd,))
    assert [row["user_id"] for row in rows] == [row[0] for row in joined]
    for filters in ({"name": "ann"}, {"status": "waitlisted"}, {"status": "waitlisted", "name": ""}):
        rows += rules.whole_roster(crowd, role="admin", limit=7, **filters)
    for row in rows:
        seen = rules.registration(row["id"], rules.organizer, role="admin").body
        assert {name: row[name] for name in seen} == seen
    assert {row["status"] for row in rows} == {"registered", "waitlisted", "cancelled"}


def test_who_comes_back_is_at_the_end_of_the_roster(rules):
    event = rules.event()
    first, second = rules.people(2)
    made = rules.register(event, first, second)
    rules.cancel(made[0].ref, first)
    rules.register(event, first)
    assert [row["user_id"] for row in rules.whole_roster(event)] == [str(second), str(first)]


def test_parameters_that_mean_nothing_are_named(rules):
    event = rules.event()
    outcome, body, _ = rules.roster(event, status="gone", name="x" * 256, limit=101)
    assert (outcome, [error["parameter"] for error in body["errors"]]) == ("invalid_fields", ["status", "name", "limit"])
    assert rules.roster(event, status="cancelled", name="x" * 255, limit=100)[0] == "ok"
    outcome, body, _ = rules.log(event, entity="user", registration="x", limit=0)
    assert (outcome, [error["parameter"] for error in body["errors"]]) == ("invalid_fields", ["entity", "registration_id", "limit"])
    outcome, body, _ = rules.log(event, entity="event", registration=str(new_id()))
    assert (outcome, [error["parameter"] for error in body["errors"]]) == ("invalid_fields", ["registration_id"])
    assert rules.log(event, entity="registration", registration=str(new_id()), limit=1) == ("ok", [], None)


# The log

def test_the_log_shows_what_differs_and_only_what_the_api_shows_anyway(rules, database):
    event = rules.event(capacity=1)
    rules.update(event, capacity=2, venue="Hall")
    # What a later rule might write there, and what is nobody's but the log's own.
    database.rows("insert into turnout.audit_log (action, entity, entity_id, event_id, before, after)"
                  " values ('event.touched', 'event', %s, %s, %s, %s), ('user.linked', 'user', %s, %s, %s, null)",
                  (event, event, json.dumps({"secret": 1, "venue": "Hall"}), json.dumps({"secret": 2, "venue": "Yard"}),
                   event, event, json.dumps({"subject": "s"})))
    _, entries, _ = rules.log(event)
    assert [entry["action"] for entry in entries] == ["event.touched", "event.updated", "event.published", "event.created"]
    touched, updated, published, created = entries
    assert (touched["before"], touched["after"], touched["actor"]) == ({"venue": "Hall"}, {"venue": "Yard"}, None)
    assert set(updated["before"]) == set(updated["after"]) == {"capacity", "venue", "version", "updated_at"}
    assert (updated["before"]["capacity"], updated["after"]["capacity"]) == (1, 2)
    assert (published["before"], published["after"]) == ({"status": "draft", "version": 1}, {"status": "published", "version": 2})
    now = rules.read(event, rules.organizer).body
    assert created["before"] is None and created["after"]["created_at"] == now["created_at"]
    assert set(now) - {"registered_count", "waitlisted_count"} == set(created["after"])
    assert [entry["action"] for entry in rules.log(event, entity="event")[1]] == [entry["action"] for entry in entries]


def test_the_log_is_paged_newest_first_and_by_registration(rules):
    event = rules.event()
    people = rules.people(4)
    made = rules.register(event, *people)
    rules.cancel(made[2].ref, rules.organizer)
    whole, after = [], None
    while True:
        _, page, after = rules.log(event, limit=3, after=after)
        whole += page
        if after is None:
            break
        assert len(page) == 3
    assert [entry["action"] for entry in whole] == [
        "registration.cancelled", *["registration.registered"] * 4, "event.published", "event.created"]
    assert [entry["entity_id"] for entry in whole[1:5]] == [answer.ref for answer in reversed(made)]
    _, of_one, _ = rules.log(event, registration=made[2].ref.upper())
    assert of_one == [whole[0], whole[2]]
    assert (of_one[0]["actor"]["id"], of_one[1]["actor"]["id"]) == (str(rules.organizer), str(people[2]))
    assert rules.log(event, entity="registration")[1] == whole[:5]
    # Of another event's registration this one's log says nothing.
    elsewhere = rules.register(rules.event(), people[0])[0]
    assert rules.log(event, registration=elsewhere.ref)[1] == []


def test_roster_and_log_are_for_who_manages_the_event(rules):
    event, draft = rules.event(), rules.draft()
    other, admin, person = rules.person(role="organizer"), rules.person(role="admin"), rules.person()
    rules.register(event, person)
    for look in (rules.roster, rules.log):
        for who, role in ((other, None), (person, None), (person, "organizer"), (rules.organizer, "participant")):
            assert look(event, who, role)[:2] == ("forbidden", None)
            assert look(draft, who, role)[:2] == ("not_found", None)
        for who, role in ((rules.organizer, None), (admin, None), (person, "admin")):
            assert look(event, who, role)[0] == look(draft, who, role)[0] == "ok"
        assert look(new_id(), admin)[:2] == ("not_found", None)


def test_a_name_is_known_from_the_moment_that_a_person_is(rules, owner):
    answer = rules.seen("roster", "roster@example.com", name="Örjan")
    event = rules.event(start_datetime=from_now(days=3), end_datetime=from_now(days=4))
    rules.register(event, answer.ref)
    assert found(rules, event, name="orj") == ["Örjan"]
    spare = rules.person(name="Nobody")
    assert owner.execute("select key from turnout.user_names where user_id = %s", (spare,)).fetchone() == ("nobody",)
    owner.execute("delete from turnout.users where id = %s", (spare,))
    assert owner.execute("select key from turnout.user_names where user_id = %s", (spare,)).fetchone() is None
