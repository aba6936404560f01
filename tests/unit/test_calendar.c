/* Calendars say the right instant to libical's parser in every zone, on both sides of each change of the clocks, and no
 * text of an event becomes structure. tests/system/test_calendars.py asks a second parser. */
#include <check.h>
#include <libical/ical.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mail/calendar.h"
#include "mail/zone.h"

#define SECOND INT64_C(1000000)
#define HOUR 3600
#define DAY (24 * HOUR)

static const struct calendar_event sample = {
    .id = "019a9f3e-7c1b-7f00-8a11-22334455aabb",
    .title = "All hands",
    .description = "",
    .venue = "Hall 3",
    .category = "company",
    .timezone = "Europe/Berlin",
    .start = 1764752400 * SECOND, /* 2025-12-03T09:00:00Z */
    .end = 1764756000 * SECOND,
    .updated_at = 1764000000 * SECOND,
    .sequence = 2,
};

/* The parsed calendar; the caller frees it. */
static icalcomponent *parse(const struct buffer *text)
{
    struct buffer copy = {0};
    buffer_append(&copy, buffer_bytes(text), buffer_length(text));
    icalcomponent *whole = icalcomponent_new_from_string(buffer_text(&copy));
    ck_assert_ptr_nonnull(whole);
    ck_assert_int_eq(icalcomponent_count_errors(whole), 0);
    buffer_free(&copy);
    return whole;
}

/* As a client reads it: the local time, by the VTIMEZONE of this calendar. */
static int64_t instant(icalcomponent *whole, icalcomponent *event, icalproperty_kind kind)
{
    icalproperty *property = icalcomponent_get_first_property(event, kind);
    icaltimetype time =
        kind == ICAL_DTSTART_PROPERTY ? icalproperty_get_dtstart(property) : icalproperty_get_dtend(property);
    if (icaltime_is_utc(time))
        return (int64_t)icaltime_as_timet_with_zone(time, icaltimezone_get_utc_timezone());
    const char *name = icalproperty_get_parameter_as_string(property, "TZID");
    icaltimezone *zone = icalcomponent_get_timezone(whole, name);
    ck_assert_msg(zone != NULL, "no VTIMEZONE for %s", name);
    return (int64_t)icaltime_as_timet_with_zone(time, zone);
}

static void check_instants(const struct calendar_event *events, size_t count)
{
    struct buffer text = {0};
    size_t found = 0;
    calendar_write(&(struct calendar){0}, events, count, &text);
    icalcomponent *whole = parse(&text);
    for (icalcomponent *event = icalcomponent_get_first_component(whole, ICAL_VEVENT_COMPONENT); event != NULL;
         event = icalcomponent_get_next_component(whole, ICAL_VEVENT_COMPONENT)) {
        ck_assert_msg(instant(whole, event, ICAL_DTSTART_PROPERTY) == events[found].start / SECOND &&
                          instant(whole, event, ICAL_DTEND_PROPERTY) == events[found].end / SECOND,
                      "%s, %ld to %ld, is read as %ld to %ld:\n%.1500s", events[found].timezone,
                      (long)(events[found].start / SECOND), (long)(events[found].end / SECOND),
                      (long)instant(whole, event, ICAL_DTSTART_PROPERTY),
                      (long)instant(whole, event, ICAL_DTEND_PROPERTY), buffer_text(&text));
        found++;
    }
    ck_assert_uint_eq(found, count);
    icalcomponent_free(whole);
    buffer_free(&text);
}

static struct calendar_event event_at(const char *zone, int64_t start, int64_t length)
{
    struct calendar_event event = sample;
    event.timezone = zone;
    event.start = start * SECOND;
    event.end = (start + length) * SECOND;
    return event;
}

