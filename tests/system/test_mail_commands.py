"""What the operator does with mail: looking, trying again, dropping, pausing, testing."""

import json

import pytest

from mailing import post
from smtp import Sink, make_certificates
from sql_harness import wait_until


@pytest.fixture()
def office(postgres, make_database):
    with post(postgres, make_database()) as one:
        yield one


def refuse(office, *addresses):
    office.sink.answers["RCPT"] = lambda address: "550 5.1.1 nobody here" if address in addresses else None


def rows(turnout, *words):
    return json.loads(turnout.ctl("-j", *words).stdout)


def dead(turnout):
    return rows(turnout, "mail", "dead")


def test_dead_mail_is_listed_with_the_servers_words_and_sent_again_when_it_is_wanted(office):
    good, bad, worse = sorted(office.owe(3))
    refuse(office, bad, worse)
    turnout = office.daemon()
    office.settle()
    assert sorted(row["email"] for row in dead(turnout)) == [bad, worse]
    row = next(row for row in dead(turnout) if row["email"] == bad)
    assert (row["kind"], row["title"], row["attempts"], row["error"]) == ("confirmation", "Party", 1, "550 5.1.1 nobody here")
    listed = turnout.ctl("mail", "dead").stdout
    assert bad in listed and "550 5.1.1 nobody here" in listed and good not in listed
    refuse(office, worse)
    assert turnout.ctl("mail", "retry", str(row["id"])).stdout == "1 letter is owed again\n"
    office.sink.wait(2)
    office.settle()
    assert office.sink.recipients() == {good: 1, bad: 1}
    refuse(office)
    assert turnout.ctl("mail", "retry", "all").stdout == "1 letter is owed again\n"
    office.sink.wait(3)
    office.settle()
    assert dead(turnout) == []
    assert turnout.ctl("mail", "dead").stdout == "no mail is dead\n"
    # What was sent cannot be sent again.
    refused = turnout.ctl("mail", "retry", str(row["id"]), check=False)
    assert (refused.returncode, refused.stderr) == (1, "turnoutctl: there is no such mail that could be retried\n")


def test_dropped_mail_is_never_sent(office):
    address, = office.owe(1)
    refuse(office, address)
    turnout = office.daemon()
    office.settle()
    number, = [str(row["id"]) for row in dead(turnout)]
    assert turnout.ctl("mail", "drop", number).stdout == "1 letter is dropped\n"
    assert turnout.ctl("mail", "drop", number, check=False).returncode == 1
    assert turnout.ctl("mail", "retry", number, check=False).returncode == 1
    assert office.states() == {"dropped": 1} and office.sink.taken == []


def test_a_pause_holds_the_mail_of_all_hosts_until_it_is_resumed(office):
    one, two = office.daemon(), office.daemon()
    assert one.ctl("mail", "pause").stdout == "mail is paused on all hosts\n"
    assert two.ctl("mail", "pause").stdout == "mail was paused already\n"
    office.owe(5)
    for turnout in (one, two):
        wait_until(lambda host=turnout: rows(host, "show", "mail")["state"] == "paused", "it has heard of the pause")
    assert office.sink.taken == [] and office.states() == {"owed": 5}
    assert two.ctl("mail", "resume").stdout == "mail goes on\n"
    office.sink.wait(5)
    office.settle()
    assert two.ctl("mail", "resume").stdout == "mail was not paused\n"


def test_show_mail_says_what_is_sent_and_why_nothing_is(office):
    turnout = office.daemon()
    office.owe(3)
    office.sink.wait(3)
    office.settle()
    shown = rows(turnout, "show", "mail")
    assert shown["server"] == office.options["smtp_url"]
    assert (shown["state"], shown["sent"], shown["in_flight"]) == ("idle", "3", "0")
    office.sink.stop()
    office.owe(1)
    shown = wait_until(lambda: (found := rows(turnout, "show", "mail"))["state"] == "cannot send" and found, "it says that it cannot send")
    assert shown["why"] and int(shown["next_try_ms"]) >= 0
    office.sink.start()
    office.sink.wait(4)
    assert wait_until(lambda: rows(turnout, "show", "mail")["state"] == "idle", "it sends again")


def test_a_test_message_goes_the_way_of_all_mail_and_the_servers_words_come_back(office):
    turnout = office.daemon()
    said = turnout.ctl("mail", "test", "ops@example.com").stdout
    assert said.startswith("the server has taken the message for ops@example.com in ") and said.endswith("250 2.0.0 taken\n")
    message, = office.sink.messages("ops@example.com")
    assert message["From"].addresses[0].addr_spec == "events@example.com" and not message.defects
    refuse(office, "ops@example.com")
    refused = turnout.ctl("mail", "test", "ops@example.com", check=False)
    assert refused.returncode == 1 and "550 5.1.1 nobody here" in refused.stderr
    for address in ("nobody", "a@example.com b@example.com", "a@example.com\r\nBcc: b@example.com"):
        wrong = turnout.ctl("mail", "test", address, check=False)
        assert wrong.returncode == 2, wrong
    assert len(office.sink.taken) == 1


def test_a_test_message_finds_a_certificate_that_is_somebody_elses(postgres, make_database, tmp_path):
    sink = Sink(make_certificates(tmp_path, "mail.example.com"))
    with post(postgres, make_database(), sink) as office:
        turnout = office.daemon()
        refused = turnout.ctl("mail", "test", "ops@example.com", check=False)
        assert refused.returncode == 1 and "certificate" in refused.stderr
        assert sink.taken == []


def test_without_a_server_there_is_no_mailer_and_the_commands_say_so(office):
    turnout = office.daemon(smtp_url=None)
    for words in (("show", "mail"), ("mail", "test", "ops@example.com")):
        refused = turnout.ctl(*words, check=False)
        assert (refused.returncode, refused.stderr) == (1, "turnoutctl: there is no mailer on this host: smtp_url is not set\n")
    # The outbox is there all the same.
    assert dead(turnout) == []


@pytest.mark.parametrize("words, status", [
    (("mail", "retry"), 2), (("mail", "retry", "some"), 2), (("mail", "retry", "0"), 2), (("mail", "drop", "all"), 2),
    (("mail", "dead", "x"), 2), (("mail", "pause", "now"), 2), (("show", "jobs", "x"), 2), (("mail", "test"), 2), (("show", "mail", "x"), 2),
    (("mail", "drop", "1"), 1), (("mail", "dead"), 0), (("show", "jobs"), 0),
])
def test_a_command_that_cannot_be_understood_does_nothing(turnout, words, status):
    assert turnout.ctl(*words, check=False).returncode == status


def test_show_jobs_tells_of_each_job_when_it_ran_how_long_and_whether_it_failed(office):
    turnout = office.daemon(complete_interval="100ms", prune_interval="100ms")
    shown = wait_until(lambda: {row["job"]: row for row in rows(turnout, "show", "jobs")}.get("complete-events"), "a job has run")
    assert shown["outcome"] in ("done", "running") and shown["runs_day"] >= 1 and shown["failed_day"] == 0
    office.database.execute("alter function turnout.prune_changes rename to hidden")
    wait_until(lambda: [row["failed_day"] for row in rows(turnout, "show", "jobs") if row["job"] == "prune-changes"] > [0], "a failure is counted")
    row = next(row for row in rows(turnout, "show", "jobs") if row["job"] == "prune-changes")
    assert "prune_changes" in (row["error"] or "prune_changes")
    assert "prune-changes" in turnout.ctl("show", "jobs").stdout
