/* The configuration: what is taken, what is refused, and with which words. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/child.h"
#include "base/configuration.h"
#include "base/message.h"
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
    ck_assert_int_eq(configuration_db_connections(configuration, 2), 11);
    ck_assert_int_eq(configuration_db_share(configuration, 2), 3);
    configuration_free(configuration);
}
END_TEST

START_TEST(test_values_are_read_with_their_units)
{
    struct configuration *configuration =
        read_text("# comment\nworkers = 3\nheader_timeout=500ms\nbody_size = 1m\npublic_read = no\nlisten_mode = 0600\n"
                  "log_level = warning\nlog_format = json\ndb_connections = 17\nlisten = unix:/run/x.sock ; comment\n"
                  "user_reads = 2\nuser_reads_burst = 7200\nuser_writes = 0\nuser_writes_burst = 1000000\n");
    ck_assert_msg(configuration != NULL, "%s", error);
    ck_assert_int_eq(configuration->workers, 3);
    ck_assert_int_eq(configuration->header_timeout, 500000);
    ck_assert_int_eq(configuration->body_size, 1 << 20);
    ck_assert(!configuration->public_read);
    ck_assert_int_eq(configuration->listen_mode, 0600);
    ck_assert_int_eq(configuration->user_reads_burst, 7200);
    ck_assert_int_eq(configuration->user_writes_burst, 1000000);
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
    {"workers = 4\ndb_connections = 16\n",
     ":2: db_connections: expected at least 17 for 4 workers (3 per worker + 5), not 16"},
    {"user_writes = -1\n", ":1: user_writes: expected a number from 0 to 10000, not \"-1\""},
    {"user_writes = 10001\n", ":1: user_writes: expected a number from 0 to 10000, not \"10001\""},
    {"user_writes = 0.5\n", ":1: user_writes: expected a number from 0 to 10000, not \"0.5\""},
    {"user_reads_burst = 0\n", ":1: user_reads_burst: expected a number from 1 to 1000000, not \"0\""},
    {"user_reads = 2\nuser_reads_burst = 7201\n",
     ":2: user_reads_burst: expected at most 7200, an hour of user_reads, which is 2, not 7201"},
    {"\naddress_requests = 1\n",
     ":2: address_requests_burst: expected at most 3600, an hour of address_requests, which is 1, not 5000"},
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

START_TEST(test_a_copy_is_whole_and_of_its_own)
{
    struct configuration *first = read_text("workers = 5\nlisten = unix:/run/x.sock\nidle_timeout = 1500ms\n");
    struct configuration *second = read_text("workers = 6\njwt_issuer = somebody\n");
    ck_assert(first != NULL && second != NULL);
    struct configuration *copy = configuration_copy(first);
    for (const struct option *option = option_table(); option->name != NULL; option++)
        ck_assert_msg(option_equal(option, first, copy), "%s", option->name);
    ck_assert_str_eq(configuration_path(copy), configuration_path(first));
    configuration_free(first);
    configuration_take(copy, second, option_find("jwt_issuer"));
    configuration_free(second);
    ck_assert_int_eq(copy->workers, 5);
    ck_assert_str_eq(copy->listen, "unix:/run/x.sock");
    ck_assert_str_eq(copy->jwt_issuer, "somebody");
    configuration_free(copy);
}
END_TEST

START_TEST(test_a_change_in_place_is_judged_like_a_line_of_the_file)
{
    struct configuration *configuration = read_text("workers = 5\n");
    configuration_set(configuration);
    ck_assert(configuration_change(option_find("workers"), "7", "somebody"));
    ck_assert(!configuration_change(option_find("workers"), "many", "somebody"));
    ck_assert_int_eq(configuration_get()->workers, 7);
    ck_assert(configuration_change(option_find("log_file"), "", NULL));
    ck_assert_ptr_null(configuration_get()->log_file);
    configuration_free(configuration);
}
END_TEST

START_TEST(test_one_value_is_found_in_a_file_that_is_wrong_elsewhere)
{
    ck_assert_ptr_null(read_text("no_such = 1\ncontrol_socket = /run/here.sock\nnonsense\n"));
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs("no_such = 1\ncontrol_socket = /run/here.sock\nnonsense\n[section]\ncontrol_socket = /run/there.sock\n",
          file);
    fclose(file);
    char *found = configuration_peek(path, "control_socket");
    ck_assert_str_eq(found, "/run/here.sock");
    free(found);
    found = configuration_peek(path, "listen");
    ck_assert_str_eq(found, "127.0.0.1:8080");
    free(found);
    unlink(path);
    ck_assert_ptr_null(configuration_peek(path, "control_socket"));
}
END_TEST

/* Every option as long as a line of the file can be: the master would die of a message that is too long. */
START_TEST(test_the_largest_reload_fits_a_message)
{
    int ends[2];
    struct configuration *configuration = configuration_read(NULL, error, sizeof error);
    ck_assert_ptr_nonnull(configuration);
    configuration_set(configuration);
    char longest[200];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    size_t count = 0;
    for (const struct option *option = option_table(); option->name != NULL; option++) {
        if (option->reloadable && option->type == OPTION_TEXT)
            ck_assert(configuration_change(option, longest, NULL));
        count += option->reloadable;
    }
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
    struct message_writer *writer = message_begin(CHILD_MESSAGE_RELOAD);
    message_put_int(writer, 1);
    child_reload_put(writer);
    ck_assert(message_send(writer, ends[0]));
    struct message_reader *reader;
    ck_assert_int_eq(message_receive(ends[1], &reader), MESSAGE_OK);
    int64_t number;
    ck_assert(message_get_int(reader, &number));
    const char *text;
    size_t length;
    size_t texts = 0;
    while (message_get_text(reader, &text, &length))
        texts++;
    ck_assert_uint_eq(texts, 2 * count);
    close(ends[0]);
    close(ends[1]);
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
    tcase_add_test(tests, test_a_copy_is_whole_and_of_its_own);
    tcase_add_test(tests, test_a_change_in_place_is_judged_like_a_line_of_the_file);
    tcase_add_test(tests, test_one_value_is_found_in_a_file_that_is_wrong_elsewhere);
    tcase_add_test(tests, test_the_largest_reload_fits_a_message);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
