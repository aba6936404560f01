"""Mail that is owed arrives, once, whoever else is sending: over kept connections, at the rate that was set."""

import signal
import time

import pytest

from api import Person, eventually
from mailing import post
from metrics import scrape
from smtp import Sink, make_certificates
from sql_harness import wait_until


@pytest.fixture()
def office(postgres, make_database):
    with post(postgres, make_database()) as one:
        yield one


def test_each_outcome_of_a_registration_is_told_by_mail_once(office):
    turnout = office.daemon()
    organizer, first, second = Person(turnout, "organizer"), Person(turnout), Person(turnout)
    event = organizer.event(capacity=1, title="Summer party")
    registration = first.register(event).json()
    second.register(event)
    office.sink.wait(2)
    first.cancel(registration)
    office.sink.wait(4)
    assert organizer.post(f"/api/events/{event['id']}/cancel").status == 200
    messages = office.sink.wait(5)
    office.settle()
    subjects = sorted((message["To"].addresses[0].addr_spec == first.email, message["Subject"]) for message in messages)
    assert len(subjects) == 5 and len(set(subjects)) == 5
    assert all("Summer party" in subject for _, subject in subjects)
    assert set(office.sink.by_message_id().values()) == {1}
    assert office.states() == {"sent": 5}


def test_many_mails_go_over_a_few_kept_connections(office):
    addresses = office.owe(300)
    turnout = office.daemon(mail_connections=3)
    office.sink.wait(300)
    office.settle()
    assert office.sink.recipients() == {address: 1 for address in addresses}
    assert 1 <= office.sink.connections <= 3
    assert eventually(lambda: scrape(turnout).sum("mail_total", mail="confirmation", outcome="sent")) == 300


def test_two_mailers_with_a_rate_keep_to_it_together(office):
    office.owe(150)
    began = time.monotonic()
    office.daemon(mail_rate=50)
    office.daemon(mail_rate=50)
    office.sink.wait(150)
    took = time.monotonic() - began
    office.settle()
    assert set(office.sink.by_message_id().values()) == {1}
    print(f"150 mails at 50 a second took {took:.1f} s")
    # The first fifth of a second's may come at once; later is allowed to a busy machine.
    assert 2.7 <= took


def test_what_is_owed_while_nobody_sends_goes_out_when_somebody_does(office):
    turnout = office.daemon(smtp_url=None, smtp_tls="off")
    assert turnout.processes("mailer") == []
    person = Person(turnout)
    person.register(Person(turnout, "organizer").event())
    assert office.states() == {"owed": 1}
    turnout.restart(**office.options)
    office.sink.wait(1)
    office.settle()


def test_mail_is_encrypted_and_signed_in_and_the_server_is_who_it_says(postgres, make_database, tmp_path):
    certificates = make_certificates(tmp_path)
    password = tmp_path / "password"
    password.touch(mode=0o600)
    password.write_text("correct horse", encoding="ascii")
    sink = Sink(certificates, login=("turnout", "correct horse"))
    with post(postgres, make_database(), sink, smtp_user="turnout", smtp_password_file=password) as office:
        office.owe(20)
        turnout = office.daemon()
        office.sink.wait(20)
        office.settle()
        assert "correct horse" not in turnout.log_text()


def test_a_mailer_that_is_told_to_end_gives_back_what_it_has_not_begun(office):
    office.owe(400)
    office.sink.delay = 0.02
    turnout = office.daemon(mail_connections=2)
    office.sink.wait(20)
    turnout.stop()
    assert set(office.states()) == {"owed", "sent"}
    sent = office.states()["sent"]
    assert len(office.sink.taken) == sent
    office.sink.delay = 0
    turnout.start()
    office.sink.wait(400)
    office.settle()
    assert set(office.sink.by_message_id().values()) == {1}
    assert office.rows("select attempts, last_error from turnout.outbox where attempts > 1 or last_error is not null") == []


def test_a_mailer_that_dies_is_replaced_and_its_letters_go_out_at_once(office):
    office.owe(200)
    office.sink.delay = 0.01
    turnout = office.daemon(mail_connections=2)
    office.sink.wait(20)
    before = turnout.processes("mailer")[0]["pid"]
    turnout.kill("mailer", how=signal.SIGKILL)
    wait_until(lambda: [one["pid"] for one in turnout.processes("mailer") if one["state"] == "ready"] not in ([], [before]),
               "another mailer is there")
    office.sink.wait(200)
    office.settle(patience=30)
    copies = office.sink.by_message_id()
    assert len(copies) == 200
    # No more than were in flight: twice the connections.
    assert sum(copies.values()) - 200 <= 4
    assert turnout.log_lines("mail of a mailer that died is owed again")
