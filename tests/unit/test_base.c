/* The base library: memory, text, ids, time, messages. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/child.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/message.h"
#include "base/packed.h"
#include "base/secret.h"
#include "base/text.h"
#include "base/uuid.h"

START_TEST(test_an_arena_hands_out_memory_that_stays_until_it_is_reset)
{
    struct arena *arena = arena_create(64);
    char *texts[200];
    for (int i = 0; i < 200; i++)
        texts[i] = arena_printf(arena, "text number %d", i);
    for (int i = 0; i < 200; i++) {
        char expected[32];
        snprintf(expected, sizeof expected, "text number %d", i);
        ck_assert_str_eq(texts[i], expected);
    }
    size_t grown = arena_size(arena);
    arena_reset(arena);
    ck_assert(arena_size(arena) < grown);
    arena_destroy(arena);
}
END_TEST

START_TEST(test_a_buffer_keeps_its_bytes_while_it_grows_and_is_consumed)
{
    struct buffer buffer = {0};
    size_t taken = 0;
    for (int i = 0; i < 1000; i++) {
        buffer_printf(&buffer, "%04d", i);
        if (i % 3 == 0) {
            char expected[8];
            snprintf(expected, sizeof expected, "%04d", (int)taken);
            ck_assert_mem_eq(buffer_bytes(&buffer), expected, 4);
            buffer_consume(&buffer, 4);
            taken++;
        }
    }
    ck_assert_uint_eq(buffer_length(&buffer), (1000 - taken) * 4);
    buffer_clear(&buffer, 16);
    ck_assert_ptr_null(buffer.memory);
}
END_TEST

START_TEST(test_ids_are_version_7_and_never_go_back)
{
    char last[UUID_TEXT_SIZE] = "";
    for (int i = 0; i < 10000; i++) {
        char id[UUID_TEXT_SIZE];
        char parsed[UUID_TEXT_SIZE];
        uuid_v7(id);
        ck_assert_int_eq(id[14], '7');
        ck_assert_ptr_nonnull(strchr("89ab", id[19]));
        ck_assert(uuid_parse(id, strlen(id), parsed));
        unsigned char bytes[16];
        uuid_to_bytes(id, bytes);
        uuid_from_bytes(bytes, parsed);
        ck_assert_str_eq(parsed, id);
        ck_assert_str_eq(id, parsed);
        ck_assert_int_lt(strcmp(last, id), 0);
        memcpy(last, id, sizeof last);
    }
}
END_TEST

START_TEST(test_a_child_makes_other_ids_than_its_parent)
{
    char id[UUID_TEXT_SIZE];
    char childs[UUID_TEXT_SIZE];
    int ends[2];
    uuid_v7(id); /* random bytes are fetched ahead from here on */
    ck_assert_int_eq(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        uuid_v7(childs);
        _exit(write(ends[1], childs, sizeof childs) == (ssize_t)sizeof childs ? 0 : 1);
    }
    ck_assert_int_eq(read(ends[0], childs, sizeof childs), (ssize_t)sizeof childs);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
    uuid_v7(id);
    ck_assert_str_ne(id + 19, childs + 19); /* behind the time */
    close(ends[0]);
    close(ends[1]);
}
END_TEST

