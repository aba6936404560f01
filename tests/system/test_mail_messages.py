"""What a reader's mail program makes of the messages: read by Python's email package, which knows nothing of turnout's writer.

The messages come from tests/unit/letter_print, which writes them as the mailer does, of rows as turnout.mail_lease gives them.
"""

import copy
import email
import email.header
import email.policy
import email.utils
import html.parser
import json
import pathlib
import re
import shutil
import subprocess

import icalendar
import pytest

import server
from mailing import post
from reloading import reload
from sql_harness import TOP

KINDS = ("confirmation", "waitlisted", "promoted", "cancelled", "changed", "event_cancelled", "reminder", "survey_invitation")
WITH_CALENDAR = {"confirmation": "REQUEST", "promoted": "REQUEST", "changed": "REQUEST", "cancelled": "CANCEL",
                 "event_cancelled": "CANCEL"}
STATUS = {"waitlisted": "waitlisted", "cancelled": "cancelled"}
LANGUAGES = ("en", "ja")
EVENT = "019a9f3e-7c1b-7f00-8a11-22334455aabb"
REGISTRATION = "019a9f3e-7c1b-7f00-8a11-000000000001"
UNSUBSCRIBE = "https://events.example.com/api/mail/unsubscribe?token=abc_-123"
STYLE = {"from": "Event team <events@example.com>", "reply_to": "Help <help@example.com>", "public_url": "https://events.example.com",
         "unsubscribe_url": UNSUBSCRIBE, "now": 1795399440000000}
JAPANESE = "".join(chr(ord("ぁ") + number % 80) for number in range(255))


@pytest.fixture(autouse=True, scope="module")
def built():
    if server.programs() is None:
        pytest.skip("TURNOUT_BIN does not say where turnoutd and turnoutctl are")


def printer():
    return pathlib.Path(server.programs()) / "tests" / "unit" / "letter_print"


def owed(kind="confirmation", locale="en", **changed):
    """A row of the outbox; `event`, `to` and `registration` change members of these."""
    row = {
        "id": 17, "kind": kind, "group": {"reminder": "reminders", "survey_invitation": "surveys"}.get(kind), "dedupe_key": f"{REGISTRATION}:{kind}:1", "attempts": 0, "due_at": "2026-11-23T04:00:00Z",
        "to": {"id": "019a9f3e-7c1b-7f00-8a11-000000000002", "email": "ada@example.com", "name": "Ada Lovelace", "locale": locale,
               "timezone": "UTC"},
        "event": {"id": EVENT, "title": "All hands", "description": "", "venue": "Hall 3", "category": "general",
                  "status": "cancelled" if kind == "event_cancelled" else "published",
                  "start": "2026-12-03T09:00:00Z", "end": "2026-12-03T11:00:00Z", "timezone": "Europe/Berlin",
                  "local_start": "2026-12-03T10:00:00", "local_end": "2026-12-03T12:00:00", "offset_start": "+01:00",
                  "offset_end": "+01:00", "version": 3, "updated_at": "2026-11-01T00:00:00Z"},
        "registration": {"id": REGISTRATION, "status": STATUS.get(kind, "registered"),
                         "position": 4 if kind == "waitlisted" else None, "generation": 1},
    }
    for name, value in changed.items():
        if isinstance(value, dict):
            row[name].update(value)
        else:
            row[name] = value
    return row


class Message:
    """One message, as bytes and as Python reads it."""

    def __init__(self, line, data):
        self.recipient, self.sender, self.message_id, self.data = line["recipient"], line["sender"], line["message_id"], data
        self.parsed = email.message_from_bytes(data, policy=email.policy.default)
        self.parts = {part.get_content_type(): part for part in self.parsed.walk() if not part.is_multipart()}

    def __getitem__(self, header):
        return self.parsed[header]

    @property
    def text(self):
        return self.parts["text/plain"].get_content().replace("\r\n", "\n")

    @property
    def html(self):
        return self.parts["text/html"].get_content().replace("\r\n", "\n")

    @property
    def person(self):
        """The display name in To. The newer reader of addresses puts a blank between encoded words; the older one knows RFC 2047."""
        to = email.message_from_bytes(self.data)["To"]
        return email.utils.parseaddr(str(email.header.make_header(email.header.decode_header(to))))[0] if "=?" not in to else \
            str(email.header.make_header(email.header.decode_header(to.rpartition("<")[0].strip())))

    @property
    def calendar(self):
        return self.parts["text/calendar"].get_payload(decode=True)


