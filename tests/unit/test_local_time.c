/* Moments are written as people of each language write them, and say their zone and its distance from UTC. */
#include <check.h>
#include <stdlib.h>

#include "mail/local_time.h"

static const struct {
    const char *language;
    const char *locale;
    const char *start, *start_offset;
    const char *end, *end_offset;
    const char *zone;
    const char *span;
} spans[] = {
    {"en", "en", "2026-12-03T10:00:00", "+01:00", "2026-12-03T12:00:00", "+01:00", "Europe/Berlin",
     "Thursday, 3 December 2026, 10:00–12:00 (Europe/Berlin, UTC+01:00)"},
    {"en", "en-GB", "2026-12-03T09:05:00", "+00:00", "2026-12-03T17:30:00", "+00:00", "Europe/London",
     "Thursday, 3 December 2026, 09:05–17:30 (Europe/London, UTC+00:00)"},
    {"en", "en-US", "2026-12-03T00:00:00", "-05:00", "2026-12-03T12:30:00", "-05:00", "America/New_York",
     "Thursday, December 3, 2026, 12:00 AM to 12:30 PM (America/New_York, UTC-05:00)"},
    {"en", "EN-Latn-us-x-y", "2026-12-03T11:59:00", "-05:00", "2026-12-03T13:00:00", "-05:00", "America/New_York",
     "Thursday, December 3, 2026, 11:59 AM to 1:00 PM (America/New_York, UTC-05:00)"},
    /* the words around it are English, the reader's habits are not American */
    {"en", "es-US", "2026-12-03T10:00:00", "+00:00", "2026-12-03T12:00:00", "+00:00", "UTC",
     "Thursday, 3 December 2026, 10:00–12:00 (UTC)"},
    {"ja", "ja-JP", "2026-12-03T09:00:00", "+09:00", "2026-12-03T17:30:00", "+09:00", "Asia/Tokyo",
     "2026年12月3日(木) 9:00〜17:30(Asia/Tokyo、UTC+09:00)"},
    {"de", "de", "2026-12-03T09:00:00", "+01:00", "2026-12-03T17:30:00", "+01:00", "Europe/Berlin",
     "2026-12-03 09:00–17:30 (Europe/Berlin, UTC+01:00)"},
    /* several days */
    {"en", "en", "2026-12-31T22:00:00", "+05:30", "2027-01-01T02:00:00", "+05:30", "Asia/Kolkata",
     "Thursday, 31 December 2026, 22:00 to Friday, 1 January 2027, 02:00 (Asia/Kolkata, UTC+05:30)"},
    {"en", "en", "2026-12-03T20:00:00", "+01:00", "2026-12-04T00:00:00", "+01:00", "Europe/Berlin",
     "Thursday, 3 December 2026, 20:00 to Friday, 4 December 2026, 00:00 (Europe/Berlin, UTC+01:00)"},
    {"ja", "ja", "2026-12-03T09:00:00", "+09:00", "2026-12-05T17:30:00", "+09:00", "Asia/Tokyo",
     "2026年12月3日(木) 9:00 〜 2026年12月5日(土) 17:30(Asia/Tokyo、UTC+09:00)"},
    {"de", "de", "2028-02-29T09:00:00", "+01:00", "2028-03-01T17:30:00", "+01:00", "Europe/Berlin",
     "2028-02-29 09:00 – 2028-03-01 17:30 (Europe/Berlin, UTC+01:00)"},
    /* clocks are set back at 3 o'clock that night: it begins after it ends, to who looks at the clock alone */
    {"en", "en", "2026-10-25T02:45:00", "+02:00", "2026-10-25T02:15:00", "+01:00", "Europe/Berlin",
     "Sunday, 25 October 2026, 02:45 (UTC+02:00) to 02:15 (Europe/Berlin, UTC+01:00)"},
    {"ja", "ja", "2026-10-24T23:00:00", "+02:00", "2026-10-25T05:00:00", "+01:00", "Europe/Berlin",
     "2026年10月24日(土) 23:00(UTC+02:00) 〜 2026年10月25日(日) 5:00(Europe/Berlin、UTC+01:00)"},
};

START_TEST(test_a_span_is_written_out)
{
    struct local_time start;
    struct local_time end;
    struct buffer text = {0};
    ck_assert(local_time_read(spans[_i].start, spans[_i].start_offset, &start));
    ck_assert(local_time_read(spans[_i].end, spans[_i].end_offset, &end));
    local_time_span(&(struct local_time_style){spans[_i].language, spans[_i].locale}, &start, &end, spans[_i].zone,
                    &text);
    ck_assert_str_eq(buffer_text(&text), spans[_i].span);
    buffer_free(&text);
}
END_TEST

START_TEST(test_a_day_and_a_clock_are_written_alone)
{
    static const struct local_time_style styles[] = {{"en", "en"}, {"en", "en-US"}, {"ja", "ja"}, {"fr", "fr"}};
    static const char *const texts[] = {"Sunday, 1 November 2026|08:30", "Sunday, November 1, 2026|8:30 AM",
                                        "2026年11月1日(日)|8:30", "2026-11-01|08:30"};
    struct local_time time;
    ck_assert(local_time_read("2026-11-01T08:30:59", "+00:00", &time));
    for (int i = 0; i < 4; i++) {
        struct buffer text = {0};
        local_time_date(&styles[i], &time, &text);
        buffer_append_text(&text, "|");
        local_time_clock(&styles[i], &time, &text);
        ck_assert_str_eq(buffer_text(&text), texts[i]);
        buffer_free(&text);
    }
}
END_TEST

START_TEST(test_what_is_no_moment_is_refused)
{
    static const char *const bad[][2] = {
        {"2026-02-29T10:00:00", "+01:00"},
        {"2026-13-01T10:00:00", "+01:00"},
        {"2026-12-03 10:00:00", "+01:00"},
        {"2026-12-03T10:00:00Z", "+01:00"},
        {"", "+01:00"},
        {"2026-12-03T10:00:00", "01:00"},
        {"2026-12-03T10:00:00", "+0100"},
        {"2026-12-03T10:00:00", ""},
        {"2026-12-03T10:00:00", "+01:xx"},
    };
    struct local_time time;
    ck_assert(local_time_read("2028-02-29T10:00:00.5", "-11:00", &time));
    ck_assert_int_eq(time.weekday, 2);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(!local_time_read(bad[i][0], bad[i][1], &time), "%s %s", bad[i][0], bad[i][1]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("local_time");
    TCase *tests = tcase_create("local_time");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, test_a_span_is_written_out, 0, sizeof spans / sizeof spans[0]);
    tcase_add_test(tests, test_a_day_and_a_clock_are_written_alone);
    tcase_add_test(tests, test_what_is_no_moment_is_refused);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
