/* The keys of the hot cache: made and read by one grammar, one text for one thing. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/hot_key.h"

#define ID "0193b5f0-1c2d-7abc-8def-0123456789ab"

static void check_read_back(const struct hot_key *key)
{
    struct hot_key again;
    ck_assert_uint_eq(key->length, strlen(key->text));
    ck_assert_msg(hot_key_parse(&again, key->text, key->length), "%s", key->text);
    ck_assert_int_eq(again.pattern, key->pattern);
    ck_assert_uint_eq(again.length, key->length);
    ck_assert_str_eq(again.text, key->text);
    ck_assert_str_eq(again.id, key->id);
    ck_assert_str_eq(again.role, key->role);
    ck_assert_str_eq(again.category, key->category);
    ck_assert_str_eq(again.status, key->status);
    ck_assert_int_eq(again.limit, key->limit);
    ck_assert_int_eq(again.first_page, key->first_page);
    ck_assert_int_eq(again.after_place, key->after_place);
    ck_assert_str_eq(again.after_id, key->after_id);
}

static const struct {
    const char *category, *status;
    int64_t limit, place;
    const char *after;
    const char *text; /* NULL: no key */
} lists[] = {
    {NULL, NULL, 50, 0, NULL, "events:list::published:50:"},
    {NULL, "published", 50, 0, NULL, "events:list::published:50:"},
    {"talk", "completed", 1, 0, NULL, "events:list:talk:completed:1:"},
    {"a-b_c9", "cancelled", 100, 0, NULL, "events:list:a-b_c9:cancelled:100:"},
    {NULL, NULL, 50, 1800000000000000, ID, "events:list::published:50:1800000000000000." ID},
    {"talk", NULL, 7, -1, ID, "events:list:talk:published:7:-1." ID},
    {"talk", NULL, 7, INT64_MIN, ID, "events:list:talk:published:7:-9223372036854775808." ID},
    {"12345678901234567890123456789012345678901234567890", NULL, 50, 0, NULL,
     "events:list:12345678901234567890123456789012345678901234567890:published:50:"},
    {"123456789012345678901234567890123456789012345678901", NULL, 50, 0, NULL, NULL},
    {NULL, "draft", 50, 0, NULL, NULL},
    {NULL, "open", 50, 0, NULL, NULL},
    {NULL, "", 50, 0, NULL, NULL},
    {"Talk", NULL, 50, 0, NULL, NULL},
    {"a:b", NULL, 50, 0, NULL, NULL},
    {"a b", NULL, 50, 0, NULL, NULL},
    {"caf\xc3\xa9", NULL, 50, 0, NULL, NULL},
    {NULL, NULL, 0, 0, NULL, NULL},
    {NULL, NULL, 101, 0, NULL, NULL},
};

START_TEST(test_a_list_page_has_one_key_whatever_way_it_was_asked_for)
{
    struct hot_key key;
    bool made =
        hot_key_list(&key, lists[_i].category, lists[_i].status, lists[_i].limit, lists[_i].place, lists[_i].after);
    ck_assert_int_eq(made, lists[_i].text != NULL);
    if (!made)
        return;
    ck_assert_str_eq(key.text, lists[_i].text);
    ck_assert_int_eq(key.pattern, HOT_PATTERN_LIST);
    check_read_back(&key);
}
END_TEST

START_TEST(test_things_have_the_key_of_their_id)
{
    struct hot_key key;
    hot_key_of(&key, HOT_PATTERN_EVENT, ID, NULL);
    ck_assert_str_eq(key.text, "events:" ID);
    check_read_back(&key);
    hot_key_of(&key, HOT_PATTERN_STATS, ID, NULL);
    ck_assert_str_eq(key.text, "stats:" ID);
    check_read_back(&key);
    hot_key_of(&key, HOT_PATTERN_CALENDAR, ID, NULL);
    ck_assert_str_eq(key.text, "calendars:" ID);
    check_read_back(&key);
    hot_key_of(&key, HOT_PATTERN_USER, ID, NULL);
    ck_assert_str_eq(key.text, "users:" ID);
    check_read_back(&key);
    hot_key_of(&key, HOT_PATTERN_USER, ID, "organizer");
    ck_assert_str_eq(key.text, "users:" ID ":organizer");
    check_read_back(&key);
}
END_TEST

static const char *const strangers[] = {
    "",
    "events",
    "events:",
    "events:list:",
    "event:" ID,
    "events:" ID ":organizer",
    "events:" ID " ",
    "events:0193B5F0-1C2D-7ABC-8DEF-0123456789AB",
    "stats:" ID ":admin",
    "users:" ID ":",
    "users:" ID ":root",
    "users:" ID ":admin:admin",
    "events:list::published:50",
    "events:list::published:050:",
    "events:list::published:+50:",
    "events:list::published:0:",
    "events:list::published:101:",
    "events:list:::50:",
    "events:list::draft:50:",
    "events:list:A:published:50:",
    "events:list::published:50:" ID,
    "events:list::published:50:5.",
    "events:list::published:50:05." ID,
    "events:list::published:50:5." ID ".",
    "events:list::published:50:-0." ID,
    "events:list::published:50:5." ID ":",
};

START_TEST(test_another_spelling_is_no_key)
{
    struct hot_key key;
    const char *text = strangers[_i];
    ck_assert_msg(!hot_key_parse(&key, text, strlen(text)), "%s", text);
}
END_TEST

START_TEST(test_a_text_ends_where_it_says)
{
    struct hot_key key;
    static const char text[] = "events:" ID "\0:x";
    ck_assert(hot_key_parse(&key, text, strlen(text)));
    ck_assert(!hot_key_parse(&key, text, sizeof text - 1));
    ck_assert(!hot_key_parse(&key, text, strlen(text) - 1));
    char endless[HOT_KEY_MAX + 2];
    memset(endless, 'a', sizeof endless);
    ck_assert(!hot_key_parse(&key, endless, sizeof endless));
    ck_assert(!hot_key_parse(&key, endless, HOT_KEY_MAX));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hot_key");
    TCase *keys = tcase_create("keys");
    tcase_add_loop_test(keys, test_a_list_page_has_one_key_whatever_way_it_was_asked_for, 0,
                        sizeof lists / sizeof lists[0]);
    tcase_add_test(keys, test_things_have_the_key_of_their_id);
    tcase_add_loop_test(keys, test_another_spelling_is_no_key, 0, sizeof strangers / sizeof strangers[0]);
    tcase_add_test(keys, test_a_text_ends_where_it_says);
    suite_add_tcase(suite, keys);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
