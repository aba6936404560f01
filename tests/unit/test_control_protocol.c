/* The control protocol and the table of commands: frames whole, cut, joined and broken. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/command.h"
#include "ctl/protocol.h"

static char words_show[] = "show";
static char words_pools[] = "pools";

static void put_show_pools(struct buffer *buffer)
{
    char *words[] = {words_show, words_pools};
    protocol_put_request(buffer, words, 2);
}

START_TEST(test_a_request_arrives_however_it_is_cut)
{
    struct buffer whole = {0};
    put_show_pools(&whole);
    for (size_t cut = 0; cut < buffer_length(&whole); cut++) {
        struct buffer in = {0};
        struct protocol_request request;
        buffer_append(&in, buffer_bytes(&whole), cut);
        ck_assert_int_eq(protocol_get_request(&in, &request), PROTOCOL_MORE);
        buffer_append(&in, buffer_bytes(&whole) + cut, buffer_length(&whole) - cut);
        ck_assert_int_eq(protocol_get_request(&in, &request), PROTOCOL_OK);
        ck_assert_uint_eq(request.count, 2);
        ck_assert_str_eq(request.words[0], "show");
        ck_assert_str_eq(request.words[1], "pools");
        ck_assert_ptr_null(request.words[2]);
        ck_assert_uint_eq(buffer_length(&in), 0);
        protocol_request_free(&request);
        buffer_free(&in);
    }
    buffer_free(&whole);
}
END_TEST

static const struct {
    const char *bytes;
    size_t length;
} broken[] = {
    {"\0\0\0\0", 4},              /* empty frame */
    {"\0\1\0\1", 4},              /* longer than a request may be */
    {"\xff\xff\xff\xff", 4},      /* far longer */
    {"\0\0\0\1\xc1", 5},          /* no msgpack */
    {"\0\0\0\1\x05", 5},          /* no array */
    {"\0\0\0\1\x90", 5},          /* an empty array */
    {"\0\0\0\2\x91\x05", 6},      /* no text in it */
    {"\0\0\0\3\x91\xa1\x00", 7},  /* a NUL in a word */
    {"\0\0\0\4\x91\xa1x\x05", 8}, /* something behind the array */
    {"\0\0\0\2\x91\xa5", 6},      /* a text cut short */
};

START_TEST(test_a_broken_request_is_told_from_an_incomplete_one)
{
    struct buffer in = {0};
    struct protocol_request request;
    buffer_append(&in, broken[_i].bytes, broken[_i].length);
    ck_assert_int_eq(protocol_get_request(&in, &request), PROTOCOL_BROKEN);
    ck_assert_uint_eq(request.count, 0);
    buffer_free(&in);
}
END_TEST

START_TEST(test_too_many_words_are_refused_and_the_most_are_taken)
{
    char *words[PROTOCOL_WORDS_MAX + 1];
    for (size_t i = 0; i < PROTOCOL_WORDS_MAX + 1; i++)
        words[i] = words_show;
    struct buffer in = {0};
    struct protocol_request request;
    protocol_put_request(&in, words, PROTOCOL_WORDS_MAX);
    ck_assert_int_eq(protocol_get_request(&in, &request), PROTOCOL_OK);
    ck_assert_uint_eq(request.count, PROTOCOL_WORDS_MAX);
    protocol_request_free(&request);
    protocol_put_request(&in, words, PROTOCOL_WORDS_MAX + 1);
    ck_assert_int_eq(protocol_get_request(&in, &request), PROTOCOL_BROKEN);
    buffer_free(&in);
}
END_TEST

