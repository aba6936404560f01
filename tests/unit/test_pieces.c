/* Texts longer than a message arrive whole, in order, and through a channel that is full for most of the time. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/message.h"
#include "base/pieces.h"

enum { KIND = 7, LONG = 3 << 20 };

static struct event_base *base;
static struct pieces *pieces;
static int ends[2];

static void set_up(void)
{
    base = event_base_new();
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends), 0);
    pieces = pieces_create(base, ends[0]);
}

static void tear_down(void)
{
    close(ends[0]);
    if (ends[1] >= 0)
        close(ends[1]);
    ends[1] = -1;
}

static char *letters(size_t length)
{
    char *text = malloc(length);
    for (size_t i = 0; i < length; i++)
        text[i] = (char)('a' + i % 26 + (i >> 16) % 7);
    return text;
}

/* Reads one text to its end. Returns its number; `messages`: how many it took. */
static int64_t read_text(struct buffer *text, int64_t *status, int *messages)
{
    *messages = 0;
    for (;;) {
        struct message_reader *reader;
        int64_t number;
        int64_t more;
        const char *piece;
        size_t length;
        enum message_result result = message_receive(ends[1], &reader);
        if (result == MESSAGE_NONE) {
            ck_assert_int_ge(event_base_loop(base, EVLOOP_NONBLOCK), 0); /* 1: all is sent */
            continue;
        }
        ck_assert_int_eq(result, MESSAGE_OK);
        ck_assert_int_eq(message_kind(reader), KIND);
        ck_assert(message_get_int(reader, &number));
        ck_assert(message_get_int(reader, &more));
        ck_assert(message_get_int(reader, status));
        ck_assert(message_get_text(reader, &piece, &length));
        buffer_append(text, piece, length);
        (*messages)++;
        if (more == 0)
            return number;
    }
}

START_TEST(test_texts_arrive_whole_and_in_order_though_the_channel_holds_less)
{
    char *text = letters(LONG);
    struct buffer got = {0};
    int64_t status;
    int messages;
    pieces_send(pieces, KIND, 1, 0, text, LONG);
    pieces_send(pieces, KIND, 2, 4, "short", 5);
    pieces_send(pieces, KIND, 3, 0, "", 0);
    ck_assert_int_eq(read_text(&got, &status, &messages), 1);
    ck_assert_uint_eq(buffer_length(&got), LONG);
    ck_assert_int_eq(memcmp(buffer_bytes(&got), text, LONG), 0);
    ck_assert_int_gt(messages, LONG / MESSAGE_SIZE_MAX);
    buffer_clear(&got, 0);
    ck_assert_int_eq(read_text(&got, &status, &messages), 2);
    ck_assert_int_eq(status, 4);
    ck_assert_str_eq(buffer_text(&got), "short");
    buffer_clear(&got, 0);
    ck_assert_int_eq(read_text(&got, &status, &messages), 3);
    ck_assert_uint_eq(buffer_length(&got), 0);
    ck_assert_int_eq(messages, 1);
    buffer_free(&got);
    free(text);
}
END_TEST

START_TEST(test_a_text_that_nobody_is_there_to_read_is_forgotten)
{
    char *text = letters(LONG);
    pieces_send(pieces, KIND, 1, 0, text, LONG);
    close(ends[1]);
    ends[1] = -1;
    pieces_send(pieces, KIND, 2, 0, text, LONG);
    /* nothing is left to wait for */
    ck_assert_int_ge(event_base_loop(base, EVLOOP_ONCE), 0);
    ck_assert_int_eq(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED), 0);
    free(text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pieces");
    TCase *tests = tcase_create("pieces");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, test_texts_arrive_whole_and_in_order_though_the_channel_holds_less);
    tcase_add_test(tests, test_a_text_that_nobody_is_there_to_read_is_forgotten);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
