/* The hot cache, as one refresher and one worker in one process see it: what is published is found, byte by byte, and
 * what must not be published is not. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "hot_rig.h"

START_TEST(test_what_was_published_is_found_as_it_is)
{
    hot_rig_begin(4, 1);
    ck_assert_int_eq(hot_rig_publish("events:1", 1, 5000), HOT_PUBLISHED);
    struct hot_view view;
    ck_assert_int_eq(hot_find("events:1", 8, hot_rig_now, 0, &view), HOT_FRESH);
    ck_assert(hot_rig_is_body(&view, "events:1", 1, 5000));
    hot_release();
    ck_assert_int_eq(hot_find("events:2", 8, hot_rig_now, 0, &view), HOT_MISSING);
}
END_TEST

START_TEST(test_a_newer_body_takes_the_place_of_an_older_one_and_never_the_other_way_round)
{
    hot_rig_begin(4, 1);
    ck_assert_int_eq(hot_rig_publish("events:1", 5, 300), HOT_PUBLISHED);
    ck_assert_int_eq(hot_rig_publish("events:1", 7, 700), HOT_PUBLISHED);
    ck_assert_int_eq(hot_rig_publish("events:1", 6, 300), HOT_OLDER);
    ck_assert_int_eq(hot_rig_find("events:1"), 7);
    ck_assert_int_eq(hot_rig_publish("events:1", 7, 700), HOT_PUBLISHED);
}
END_TEST

START_TEST(test_what_was_deleted_is_gone_and_nothing_older_comes_back)
{
    hot_rig_begin(4, 1);
    ck_assert_int_eq(hot_rig_publish("events:1", 5, 300), HOT_PUBLISHED);
    ck_assert(hot_delete("events:1", 8));
    ck_assert(!hot_delete("events:1", 8));
    ck_assert_int_eq(hot_rig_find("events:1"), HOT_RIG_MISSING);
    ck_assert_int_eq(hot_rig_publish("events:1", 4, 300), HOT_OLDER);
    ck_assert_int_eq(hot_rig_publish("events:1", 5, 300), HOT_PUBLISHED);
    ck_assert_int_eq(hot_rig_find("events:1"), 5);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hot");
    TCase *cases = tcase_create("hot");
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, test_what_was_published_is_found_as_it_is);
    tcase_add_test(cases, test_a_newer_body_takes_the_place_of_an_older_one_and_never_the_other_way_round);
    tcase_add_test(cases, test_what_was_deleted_is_gone_and_nothing_older_comes_back);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
