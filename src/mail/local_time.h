/* local_time: moments written out for people, in the event's zone and in the language of the mail. Any process; no
 * state. What the clocks of the zone show is PostgreSQL's answer: here it is only put into words. */
#ifndef MAIL_LOCAL_TIME_H
#define MAIL_LOCAL_TIME_H

#include <stdbool.h>

#include "base/buffer.h"
#include "base/object.h"

/* What a clock on the wall shows. */
struct local_time {
    int year;
    int month; /* 1..12 */
    int day;
    int weekday; /* 0: Sunday */
    int hour;
    int minute;
    char offset[sizeof "+05:30"]; /* of UTC then */
};

/* "2026-12-03T10:00:00" and "+01:00". false: they are not of this form, or no such day exists. */
bool local_time_read(const char *clock, const char *offset, struct local_time *time) MUST_CHECK;

/* `language` is that of the words around it, `locale` the reader's: American readers of English get the month first and
 * a clock of twelve hours. Languages that are not known here get numbers alone, as ISO 8601 orders them. */
struct local_time_style {
    const char *language;
    const char *locale;
};

/* "Thursday, 3 December 2026" */
void local_time_date(const struct local_time_style *style, const struct local_time *time, struct buffer *to);
/* "10:00" */
void local_time_clock(const struct local_time_style *style, const struct local_time *time, struct buffer *to);
/* "Thursday, 3 December 2026, 10:00–12:00 (Europe/Berlin, UTC+01:00)"; the second day where it ends on another one,
 * and both offsets where clocks change in between. */
void local_time_span(const struct local_time_style *style, const struct local_time *start, const struct local_time *end,
                     const char *zone, struct buffer *to);

#endif
