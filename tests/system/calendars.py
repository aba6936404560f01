"""Calendars as programs read them: by python3-icalendar, and by Python's own data of time zones beside it."""

import datetime
import zoneinfo

import icalendar

UTC = datetime.timezone.utc


def moment(text):
    """Of the API's RFC 3339."""
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def parse(body):
    """The calendar of a body, whose lines are as RFC 5545 wants them."""
    assert body.endswith(b"END:VCALENDAR\r\n"), body[-200:]
    for line in body.removesuffix(b"\r\n").split(b"\r\n"):
        assert b"\n" not in line and b"\r" not in line and len(line) <= 75, line
        line.decode()
    calendar = icalendar.Calendar.from_ical(body)
    assert calendar.errors == [] and all(component.errors == [] for component in calendar.walk()), calendar.errors
    return calendar


def entries(calendar):
    return calendar.walk("VEVENT")


def instants(calendar, entry, name):
    """When DTSTART or DTEND is, read in three ways: by the library, by the zone's name in Python's data, and by the VTIMEZONE of the
    calendar alone, as programs that do not know the zone have to."""
    value = entry[name]
    found = {"library": value.dt.astimezone(UTC)}
    if "TZID" in value.params:
        naive = value.dt.replace(tzinfo=None)
        zone = next(zone for zone in calendar.walk("VTIMEZONE") if zone["TZID"] == value.params["TZID"])
        found["name"] = naive.replace(tzinfo=zoneinfo.ZoneInfo(value.params["TZID"])).astimezone(UTC)
        found["VTIMEZONE"] = zone.to_tz().localize(naive).astimezone(UTC)
    return found


def is_at(calendar, entry, event):
    """Whether every reader of the entry sees the event's two moments."""
    wanted = {"DTSTART": moment(event["start_datetime"]), "DTEND": moment(event["end_datetime"])}
    found = {name: instants(calendar, entry, name) for name in wanted}
    return all(set(found[name].values()) == {wanted[name]} for name in wanted) or found
