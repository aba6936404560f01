/* zone: reads TZif files. A file says what changed until some year and ends with a rule for the time after that, in the
 * notation of the TZ variable (POSIX, with the extensions of RFC 8536). The rule is read where it has no daylight
 * saving time or names weekdays of months, as all rules of the data do. */
#include "mail/zone.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FOLDER "/usr/share/zoneinfo"
#define NAME_MAX_LENGTH 64
/* The longest file of the data has 3,600 bytes. */
#define FILE_SIZE_MAX 65536
#define HEADER_SIZE 44
#define TYPE_SIZE 6
#define DAY 86400
#define HOUR 3600
/* RFC 8536, 3.3.1: times of a rule are within a week. */
#define RULE_TIME_MAX (167 * HOUR)

struct zone {
    size_t change_count;
    struct zone_change *changes; /* in order of time; each changes something */
    struct zone_period first;    /* before all of them */
    struct zone_period last;     /* after them, where there is no rule */
    bool has_rule;
    struct zone_yearly rule[2];
};

/* ---- the file ---- */

struct reader {
    const unsigned char *at;
    const unsigned char *end;
};

static int64_t big_endian(const unsigned char *bytes, size_t size)
{
    uint64_t value = bytes[0] >= 0x80 ? UINT64_MAX : 0;
    for (size_t i = 0; i < size; i++)
        value = value << 8 | bytes[i];
    return (int64_t)value;
}

struct counts {
    size_t utc, standard, leap, change, type, character;
};

/* Leaves the reader behind the header. */
static bool read_header(struct reader *reader, struct counts *counts)
{
    const unsigned char *header = reader->at;
    if (reader->end - reader->at < HEADER_SIZE || memcmp(header, "TZif", 4) != 0 || header[4] < '2')
        return false;
    size_t *const all[] = {&counts->utc,    &counts->standard, &counts->leap,
                           &counts->change, &counts->type,     &counts->character};
    for (size_t i = 0; i < 6; i++) {
        int64_t count = big_endian(header + 20 + 4 * i, 4);
        if (count < 0 || count > FILE_SIZE_MAX)
            return false;
        *all[i] = (size_t)count;
    }
    reader->at += HEADER_SIZE;
    return true;
}

static bool read_period(const unsigned char *type, const unsigned char *characters, size_t character_count,
                        struct zone_period *period)
{
    size_t start = type[5];
    *period = (struct zone_period){.offset = (int32_t)big_endian(type, 4), .is_daylight = type[4] != 0};
    if (start >= character_count || abs(period->offset) >= 2 * DAY)
        return false;
    snprintf(period->abbreviation, sizeof period->abbreviation, "%.*s", (int)(character_count - start),
             (const char *)characters + start);
    return true;
}

static bool is_same(const struct zone_period *left, const struct zone_period *right)
{
    return left->offset == right->offset && left->is_daylight == right->is_daylight &&
           strcmp(left->abbreviation, right->abbreviation) == 0;
}

/* The second block, whose moments have 8 bytes. */
static bool read_changes(struct reader *reader, const struct counts *counts, struct zone *zone)
{
    const unsigned char *moments = reader->at;
    const unsigned char *indexes = moments + counts->change * 8;
    const unsigned char *types = indexes + counts->change;
    const unsigned char *characters = types + counts->type * TYPE_SIZE;
    size_t length = counts->change * 9 + counts->type * TYPE_SIZE + counts->character + counts->leap * 12 +
                    counts->standard + counts->utc;
    if (counts->type == 0 || (size_t)(reader->end - reader->at) < length ||
        !read_period(types, characters, counts->character, &zone->first))
        return false;
    zone->last = zone->first;
    zone->changes = calloc(counts->change + 1, sizeof zone->changes[0]);
    INVARIANT(zone->changes != NULL);
    for (size_t i = 0; i < counts->change; i++) {
        struct zone_change change = {.at = big_endian(moments + 8 * i, 8), .before = zone->last};
        if (indexes[i] >= counts->type ||
            !read_period(types + indexes[i] * TYPE_SIZE, characters, counts->character, &change.after) ||
            (zone->change_count > 0 && change.at <= zone->changes[zone->change_count - 1].at))
            return false;
        if (is_same(&change.before, &change.after))
            continue;
        zone->last = change.after;
        zone->changes[zone->change_count++] = change;
    }
    reader->at += length;
    return true;
}