def written_to(rows, style=None, folders=(TOP / "conf" / "templates",)):
    """A Message, or the words of the refusal, for each row."""
    style = {**STYLE, **(style or {})}
    lines = "".join(json.dumps({"style": style, "owed": row}, ensure_ascii=False) + "\n" for row in rows)
    done = subprocess.run([printer(), *folders], input=lines.encode(), capture_output=True, check=True)
    results, data = [], done.stdout
    while data:
        line, _, data = data.partition(b"\n")
        line = json.loads(line)
        if "error" in line:
            results.append(line["error"])
        else:
            results.append(Message(line, data[: line["length"]]))
            data = data[line["length"]:]
    assert len(results) == len(rows)
    return results


def written(row, **options):
    return written_to([row], **options)[0]


class Reader(html.parser.HTMLParser):
    """What is seen of HTML, its tags, and the addresses of its links."""

    def __init__(self, text):
        super().__init__()
        self.seen, self.tags, self.links, self.hidden = [], [], [], 0
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name == "href"]
        self.hidden += tag in ("head", "title")

    def handle_endtag(self, tag):
        self.hidden -= tag in ("head", "title")

    def handle_data(self, data):
        if not self.hidden:
            self.seen.append(data)


def words(text):
    return re.sub(r"\s+", "", text)


def assert_sound(message, row):
    """What holds of every message: no defect, lines that every server takes, one of each header, and texts that agree."""
    for part in message.parsed.walk():
        assert part.defects == [], part.defects
        for name, value in part.items():
            assert getattr(value, "defects", ()) == (), (name, value.defects)
    assert message.data.endswith(b"\r\n")
    lines = message.data.split(b"\r\n")
    assert not any(b"\r" in line or b"\n" in line for line in lines)
    assert max(map(len, lines)) <= 200
    assert message.data.isascii()
    assert len(message.parsed.keys()) == len(set(name.lower() for name in message.parsed.keys()))
    assert [address.addr_spec for address in message["To"].addresses] in ([message.recipient], [message.recipient.replace('"', "")])
    assert [str(address.addr_spec) for address in message["From"].addresses] == ["events@example.com"]
    read = Reader(message.html)
    assert words("".join(read.seen)) == words(message.text)
    assert set(read.tags) <= {"html", "head", "meta", "title", "body", "div", "p", "br", "a", "bdi", "strong"}
    assert all(link.startswith("https://events.example.com/") and link in message.text for link in read.links)
    assert ("text/calendar" in message.parts) == (row["kind"] in WITH_CALENDAR and
                                                  (row["kind"] != "changed" or row["registration"]["status"] == "registered"))


@pytest.fixture(scope="module")
def all_kinds(built):
    """(kind, language) → the message and its row."""
    rows = [owed(kind, language) for kind in KINDS for language in LANGUAGES]
    return {(row["kind"], row["to"]["locale"]): (message, row) for row, message in zip(rows, written_to(rows))}


def test_each_kind_in_each_language_is_read_without_a_defect(all_kinds):
    assert len(all_kinds) == 16
    for message, row in all_kinds.values():
        assert_sound(message, row)


def test_each_mail_says_what_when_where_and_what_to_do_next(all_kinds):
    when = {"en": "Thursday, 3 December 2026, 10:00–12:00 (Europe/Berlin, UTC+01:00)",
            "ja": "2026年12月3日(木) 10:00〜12:00(Europe/Berlin、UTC+01:00)"}
    for (kind, language), (message, _) in all_kinds.items():
        assert "All hands" in message["Subject"] and "Ada Lovelace" in message.text
        for what in ("All hands", when[language], "Hall 3"):
            assert what in message.text, (kind, language)
        link = "/api/surveys/" if kind == "survey_invitation" else "/api/events/"
        assert f"https://events.example.com{link}{EVENT}" in message.text
        may_cancel = kind in ("confirmation", "waitlisted", "promoted", "changed", "reminder")
        assert (f"https://events.example.com/api/registrations/{REGISTRATION}" in message.text) == may_cancel
        assert ("please cancel your registration" in message.text) == (may_cancel and language == "en")
        assert ("キャンセルしてください" in message.text) == (may_cancel and language == "ja")
        assert (UNSUBSCRIBE in message.text) == (kind in ("reminder", "survey_invitation"))
    assert "You are number 4 in line." in all_kinds["waitlisted", "en"][0].text
    assert "4番目" in all_kinds["waitlisted", "ja"][0].text
    texts = [message.text for message, _ in all_kinds.values()]
    assert len(set(texts)) == len(texts)


