/* The configuration: what is taken, what is refused, and with which words. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/configuration.h"
#include "base/option.h"

static char path[64];
static char error[512];

static struct configuration *read_text(const char *text)
{
    snprintf(path, sizeof path, "/tmp/turnout-conf-XXXXXX");
    int descriptor = mkstemp(path);
    ck_assert_int_ge(descriptor, 0);
    ck_assert_int_eq(write(descriptor, text, strlen(text)), (ssize_t)strlen(text));
    close(descriptor);
    error[0] = '\0';
    struct configuration *configuration = configuration_read(path, error, sizeof error);
    unlink(path);
    return configuration;
}

/* The message without the path of the temporary file in front. */
static const char *message(void)
{
    ck_assert_msg(strncmp(error, path, strlen(path)) == 0, "%s", error);
    return error + strlen(path);
}

START_TEST(test_defaults_are_good)
{
    struct configuration *configuration = configuration_read(NULL, error, sizeof error);
    ck_assert_msg(configuration != NULL, "%s", error);
    ck_assert_int_eq(configuration->workers, 2);
    ck_assert_int_eq(configuration->idle_timeout, 75000000);
    ck_assert_int_eq(configuration_db_connections(configuration, 2), 9);
    ck_assert_int_eq(configuration_db_share(configuration, 2), 2);
    configuration_free(configuration);
}
END_TEST

START_TEST(test_values_are_read_with_their_units)
{
    struct configuration *configuration =
        read_text("# comment\nworkers = 3\nheader_timeout=500ms\nbody_size = 1m\npublic_read = no\nlisten_mode = 0600\n"
                  "log_level = warning\nlog_format = json\ndb_connections = 17\nlisten = unix:/run/x.sock ; comment\n");
    ck_assert_msg(configuration != NULL, "%s", error);
    ck_assert_int_eq(configuration->workers, 3);
    ck_assert_int_eq(configuration->header_timeout, 500000);
    ck_assert_int_eq(configuration->body_size, 1 << 20);
    ck_assert(!configuration->public_read);
    ck_assert_int_eq(configuration->listen_mode, 0600);
    ck_assert_int_eq(configuration->log_level, LOG_LEVEL_WARNING);
    ck_assert_int_eq(configuration->log_format, LOG_FORMAT_JSON);
    ck_assert_str_eq(configuration->listen, "unix:/run/x.sock");
    ck_assert_int_eq(configuration_db_share(configuration, 3), 4);
    configuration_free(configuration);
}
END_TEST

static const struct refusal {
    const char *text;
    const char *message;
} refusals[] = {
    {"workers = 2\nwrokers = 3\n", ":2: wrokers: unknown option"},
    {"\nworkers = many\n", ":2: workers: expected a number from 1 to 256, not \"many\""},
    {"workers = 0\n", ":1: workers: expected a number from 1 to 256, not \"0\""},
    {"workers = 2k\n", ":1: workers: expected a number from 1 to 256, not \"2k\""},
    {"idle_timeout = 75\n", ":1: idle_timeout: expected a duration (us, ms, s, m, h, d) from 10ms to 1h, not \"75\""},
    {"body_size = 1g\n", ":1: body_size: expected a size (k, m) from 1k to 64m, not \"1g\""},
    {"public_read = maybe\n", ":1: public_read: expected yes or no, not \"maybe\""},
    {"listen_mode = 0999\n", ":1: listen_mode: expected permission bits in octal from 0000 to 0777, not \"0999\""},
    {"log_level = loud\n", ":1: log_level: expected debug, info, warning or error, not \"loud\""},
    {"[turnout]\nworkers = 2\n", ":2: turnout: sections are not used; write the options without them"},
    {"workers = 2\nnonsense\n", ":2: expected name = value"},
    {"listen =\n", ":1: listen: expected a value"},
    {"workers = 4\ndb_connections = 12\n",
     ":2: db_connections: expected at least 13 for 4 workers (2 per worker + 5), not 12"},
    {"workers = 70\n", ":1: workers: expected at most workers_max, which is 64, not 70"},
};

START_TEST(test_a_mistake_is_named_with_its_line_and_what_was_expected)
{
    const struct refusal *refusal = &refusals[_i];
    ck_assert_ptr_null(read_text(refusal->text));
    ck_assert_str_eq(message(), refusal->message);
    ck_assert_ptr_null(strchr(error, '\n'));
}
END_TEST

START_TEST(test_an_option_set_twice_is_refused)
{
    ck_assert_ptr_null(read_text("workers = 2\nworkers = 3\n"));
    ck_assert_ptr_nonnull(strstr(error, ":2: workers: is set twice (first at "));
}
END_TEST

START_TEST(test_a_line_longer_than_the_reader_takes_is_refused_not_cut)
{
    char text[1024] = "database = ";
    memset(text + strlen(text), 'x', 800);
    ck_assert_ptr_null(read_text(text));
    ck_assert_ptr_nonnull(strstr(error, ":1: the line is longer than"));
}
END_TEST

START_TEST(test_a_file_that_is_missing_is_named)
{
    ck_assert_ptr_null(configuration_read("/nonexistent/turnout.conf", error, sizeof error));
    ck_assert_str_eq(error, "/nonexistent/turnout.conf: No such file or directory");
}
END_TEST

static void check_row(void *context, const char *name, const char *value, const char *preset, const char *origin)
{
    int *seen = context;
    (*seen)++;
    if (strcmp(name, "workers") == 0) {
        ck_assert_str_eq(value, "5");
        ck_assert_str_eq(preset, "2");
        ck_assert_ptr_nonnull(strstr(origin, ":1"));
    } else {
        ck_assert_str_eq(value, preset);
        ck_assert_str_eq(origin, "default");
    }
}

START_TEST(test_each_option_is_shown_with_value_default_and_origin)
{
    int seen = 0;
    int expected = 0;
    struct configuration *configuration = read_text("workers = 5\n");
    ck_assert_msg(configuration != NULL, "%s", error);
    configuration_each(configuration, check_row, &seen);
    for (const struct option *option = option_table(); option->name != NULL; option++)
        expected++;
    ck_assert_int_eq(seen, expected);
    configuration_free(configuration);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("configuration");
    TCase *tests = tcase_create("configuration");
    tcase_add_test(tests, test_defaults_are_good);
    tcase_add_test(tests, test_values_are_read_with_their_units);
    tcase_add_loop_test(tests, test_a_mistake_is_named_with_its_line_and_what_was_expected, 0,
                        (int)(sizeof refusals / sizeof refusals[0]));
    tcase_add_test(tests, test_an_option_set_twice_is_refused);
    tcase_add_test(tests, test_a_line_longer_than_the_reader_takes_is_refused_not_cut);
    tcase_add_test(tests, test_a_file_that_is_missing_is_named);
    tcase_add_test(tests, test_each_option_is_shown_with_value_default_and_origin);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