/* ---- the rule at its end ---- */

static bool take(const char **at, char wanted)
{
    if (**at != wanted)
        return false;
    (*at)++;
    return true;
}

static bool rule_number(const char **at, int most, int *number)
{
    if (!isdigit((unsigned char)**at))
        return false;
    *number = 0;
    while (isdigit((unsigned char)**at) && *number <= most)
        *number = *number * 10 + *(*at)++ - '0';
    return *number <= most;
}

/* [+-]hh[:mm[:ss]] */
static bool rule_time(const char **at, int32_t *seconds)
{
    int hours;
    int minutes = 0;
    int rest = 0;
    bool is_negative = **at == '-';
    if (**at == '-' || **at == '+')
        (*at)++;
    if (!rule_number(at, RULE_TIME_MAX / HOUR, &hours) || (take(at, ':') && !rule_number(at, 59, &minutes)) ||
        (take(at, ':') && !rule_number(at, 59, &rest)))
        return false;
    *seconds = hours * HOUR + minutes * 60 + rest;
    if (is_negative)
        *seconds = -*seconds;
    return true;
}

static bool rule_abbreviation(const char **at, struct zone_period *period)
{
    bool is_quoted = take(at, '<');
    size_t length = 0;
    while (is_quoted ? **at != '>' && **at != '\0' : isalpha((unsigned char)**at)) {
        if (length + 1 >= sizeof period->abbreviation)
            return false;
        period->abbreviation[length++] = *(*at)++;
    }
    return length > 0 && (!is_quoted || take(at, '>'));
}

/* ,Mm.w.d[/time] */
static bool rule_day(const char **at, struct zone_yearly *day)
{
    day->time = 2 * HOUR;
    return take(at, ',') && take(at, 'M') && rule_number(at, 12, &day->month) && day->month > 0 && take(at, '.') &&
           rule_number(at, 5, &day->week) && day->week > 0 && take(at, '.') && rule_number(at, 6, &day->weekday) &&
           (!take(at, '/') || rule_time(at, &day->time));
}

static bool read_rule(const char *text, struct zone *zone)
{
    struct zone_period standard = {0};
    struct zone_period summer = {.is_daylight = true};
    if (!rule_abbreviation(&text, &standard) || !rule_time(&text, &standard.offset))
        return false;
    standard.offset = -standard.offset; /* there, west is positive */
    if (*text == '\0')
        return true;
    if (!rule_abbreviation(&text, &summer))
        return false;
    summer.offset = standard.offset + HOUR;
    if (*text != ',') {
        if (!rule_time(&text, &summer.offset))
            return false;
        summer.offset = -summer.offset;
    }
    zone->rule[0].before = zone->rule[1].after = standard;
    zone->rule[0].after = zone->rule[1].before = summer;
    zone->has_rule = rule_day(&text, &zone->rule[0]) && rule_day(&text, &zone->rule[1]) && *text == '\0';
    return zone->has_rule;
}

static bool read_all(struct reader *reader, struct zone *zone)
{
    struct counts counts;
    if (!read_header(reader, &counts))
        return false;
    size_t first =
        counts.change * 5 + counts.type * TYPE_SIZE + counts.character + counts.leap * 8 + counts.standard + counts.utc;
    if ((size_t)(reader->end - reader->at) < first)
        return false;
    reader->at += first;
    if (!read_header(reader, &counts) || !read_changes(reader, &counts, zone) || reader->at == reader->end ||
        *reader->at++ != '\n')
        return false;
    const unsigned char *end = memchr(reader->at, '\n', (size_t)(reader->end - reader->at));
    char text[128];
    if (end == NULL || (size_t)(end - reader->at) >= sizeof text)
        return false;
    snprintf(text, sizeof text, "%.*s", (int)(end - reader->at), (const char *)reader->at);
    return text[0] == '\0' || read_rule(text, zone);
}

/* A name becomes a path: only what names of zones are made of. */
static bool is_name(const char *name)
{
    size_t length = strlen(name);
    return length > 0 && length <= NAME_MAX_LENGTH && isalpha((unsigned char)name[0]) &&
           strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-_/") == length;
}