def test_without_a_public_address_no_mail_has_a_link_and_none_is_missed():
    rows = [owed(kind, language) for kind in KINDS for language in LANGUAGES]
    for row, message in zip(rows, written_to(rows, {"public_url": None, "unsubscribe_url": None, "reply_to": None})):
        assert_sound(message, row)
        assert "http" not in message.text and "<a" not in message.html
        assert "List-Unsubscribe" not in message.parsed
        assert not re.search(r"[::]\s*$", message.text.replace("\n\n", "\n"))
        assert "\n\n\n" not in message.text
        assert message["Reply-To"] is None


def test_the_headers_are_those_of_a_machine_that_writes_to_one_person(all_kinds):
    for (kind, language), (message, row) in all_kinds.items():
        assert message["Date"] == "Mon, 23 Nov 2026 02:04:00 +0000"
        assert message["From"] == "Event team <events@example.com>"
        assert message["Reply-To"] == "Help <help@example.com>"
        assert message["To"] == "Ada Lovelace <ada@example.com>"
        assert message["Auto-Submitted"] == "auto-generated"
        assert message["Content-Language"] == language
        assert message["MIME-Version"] == "1.0"
        assert message["Message-ID"] == f"<{REGISTRATION}.{kind}.1@example.com>" == f"<{message.message_id}>"
        assert message["References"] == message["In-Reply-To"] == f"<event.{EVENT}@example.com>"
        wanted = (f"<{UNSUBSCRIBE}>", "List-Unsubscribe=One-Click") if kind in ("reminder", "survey_invitation") else (None, None)
        assert (message["List-Unsubscribe"], message["List-Unsubscribe-Post"]) == wanted
        assert (message.sender, message.recipient) == ("events@example.com", "ada@example.com")
        assert row["kind"] == kind


def test_a_second_try_has_the_message_id_of_the_first_and_no_other_mail_has_it():
    keys = [f"{REGISTRATION}:confirmation:1", f"{REGISTRATION}:confirmation:2", f"{REGISTRATION}:reminder:2026-12-02T08:00:00Z",
            f"{REGISTRATION}:reminder:2026-12-02T08:00:00.5Z", f"{REGISTRATION}:reminder:2026-12-02 08:00:00+00", "a:b", "a.b", ":a", "a:",
            "a::b", "日本", "a@b", "<a>"]
    first = [written(owed(dedupe_key=key)) for key in keys]
    again = written_to([owed(dedupe_key=key, attempts=3) for key in keys], {"now": STYLE["now"] + 86400000000})
    assert [message["Message-ID"] for message in first] == [message["Message-ID"] for message in again]
    assert len(set(message["Message-ID"] for message in first)) == len(keys)
    for message in first:
        assert_sound(message, owed())
        assert re.fullmatch(r"<[A-Za-z0-9=+_-]+(\.[A-Za-z0-9=+_-]+)*@example\.com>", message["Message-ID"])


