/* calendar: writes iCalendar. libical keeps its grammar (folding, escaping, parameters); what it gets is cleaned first,
 * as it passes control characters through. Any process; one call leaves nothing behind. */
#include "mail/calendar.h"

#include <ctype.h>
#include <libical/ical.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mail/calendar_zone.h"
#include "mail/zone.h"

#define PRODUCT "-//turnout//turnout//EN"
#define SECOND 1000000
/* How often a program that subscribed to a feed should look again. */
#define FEED_INTERVAL "PT1H"

int64_t calendar_sequence(int64_t version, int64_t generation, bool is_left)
{
    return 2 * (version + generation - 1) + is_left;
}

/* ---- reading ---- */

static const char *text_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

/* "2026-12-03T09:00:00.25Z" */
static bool moment_of(const json_t *object, const char *name, int64_t *moment)
{
    const char *text = text_of(object, name);
    struct tm parts = {0};
    int64_t unit = SECOND / 10;
    const char *rest = text == NULL ? NULL : strptime(text, "%Y-%m-%dT%H:%M:%S", &parts);
    if (rest == NULL)
        return false;
    *moment = (int64_t)timegm(&parts) * SECOND;
    if (*rest == '.')
        for (rest++; isdigit((unsigned char)*rest); rest++, unit /= 10)
            *moment += (*rest - '0') * unit;
    return strcmp(rest, "Z") == 0;
}

bool calendar_read(const json_t *object, struct calendar_event *event)
{
    const char *status = text_of(object, "status");
    const json_t *version = json_object_get(object, "version");
    const json_t *generation = json_object_get(object, "generation");
    *event = (struct calendar_event){
        .id = text_of(object, "id"),
        .title = text_of(object, "title"),
        .description = text_of(object, "description"),
        .venue = text_of(object, "venue"),
        .category = text_of(object, "category"),
        .timezone = text_of(object, "timezone"),
        .sequence = calendar_sequence(json_integer_value(version),
                                      json_is_integer(generation) ? json_integer_value(generation) : 1, false),
    };
    if (status != NULL && strcmp(status, "cancelled") == 0)
        event->status = CALENDAR_CANCELLED;
    else if (json_is_true(json_object_get(object, "is_waitlisted")))
        event->status = CALENDAR_TENTATIVE;
    return event->id != NULL && event->title != NULL && event->timezone != NULL && status != NULL &&
           json_is_integer(version) && moment_of(object, "start", &event->start) &&
           moment_of(object, "end", &event->end) && moment_of(object, "updated_at", &event->updated_at);
}

/* ---- texts ---- */

/* Without control characters: those of ASCII, and U+0080 to U+009F. Lines may end in any of the three ways; where
 * there is only one line, the end of one is a space. The caller frees it. */
static char *clean(const char *text, bool is_one_line)
{
    char *result = malloc(strlen(text) + 1);
    char *to = result;
    INVARIANT(result != NULL);
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++) {
        bool is_end = *at == '\n' || (*at == '\r' && at[1] != '\n');
        if (is_end || *at == '\t')
            *to++ = is_end && !is_one_line ? '\n' : ' ';
        else if (*at == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0)
            at++;
        else if (*at >= ' ' && *at != 0x7f)
            *to++ = (char)*at;
    }
    *to = '\0';
    return result;
}

static void add_text(icalcomponent *component, icalproperty *(*create)(const char *), const char *text,
                     bool is_one_line)
{
    if (text == NULL || text[0] == '\0')
        return;
    char *cleaned = clean(text, is_one_line);
    icalcomponent_add_property(component, create(cleaned));
    free(cleaned);
}

/* A mailto URI (RFC 6068): what may not stand in one is percent-encoded. */
static void address_to_uri(const char *address, struct buffer *uri)
{
    static const char plain[] = "!$'*+-.^_`{|}~@=";
    buffer_append_text(uri, "mailto:");
    for (const unsigned char *at = (const unsigned char *)address; *at != '\0'; at++) {
        if (isalnum(*at) || strchr(plain, *at) != NULL)
            buffer_append(uri, at, 1);
        else
            buffer_printf(uri, "%%%02X", *at);
    }
}