/* Around each change of a zone in some years, alone and all in one feed. */
static void check_zone(const char *name, int64_t from, int64_t to, bool alone)
{
    static const int64_t around[] = {-DAY, -HOUR, -1, 0, 1, HOUR / 2, HOUR, 2 * HOUR, DAY};
    struct calendar_event events[400];
    size_t count = 0;
    struct zone *zone = zone_read(name);
    struct zone_change change;
    ck_assert_msg(zone != NULL, "%s", name);
    events[count++] = event_at(name, from + DAY / 3, HOUR);
    for (int64_t at = from; zone_next(zone, at, &change) && change.at < to && count < 380; at = change.at)
        for (size_t i = 0; i < sizeof around / sizeof around[0]; i++)
            events[count++] = event_at(name, change.at + around[i], 3 * HOUR);
    check_instants(events, count);
    for (size_t i = 0; alone && i < count; i++)
        check_instants(&events[i], 1);
    zone_free(zone);
}

#define YEAR(number) (((int64_t)(number)-1970) * 31556952)

static const char *const hard_zones[] = {
    "Europe/Berlin",   "America/New_York",   "Europe/Dublin",       "Africa/Casablanca",
    "Asia/Tehran",     "Pacific/Easter",     "Australia/Lord_Howe", "Asia/Kathmandu",
    "Asia/Gaza",       "America/Nuuk",       "America/Sao_Paulo",   "Africa/Cairo",
    "Asia/Jerusalem",  "America/Santiago",   "Pacific/Apia",        "Antarctica/Troll",
    "Pacific/Chatham", "Pacific/Kiritimati", "America/St_Johns",    "Asia/Pyongyang",
    "Europe/Istanbul", "America/Caracas",    "Asia/Tokyo",          "UTC",
    "Etc/GMT-14",
};

START_TEST(test_libical_reads_the_right_instant_around_each_change_of_the_clocks)
{
    const char *zone = hard_zones[_i];
    check_zone(zone, YEAR(2005), YEAR(2020), false);
    check_zone(zone, YEAR(2024), YEAR(2029), true);
    check_zone(zone, YEAR(2036), YEAR(2041), true);
}
END_TEST

/* zone answers as the C library does, which can be asked about one zone a process. */
START_TEST(test_a_zone_is_what_the_C_library_says)
{
    const char *name = hard_zones[_i];
    struct zone *zone = zone_read(name);
    struct zone_period period;
    setenv("TZ", name, 1);
    tzset();
    for (int64_t at = YEAR(1900); at < YEAR(2100); at += 5 * DAY + 1234) {
        time_t moment = (time_t)at;
        struct tm parts;
        ck_assert_ptr_nonnull(localtime_r(&moment, &parts));
        zone_at(zone, at, &period);
        ck_assert_msg(period.offset == parts.tm_gmtoff, "%s at %ld: %d, not %ld", name, (long)at, period.offset,
                      parts.tm_gmtoff);
        ck_assert_str_eq(period.abbreviation, parts.tm_zone);
    }
    zone_free(zone);
}
END_TEST

START_TEST(test_a_zone_that_is_none_gives_moments_in_UTC)
{
    static const char *const names[] = {"",       "Mars/Olympus", "../../etc/passwd", "/etc/localtime",
                                        "Europe", "tzdata.zi"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        ck_assert_msg(zone_read(names[i]) == NULL, "%s", names[i]);
        struct calendar_event event = event_at(names[i], sample.start / SECOND, HOUR);
        check_instants(&event, 1);
    }
    check_zone("Europe/Berlin", YEAR(2025), YEAR(2026), false); /* its twin */
}
END_TEST

START_TEST(test_events_share_the_time_zones)
{
    struct calendar_event events[] = {sample, event_at("Asia/Tokyo", 1790000000, HOUR), sample, sample};
    struct buffer text = {0};
    events[3].start -= 200 * DAY * SECOND;
    events[3].end -= 200 * DAY * SECOND;
    calendar_write(&(struct calendar){.name = "Events"}, events, 4, &text);
    icalcomponent *whole = parse(&text);
    ck_assert_int_eq(icalcomponent_count_components(whole, ICAL_VTIMEZONE_COMPONENT), 2);
    ck_assert_int_eq(icalcomponent_count_components(whole, ICAL_VEVENT_COMPONENT), 4);
    icalcomponent_free(whole);
    buffer_free(&text);
    check_instants(events, 4);
}
END_TEST