def test_the_calendar_puts_the_event_in_changes_it_and_takes_it_out(all_kinds):
    sequences = {}
    for (kind, language), (message, _) in all_kinds.items():
        if kind not in WITH_CALENDAR:
            continue
        part = message.parts["text/calendar"]
        assert part.get_param("method") == WITH_CALENDAR[kind]
        # as Exchange wants it: one of the alternatives; beside it a file for everybody else
        mixed, file = message.parsed.get_payload()
        assert [one.get_content_type() for one in mixed.get_payload()] == ["text/plain", "text/html", "text/calendar"]
        assert (file.get_content_type(), file.get_filename(), part.get_filename()) == ("application/ics", "event.ics", None)
        assert file.get_payload(decode=True) == message.calendar
        assert message.calendar.endswith(b"END:VCALENDAR\r\n")
        calendar = icalendar.Calendar.from_ical(message.calendar)
        [event] = calendar.walk("VEVENT")
        assert calendar["METHOD"] == WITH_CALENDAR[kind]
        assert event["DTSTART"].dt.isoformat() == "2026-12-03T10:00:00+01:00"
        assert event["ATTENDEE"] == "mailto:ada@example.com" and event["ORGANIZER"] == "mailto:events@example.com"
        assert event["STATUS"] == ("CANCELLED" if WITH_CALENDAR[kind] == "CANCEL" else "CONFIRMED")
        sequences[kind] = (event["UID"], event["SEQUENCE"])
    assert len(set(uid for uid, _ in sequences.values())) == 1
    assert sequences["cancelled"][1] > sequences["confirmation"][1]


def test_who_waits_is_told_of_a_change_without_an_entry_for_the_calendar():
    row = owed("changed", registration={"status": "waitlisted", "position": 7})
    message = written(row)
    assert_sound(message, row)
    assert "You keep your place on the waiting list: you are number 7 in line." in message.text
    assert "You keep your seat" not in message.text and "attached" not in message.text
    row = owed("changed")
    assert "You keep your seat" in written(row).text and "waiting list" not in written(row).text


HOSTILE = {
    "a header of its own": "\r\nBcc: x@example.com",
    "a bare line feed": "a\nSubject: other\n\nbody",
    "a bare carriage return": "a\rBcc: x@example.com\r\rbody",
    "HTML": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "an attribute": "\" onmouseover=\"alert(1)\" x='",
    "entities": "&lt;b&gt; &amp;amp; &#60;",
    "255 characters of Japanese": JAPANESE,
    "one of two bytes after many of three": JAPANESE[:254] + "é",
    "four bytes each": "👩" * 255,
    "right-to-left marks": "\u202egnp.exe\u202c \u2067x\u2069 \u200fשלום\u200f",
    "a mustache": "{{title}} {{{name}}} {{#venue}}",
    "an encoded word": "=?utf-8?Q?Bcc=3A_x?=",
    "boundaries": "--=_turnout-mixed--",
    "control characters": "a\x01\x02\x1b[2J\x7f\x85\u2028b",
    "a dot": ".",
    "blanks around it": "  a  ",
    "the start of a mailbox": "From me",
    "255 characters without a blank": "x" * 255,
    "quotation marks": '"a" \\"b\\" (c) <d@example.com>, e',
    "line ends of calendars": "a\r\nEND:VEVENT\r\nATTENDEE:mailto:x@example.com",
}


def cleaned(text):
    """As a reader sees it: no control characters, no marks that turn what follows."""
    text = re.sub("\r\n|[\r\n\t\x85\u2028\u2029]", " ", text)
    return re.sub("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff]", "", text)


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: name.replace(" ", "-"))
def test_a_hostile_text_injects_nothing(name):
    text = HOSTILE[name]
    plain = {(row["kind"], row["to"]["locale"]): message for row, message in
             ((row, written(row)) for row in (owed("confirmation"), owed("reminder", "ja")))}
    rows = [owed(kind, language, event={"title": text, "venue": text, "description": text}, to={"name": text})
            for kind, language in plain]
    for row, message in zip(rows, written_to(rows)):
        assert_sound(message, row)
        kind = row["kind"], row["to"]["locale"]
        assert message.parsed.keys() == plain[kind].parsed.keys()
        assert [part.get_content_type() for part in message.parsed.walk()] == \
            [part.get_content_type() for part in plain[kind].parsed.walk()]
        assert Reader(message.html).tags == Reader(plain[kind].html).tags
        assert message.text.count("\n") == plain[kind].text.count("\n")
        assert cleaned(text) in message.text
        assert message["Subject"] == plain[kind]["Subject"].replace("All hands", cleaned(text))
        [to] = message["To"].addresses
        assert to.addr_spec == "ada@example.com"
        assert message.person.strip() == cleaned(text).strip()
        if "text/calendar" in message.parts:
            [event] = icalendar.Calendar.from_ical(message.calendar).walk("VEVENT")
            assert event["ATTENDEE"] == "mailto:ada@example.com"
            assert {key for key in event} == {key for key in icalendar.Calendar.from_ical(plain[kind].calendar).walk("VEVENT")[0]} | {"DESCRIPTION"}