START_TEST(test_only_ids_of_the_one_form_are_read)
{
    char text[UUID_TEXT_SIZE];
    const char *good = "0193B5F0-1c2d-7abc-8def-0123456789AB";
    ck_assert(uuid_parse(good, strlen(good), text));
    ck_assert_str_eq(text, "0193b5f0-1c2d-7abc-8def-0123456789ab");
    static const char *const bad[] = {"",
                                      "0193b5f01c2d7abc8def0123456789ab",
                                      "{0193b5f0-1c2d-7abc-8def-0123456789ab}",
                                      "0193b5f0-1c2d-7abc-8def-0123456789a",
                                      "0193b5f0-1c2d-7abc-8def-0123456789abc",
                                      "0193b5f0-1c2d-7abc-8def-0123456789ag",
                                      "0193b5f0x1c2d-7abc-8def-0123456789ab"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(!uuid_parse(bad[i], strlen(bad[i]), text), "%s", bad[i]);
}
END_TEST

START_TEST(test_utf8_is_told_from_what_only_looks_like_it)
{
    static const char *const good[] = {
        "", "abc", "\xc3\xa9", "\xe6\x97\xa5\xe6\x9c\xac", "\xf0\x9f\x8e\x89", "\xef\xbf\xbf", "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {
        "\x80", "\xc0\xaf", "\xc3", "\xed\xa0\x80", "\xe0\x80\x80", "\xf4\x90\x80\x80", "\xf0\x80\x80\x80",
        "\xff", "a\xe6\x97"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        ck_assert_msg(text_is_utf8(good[i], strlen(good[i])), "good %zu", i);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(!text_is_utf8(bad[i], strlen(bad[i])), "bad %zu", i);
}
END_TEST

START_TEST(test_percent_escapes_are_decoded_once)
{
    char to[64];
    ck_assert_int_eq(text_percent_decode("a%2520b+c", 9, false, to), 7);
    ck_assert_str_eq(to, "a%20b+c");
    ck_assert_int_eq(text_percent_decode("a+b%2B", 6, true, to), 4);
    ck_assert_str_eq(to, "a b+");
    static const char *const bad[] = {"%", "%2", "%zz", "%00", "%ff", "abc%"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(text_percent_decode(bad[i], strlen(bad[i]), false, to) == -1, "%s", bad[i]);
}
END_TEST

START_TEST(test_numbers_are_read_whole_or_not_at_all)
{
    int64_t value;
    ck_assert(text_parse_int64("42", 0, 100, &value));
    ck_assert_int_eq(value, 42);
    ck_assert(text_parse_int64("-5", -10, 100, &value));
    static const char *const bad[] = {"", " 42", "42 ", "+42", "4x", "101", "-1", "99999999999999999999", "-"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(!text_parse_int64(bad[i], 0, 100, &value), "\"%s\"", bad[i]);
}
END_TEST

START_TEST(test_json_strings_escape_what_json_wants)
{
    struct buffer buffer = {0};
    text_append_json(&buffer, "a\"b\\c\n\x7f\xff\xc3\xa9", 10);
    ck_assert_str_eq(buffer_text(&buffer), "\"a\\\"b\\\\c\\u000a\\u007f\xef\xbf\xbd\xc3\xa9\"");
    buffer_free(&buffer);
}
END_TEST

START_TEST(test_time_is_written_as_rfc_3339_and_as_http_dates)
{
    char text[28];
    clock_rfc3339(INT64_C(1795356531123456), text);
    ck_assert_str_eq(text, "2026-11-22T14:08:51.123456Z");
    ck_assert_uint_eq(strlen(clock_http_date()), strlen("Sun, 06 Nov 1994 08:49:37 GMT"));
    int64_t first = clock_monotonic();
    ck_assert_int_ge(clock_monotonic(), first);
}
END_TEST

/* What a record looks like on standard error. */
static void capture(void (*write_records)(void), char *text, size_t size)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    int before = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    write_records();
    dup2(before, STDERR_FILENO);
    close(before);
    close(ends[1]);
    ssize_t got = read(ends[0], text, size - 1);
    ck_assert_int_gt(got, 0);
    text[got] = '\0';
    close(ends[0]);
}

static void write_hostile_record(void)
{
    log_info("hello world", log_text("path", "/a\nlevel=error \"x\" \x1b[31m\xc2\x9b"), log_int("n", -3),
             log_text("left_out", NULL), log_text("plain", "abc"));
}

START_TEST(test_a_log_value_cannot_make_a_second_line_or_field)
{
    char text[8192];
    log_configure(LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT);
    capture(write_hostile_record, text, sizeof text);
    ck_assert_ptr_nonnull(strstr(text, "message=\"hello world\""));
    ck_assert_ptr_nonnull(strstr(text, "path=\"/a\\u000alevel=error \\\"x\\\" \\u001b[31m\\u009b\" n=-3 plain=abc\n"));
    ck_assert_ptr_eq(strchr(text, '\n'), text + strlen(text) - 1);
    log_configure(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
    capture(write_hostile_record, text, sizeof text);
    ck_assert_ptr_nonnull(strstr(text, "\"message\":\"hello world\",\"path\":\"/a\\u000alevel=error \\\"x\\\" "
                                       "\\u001b[31m\\u009b\",\"n\":-3,\"plain\":\"abc\"}\n"));
    log_configure(LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT);
}
END_TEST

static void write_long_record(void)
{
    static char value[10000];
    memset(value, 'x', sizeof value - 1);
    log_info("long", log_text("value", value), log_text("behind", "y"));
}

START_TEST(test_a_record_that_is_too_long_is_cut_and_stays_one_line)
{
    char text[16384];
    capture(write_long_record, text, sizeof text);
    ck_assert_uint_le(strlen(text), 4096);
    ck_assert_ptr_eq(strchr(text, '\n'), text + strlen(text) - 1);
    ck_assert_ptr_nonnull(strstr(text, "..."));
}
END_TEST

START_TEST(test_a_record_that_nobody_takes_is_counted)
{
    int kept = dup(STDERR_FILENO);
    int full = open("/dev/full", O_WRONLY);
    ck_assert(kept >= 0 && full >= 0);
    int64_t before = log_lines_dropped();
    dup2(full, STDERR_FILENO);
    log_info("nobody reads this");
    dup2(kept, STDERR_FILENO);
    ck_assert_int_eq(log_lines_dropped(), before + 1);
    log_debug("and this is not written at all");
    ck_assert_int_eq(log_lines_dropped(), before + 1);
    close(full);
    close(kept);
}
END_TEST

START_TEST(test_a_message_arrives_whole_and_in_order)
{
    int ends[2];
    struct message_reader *reader;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends), 0);
    ck_assert_int_eq(message_receive(ends[1], &reader), MESSAGE_NONE);
    for (int i = 0; i < 2; i++) {
        struct message_writer *writer = message_begin(i + 3);
        message_put_int(writer, INT64_MIN + i);
        message_put_text(writer, "text");
        ck_assert(message_send(writer, ends[0]));
    }
    for (int i = 0; i < 2; i++) {
        int64_t number;
        const char *text;
        size_t length;
        ck_assert_int_eq(message_receive(ends[1], &reader), MESSAGE_OK);
        ck_assert_int_eq(message_kind(reader), i + 3);
        ck_assert(!message_get_text(reader, &text, &length)); /* another type */
        ck_assert(message_get_int(reader, &number));
        ck_assert_int_eq(number, INT64_MIN + i);
        ck_assert(message_get_text(reader, &text, &length));
        ck_assert_uint_eq(length, 4);
        ck_assert(!message_get_int(reader, &number)); /* none left */
    }
    ck_assert_int_eq(send(ends[0], "\xc1garbage", 8, 0), 8);
    ck_assert_int_eq(message_receive(ends[1], &reader), MESSAGE_BROKEN);
    close(ends[0]);
    ck_assert_int_eq(message_receive(ends[1], &reader), MESSAGE_CLOSED);
    close(ends[1]);
}
END_TEST

START_TEST(test_packed_bytes_hold_what_they_announce)
{
    static const struct {
        const char *bytes;
        size_t length;
        bool is_whole;
    } samples[] = {
        {"\x05", 1, true},
        {"", 0, false},
        {"\x05\x05", 2, false},
        {"\xa3one", 4, true},
        {"\xa4one", 4, false},
        {"\xd9\x03one", 5, true},
        {"\xda\x00", 2, false},
        {"\xdb\xff\xff\xff\xff", 5, false},
        {"\x92\x01\xc0", 3, true},
        {"\x93\x01\xc0", 3, false},
        {"\xdd\x00\x00\x00\x02\x01\x02", 7, true},
        {"\xdd\xff\xff\xff\xff\x01\x02", 7, false},
        {"\x81\x01\x02", 3, true},
        {"\x81\x01", 2, false},
        {"\xdf\xff\xff\xff\xff\x01\x02", 7, false},
        {"\xcb\1\2\3\4\5\6\7\x08", 9, true},
        {"\xcb\1\2\3\4\5\6\7", 8, false},
        {"\xc7\x02\x01zz", 5, true},
        {"\xc7\x02\x01z", 4, false},
        {"\xd8\x01zzzzzzzzzzzzzzzz", 18, true},
        {"\xd4\x01", 2, false},
    };
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++)
        ck_assert_msg(packed_is_whole(samples[i].bytes, samples[i].length) == samples[i].is_whole, "sample %zu", i);
}
END_TEST

START_TEST(test_a_report_survives_the_channel)
{
    int ends[2];
    struct message_reader *reader;
    struct child_report got;
    struct child_report report = {.connections = 7,
                                  .requests = INT64_C(1) << 40,
                                  .db_share = 4,
                                  .pool_count = 2,
                                  .pools = {{.name = "read", .open = 2, .reachable = 1}, {.name = "write", .lost = 9}}};
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends), 0);
    struct message_writer *writer = message_begin(CHILD_MESSAGE_PONG);
    child_report_put(writer, &report);
    ck_assert(message_send(writer, ends[0]));
    ck_assert_int_eq(message_receive(ends[1], &reader), MESSAGE_OK);
    ck_assert(child_report_get(reader, &got));
    ck_assert_mem_eq(&got, &report, sizeof got);
    writer = message_begin(CHILD_MESSAGE_PONG);
    message_put_int(writer, 1);
    ck_assert(message_send(writer, ends[0]));
    ck_assert_int_eq(message_receive(ends[1], &reader), MESSAGE_OK);
    ck_assert(!child_report_get(reader, &got)); /* cut short */
    close(ends[0]);
    close(ends[1]);
}
END_TEST

