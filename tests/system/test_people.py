"""Who is met for the first time: many at once share a call, and none of them suffers from another."""

import threading
import time

import pytest

from conftest import run_turnout
from load import run_clients
from metrics import grown, scrape
from sql_harness import OWNER, Database, Session, wait_until
from sql_rules import Rules

CLAIMS = ("issuer", "subject", "email", "name", "department", "kind", "locale", "timezone", "verified", "role")
SEEN = f"select outcome, body, role, ref from turnout.users_seen({'%s::text[], ' * 8}%s::boolean[], %s::text[], %s) order by item"


def seen_arguments(*people, wait=0):
    """Each as (subject, e-mail) with further claims as a dict."""
    rows = [{"issuer": "https://id.example.com", "subject": subject, "email": email, "verified": True, **(claims[0] if claims else {})}
            for subject, email, *claims in people]
    return [[row.get(name) for row in rows] for name in CLAIMS] + [wait]


# In SQL

@pytest.fixture(scope="module")
def rules(database):
    with database.connect() as connection:
        yield Rules(connection)


def see(rules, *people):
    return rules.call(SEEN, *seen_arguments(*people))


def test_people_who_come_together_are_decided_as_if_each_had_come_alone(rules, database):
    imported, unverified = rules.person(), rules.person()
    addresses = {person: database.value("select email from turnout.users where id = %s", (person,)) for person in (imported, unverified)}
    known = rules.seen("together known", "together.known@example.com")
    answers = see(rules,
                  ("together 1", "together.1@example.com", {"name": "  First  ", "role": "organizer"}),
                  ("together known", "whatever", {"role": "admin"}),
                  ("together imported", addresses[imported].upper()),
                  ("together unverified", addresses[unverified], {"verified": False}),
                  ("together nobody", "no address"),
                  ("together 1", "another@example.com", {"name": "Not asked any more"}),
                  ("together thief", "TOGETHER.1@example.com"),
                  ("together nobody", "together.nobody@example.com"),
                  ("", "together.nameless@example.com"),
                  ("together 2", "together.2@example.com", {"kind": "guest", "timezone": "Asia/Tokyo", "department": " "}),
                  ("together unverified", addresses[unverified]),
                  ("together known", "together.known@example.com"))
    assert [answer.outcome for answer in answers] == ["ok", "ok", "ok", "forbidden", "forbidden", "ok", "forbidden", "ok", "forbidden",
                                                      "ok", "ok", "ok"]
    refs = [answer.ref for answer in answers]
    assert refs[5] == refs[0] and refs[1] == refs[11] == known.ref
    assert refs[2] == str(imported) and refs[10] == str(unverified)
    assert len(set(refs) - {None}) == 6
    assert [answer.etag for answer in answers[:3]] == ["organizer", "admin", "participant"]
    assert [answers[number].body["detail"] for number in (3, 4, 6, 8)] == [
        "The e-mail address is not verified.", "The identity brings no usable e-mail address.",
        "The e-mail address belongs to another identity.", "The identity has no usable issuer and subject."]
    assert database.rows("select name, department, kind, timezone, role from turnout.users where id = any (%s) order by email",
                         ([refs[0], refs[9]],)) == [("First", None, "employee", "UTC", "participant"),
                                                    ("together.2", None, "guest", "Asia/Tokyo", "participant")]
    # Each was written once, and the log says by which way.
    logged = dict(database.rows("select entity_id, array_agg(action order by id) from turnout.audit_log where entity_id = any (%s)"
                                " group by entity_id", (list({ref for ref in refs if ref}),)))
    assert sorted(logged.values()) == [["user.created"]] * 4 + [["user.linked"]] * 2
    again = see(rules, ("together 1", "together.1@example.com"), ("together thief", "together.1@example.com"))
    assert [(answer.outcome, answer.ref) for answer in again] == [("ok", refs[0]), ("forbidden", None)]


def test_who_is_known_is_read_and_nothing_is_written(rules):
    known = rules.seen("read known", "read.known@example.com")
    rows = rules.connection.execute(
        "select role, ref, pg_current_xact_id_if_assigned()::text from turnout.users_known(%s::text[], %s::text[], %s::text[])",
        (["https://id.example.com"] * 3, ["read known", "read nobody", "read known"], [None, "admin", "admin"])).fetchall()
    assert rows == [("participant", known.ref, None), ("admin", None, None), ("admin", known.ref, None)]


@pytest.mark.parametrize("held_up_at", ["somebody who is linked", "somebody who is made"])
def test_two_calls_that_meet_the_same_people_in_opposite_order_agree_and_never_deadlock(rules, database, postgres, held_up_at):
    """Both are held up in the middle: had they begun at opposite ends, they would now wait for each other."""
    imported = [rules.person() for _ in range(4)]
    addresses = [database.value("select email from turnout.users where id = %s", (person,)) for person in imported]
    word = held_up_at.split()[-1]
    people = [(f"{word} {number}", f"{word}{number}@example.com") for number in range(10, 30)]
    people += [(f"meet {address}", address) for address in addresses]
    first, second, holder = sessions = [Session(database, name) for name in ("first", "second", "holder")]
    try:
        if word == "linked":
            holder.run("select from turnout.users where id = any (%s) for update", (imported[1:3],))
        else:
            holder.run("insert into turnout.users (id, email, name) values (turnout.new_id(), %s, 'In the way')",
                       (f"{word}20@example.com",))
        first.begin(SEEN, seen_arguments(*people))
        second.begin(SEEN, seen_arguments(*people[::-1]))
        assert [session.settle() for session in (first, second)] == ["blocked"] * 2
        holder.rollback()
        answers = {}
        while len(answers) < 2:
            for session in (first, second):
                if session not in answers and session.settle() == "done":
                    answers[session] = session.end()
                    session.commit()
        assert answers[first] == answers[second][::-1]
        assert {row[0] for row in answers[first]} == {"ok"}
    finally:
        for session in sessions:
            session.close()
    postgres.assert_no_deadlocks()


