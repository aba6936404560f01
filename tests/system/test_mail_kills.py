"""The mailer, its whole daemon and PostgreSQL die while mails flow: each arrives, and no more come twice than were in flight."""

import contextlib
import os
import signal
import time

import pytest

from mailing import Post, post
from own_postgres import own_postgres
from sql_harness import migrate, wait_until

CONNECTIONS = 3
# What a kill can repeat: twice the connections.
IN_FLIGHT = 2 * CONNECTIONS
FULL = bool(os.environ.get("TURNOUT_FULL"))
LETTERS = 20000 if FULL else 800
# A kill each second in the long form, in the short one after so many letters: slow machines see as many.
EVERY_SECONDS, EVERY_LETTERS = 1, 70


def serving(turnout):
    return [row["pid"] for row in turnout.processes("mailer") if row["state"] == "ready"]


def repeats(office, letters):
    """Each has come; answers how many came again."""
    copies = office.sink.by_message_id()
    assert len(copies) == letters
    assert len(office.sink.recipients()) == letters
    return sum(copies.values()) - letters


@pytest.mark.slow
@pytest.mark.full
def test_a_mailer_that_is_killed_again_and_again_loses_nothing_and_repeats_no_more_than_was_in_flight(postgres, make_database, capsys):
    with post(postgres, make_database(), mail_connections=CONNECTIONS) as office:
        office.owe(LETTERS)
        office.sink.delay = 0.002
        turnout = office.daemon()
        kills, begun = 0, time.monotonic()
        last_time, last_count = begun, 0
        while len(office.sink.taken) < LETTERS - EVERY_LETTERS:
            wait_until(lambda: len(office.sink.taken) >= LETTERS - EVERY_LETTERS
                       or (time.monotonic() - last_time >= EVERY_SECONDS if FULL else len(office.sink.taken) - last_count >= EVERY_LETTERS),
                       "mails flow")
            for pid in serving(turnout)[:1]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    kills += 1
            last_time, last_count = time.monotonic(), len(office.sink.taken)
        office.settle(patience=120)
        again = repeats(office, LETTERS)
        with capsys.disabled():
            print(f"\n  {LETTERS} mails in {time.monotonic() - begun:.1f} s, the mailer killed {kills} times: {again} came twice,"
                  f" at most {IN_FLIGHT} a kill are promised")
        assert office.states() == {"sent": LETTERS}
        assert kills >= 5 and again <= kills * IN_FLIGHT
        # They were killed in the middle of it, and each successor took over what they had.
        assert turnout.log_lines("mail of a mailer that died is owed again")


@pytest.mark.nosan
def test_a_daemon_that_is_killed_whole_leaves_its_letters_to_the_other_one_when_its_leases_run_out(postgres, make_database):
    with post(postgres, make_database(), mail_connections=CONNECTIONS, mail_lease_time="5s") as office:
        letters = 400
        office.owe(letters)
        office.sink.delay = 0.005
        victim = office.daemon(mail_rate=200)
        office.sink.wait(30)
        office.daemon(mail_rate=200)
        wait_until(lambda: office.rows("select count(distinct leased_by) from turnout.outbox where state = 'leased'")[0][0] == 2,
                   "both hold letters")
        # All at once: a mailer that lives a moment longer than its master gives its leases back.
        os.killpg(victim.pid, signal.SIGKILL)
        office.settle(patience=120)
        again = repeats(office, letters)
        print(f"{again} of {letters} came twice")
        assert again <= IN_FLIGHT
        assert office.states() == {"sent": letters}
        # They came after the leases had run out, as one try that failed.
        assert office.rows("select count(*) from turnout.outbox where attempts = 2")[0][0] > 0


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_postgresql_is_started_again_while_mails_flow_and_each_comes_once(mode):
    with own_postgres() as cluster:
        migrate(cluster.create_database("post"))
        # The test's own session ends with the server: it makes a new one.
        office = Post(cluster, "post", mail_connections=CONNECTIONS)
        try:
            office.owe(400)
            office.sink.delay = 0.005
            turnout = office.daemon()
            office.sink.wait(40)
            cluster.restart(mode)
            office.reconnect()
            office.settle(patience=120)
            assert repeats(office, 400) == 0
            assert office.states() == {"sent": 400}
            assert len(serving(turnout)) == 1
        finally:
            office.close()
