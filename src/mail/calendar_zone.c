/* calendar_zone: VTIMEZONEs. They are made from the system's zone data here, as those of libical 3.0.16 are wrong for
 * zones whose rules changed or lie south of the equator on an island of their own (Asia/Tehran, Pacific/Easter), name
 * zones by a path of its own, and go back a century.
 *
 * Two forms. Where all changes from before the events on fall on the same two days of each year, these two days, as
 * rules: what programs know best. Otherwise (Morocco's Ramadan, years in which a law changed, rules that no RRULE says
 * simply) each change by itself, from the last one before the events to a year after them. */
#include "mail/calendar_zone.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define DAY 86400
/* How far behind the last event changes are listed: for whoever moves it by hand. */
#define AFTERWARDS (366 * DAY)

icaltimetype calendar_zone_parts(int64_t seconds)
{
    time_t moment = (time_t)seconds;
    struct tm parts;
    icaltimetype time = icaltime_null_time();
    INVARIANT(gmtime_r(&moment, &parts) != NULL);
    time.year = parts.tm_year + 1900;
    time.month = parts.tm_mon + 1;
    time.day = parts.tm_mday;
    time.hour = parts.tm_hour;
    time.minute = parts.tm_min;
    time.second = parts.tm_sec;
    return time;
}

bool calendar_zone_local(const struct zone *zone, int64_t moment, icaltimetype *local)
{
    struct zone_period period;
    struct zone_change change;
    zone_at(zone, moment, &period);
    *local = calendar_zone_parts(moment + period.offset);
    /* a clock that is put back shows the time before the change once more after it */
    if (zone_previous(zone, moment, &change) && moment < change.at + change.before.offset - change.after.offset)
        return false;
    return !zone_next(zone, moment, &change) || moment < change.at - (change.before.offset - change.after.offset);
}

/* By what clocks do, not by what the law calls it: Ireland's and Morocco's daylight saving time is negative. */
static icalcomponent_kind kind_of(const struct zone_period *before, const struct zone_period *after)
{
    bool is_daylight = after->is_daylight;
    if (before->is_daylight != after->is_daylight)
        is_daylight = after->offset > before->offset;
    return is_daylight ? ICAL_XDAYLIGHT_COMPONENT : ICAL_XSTANDARD_COMPONENT;
}

static void add(icalcomponent *to, icalcomponent_kind kind, int64_t at, const struct zone_period *before,
                const struct zone_period *after, const char *rule)
{
    icalcomponent *part = icalcomponent_new(kind);
    icalcomponent_add_property(part, icalproperty_new_dtstart(calendar_zone_parts(at + before->offset)));
    icalcomponent_add_property(part, icalproperty_new_tzoffsetfrom(before->offset));
    icalcomponent_add_property(part, icalproperty_new_tzoffsetto(after->offset));
    icalcomponent_add_property(part, icalproperty_new_tzname(after->abbreviation));
    if (rule != NULL)
        icalcomponent_add_property(part, icalproperty_new_rrule(icalrecurrencetype_from_string(rule)));
    icalcomponent_add_component(to, part);
}

/* A time outside of its day, or a fourth week that a month of 28 days would end, is left to the other form. */
static bool write_rule(const struct zone_yearly *day, char rule[64])
{
    static const char *const weekdays[] = {"SU", "MO", "TU", "WE", "TH", "FR", "SA"};
    if (day->time < 0 || day->time >= DAY)
        return false;
    snprintf(rule, 64, "FREQ=YEARLY;BYMONTH=%d;BYDAY=%d%s", day->month, day->week == 5 ? -1 : day->week,
             weekdays[day->weekday]);
    return true;
}

/* The two days of the year, each from its last occurrence before `first` on. */
static bool add_rules(const struct zone *zone, int64_t first, icalcomponent *to)
{
    struct zone_yearly days[2];
    struct zone_change changes[2]; /* the later one first */
    char rules[2][64];
    if (!zone_previous(zone, first, &changes[0]) || !zone_previous(zone, changes[0].at - 1, &changes[1]) ||
        !zone_yearly(zone, changes[1].at, days) || !write_rule(&days[0], rules[0]) || !write_rule(&days[1], rules[1]))
        return false;
    for (size_t i = 2; i-- > 0;) {
        bool is_first = changes[i].after.offset == days[0].after.offset;
        add(to, kind_of(&changes[i].before, &changes[i].after), changes[i].at, &changes[i].before, &changes[i].after,
            rules[is_first ? 0 : 1]);
    }
    return true;
}

static void add_changes(const struct zone *zone, int64_t first, int64_t last, icalcomponent *to)
{
    struct zone_change change;
    struct zone_period period;
    struct zone_change next;
    bool is_more = zone_next(zone, first, &next) && next.at <= last + AFTERWARDS;
    if (zone_previous(zone, first, &change)) {
        /* what stays is the standard, even where it began as daylight saving time: programs look for one */
        icalcomponent_kind kind = is_more ? kind_of(&change.before, &change.after) : ICAL_XSTANDARD_COMPONENT;
        add(to, kind, change.at, &change.before, &change.after, NULL);
    } else {
        zone_at(zone, first, &period);
        add(to, ICAL_XSTANDARD_COMPONENT, 0, &period, &period, NULL);
    }
    for (; is_more; is_more = zone_next(zone, change.at, &next) && next.at <= last + AFTERWARDS) {
        change = next;
        add(to, kind_of(&change.before, &change.after), change.at, &change.before, &change.after, NULL);
    }
}

icalcomponent *calendar_zone_component(const struct zone *zone, const char *name, int64_t first, int64_t last)
{
    icalcomponent *component = icalcomponent_new(ICAL_VTIMEZONE_COMPONENT);
    icalcomponent_add_property(component, icalproperty_new_tzid(name));
    if (!add_rules(zone, first, component))
        add_changes(zone, first, last, component);
    return component;
}