START_TEST(test_the_same_entry_is_changed_and_taken_out)
{
    struct calendar calendar = {
        .method = CALENDAR_REQUEST,
        .organizer = {"Events", "events@example.com"},
        .attendee = {"Aoi \"the first\"\r\nX: y", "aoi+x@example.com"},
        .now = 1764100000 * SECOND,
    };
    struct calendar_event event = sample;
    struct buffer texts[2] = {0};
    calendar_write(&calendar, &event, 1, &texts[0]);
    calendar.method = CALENDAR_CANCEL;
    event.sequence = calendar_sequence(2, 1, false);
    calendar_write(&calendar, &event, 1, &texts[1]);
    static const char *const wanted[2][2] = {{"METHOD:REQUEST\r\n", "STATUS:CONFIRMED\r\n"},
                                             {"METHOD:CANCEL\r\n", "STATUS:CANCELLED\r\n"}};
    for (size_t i = 0; i < 2; i++) {
        const char *text = buffer_text(&texts[i]);
        ck_assert_ptr_nonnull(strstr(text, wanted[i][0]));
        ck_assert_ptr_nonnull(strstr(text, wanted[i][1]));
        ck_assert_ptr_nonnull(strstr(text, "\r\nUID:019a9f3e-7c1b-7f00-8a11-22334455aabb@turnout\r\n"));
        ck_assert_ptr_nonnull(strstr(text, "\r\nDTSTAMP:20251125T194640Z\r\n"));
        icalcomponent *whole = parse(&texts[i]);
        icalcomponent *inner = icalcomponent_get_inner(whole);
        ck_assert_int_eq(icalcomponent_get_sequence(inner), i == 0 ? 2 : 4);
        icalproperty *attendee = icalcomponent_get_first_property(inner, ICAL_ATTENDEE_PROPERTY);
        ck_assert_str_eq(icalproperty_get_attendee(attendee), "mailto:aoi+x@example.com");
        ck_assert_str_eq(icalproperty_get_parameter_as_string(attendee, "CN"), "Aoi 'the first' X: y");
        ck_assert_ptr_null(icalcomponent_get_first_property(inner, ICAL_X_PROPERTY));
        icalcomponent_free(whole);
        buffer_free(&texts[i]);
    }
}
END_TEST

START_TEST(test_each_step_of_a_registration_is_a_newer_entry)
{
    /* registers, the event is edited, leaves, comes back, the event is edited again */
    const int64_t steps[] = {calendar_sequence(1, 1, false), calendar_sequence(2, 1, false),
                             calendar_sequence(2, 1, true), calendar_sequence(2, 2, false),
                             calendar_sequence(3, 2, false)};
    for (size_t i = 1; i < sizeof steps / sizeof steps[0]; i++)
        ck_assert_int_gt(steps[i], steps[i - 1]);
}
END_TEST

static void repeat(struct buffer *to, const char *text, size_t count)
{
    while (count-- > 0)
        buffer_append_text(to, text);
}

