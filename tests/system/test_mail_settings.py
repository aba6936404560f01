"""What is set of mail takes effect by a reload in the mailer that runs: letters that come after it, and those that it holds."""

import pytest

from mailing import post
from metrics import scrape
from reloading import reload
from sql_harness import wait_until

MAILBOX_FULL = "450 4.2.2 the mailbox is full just now"


@pytest.fixture()
def office(postgres, make_database):
    with post(postgres, make_database()) as one:
        yield one


def change(turnout, **options):
    """By a reload that the mailer lives through."""
    before = [row["pid"] for row in turnout.processes("mailer")]
    said = reload(turnout, **options)
    assert {said[name][2] for name in options} == {"now"}
    assert [row["pid"] for row in turnout.processes("mailer")] == before


def test_mail_connections(office):
    office.sink.hanging = "DATA"
    office.owe(10)
    turnout = office.daemon(mail_connections=1)
    wait_until(lambda: office.sink.hung > 0, "a letter is under way")
    assert office.sink.connections == 1
    change(turnout, mail_connections=4)
    wait_until(lambda: office.sink.connections == 4, "four are sent at once")
    office.sink.hanging = None
    office.settle()
    assert set(office.sink.by_message_id().values()) == {1}


def test_mail_rate(office):
    """At one a second they would take two minutes."""
    office.owe(120)
    turnout = office.daemon(mail_rate=1)
    office.sink.wait(1)
    change(turnout, mail_rate=0)
    office.settle(patience=60)


def test_mail_attempts(office):
    office.sink.answers["DATA"] = lambda _: MAILBOX_FULL
    office.owe(1)
    turnout = office.daemon(mail_attempts=1000)
    attempts = "select attempts from turnout.outbox"
    wait_until(lambda: office.rows(attempts)[0][0] >= 2, "it was tried twice")
    assert "dead" not in office.states()
    change(turnout, mail_attempts=3)
    wait_until(lambda: office.states() == {"dead": 1}, "it is dead")


@pytest.mark.parametrize("name, before", [("mail_retry_min", {"mail_retry_min": "1h", "mail_retry_max": "1h"}),
                                          ("mail_retry_max", {"mail_retry_min": "1h", "mail_retry_max": "2h"})])
def test_mail_retry(office, name, before):
    office.sink.answers["DATA"] = lambda _: MAILBOX_FULL
    office.owe(1)
    turnout = office.daemon(**before)
    late = "select count(*) from turnout.outbox where attempts = 1 and next_attempt_at > now() + interval '30 minutes'"
    wait_until(lambda: office.rows(late) == [(1,)], "the next try is an hour away")
    both = {"mail_retry_min": "50ms"} if name == "mail_retry_min" else {"mail_retry_min": "50ms", "mail_retry_max": "100ms"}
    change(turnout, **both)
    office.owe(1)
    again = "select count(*) from turnout.outbox where attempts >= 4"
    wait_until(lambda: office.rows(again) == [(1,)], "the other one is tried again soon")
    assert office.rows(late) == [(1,)]


def test_mail_interval(office):
    turnout = office.daemon(mail_interval="1h")
    wait_until(lambda: scrape(turnout).sum("db_statement_seconds_count", role="mailer") >= 3, "it has found nothing to do")
    office.owe(1)
    assert office.sink.taken == []
    change(turnout, mail_interval="50ms")
    office.settle()


def test_mail_lease_time(office):
    office.sink.hanging = "DATA"
    office.owe(1)
    turnout = office.daemon(mail_lease_time="1h")
    wait_until(lambda: office.sink.hung > 0, "a letter is under way")
    ends = "select count(*) from turnout.outbox where state = 'leased' and leased_until < now() + interval '10 minutes'"
    assert office.rows(ends) == [(0,)]
    change(turnout, mail_lease_time="6s")
    wait_until(lambda: office.rows(ends) == [(1,)], "it is leased for less from the next renewal on")
    office.sink.hanging = None
    office.settle()
    assert set(office.sink.by_message_id().values()) == {1}


def test_smtp_timeout(office):
    turnout = office.daemon(smtp_timeout="10m")
    office.owe(1)
    office.sink.wait(1)
    change(turnout, smtp_timeout="200ms")
    office.sink.hanging = "RCPT"
    office.owe(1)
    turnout.wait_logged("mail cannot be sent from this host", "did not answer in time")
    assert office.sink.hung > 0
    office.sink.hanging = None
    office.settle()
