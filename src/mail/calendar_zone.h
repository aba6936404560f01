/* calendar_zone: a time zone as iCalendar's VTIMEZONE, for the span of the events that refer to it. For calendar.c. */
#ifndef MAIL_CALENDAR_ZONE_H
#define MAIL_CALENDAR_ZONE_H

#include <libical/ical.h>
#include <stdbool.h>
#include <stdint.h>

#include "mail/zone.h"

/* Seconds since 1970 UTC, both included. The component belongs to the caller. */
icalcomponent *calendar_zone_component(const struct zone *zone, const char *name, int64_t first, int64_t last);

/* The local time of `moment`; false: by the clock there it comes twice, and no local time says which is meant. */
bool calendar_zone_local(const struct zone *zone, int64_t moment, icaltimetype *local) MUST_CHECK;

/* `seconds` since 1970 as the parts of a date. */
icaltimetype calendar_zone_parts(int64_t seconds);

#endif
