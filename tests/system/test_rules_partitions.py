"""Partitions: one a year, made ahead while people register, reached through their parents only."""

import psycopg
import pytest

from sql_harness import OWNER, Session
from sql_rules import REGISTER, UPDATE, Rules, new_id, register_arguments


@pytest.fixture()
def rules(database):
    with database.connect() as connection:
        yield Rules(connection)


def years(database):
    return [row[0] for row in database.rows("select event_year from turnout.event_years order by 1")]


def test_there_are_partitions_from_two_years_back_to_three_ahead(database):
    this_year = database.value("select extract(year from now() at time zone 'UTC')::integer")
    assert years(database) == list(range(this_year - 2, this_year + 4))
    for parent in ("registrations", "survey_responses"):
        attached = database.rows("select inhrelid::regclass::text from pg_inherits where inhparent = %s::regclass order by 1",
                                 (f"turnout.{parent}",))
        assert attached == [(f"turnout.{parent}_{year}",) for year in years(database)]


def test_a_year_is_added_while_a_registration_is_under_way(rules, database):
    session, event = Session(database, "registering"), rules.event()
    session.run(REGISTER, register_arguments(event, rules.person()))
    with database.connect(OWNER) as owner:
        assert owner.execute("select turnout.ensure_partitions(4)").fetchone() == (2,)
    session.commit()
    session.close()
    last = years(database)[-1]
    later = rules.event(start_datetime=f"{last}-07-01T00:00:00Z", end_datetime=f"{last}-07-02T00:00:00Z")
    registration = rules.register(later, rules.person())[0]
    assert registration.outcome == "registered"
    stored = database.value("select tableoid::regclass::text from turnout.registrations where id = %s", (registration.ref,))
    assert stored == f"turnout.registrations_{last}"
    # The new partition has what the others have.
    of_year = "select count(*) from pg_{} where {} = 'turnout.registrations_{}'::regclass"
    for catalog, column in (("index", "indrelid"), ("constraint", "conrelid"), ("trigger", "tgrelid")):
        assert database.value(of_year.format(catalog, column, last)) == database.value(
            of_year.format(catalog, column, last - 1)) > 0


def test_adding_a_year_gives_up_rather_than_hold_up_an_edit(rules, database):
    session, event, count = Session(database, "editing"), rules.event(), len(years(database))
    session.run(UPDATE, (new_id(), rules.organizer, None, event, None, '{"title": "Edited"}'))
    with database.connect(OWNER) as owner:
        with pytest.raises(psycopg.errors.LockNotAvailable):
            owner.execute("select turnout.ensure_partitions(6)")
        assert len(years(database)) == count
        session.commit()
        assert owner.execute("select turnout.ensure_partitions(6)").fetchone()[0] > 0
    session.close()
    assert rules.read(event).body["title"] == "Edited"


def test_two_hosts_that_make_partitions_at_once_make_them_once(database):
    first, second = Session(database, "first host", OWNER), Session(database, "second host", OWNER)
    assert first.run("select turnout.ensure_partitions(8)")[0][0] > 0
    second.begin("select turnout.ensure_partitions(8)")
    assert second.settle() == "blocked"
    first.commit()
    assert second.end() == [(0,)]
    second.commit()
    for session in (first, second):
        session.close()


def test_partitions_are_reached_only_through_their_parents(rules, database):
    year = years(database)[0]
    with database.connect() as app:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute(f"select count(*) from turnout.registrations_{year}")
        assert app.execute("select count(*) from turnout.registrations where event_year = %s", (year,)).fetchone() == (0,)


def test_every_foreign_key_and_every_partition_key_has_an_index(database):
    """A foreign key without one is read from end to end for every row that is deleted on its other side."""
    missing = database.rows("""
        select c.conrelid::regclass::text, c.conname
        from pg_constraint c
        where c.contype = 'f' and c.connamespace = 'turnout'::regnamespace and not exists (
          select from pg_index i
          where i.indrelid = c.conrelid and i.indpred is null
            and (i.indkey::smallint[])[0] = any (c.conkey)
            -- Its first columns are the key's, but for the year, which is a constant in a partition.
            and c.conkey <@ (i.indkey::smallint[]))
        order by 1""")
    assert missing == []