struct zone *zone_read(const char *name)
{
    char path[256];
    const char *folder = getenv("TZDIR");
    if (!is_name(name) ||
        snprintf(path, sizeof path, "%s/%s", folder == NULL ? FOLDER : folder, name) >= (int)sizeof path)
        return NULL;
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (file < 0)
        return NULL;
    unsigned char *bytes = malloc(FILE_SIZE_MAX);
    INVARIANT(bytes != NULL);
    size_t size = 0;
    ssize_t got;
    while (size < FILE_SIZE_MAX && (got = read(file, bytes + size, FILE_SIZE_MAX - size)) > 0)
        size += (size_t)got;
    close(file);
    struct zone *zone = calloc(1, sizeof *zone);
    INVARIANT(zone != NULL);
    struct reader reader = {bytes, bytes + size};
    if (!read_all(&reader, zone)) {
        zone_free(zone);
        zone = NULL;
    }
    free(bytes);
    return zone;
}

void zone_free(struct zone *zone)
{
    if (zone != NULL)
        free(zone->changes);
    free(zone);
}

/* ---- questions ---- */

static int year_of(int64_t moment)
{
    time_t seconds = (time_t)moment;
    struct tm parts;
    INVARIANT(gmtime_r(&seconds, &parts) != NULL);
    return parts.tm_year + 1900;
}

static int64_t day_in_year(const struct zone_yearly *day, int year)
{
    struct tm parts = {.tm_year = year - 1900, .tm_mon = day->month - 1, .tm_mday = 1};
    int64_t first = timegm(&parts); /* fills in the weekday */
    int64_t wanted = first + (int64_t)((day->weekday - parts.tm_wday + 7) % 7 + (day->week - 1) * 7) * DAY;
    parts = (struct tm){.tm_year = year - 1900, .tm_mon = day->month, .tm_mday = 1};
    if (wanted >= timegm(&parts)) /* there is no fifth one */
        wanted -= 7 * DAY;
    return wanted + day->time - day->before.offset;
}

static void consider(const struct zone_yearly *day, int64_t at, struct zone_change *change)
{
    *change = (struct zone_change){.at = at, .before = day->before, .after = day->after};
}

/* By the rule alone: the nearest change after `moment` (forward) or at or before it. */
static bool by_rule(const struct zone *zone, int64_t moment, bool forward, struct zone_change *change)
{
    bool found = false;
    if (!zone->has_rule)
        return false;
    int year = year_of(moment);
    for (int i = 0; i < 6; i++) {
        const struct zone_yearly *day = &zone->rule[i % 2];
        int64_t at = day_in_year(day, year - 1 + i / 2);
        if (forward ? at > moment && (!found || at < change->at) : at <= moment && (!found || at > change->at)) {
            consider(day, at, change);
            found = true;
        }
    }
    return found;
}

/* How many changes of the file are at or before `moment`. */
static size_t count_until(const struct zone *zone, int64_t moment)
{
    size_t low = 0;
    size_t high = zone->change_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (zone->changes[middle].at <= moment)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool zone_next(const struct zone *zone, int64_t moment, struct zone_change *change)
{
    size_t count = count_until(zone, moment);
    if (count == zone->change_count)
        return by_rule(zone, moment, true, change);
    *change = zone->changes[count];
    return true;
}

bool zone_previous(const struct zone *zone, int64_t moment, struct zone_change *change)
{
    size_t count = count_until(zone, moment);
    if (count == zone->change_count && by_rule(zone, moment, false, change) &&
        (count == 0 || change->at > zone->changes[count - 1].at))
        return true;
    if (count == 0)
        return false;
    *change = zone->changes[count - 1];
    return true;
}

void zone_at(const struct zone *zone, int64_t moment, struct zone_period *period)
{
    struct zone_change change;
    *period = zone_previous(zone, moment, &change) ? change.after : zone->first;
}

bool zone_yearly(const struct zone *zone, int64_t since, struct zone_yearly days[2])
{
    struct zone_change wanted;
    if (!zone->has_rule)
        return false;
    int64_t moment = since - 1;
    for (size_t i = count_until(zone, moment); i < zone->change_count; i++) {
        if (!by_rule(zone, moment, true, &wanted) || wanted.at != zone->changes[i].at ||
            wanted.after.offset != zone->changes[i].after.offset)
            return false;
        moment = wanted.at;
    }
    memcpy(days, zone->rule, sizeof zone->rule);
    return true;
}