# Over HTTP

@pytest.fixture(scope="module")
def one(postgres, make_database):
    """One worker, which waits for PostgreSQL as long as it takes."""
    running = run_turnout(postgres, make_database(), workers=1, db_statement_timeout="60s", db_acquire_timeout="60s")
    running.data = Database(postgres, running.database)
    try:
        yield running.start()
    finally:
        running.remove()


def in_flight(turnout):
    return scrape(turnout).sum("http_requests_in_flight", listener="public")


def come_together(turnout, *tokens, meanwhile=lambda: None):
    """Statuses of people who all ask who they are while nobody can be told; `meanwhile` runs then."""
    async def script(client, number):
        return (await client.get("/api/users/me", token=tokens[number])).status

    statuses = []
    with turnout.data.connect(OWNER, autocommit=False) as holder:
        holder.execute("lock table turnout.users in access exclusive mode")
        thread = threading.Thread(target=lambda: statuses.extend(run_clients(turnout.port, len(tokens), script)))
        thread.start()
        wait_until(lambda: in_flight(turnout) == len(tokens), "all of them wait")
        meanwhile()
        holder.commit()
        thread.join(60)
    return statuses


def test_a_crowd_that_comes_for_the_first_time_costs_a_few_transactions(one):
    tokens = [one.token(f"crowd{number}@example.com") for number in range(300)]
    assert come_together(one, *tokens) == [200] * 300
    commits = one.data.value("select count(distinct xmin::text) from turnout.users where email like 'crowd%%'")
    print(f"\n  300 people made in {commits} transactions")
    # One for whoever was first, one for those of the first call behind, one or two for the rest.
    assert commits <= 5
    assert one.data.value("select count(*) from turnout.users where email like 'crowd%%'") == 300
    # The same people with new tokens are only looked up: nothing is written any more.
    tokens = [one.token(f"crowd{number}@example.com", jti="again") for number in range(300)]
    before = scrape(one)
    assert come_together(one, *tokens) == [200] * 300
    assert grown(one, before, "db_statement_seconds_count", pool="write", role="worker") == 0
    assert 0 < grown(one, before, "db_statement_seconds_count", pool="read", role="worker") <= 10


def test_somebody_whom_postgresql_refuses_fails_alone(one):
    one.data.rows("""create function turnout.poison() returns trigger language plpgsql as $$
                     begin if new.name = 'Poison' then raise exception 'poisoned'; end if; return new; end $$;
                     create trigger poison before insert on turnout.users for each row execute function turnout.poison()""")
    tokens = [one.token(f"poison{number}@example.com", name="Poison" if number in (7, 20) else "Good") for number in range(40)]
    assert come_together(one, *tokens) == [500 if number in (7, 20) else 200 for number in range(40)]
    assert len(wait_until(lambda: one.log_lines("a statement failed", "poisoned"), "the refusals are logged")) == 2
    one.data.rows("drop function turnout.poison() cascade")
    assert one.get("/api/users/me", tokens[7]).status == 200


def test_a_lost_connection_leaves_nobody_without_an_answer(one):
    def lose():
        lost = one.data.rows("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()"
                             " and application_name = 'turnout worker read'")
        assert (True,) in lost

    tokens = [one.token(f"lost{number}@example.com") for number in range(40)]
    assert come_together(one, *tokens, meanwhile=lose) == [200] * 40


def test_whoever_has_waited_too_long_behind_others_is_asked_to_come_again(new_turnout, postgres):
    turnout = new_turnout(workers=1, db_statement_timeout="60s", db_acquire_timeout="1s")
    turnout.data = Database(postgres, turnout.database)
    tokens = [turnout.token(f"late{number}@example.com") for number in range(5)]

    def outlast():
        until = time.monotonic() + 1.2
        wait_until(lambda: time.monotonic() > until, "all have waited for longer than db_acquire_timeout")

    # The call of the first was under way; nobody else is sent after it.
    assert sorted(come_together(turnout, *tokens, meanwhile=outlast)) == [200] + [503] * 4
    assert turnout.data.value("select count(*) from turnout.users") == 1
    assert [turnout.get("/api/users/me", token).status for token in tokens] == [200] * 5


def test_somebody_whose_row_is_held_is_asked_to_come_again_and_the_others_are_served(one):
    one.data.rows("insert into turnout.users (id, email, name) values (turnout.new_id(), 'held@example.com', 'Held')")
    tokens = [one.token("held@example.com")] + [one.token(f"beside{number}@example.com") for number in range(6)]

    async def script(client, number):
        return await client.get("/api/users/me", token=tokens[number])

    with one.data.connect(OWNER, autocommit=False) as holder:
        holder.execute("select from turnout.users where email = 'held@example.com' for update")
        start = time.monotonic()
        answers = run_clients(one.port, len(tokens), script)
        took = time.monotonic() - start
        print(f"\n  the last of {len(answers)} was answered after {took:.1f} s")
        assert took < 30  # half a second; the statement's own time-out would end it after 60
        assert [answer.status for answer in answers] == [503] + [200] * 6
        assert answers[0].json()["type"] == "/problems/overloaded" and int(answers[0].header("retry-after")) >= 1
    assert one.get("/api/users/me", tokens[0]).json()["name"] == "Held"
