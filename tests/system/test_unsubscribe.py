"""Nobody gets mail that they do not want: one click in the mail program, or on the page behind the link."""

import html.parser

import pytest

from api import Person
from mailing import post
from sql_harness import Database
from unsubscribing import link_for, token_for

ONE_CLICK = {"body": b"List-Unsubscribe=One-Click", "headers": {"Content-Type": "application/x-www-form-urlencoded"}}


@pytest.fixture(scope="module")
def organizer(turnout):
    return Person(turnout, "organizer")


@pytest.fixture(scope="module")
def rows(postgres, turnout):
    return Database(postgres, turnout.database).rows


class Page(html.parser.HTMLParser):
    """What a person sees of a page, and where its button leads."""

    def __init__(self, answer):
        super().__init__()
        assert answer.status == 200 and answer.headers["content-type"] == "text/html; charset=utf-8", answer
        assert answer.headers["cache-control"] == "private, no-store" and answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        self.text, self.action, self.open = "", None, []
        self.feed(answer.body.decode())
        self.close()

    def handle_starttag(self, tag, attrs):
        if tag == "form":
            assert dict(attrs)["method"] == "post"
            self.action = dict(attrs)["action"]
        self.open.append(tag)

    def handle_data(self, data):
        if "style" not in self.open[-1:]:
            self.text += data


def unwanted(rows, person):
    return [group for group, in rows("select mail_group from turnout.mail_unsubscribed where user_id = %s order by 1", (person.id,))]


def test_one_click_unsubscribes_from_the_mails_of_the_link(turnout, rows):
    person, other = Person(turnout), Person(turnout)
    assert person.id != other.id
    link = link_for(turnout, person, "reminders")
    page = Page(turnout.get(link))
    assert "no more reminders of events?" in page.text and "リマインダー" in page.text
    assert unwanted(rows, person) == [], "looking at the link does nothing"
    for _ in range(2):
        assert "no more reminders of events." in Page(turnout.post(link, **ONE_CLICK)).text
        assert unwanted(rows, person) == ["reminders"]
    assert turnout.post(link_for(turnout, person, "surveys")).status == 200
    assert (unwanted(rows, person), unwanted(rows, other)) == (["reminders", "surveys"], [])
    assert [action for action, in rows("select action from turnout.audit_log where entity_id = %s order by id", (person.id,))] == [
        "user.created", "user.unsubscribed", "user.unsubscribed"]


def test_a_person_follows_the_buttons_there_and_back(turnout, rows):
    person = Person(turnout)
    question = Page(turnout.get(link_for(turnout, person, "surveys")))
    done = Page(turnout.post(question.action, **ONE_CLICK))
    assert unwanted(rows, person) == ["surveys"] and "Subscribe again" in done.text
    back = Page(turnout.post(done.action, **ONE_CLICK))
    assert unwanted(rows, person) == [] and "We will send you invitations to surveys again." in back.text
    assert "Unsubscribe" in back.text and back.action == question.action


def test_only_links_of_ours_unsubscribe(turnout, rows):
    person = Person(turnout)
    token = token_for(turnout, person.id, "reminders")
    for wrong in ("", "x", token[:-1], token + "A", token.swapcase(), token_for(turnout, person.id, "reminders", b"another key " * 4)):
        for method in ("GET", "POST"):
            assert turnout.request(method, f"/api/mail/unsubscribe?token={wrong}").status == 404, (method, wrong)
    assert turnout.post("/api/mail/unsubscribe").status == 404
    assert turnout.get(f"/api/mail/unsubscribe?token={token}&again=yes").status == 422
    assert unwanted(rows, person) == []
    assert turnout.post(f"/api/mail/unsubscribe?token={token}").status == 200
    assert unwanted(rows, person) == ["reminders"]


def test_a_link_of_somebody_who_is_gone_is_404(turnout, rows):
    person = Person(turnout)
    link = link_for(turnout, person, "reminders")
    assert turnout.post(link).status == 200
    for table in ("mail_unsubscribed where user_id", "users where id"):
        rows(f"delete from turnout.{table} = %s", (person.id,))
    assert turnout.post(link).status == 404


def test_what_is_owed_already_is_not_sent_and_all_else_is(turnout, organizer, rows):
    event = organizer.event()
    people = [Person(turnout) for _ in range(2)]
    for person in people:
        made = person.register(event).json()
        rows("update turnout.registrations set checked_in_at = now() where id = %s", (made["id"],))
        rows("insert into turnout.outbox (kind, dedupe_key, event_id, registration_id, user_id) "
             "values ('survey_invitation', %s, %s, %s, %s)", (f"{made['id']}:survey", event["id"], made["id"], person.id))
    assert turnout.post(link_for(turnout, people[0], "surveys"), **ONE_CLICK).status == 200
    rows("select count(*) from turnout.mail_lease('test', 100, interval '1 minute', 0, 12, null)")
    found = rows("select user_id::text, kind, state from turnout.outbox where event_id = %s", (event["id"],))
    assert sorted(found) == sorted([(people[0].id, "confirmation", "leased"), (people[0].id, "survey_invitation", "dropped"),
                                    (people[1].id, "confirmation", "leased"), (people[1].id, "survey_invitation", "leased")])
    assert "wants no mail of this kind" in rows("select last_error from turnout.outbox where state = 'dropped' and event_id = %s",
                                                (event["id"],))[0][0]


def test_the_link_of_a_mail_that_arrived_ends_those_mails(postgres, make_database):
    """From the mail's own header, as a mail program reads it; other mail has none."""
    base = "https://events.example.com"
    with post(postgres, make_database(), public_url=base) as office:
        office.owe(1)
        registration = office.rows("update turnout.registrations set checked_in_at = now() returning id, event_id, user_id")[0]

        def owe_survey(number):
            office.rows("insert into turnout.outbox (kind, dedupe_key, event_id, registration_id, user_id) "
                        "values ('survey_invitation', %s, %s, %s, %s) returning 1", f"{registration[0]}:survey:{number}",
                        registration[1], registration[0], registration[2])

        owe_survey(1)
        turnout = office.daemon()
        confirmation, survey = sorted(office.sink.wait(2), key=lambda message: "List-Unsubscribe" in message)
        assert "List-Unsubscribe" not in confirmation
        assert survey["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        link = str(survey["List-Unsubscribe"]).strip("<>")
        assert link.startswith(f"{base}/api/mail/unsubscribe?token=")
        assert turnout.post(link.removeprefix(base), **ONE_CLICK).status == 200
        owe_survey(2)
        office.settle()
        assert office.states() == {"sent": 2, "dropped": 1}
        assert len(office.sink.messages()) == 2


def test_each_kind_of_mail_is_of_the_group_that_its_link_names(rows):
    assert dict(rows("select k, turnout.mail_group(k) from unnest(array['confirmation', 'waitlisted', 'promoted', 'cancelled', 'changed', "
                     "'event_cancelled', 'reminder', 'survey_invitation']) k where turnout.mail_group(k) is not null")) == {
        "reminder": "reminders", "survey_invitation": "surveys"}