START_TEST(test_a_hostile_text_stays_a_text)
{
    struct buffer title = {0};
    struct buffer text = {0};
    struct calendar_event event = sample;
    repeat(&title, "日本語", 85);
    const char *const titles[] = {
        "\"\r\nBcc: x",
        "a\nEND:VEVENT\nBEGIN:VALARM",
        "semi; comma, back\\slash\\n: colon",
        "\xe2\x80\xae right to left",
        "bell \a, escape \x1b, next line \xc2\x85.",
        buffer_text(&title),
    };
    static const char *const read_back[] = {
        "\" Bcc: x",
        "a END:VEVENT BEGIN:VALARM",
        "semi; comma, back\\slash\\n: colon",
        "\xe2\x80\xae right to left",
        "bell , escape , next line .",
        NULL,
    };
    for (size_t i = 0; i < sizeof titles / sizeof titles[0]; i++) {
        event.title = event.venue = titles[i];
        event.description = "first\r\nBEGIN:VEVENT\rlast\n";
        buffer_clear(&text, 0);
        calendar_write(&(struct calendar){0}, &event, 1, &text);
        icalcomponent *whole = parse(&text);
        ck_assert_int_eq(icalcomponent_count_components(whole, ICAL_ANY_COMPONENT), 2);
        icalcomponent *inner = icalcomponent_get_inner(whole);
        ck_assert_int_eq(icalcomponent_count_components(inner, ICAL_ANY_COMPONENT), 0);
        ck_assert_str_eq(icalcomponent_get_summary(inner), read_back[i] == NULL ? titles[i] : read_back[i]);
        ck_assert_str_eq(icalcomponent_get_location(inner), read_back[i] == NULL ? titles[i] : read_back[i]);
        ck_assert_str_eq(icalcomponent_get_description(inner), "first\nBEGIN:VEVENT\nlast\n");
        icalcomponent_free(whole);
        char *rest = buffer_text(&text);
        for (char *line = strsep(&rest, "\n"); rest != NULL; line = strsep(&rest, "\n")) {
            size_t length = strlen(line);
            ck_assert_msg(length > 0 && length <= 76 && line[length - 1] == '\r' && strcspn(line, "\r") == length - 1,
                          "%s", line);
            ck_assert_msg(((unsigned char)line[line[0] == ' '] & 0xc0) != 0x80, "folded inside of a character: %s",
                          line);
        }
    }
    buffer_free(&text);
    buffer_free(&title);
}
END_TEST

START_TEST(test_an_event_is_read_from_what_the_database_gives)
{
    static const char whole[] =
        "{\"id\":\"019a9f3e-7c1b-7f00-8a11-22334455aabb\",\"title\":\"All hands\",\"description\":\"\",\"venue\":\"\","
        "\"category\":\"company\",\"status\":\"cancelled\",\"timezone\":\"Asia/Tokyo\",\"version\":3,"
        "\"start\":\"2026-12-03T09:00:00Z\",\"end\":\"2026-12-03T10:00:00.25Z\",\"updated_at\":\"2026-11-23T03:25:00."
        "123456Z\"}";
    static const char *const needed[] = {"id", "title", "status", "timezone", "version", "start", "end", "updated_at"};
    struct calendar_event event;
    json_t *object = json_loads(whole, 0, NULL);
    ck_assert(calendar_read(object, &event));
    ck_assert_int_eq(event.start, 1796288400 * SECOND);
    ck_assert_int_eq(event.end, 1796292000 * SECOND + 250000);
    ck_assert_int_eq(event.updated_at % SECOND, 123456);
    ck_assert_int_eq(event.status, CALENDAR_CANCELLED);
    ck_assert_int_eq(event.sequence, calendar_sequence(3, 1, false));
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        json_t *less = json_copy(object);
        json_object_del(less, needed[i]);
        ck_assert_msg(!calendar_read(less, &event), "without %s", needed[i]);
        json_decref(less);
    }
    json_object_set_new(object, "start", json_string("2026-12-03T09:00:00+01:00"));
    ck_assert(!calendar_read(object, &event));
    json_decref(object);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("calendar");
    TCase *tests = tcase_create("calendar");
    const int zones = sizeof hard_zones / sizeof hard_zones[0];
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, test_libical_reads_the_right_instant_around_each_change_of_the_clocks, 0, zones);
    tcase_add_loop_test(tests, test_a_zone_is_what_the_C_library_says, 0, zones);
    tcase_add_test(tests, test_a_zone_that_is_none_gives_moments_in_UTC);
    tcase_add_test(tests, test_events_share_the_time_zones);
    tcase_add_test(tests, test_the_same_entry_is_changed_and_taken_out);
    tcase_add_test(tests, test_each_step_of_a_registration_is_a_newer_entry);
    tcase_add_test(tests, test_a_hostile_text_stays_a_text);
    tcase_add_test(tests, test_an_event_is_read_from_what_the_database_gives);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