def test_an_address_that_would_break_out_is_refused_and_a_strange_one_is_not():
    results = written_to([owed(to={"email": address}) for address in (
        "a@example.com\r\nBcc: b@example.com", "a@exa>mple.com", "a", "o'hara+x=y@example.com", "a..b@example.com")])
    assert results[:3] == ["the row of the letter has no usable to.email"] * 3
    assert [message.recipient for message in results[3:]] == ["o'hara+x=y@example.com", '"a..b"@example.com']
    for message in results[3:]:
        assert_sound(message, owed())


@pytest.mark.parametrize("path", ["kind", "dedupe_key", "to.email", "to.name", "to.locale", "event", "event.id", "event.title", "event.start",
                                  "event.local_start", "event.offset_end", "event.version", "registration", "registration.status",
                                  "registration.generation"])
def test_a_row_that_lacks_something_is_refused_by_name(path):
    row = owed()
    whole = copy.deepcopy(row)
    *outer, last = path.split(".")
    place = row
    for name in outer:
        place = place[name]
    del place[last]
    refusal, good = written_to([row, whole])
    assert refusal.startswith("the row of the letter has no usable " + (path if path in refusal else path.split(".")[0]))
    assert isinstance(good, Message)


@pytest.mark.parametrize("locale, language", [("en", "en"), ("ja", "ja"), ("ja-JP", "ja"), ("JA", "ja"), ("de", "en"), ("jav", "en"),
                                              ("en-US", "en"), ("zh-Hant-TW", "en")])
def test_a_reader_gets_their_language_or_english(locale, language):
    message = written(owed(locale=locale))
    assert message["Content-Language"] == language
    assert ("December" in message.text) == (language == "en")
    assert ("Thursday, December 3, 2026, 10:00 AM to 12:00 PM" in message.text) == (locale == "en-US")


def test_an_event_of_several_days_says_both_and_both_offsets_where_clocks_change():
    dates = {"start": "2026-10-24T18:00:00Z", "end": "2026-10-25T09:00:00Z", "local_start": "2026-10-24T20:00:00",
             "local_end": "2026-10-25T10:00:00", "offset_start": "+02:00", "offset_end": "+01:00"}
    text = written(owed(event=dates)).text
    assert "Saturday, 24 October 2026, 20:00 (UTC+02:00) to Sunday, 25 October 2026, 10:00 (Europe/Berlin, UTC+01:00)" in text


def test_what_the_database_says_arrives_as_it_was_written(postgres, make_database):
    hostile = "\r\nBcc: x@example.com\r\n.\r\n<b>夏の祭り</b>"
    with post(postgres, make_database(), public_url="https://events.example.com") as office:
        office.owe(2, start="30 days", title=hostile)
        office.rows("""update turnout.events set timezone = 'Asia/Tokyo', venue = '.',
                              start_datetime = date_trunc('day', start_datetime, 'UTC') + interval '3 hours',
                              end_datetime = date_trunc('day', start_datetime, 'UTC') + interval '5 hours' returning id""")
        office.rows("update turnout.users set locale = 'ja', name = '山田 花子' where name = 'Guest 2' returning id")
        [(start, event)] = office.rows("select to_char(start_datetime at time zone timezone, 'YYYY-MM-DD\"T\"HH24:MI'), id::text from turnout.events")
        office.daemon()
        office.sink.wait(2)
        office.settle()
        taken = {one.recipient: one for one in office.sink.taken}
    year, month, day, hour, minute = (int(number) for number in re.findall(r"\d+", start))
    assert len(taken) == 2
    for one in taken.values():
        line = {"recipient": one.recipient, "sender": one.sender, "message_id": ""}
        message = Message(line, one.data)
        is_japanese = message["Content-Language"] == "ja"
        assert_sound(message, owed())
        assert (message.person == "山田 花子") == is_japanese
        assert cleaned(hostile) in message.text and cleaned(hostile) in message["Subject"]
        assert (f"{year}年{month}月{day}日" if is_japanese else f", {day} ") in message.text
        assert (f"{hour}:{minute:02d}〜" if is_japanese else f"{hour:02d}:{minute:02d}–") in message.text
        assert "UTC+09:00" in message.text and f"https://events.example.com/api/events/{event}" in message.text
        [entry] = icalendar.Calendar.from_ical(message.calendar).walk("VEVENT")
        assert entry["DTSTART"].dt.isoformat()[:16] == start and entry["UID"].startswith(event)
    assert len({one.data.count(b"Content-Language: ja") for one in taken.values()}) == 2