static void add_party(icalcomponent *component, icalproperty *(*create)(const char *),
                      const struct calendar_party *party, bool is_attendee)
{
    struct buffer uri = {0};
    address_to_uri(party->address, &uri);
    icalproperty *property = create(buffer_text(&uri));
    buffer_free(&uri);
    if (is_attendee) {
        /* who registered has accepted: nobody is asked for an answer */
        icalproperty_add_parameter(property, icalparameter_new_cutype(ICAL_CUTYPE_INDIVIDUAL));
        icalproperty_add_parameter(property, icalparameter_new_role(ICAL_ROLE_REQPARTICIPANT));
        icalproperty_add_parameter(property, icalparameter_new_partstat(ICAL_PARTSTAT_ACCEPTED));
        icalproperty_add_parameter(property, icalparameter_new_rsvp(ICAL_RSVP_FALSE));
    }
    if (party->name != NULL && party->name[0] != '\0') {
        char *name = clean(party->name, true);
        /* no parameter holds a quotation mark, and not every program knows how RFC 6868 writes one */
        for (char *at = name; *at != '\0'; at++)
            if (*at == '"' || *at == '^')
                *at = '\'';
        icalproperty_add_parameter(property, icalparameter_new_cn(name));
        free(name);
    }
    icalcomponent_add_property(component, property);
}

/* ---- events ---- */

static int64_t seconds_of(int64_t moment)
{
    return moment >= 0 ? moment / SECOND : -((-moment + SECOND - 1) / SECOND);
}

static icaltimetype utc_of(int64_t moment)
{
    icaltimetype time = calendar_zone_parts(seconds_of(moment));
    time.zone = icaltimezone_get_utc_timezone();
    return time;
}

/* In local time, so that it stays at this hour for whoever looks at it in that zone, or in UTC where that is the
 * only thing that says which moment is meant. */
static void add_moment(icalcomponent *component, icalproperty *(*create)(icaltimetype), int64_t moment,
                       const struct zone *zone, const char *zone_name)
{
    icaltimetype local;
    if (zone == NULL || !calendar_zone_local(zone, seconds_of(moment), &local)) {
        icalcomponent_add_property(component, create(utc_of(moment)));
        return;
    }
    icalproperty *property = create(local);
    icalproperty_add_parameter(property, icalparameter_new_tzid(zone_name));
    icalcomponent_add_property(component, property);
}

static icalcomponent *event_component(const struct calendar *calendar, const struct calendar_event *event,
                                      const struct zone *zone)
{
    static const icalproperty_status statuses[] = {
        [CALENDAR_CONFIRMED] = ICAL_STATUS_CONFIRMED,
        [CALENDAR_TENTATIVE] = ICAL_STATUS_TENTATIVE,
        [CALENDAR_CANCELLED] = ICAL_STATUS_CANCELLED,
    };
    icalcomponent *component = icalcomponent_new(ICAL_VEVENT_COMPONENT);
    char uid[96];
    snprintf(uid, sizeof uid, "%s@turnout", event->id);
    icalcomponent_add_property(component, icalproperty_new_uid(uid));
    icalcomponent_add_property(
        component, icalproperty_new_dtstamp(utc_of(calendar->now != 0 ? calendar->now : event->updated_at)));
    icalcomponent_add_property(component, icalproperty_new_lastmodified(utc_of(event->updated_at)));
    icalcomponent_add_property(
        component, icalproperty_new_sequence(event->sequence > INT32_MAX ? INT32_MAX : (int)event->sequence));
    icalcomponent_add_property(
        component,
        icalproperty_new_status(statuses[calendar->method == CALENDAR_CANCEL ? CALENDAR_CANCELLED : event->status]));
    add_moment(component, icalproperty_new_dtstart, event->start, zone, event->timezone);
    add_moment(component, icalproperty_new_dtend, event->end, zone, event->timezone);
    add_text(component, icalproperty_new_summary, event->title, true);
    add_text(component, icalproperty_new_location, event->venue, true);
    add_text(component, icalproperty_new_description, event->description, false);
    add_text(component, icalproperty_new_categories, event->category, true);
    if (calendar->organizer.address != NULL)
        add_party(component, icalproperty_new_organizer, &calendar->organizer, false);
    if (calendar->attendee.address != NULL)
        add_party(component, icalproperty_new_attendee, &calendar->attendee, true);
    return component;
}

