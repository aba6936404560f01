"""The change feed: a row for each thing that is out of date, with its places, and one ring of the doorbell a transaction."""

import uuid

import psycopg
import pytest

from sql_harness import wait_until
from sql_rules import Rules, register_arguments, REGISTER


@pytest.fixture()
def rules(database):
    with database.connect() as connection:
        yield Rules(connection)


class Feed:
    """Reads changes as the refresher does: what its last snapshot did not show."""

    def __init__(self, database):
        self.database = database
        self.snapshot = self._snapshot()

    def _snapshot(self):
        return self.database.value("select pg_current_snapshot()::text")

    def read(self):
        """(kind, key, before, after) of what was committed since the last read, in order."""
        rows = self.database.rows(
            "select c.kind, c.key, c.before, c.after from turnout.changes c"
            " where c.xid >= pg_snapshot_xmax(%s::pg_snapshot) or c.xid::text = any(array("
            "   select x::text from pg_snapshot_xip(%s::pg_snapshot) x)) order by c.id", (self.snapshot, self.snapshot))
        self.snapshot = self._snapshot()
        return rows

    def kinds(self):
        return sorted({(kind, key) for kind, key, _, _ in self.read()})


@pytest.fixture()
def feed(database):
    return Feed(database)


def place(event, database):
    """Where an event stands on list pages, as a change says it."""
    row = database.rows("select category, status, (extract(epoch from start_datetime) * 1000000)::bigint"
                        " from turnout.events where id = %s", (event,))[0]
    return {"id": str(event), "category": row[0], "status": row[1], "start": row[2]}


def test_a_new_event_has_no_place_before_and_a_deleted_one_none_after(rules, feed, database):
    feed.read()
    draft = rules.draft(category="places")
    new = place(draft, database)
    assert feed.read() == [("event", draft, None, new), ("seats", draft, None, None), ("organizers", draft, None, None)]
    rules.delete(draft)
    assert ("event", draft, new, None) in feed.read()


def test_an_edit_says_where_the_event_was_and_where_it_is(rules, feed, database):
    event = rules.draft(category="places")
    feed.read()
    places = [place(event, database)]
    for change in (lambda: rules.publish(event), lambda: rules.update(event, category="elsewhere"),
                   lambda: rules.update(event, start_datetime="2027-01-01T00:00:00Z", end_datetime="2027-01-01T01:00:00Z"),
                   lambda: rules.update(event, description="In the same place"), lambda: rules.cancel_event(event)):
        assert change().outcome == "ok"
        places.append(place(event, database))
        assert ("event", event, places[-2], places[-1]) in feed.read()
    assert places[-2] == places[-3] and places[-1] != places[-2]


def test_a_registration_and_a_cancel_change_the_seats(rules, feed):
    event, person = rules.event(), rules.person()
    feed.read()
    registration = rules.register(event, person)[0].ref
    assert feed.read() == [("seats", event, None, None)]
    rules.cancel(registration, person)
    assert feed.read() == [("seats", event, None, None)]
    # What changes nothing says nothing.
    rules.cancel(registration, person)
    rules.update(event, title="Event")
    assert feed.read() == []


def test_a_new_capacity_changes_seats_and_event(rules, feed, database):
    event = rules.event()
    feed.read()
    rules.update(event, capacity=11)
    assert feed.kinds() == [("event", event), ("seats", event)]


def test_a_check_in_changes_only_the_statistics(rules, feed, database):
    event = rules.event()
    registration = rules.register(event, rules.person())[0].ref
    feed.read()
    database.rows("update turnout.registrations set checked_in_at = now() where id = %s", (registration,))
    database.rows("update turnout.event_department_counts set checked_in = 1 where event_id = %s", (event,))
    assert feed.read() == []
    database.rows("update turnout.event_seats set checked_in_count = 1 where event_id = %s", (event,))
    assert feed.read() == [("stats", event, None, None)]


def test_a_batch_over_many_events_is_one_change_for_each(rules, feed):
    events = [rules.event() for _ in range(3)]
    feed.read()
    people = rules.people(6)
    feed.read()
    arguments = list(register_arguments(events[0], *people))
    arguments[5] = events * 2
    rules.call(REGISTER, *arguments)
    assert sorted(feed.read()) == sorted(("seats", event, None, None) for event in events)


def test_a_person_and_their_roles_change_by_their_id(rules, feed, database):
    person = rules.person()
    assert ("user", person, None, None) in feed.read()
    database.rows("update turnout.users set role = 'organizer' where id = %s", (person,))
    assert feed.read() == [("user", person, None, None)]


def test_organizers_change_the_event_but_not_its_place(rules, feed):
    event, other = rules.draft(), rules.person()
    feed.read()
    rules.update(event, organizer_ids=[str(rules.organizer), str(other)])
    assert feed.kinds() == [("event", event), ("organizers", event)]