def test_the_next_mail_after_a_reload_is_written_as_the_file_says_now(postgres, make_database, tmp_path):
    whole, own = tmp_path / "whole", tmp_path / "own"
    shutil.copytree(TOP / "conf" / "templates", whole)
    (whole / "en" / "confirmation.subject").write_text("Of another folder: {{title}}\n", encoding="utf-8")
    (own / "en").mkdir(parents=True)
    (own / "en" / "confirmation.subject").write_text("Of my own: {{title}}\n", encoding="utf-8")
    with post(postgres, make_database()) as office:
        turnout = office.daemon()

        def next_mail():
            [person] = office.owe(1)
            office.settle()
            [message] = office.sink.messages(person)
            return message

        before = next_mail()
        assert (before["Subject"], before["From"], before["Reply-To"]) == ("You are registered: Party", "Events <events@example.com>", None)
        assert "https://" not in before.as_string()
        reload(turnout, mail_from="Others <others@example.org>", mail_reply_to="help@example.org", template_directory=whole,
               public_url="https://events.example.com")
        after = next_mail()
        assert (after["Subject"], after["From"]) == ("Of another folder: Party", "Others <others@example.org>")
        assert after["Reply-To"] == "help@example.org" and after["Message-ID"].endswith("@example.org>")
        assert "https://events.example.com/api/events/" in after.get_body(("plain",)).get_content()
        reload(turnout, mail_templates=own)
        assert next_mail()["Subject"] == "Of my own: Party"
        (own / "en" / "confirmation.subject").write_text("{{titel}}\n", encoding="utf-8")
        turnout.configure(mail_reply_to="never@example.org")
        done = turnout.ctl("reload", check=False)
        assert done.returncode != 0
        assert f'{own}/en/confirmation.subject: line 1: there is no "titel"' in done.stdout + done.stderr
        kept = next_mail()
        assert (kept["Subject"], kept["Reply-To"]) == ("Of my own: Party", "help@example.org")


# ---- templates of the installation's own ----


def test_the_readme_of_the_templates_names_all_kinds_and_all_that_a_template_may_say():
    readme = (TOP / "conf" / "templates" / "README.md").read_text(encoding="utf-8")
    source = (TOP / "src" / "mail" / "letters.c").read_text(encoding="utf-8")
    kinds, names = (readme.split(heading)[1].split("\n\n")[0] for heading in ("| kind | sent when |", "| name | what |"))
    explained = [name for line in names.splitlines() for name in re.findall(r"`(\w+)`", line.split("|")[1] if "|" in line else "")]
    assert sorted(re.findall(r"^\| `(\w+)`", kinds, re.MULTILINE)) == sorted(KINDS)
    assert sorted(explained) == sorted(re.findall(r'= \{"(\w+)", (?:true|false)\}', source))


@pytest.fixture
def own(tmp_path):
    (tmp_path / "own" / "en").mkdir(parents=True)
    return tmp_path / "own"


@pytest.fixture
def configured():
    turnout = server.Turnout("dbname=none", "dbname=none user=owner", smtp_url="smtp://127.0.0.1:25", mail_from="events@example.com")
    yield turnout
    turnout.remove()


def checked(configured, **options):
    configured.configure(**options)
    return server.run("turnoutd", "-c", configured.configuration_file, "--check-config", check=False)


