"""Every statement that the server prepares, as its own code lists it, reads no big table from end to end on the demo data."""

import json

import psycopg
import pytest

import server
from demo import load_demo
from sql_harness import OWNER
from test_rules_plans import Watched

DAY = {"start_datetime": "2027-03-01T09:00:00Z", "end_datetime": "2027-03-01T17:00:00Z"}


def statements():
    """Name → (number of parameters, text), from turnoutd itself."""
    if server.programs() is None:
        return {}
    lines = [line.split("\t") for line in server.run("turnoutd", "--print-statements").stdout.splitlines()]
    return {name: (int(count), text) for name, count, text in lines}


class DemoDatabase:
    """What Watched needs of a database."""

    def __init__(self, postgres, name):
        self.postgres, self.name = postgres, name

    def connect(self, user):
        return psycopg.connect(self.postgres.dsn(self.name, user), autocommit=True)


@pytest.fixture(scope="module")
def watched(postgres, make_database):
    """A connection of turnout_app on demo data that keeps the plans of what it runs, and ids to run it with."""
    name = make_database()
    load_demo(postgres.dsn(name, OWNER), users=2000, events_per_month=300, registrations_per_month=5000)
    one = Watched(DemoDatabase(postgres, name))
    yield one
    one.connection.close()


@pytest.fixture(scope="module")
def samples(watched):
    """For each statement, one or several lists of parameters that find real rows."""
    def value(query):
        return str(watched.connection.execute(query).fetchone()[0])
    organizer = value("select user_id from turnout.event_organizers o join turnout.events e on e.id = o.event_id "
                      "where e.status = 'published' limit 1")
    event = value(f"select event_id from turnout.event_organizers o join turnout.events e on e.id = o.event_id "
                  f"where e.status = 'published' and user_id = '{organizer}' limit 1")
    draft = value("select id from turnout.events where status = 'draft' limit 1")
    row = watched.connection.execute("select r.id, r.user_id from turnout.registrations r join turnout.events e on e.id = r.event_id "
                                     "where r.status = 'registered' and e.status = 'published' limit 1").fetchone()
    registration, person = str(row[0]), str(row[1])
    xid = int(value("select pg_snapshot_xmax(pg_current_snapshot())"))
    who = ["plans", "0193b5f0-1c2d-7abc-8def-0123456789ab", organizer, "admin"]
    new_id = "0193b5f0-1c2d-7abc-8def-0123456789ac"
    feed_hash = r"\x" + "ab" * 32
    lists = [[organizer, "organizer", category, status, None, None, q, "20", None, None]
             for category in (None, "social") for status in (None, "completed", "draft") for q in (None, "会議", "town hall")]
    return {
        "users_known": [["{turnout,plans}", "{nobody,somebody}", "{NULL,admin}"]],
        "users_seen": [["{plans,plans}", "{plans,other}", "{plans@example.com,plans@example.com}", "{P,Q}", *["{NULL,NULL}"] * 4,
                        "{t,t}", "{NULL,NULL}", wait] for wait in ("0", "500")],
        "user_get": [[person, None]],
        "events_list": lists + [[None, None, None, None, "2026-01-01T00:00:00Z", "2028-01-01T00:00:00Z", None, "20", "0", new_id]],
        "event_get": [[None, None, event], [organizer, "organizer", draft]],
        "event_create": [[*who, new_id, json.dumps({"title": "P", "timezone": "UTC", "venue": "x", "category": "social", "capacity": 5, **DAY})]],
        "event_update": [[*who, event, None, json.dumps({"title": "Planned", "capacity": 900000})]],
        "event_delete": [[*who, draft]],
        "event_publish": [[*who, new_id]],
        "event_roster": [[organizer, "admin", event, status, name, "20", None, None, None]
                         for status in (None, "waitlisted") for name in (None, "a", "佐", "")]
                        + [[organizer, "admin", event, None, None, "20", "3", new_id, ""],
                           [organizer, "admin", event, None, "a", "20", "3", new_id, "anna"]],
        "event_log": [[organizer, "admin", event, *filters, "20", place]
                      for filters in ((None, None), ("event", None), ("registration", None), (None, registration))
                      for place in (None, "1000000")],
        "registration_batch": [batch_sample(new_id, event, organizer, person, registration, resent, wait)
                               for resent in ("false", "true") for wait in ("0", "100")],
        "registration_batch_keyed": [[*batch_sample(new_id, event, organizer, person, registration, "false", None)[:-1],
                                      "{NULL,plans}", '{NULL,"' + hashed + '"}', "86400000000 microseconds", "0"]
                                     for hashed in (r"\\x01", r"\\x01", r"\\x02")],
        **keyed_samples(who, new_id, event, draft, person, registration),
        "register_list": [[*who, event, json.dumps({"user_ids": [person, organizer, new_id]}), resent] for resent in ("false", "true")],
        "registration_transfer": [["plans", new_id, person, None, registration, organizer, resent] for resent in ("false", "true")],
        "registration_get": [[person, None, registration]],
        "registrations_mine": [[person, "20", None, None], [person, "20", "1795359586000000", new_id]],
        "event_cancel": [[*who, event]],
        "event_stats": [[organizer, "organizer", event], [None, None, event]],
        "event_manage": [[organizer, None, event], [person, None, draft]],
        "cache_begin": [[]],
        "cache_probe": [["plans"]],
        "changes_since": [[None, None, "100"], [str(xid), "{}", "100"], [str(xid), f"{{{xid - 5},{xid - 3}}}", "100"], ["3", "{}", "100"]],
        "cache_calendar": [[event], [draft], [new_id]],
        "calendar_feed_create": [[*who[:2], person, feed_hash]],
        "calendar_feed_delete": [[*who[:2], organizer]],
        "mail_subscribe": [["plans", person, "reminders", wanted] for wanted in ("false", "true")],
        "calendar_feed_get": [[feed_hash], [r"\x" + "cd" * 32]],
        "cache_event": [[event], [draft], [new_id]],
        "cache_events_list": [[category, status, "20", *after] for category in (None, "social") for status in (None, "completed")
                              for after in ((None, None), ("0", new_id))],
        "cache_user": [[person, None], [person, "admin"]],
        "cache_stats": [[event], [draft], [new_id]],
        "cache_warm": [["1000"]],
        "schema_version": [[]],
        "complete_ended_events": [["500"]],
        "event_work_step": [["1000"]],
        "prune_changes": [["3600000000 microseconds"]],
        "prune_idempotency_keys": [["86400000000 microseconds"]],
        "audit_step": [["1000", "0"]],
        "mail_lease": [["plans/1", "100", "60000000 microseconds", "0", "12", None], ["plans/1", "100", "60000000 microseconds", "50", "12", "1700000000.5/17"]],
        "mail_done": [["plans/1", "{1,2,3}", '{"sent","temporary","unsent"}', '{NULL,"450 later","away"}', "12", "60000000 microseconds",
                       "3600000000 microseconds"]],
        "mail_renew": [["plans/1", "{1,2,3}", "60000000 microseconds"]],
        "mail_release": [["plans/1", "true", "12"]],
        "mail_status": [[]],
        "mail_prune": [["1209600000000 microseconds"]],
        "owe_reminders": [[]],
        "owe_survey_invitations": [[]],
        "job_ran": [["plans", "host", "1000 microseconds", "done", "5", None]],
        "job_started": [["plans", "host"]],
        "job_finished": [["1", "done", "5", None]],
    }