@pytest.mark.parametrize("table", ["events", "event_seats", "event_department_counts", "event_organizers", "users"])
def test_truncating_a_table_changes_everything(database, table):
    """In a transaction that is rolled back, so that the module's data stay."""
    with database.connect("postgres", autocommit=False) as connection:
        connection.execute(f"truncate turnout.{table} cascade")
        kinds = connection.execute("select distinct kind from turnout.changes where xid = pg_current_xact_id()").fetchall()
        assert kinds == [("all",)]
        connection.rollback()


@pytest.mark.parametrize("statement", [
    "update turnout.rules set applied_at = now()",
    "insert into turnout.migrations (version, name, checksum) values (9999, 'later', 'x')"])
def test_a_migration_and_new_rules_change_everything(database, statement):
    with database.connect("postgres", autocommit=False) as connection:
        connection.execute(statement)
        rows = connection.execute("select kind, key from turnout.changes where xid = pg_current_xact_id()").fetchall()
        assert rows == [("all", None)]
        connection.rollback()


def test_the_doorbell_rings_once_a_transaction_with_nothing_to_say(rules, database):
    heard = []
    listener = database.connect()
    listener.add_notify_handler(lambda notification: heard.append((notification.channel, notification.payload)))
    listener.execute("listen turnout_changes; listen mark")
    event, people = rules.event(capacity=1), rules.people(3)

    def rings_until(mark):
        """The rings before a mark of our own: notifications come in the order of the commits."""
        database.rows(f"notify mark, '{mark}'")
        wait_until(lambda: listener.execute("select 1") and ("mark", mark) in heard, "the mark is heard")
        rings = heard[:heard.index(("mark", mark))]
        del heard[:len(rings) + 1]
        return rings

    rings_until("0")
    rules.register(event, *people)
    assert rings_until("1") == [("turnout_changes", "")]
    # Several statements and many rows: cancelled, promoted, edited.
    with rules.connection.transaction():
        rules.update(event, capacity=2)
        rules.update(event, title="Another", category="another")
        rules.cancel_event(event)
    assert rings_until("2") == [("turnout_changes", "")]
    with pytest.raises(psycopg.errors.RaiseException):
        with rules.connection.transaction():
            rules.draft()
            rules.connection.execute("do $$ begin raise exception 'rolled back'; end $$")
    rules.read(event)
    rules.page()
    assert rings_until("3") == []
    listener.close()


def test_a_transaction_that_commits_late_is_read_when_it_commits(rules, database):
    feed = Feed(database)
    with database.connect(autocommit=False) as late:
        late_rules = Rules(late)
        feed.read()
        event = rules.draft()
        assert ("event", event) in feed.kinds()
        assert feed.read() == []
        late.commit()
        assert feed.kinds() == [("user", late_rules.organizer)]


# Pruning

def test_pruning_says_how_far_it_went(rules, database):
    event = rules.draft()
    count = database.value("select count(*) from turnout.changes")
    assert database.value("select turnout.prune_changes('1 hour')") == 0
    before = database.value("select xid from turnout.changes_pruned")
    last = database.value("select max(xid::text::bigint) from turnout.changes")
    assert database.value("select turnout.prune_changes('0')") == count
    assert database.value("select count(*) from turnout.changes") == 0
    assert database.value("select xid::text::bigint from turnout.changes_pruned") == last + 1 > int(before)
    assert rules.read(event, rules.organizer).outcome == "ok"


def test_pruning_leaves_what_an_open_transaction_might_not_have_seen(rules, database):
    database.value("select turnout.prune_changes('0')")
    with database.connect(autocommit=False) as open_one:
        open_one.execute("select pg_current_xact_id()")
        rules.draft()
        assert database.value("select turnout.prune_changes('0')") == 0
    assert wait_until(lambda: database.value("select turnout.prune_changes('0')"), "the change is pruned") > 0


def test_a_pruned_belt_of_many_rows_is_pruned_in_pieces(rules, database):
    with rules.connection.transaction():
        rules.connection.execute("insert into turnout.changes (kind, key) select 'user', gen_random_uuid()"
                                 " from generate_series(1, 12000)")
    assert database.value("select turnout.prune_changes('0')") >= 12000


def test_the_app_can_write_no_history(database):
    """The twin: what turnout_app may do, and what only its owner may."""
    with database.connect() as app:
        app.execute("insert into turnout.audit_log (action, entity, entity_id) values ('test', 'user', %s)", (uuid.uuid4(),))
        for statement in ("delete from turnout.audit_log", "update turnout.audit_log set action = 'x'",
                          "delete from turnout.registrations", "delete from turnout.users", "truncate turnout.changes",
                          "select turnout.ensure_partitions(3)", "create table turnout.mine (id integer)",
                          "insert into turnout.rules (checksum) values ('x')", "drop table turnout.outbox",
                          "insert into turnout.event_years (event_year) values (2199)"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                app.execute(statement)
        assert app.execute("select count(*) from turnout.registrations").fetchone()[0] >= 0
    with psycopg.connect(database.owner_dsn, autocommit=True) as owner:
        assert owner.execute("select turnout.ensure_partitions(3)").fetchone() == (0,)
        assert owner.execute("select turnout.ensure_partitions(5)").fetchone() == (4,)
        assert owner.execute("select turnout.ensure_partitions(5)").fetchone() == (0,)