def test_a_file_of_your_own_stands_for_the_installed_one(own):
    (own / "en" / "confirmation.subject").write_text("Hooray: {{title}} on {{date}}\n", encoding="utf-8")
    (own / "en" / "confirmation.txt").write_text("{{name}}!\r\n{{#venue}}\r\nAt {{venue}}\r\n{{/venue}}\r\n", encoding="utf-8")
    message, other = written_to([owed(), owed(locale="ja")], folders=(TOP / "conf" / "templates", own))
    assert message["Subject"] == "Hooray: All hands on Thursday, 3 December 2026"
    assert message.text == "Ada Lovelace!\nAt Hall 3\n"
    assert "Hall 3" in message.html and "登録" in other["Subject"]


def test_a_file_of_your_own_may_be_empty(own):
    (own / "en" / "confirmation.html").write_bytes(b"")
    (own / "en" / "confirmation.subject").write_bytes(b"")
    message = written(owed(), folders=(TOP / "conf" / "templates", own))
    assert [part.defects for part in message.parsed.walk() if part.defects] == []
    assert (message.html.strip(), message["Subject"]) == ("", "")


def test_a_language_of_your_own_is_used_once_it_is_whole(configured, own):
    shutil.copytree(TOP / "conf" / "templates" / "en", own / "de")
    (own / "de" / "confirmation.txt").write_text("Hallo {{name}}, {{when}}\n", encoding="utf-8")
    message = written(owed(locale="de-AT"), folders=(TOP / "conf" / "templates", own))
    assert message["Content-Language"] == "de"
    assert message.text == "Hallo Ada Lovelace, 2026-12-03 10:00–12:00 (Europe/Berlin, UTC+01:00)\n"
    assert checked(configured, mail_templates=own).returncode == 0
    (own / "de" / "promoted.html").unlink()
    done = checked(configured)
    assert done.returncode == 2
    assert done.stderr.endswith("/de/promoted.html: No such file or directory\n")


@pytest.mark.parametrize("name, text, complaint", [
    ("reminder.txt", "Hello\n{{nmae}}\n", '/en/reminder.txt: line 2: there is no "nmae"'),
    ("reminder.html", "{{{title}}}", "/en/reminder.html: line 1: {{{ is not known here: every value is escaped"),
    ("promoted.txt", "a\n{{#venue}}\n", "/en/promoted.txt: line 2: {{#venue}} is never closed"),
    ("changed.subject", "two\nlines\n", "/en/changed.subject: line 1: expected one line, found more"),
    ("cancelled.txt", b"\xff\xfe", "/en/cancelled.txt: line 1: the file is not UTF-8"),
    ("waitlisted.html", "x" * 65537, "/en/waitlisted.html: line 1: the file is longer than 65536 bytes"),
    ("confirmaton.txt", "Hello\n", "/en/confirmaton.txt: there is no mail of this name"),
], ids=lambda value: value if isinstance(value, str) and len(value) < 20 else "")
def test_a_template_with_a_mistake_is_one_line_and_ends_with_status_2(configured, own, name, text, complaint):
    good = b"Hello {{name}}" if name != "confirmaton.txt" else None
    if good:
        (own / "en" / name).write_bytes(good)
    done = checked(configured, mail_templates=own)
    assert (done.returncode, done.stderr) == (0, "")
    (own / "en" / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    done = checked(configured)
    assert done.returncode == 2
    assert done.stderr.endswith(f": mail_templates: {own}{complaint}\n") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("options, complaint", [
    ({"template_directory": "/nonexistent"}, "template_directory: /nonexistent/en/confirmation.subject: No such file or directory"),
    ({"mail_templates": "/nonexistent"}, "mail_templates: /nonexistent: No such file or directory"),
    ({"mail_from": "Event team"}, "mail_from: expected name@domain or Name <name@domain>, found: Event team"),
    ({"mail_reply_to": "a@example.com, b@example.com"},
     "mail_reply_to: expected name@domain or Name <name@domain>, found: a@example.com, b@example.com"),
], ids=["folder", "own folder", "from", "reply to"])
def test_where_mail_cannot_be_written_the_configuration_says_so(configured, options, complaint):
    assert checked(configured, mail_reply_to="Help <help@example.com>").returncode == 0
    done = checked(configured, **options)
    assert done.returncode == 2
    assert done.stderr.endswith(f": {complaint}\n") and done.stderr.count("\n") == 1