START_TEST(test_a_secret_comes_from_a_file_that_others_cannot_read)
{
    char path[] = "/tmp/turnout-secret-XXXXXX";
    char error[256];
    size_t length;
    int descriptor = mkstemp(path);
    ck_assert_int_ge(descriptor, 0);
    ck_assert_int_eq(write(descriptor, "geheim\n", 7), 7);
    char *secret = secret_read(path, &length, error, sizeof error);
    ck_assert_ptr_nonnull(secret);
    ck_assert_str_eq(secret, "geheim");
    ck_assert_uint_eq(length, 6);
    secret_free(secret, length);

    ck_assert_int_eq(fchmod(descriptor, 0644), 0);
    ck_assert_ptr_null(secret_read(path, &length, error, sizeof error));
    ck_assert_ptr_nonnull(strstr(error, "readable for everybody"));
    ck_assert_int_eq(fchmod(descriptor, 0600), 0);
    ck_assert_int_eq(ftruncate(descriptor, 0), 0);
    ck_assert_ptr_null(secret_read(path, &length, error, sizeof error));
    ck_assert_ptr_nonnull(strstr(error, "is empty"));
    close(descriptor);
    unlink(path);
    ck_assert_ptr_null(secret_read(path, &length, error, sizeof error));
    ck_assert_ptr_nonnull(strstr(error, strerror(ENOENT)));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("base");
    TCase *tests = tcase_create("base");
    tcase_add_test(tests, test_an_arena_hands_out_memory_that_stays_until_it_is_reset);
    tcase_add_test(tests, test_a_buffer_keeps_its_bytes_while_it_grows_and_is_consumed);
    tcase_add_test(tests, test_ids_are_version_7_and_never_go_back);
    tcase_add_test(tests, test_a_child_makes_other_ids_than_its_parent);
    tcase_add_test(tests, test_only_ids_of_the_one_form_are_read);
    tcase_add_test(tests, test_utf8_is_told_from_what_only_looks_like_it);
    tcase_add_test(tests, test_percent_escapes_are_decoded_once);
    tcase_add_test(tests, test_numbers_are_read_whole_or_not_at_all);
    tcase_add_test(tests, test_json_strings_escape_what_json_wants);
    tcase_add_test(tests, test_time_is_written_as_rfc_3339_and_as_http_dates);
    tcase_add_test(tests, test_a_log_value_cannot_make_a_second_line_or_field);
    tcase_add_test(tests, test_a_record_that_is_too_long_is_cut_and_stays_one_line);
    tcase_add_test(tests, test_a_record_that_nobody_takes_is_counted);
    tcase_add_test(tests, test_a_message_arrives_whole_and_in_order);
    tcase_add_test(tests, test_packed_bytes_hold_what_they_announce);
    tcase_add_test(tests, test_a_report_survives_the_channel);
    tcase_add_test(tests, test_a_secret_comes_from_a_file_that_others_cannot_read);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
