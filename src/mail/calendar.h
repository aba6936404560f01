/* calendar: events as iCalendar (RFC 5545, 5546), for mails, for the public file of an event and for the feed of a
 * person. Any process; no state. Texts are lent for the call. */
#ifndef MAIL_CALENDAR_H
#define MAIL_CALENDAR_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/object.h"

enum calendar_status { CALENDAR_CONFIRMED, CALENDAR_TENTATIVE, CALENDAR_CANCELLED };

struct calendar_event {
    const char *id; /* with "@turnout" behind it the UID, wherever the event is written: one entry, however it came */
    const char *title;
    const char *description; /* "" and NULL: none; venue and category the same */
    const char *venue;
    const char *category;
    const char *timezone; /* IANA; a zone that this host does not know gives moments in UTC */
    int64_t start;        /* microseconds since 1970 UTC, as the next two; whole seconds are written */
    int64_t end;
    int64_t updated_at;
    int64_t sequence; /* calendar_sequence */
    enum calendar_status status;
};

/* What a client compares to know which is the newer of two entries with one UID: grows with every edit of the event
 * (`version`), with each time that the person joins again (`generation`, 1 where no person is meant), and with the
 * person's own cancelling. */
int64_t calendar_sequence(int64_t version, int64_t generation, bool is_left);

/* From an object as turnout gives them: id, title, description, venue, category, timezone, status, version, start, end,
 * updated_at (RFC 3339 in UTC); in a feed also generation and is_waitlisted of the person's registration. The texts are
 * the object's. false: it lacks something. */
bool calendar_read(const json_t *object, struct calendar_event *event) MUST_CHECK;

#define CALENDAR_CONTENT_TYPE "text/calendar; charset=utf-8"

/* In a mail, clients put REQUEST into the calendar, or change the entry that they have, and take it out again for
 * CANCEL. Both need an organizer and an attendee. A file or a feed has no method: it says what is, to whoever reads. */
enum calendar_method { CALENDAR_NO_METHOD, CALENDAR_REQUEST, CALENDAR_CANCEL };

struct calendar_party {
    const char *name;    /* NULL or "": none */
    const char *address; /* of mail; NULL: none */
};

struct calendar {
    enum calendar_method method;
    const char *name; /* of a feed; NULL: none */
    struct calendar_party organizer;
    struct calendar_party attendee;
    int64_t now; /* of a mail: realtime, microseconds; 0: each event's updated_at stands in for it */
};

/* Appends the calendar to `to`: lines end with CR LF, none is longer than 75 octets. Control characters of texts are
 * left out. CALENDAR_CANCEL makes every event a cancelled one. */
void calendar_write(const struct calendar *calendar, const struct calendar_event *events, size_t count,
                    struct buffer *to);

/* The same for the JSON text of an object as calendar_read takes it, or of an array of them. false: it is not that, and
 * nothing is written. */
bool calendar_write_json(const struct calendar *calendar, const char *json, size_t length,
                         struct buffer *to) MUST_CHECK;

#endif