def batch_sample(new_id, event, organizer, person, registration, resent, wait):
    """Somebody leaves and somebody else comes, in one call."""
    return ["{cancel,register}", f"{{{new_id},{new_id}}}", f"{{{registration},{new_id}}}", "{plans,plans}",
            f"{{{person},{organizer}}}", "{NULL,NULL}", f"{{NULL,{event}}}", f"{{NULL,{organizer}}}", resent, wait]


def keyed_samples(who, new_id, event, draft, person, registration):
    """The writes under an Idempotency-Key: new, sent again, and by another request."""
    def keys(name):
        return [[f"plans {name}", hashed, "86400000000 microseconds"] for hashed in ("\\x01", "\\x01", "\\x02")]
    created = json.dumps({"title": "K", "capacity": 5, **DAY})
    plain = {
        "event_create": [*who, "0193b5f0-1c2d-7abc-8def-0123456789ad", created, "false"],
        "event_update": [*who, event, None, json.dumps({"title": "Keyed", "capacity": 800000}), "false"],
        "event_delete": [*who, draft, "false"],
        "event_publish": [*who, new_id, "false"],
        "event_cancel": [*who, event, "false"],
        "registration_transfer": ["plans", new_id, person, None, registration, "plans@example.com", "false"],
        "register_list": [*who, event, json.dumps({"user_ids": [person]}), "false"],
        "calendar_feed_create": ["plans", new_id, person, r"\x" + "ab" * 32, "false"],
        "calendar_feed_delete": ["plans", new_id, who[2], "false"],
    }
    return {f"{name}_keyed": [[*parameters, *key] for key in keys(name)] for name, parameters in plain.items()}


# Runs as the owner, once an hour, on the catalogue alone.
OWNERS = {"ensure_partitions"}


def test_there_is_a_sample_for_each_statement_that_the_code_prepares(samples):
    listed = statements()
    if not listed:
        pytest.skip("TURNOUT_BIN does not say where turnoutd is")
    assert set(listed) == set(samples) | OWNERS


def literal(value):
    return "null" if value is None else "'" + value.replace("'", "''") + "'"


def test_no_statement_reads_a_big_table_from_end_to_end(watched, samples):
    listed = statements()
    if not listed:
        pytest.skip("TURNOUT_BIN does not say where turnoutd is")
    for name, runs in samples.items():
        count, text = listed[name]
        watched.connection.execute(f"prepare {name} as {text}")
        for parameters in runs:
            assert len(parameters) == count, name
            arguments = ", ".join(literal(value) for value in parameters)
            watched.plans.clear()
            watched.connection.execute(f"execute {name}" + (f" ({arguments})" if arguments else ""))
            watched.assert_by_index()
