/* zone: when and how a time zone's distance from UTC changes, from the C library's zone data (TZif, RFC 8536). Any
 * process; it reads one small file and keeps nothing. The C library itself answers such questions for one zone a
 * process alone (TZ), and libical derives rules from the same files that are wrong for some zones. */
#ifndef MAIL_ZONE_H
#define MAIL_ZONE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/object.h"

#define ZONE_ABBREVIATION_SIZE 16

/* What holds in a zone for a while. Moments are seconds since 1970 UTC, offsets are seconds east of UTC. */
struct zone_period {
    int32_t offset;
    bool is_daylight; /* as the data has it: in Ireland it is the winter */
    char abbreviation[ZONE_ABBREVIATION_SIZE];
};

struct zone_change {
    int64_t at; /* the first moment of `after` */
    struct zone_period before;
    struct zone_period after;
};

/* A day of each year: the `week`th (5: the last) `weekday` (0: Sunday) of `month` (1..12). */
struct zone_yearly {
    int month;
    int week;
    int weekday;
    int32_t time; /* seconds after midnight by the clock before the change; below 0 or a day and more in some zones */
    struct zone_period before;
    struct zone_period after;
};

struct zone;

/* NULL: there is no such zone in the data of this host, or its file is none. The caller frees it. */
struct zone *zone_read(const char *name) MUST_CHECK;
void zone_free(struct zone *zone);

/* What holds at `moment`. */
void zone_at(const struct zone *zone, int64_t moment, struct zone_period *period);
/* The first change after `moment`, the last one at or before it; false: there is none. */
bool zone_next(const struct zone *zone, int64_t moment, struct zone_change *change) MUST_CHECK;
bool zone_previous(const struct zone *zone, int64_t moment, struct zone_change *change) MUST_CHECK;
/* Two days of the year on which every change from `since` on falls (the last one before it need not); false: it is not
 * as simple as that. */
bool zone_yearly(const struct zone *zone, int64_t since, struct zone_yearly days[2]) MUST_CHECK;

#endif