START_TEST(test_a_reply_carries_its_rows)
{
    static const char *const columns[] = {"name", "count", NULL};
    struct protocol_reply reply;
    struct buffer out = {0};
    protocol_reply_begin(&reply, columns);
    for (int i = 0; i < 1000; i++) {
        protocol_reply_text(&reply, i % 2 == 0 ? "even" : NULL);
        protocol_reply_int(&reply, -i);
    }
    protocol_reply_fact_int(&reply, "rows", 1000);
    protocol_reply_fact_text(&reply, "note", "two\nlines", 9);
    protocol_reply_fact_text(&reply, "none", NULL, 0);
    protocol_reply_say(&reply, 1, "said %d", 5);
    protocol_reply_put(&reply, &out);

    struct protocol_answer answer;
    ck_assert_int_eq(protocol_get_answer(&out, &answer), PROTOCOL_OK);
    ck_assert_int_eq(answer.status, 1);
    ck_assert_int_eq(strncmp(answer.text->ptr, "said 5", answer.text->size), 0);
    ck_assert_uint_eq(answer.columns->size, 2);
    ck_assert_uint_eq(answer.cells->size, 2000);
    ck_assert_int_eq(answer.cells->ptr[2].type, MSGPACK_OBJECT_NIL);
    ck_assert_int_eq(answer.cells->ptr[3].via.i64, -1);
    ck_assert_uint_eq(answer.facts->size, 6);
    ck_assert_int_eq(answer.facts->ptr[1].via.i64, 1000);
    ck_assert_uint_eq(answer.facts->ptr[3].via.str.size, 9);
    ck_assert_int_eq(answer.facts->ptr[5].type, MSGPACK_OBJECT_NIL);
    protocol_answer_free(&answer);
    buffer_free(&out);
}
END_TEST

START_TEST(test_a_reply_of_another_form_is_broken)
{
    struct buffer in = {0};
    struct protocol_answer answer;
    put_show_pools(&in);
    ck_assert_int_eq(protocol_get_answer(&in, &answer), PROTOCOL_BROKEN);
    buffer_clear(&in, 0);
    /* one column, no cell missing: good; two columns and one cell: broken */
    buffer_append(&in,
                  "\0\0\0\10\x95\x00\xa0\x91\xa1"
                  "a\x90\x90",
                  12);
    ck_assert_int_eq(protocol_get_answer(&in, &answer), PROTOCOL_OK);
    protocol_answer_free(&answer);
    buffer_clear(&in, 0);
    buffer_append(&in,
                  "\0\0\0\13\x95\x00\xa0\x92\xa1"
                  "a\xa1"
                  "b\x91\x01\x90",
                  15);
    ck_assert_int_eq(protocol_get_answer(&in, &answer), PROTOCOL_BROKEN);
    buffer_clear(&in, 0);
    /* a fact without a value */
    buffer_append(&in, "\0\0\0\7\x95\x00\xa0\x90\x90\x91\xa0", 11);
    ck_assert_int_eq(protocol_get_answer(&in, &answer), PROTOCOL_BROKEN);
    buffer_clear(&in, 0);
    /* and with one */
    buffer_append(&in, "\0\0\0\10\x95\x00\xa0\x90\x90\x92\xa0\x01", 12);
    ck_assert_int_eq(protocol_get_answer(&in, &answer), PROTOCOL_OK);
    ck_assert_uint_eq(answer.facts->size, 2);
    protocol_answer_free(&answer);
    buffer_free(&in);
}
END_TEST

START_TEST(test_each_command_is_found_by_its_words_alone)
{
    for (int i = 0; i < COMMAND_COUNT; i++) {
        char text[64];
        char *words[8];
        size_t count = 0;
        size_t used;
        strcpy(text, command_table[i].words);
        for (char *word = strtok(text, " "); word != NULL; word = strtok(NULL, " "))
            words[count++] = word;
        ck_assert_int_eq((int)command_find(words, count, &used), i);
        ck_assert_uint_eq(used, count);
        words[count] = words_pools;
        ck_assert_int_eq((int)command_find(words, count + 1, &used), i);
        ck_assert_uint_eq(used, count);
    }
    char *bad[] = {words_pools, words_show};
    size_t used;
    ck_assert_int_eq((int)command_find(bad, 2, &used), COMMAND_COUNT);
    ck_assert_int_eq((int)command_find(bad + 1, 1, &used), COMMAND_COUNT); /* "show" alone */
    ck_assert_int_eq((int)command_find(bad, 0, &used), COMMAND_COUNT);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("control protocol");
    TCase *tests = tcase_create("control protocol");
    tcase_add_test(tests, test_a_request_arrives_however_it_is_cut);
    tcase_add_loop_test(tests, test_a_broken_request_is_told_from_an_incomplete_one, 0,
                        (int)(sizeof broken / sizeof broken[0]));
    tcase_add_test(tests, test_too_many_words_are_refused_and_the_most_are_taken);
    tcase_add_test(tests, test_a_reply_carries_its_rows);
    tcase_add_test(tests, test_a_reply_of_another_form_is_broken);
    tcase_add_test(tests, test_each_command_is_found_by_its_words_alone);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