static void add_experimental(icalcomponent *component, const char *name, const char *value)
{
    char *cleaned = clean(value, true);
    icalproperty *property = icalproperty_new_x(cleaned);
    icalproperty_set_x_name(property, name);
    icalcomponent_add_property(component, property);
    free(cleaned);
}

static icalcomponent *calendar_component(const struct calendar *calendar)
{
    icalcomponent *component = icalcomponent_new(ICAL_VCALENDAR_COMPONENT);
    icalcomponent_add_property(component, icalproperty_new_version("2.0"));
    icalcomponent_add_property(component, icalproperty_new_prodid(PRODUCT));
    icalcomponent_add_property(component, icalproperty_new_calscale("GREGORIAN"));
    if (calendar->method != CALENDAR_NO_METHOD)
        icalcomponent_add_property(
            component,
            icalproperty_new_method(calendar->method == CALENDAR_REQUEST ? ICAL_METHOD_REQUEST : ICAL_METHOD_CANCEL));
    if (calendar->name != NULL) {
        add_text(component, icalproperty_new_name, calendar->name, true);
        /* what programs understood before RFC 7986 had names for it */
        add_experimental(component, "X-WR-CALNAME", calendar->name);
        icalproperty *interval = icalproperty_new_refreshinterval(icaldurationtype_from_string(FEED_INTERVAL));
        icalproperty_add_parameter(interval, icalparameter_new_value(ICAL_VALUE_DURATION));
        icalcomponent_add_property(component, interval);
        add_experimental(component, "X-PUBLISHED-TTL", FEED_INTERVAL);
    }
    return component;
}

/* Of the zones that the events name, each once. */
struct zone_used {
    const char *name;
    struct zone *zone; /* NULL: not known here */
    int64_t first;
    int64_t last;
};

static struct zone_used *use_zone(struct zone_used *used, size_t *count, const struct calendar_event *event)
{
    struct zone_used *found = used;
    while (found < used + *count && strcmp(found->name, event->timezone) != 0)
        found++;
    if (found == used + *count) {
        ++*count;
        *found = (struct zone_used){event->timezone, zone_read(event->timezone), INT64_MAX, INT64_MIN};
    }
    if (seconds_of(event->start) < found->first)
        found->first = seconds_of(event->start);
    if (seconds_of(event->end) > found->last)
        found->last = seconds_of(event->end);
    return found;
}

void calendar_write(const struct calendar *calendar, const struct calendar_event *events, size_t count,
                    struct buffer *to)
{
    INVARIANT(calendar->method == CALENDAR_NO_METHOD ||
              (calendar->organizer.address != NULL && calendar->attendee.address != NULL));
    icalcomponent *whole = calendar_component(calendar);
    struct zone_used *used = calloc(count + 1, sizeof *used);
    struct zone_used **of_event = calloc(count + 1, sizeof *of_event);
    size_t used_count = 0;
    INVARIANT(used != NULL && of_event != NULL);
    for (size_t i = 0; i < count; i++)
        of_event[i] = use_zone(used, &used_count, &events[i]);
    for (size_t i = 0; i < used_count; i++)
        if (used[i].zone != NULL)
            icalcomponent_add_component(
                whole, calendar_zone_component(used[i].zone, used[i].name, used[i].first, used[i].last));
    for (size_t i = 0; i < count; i++)
        icalcomponent_add_component(whole, event_component(calendar, &events[i], of_event[i]->zone));
    char *text = icalcomponent_as_ical_string_r(whole);
    buffer_append_text(to, text);
    icalmemory_free_buffer(text);
    icalcomponent_free(whole);
    for (size_t i = 0; i < used_count; i++)
        zone_free(used[i].zone);
    free(of_event);
    free(used);
}

bool calendar_write_json(const struct calendar *calendar, const char *json, size_t length, struct buffer *to)
{
    json_t *whole = json_loadb(json, length, 0, NULL);
    size_t count = json_is_array(whole) ? json_array_size(whole) : 1;
    struct calendar_event *events = calloc(count + 1, sizeof *events);
    size_t read = 0;
    INVARIANT(events != NULL);
    while (read < count && calendar_read(json_is_array(whole) ? json_array_get(whole, read) : whole, &events[read]))
        read++;
    if (read == count)
        calendar_write(calendar, events, count, to);
    free(events);
    json_decref(whole);
    return read == count;
}
