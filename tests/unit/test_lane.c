/* Lanes: writes to one event go one after another, writes to others at once. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/lane.h"

#define FIRST "0193b5f0-1c2d-7abc-8def-0123456789ab"
#define OTHER "0193b5f0-1c2d-7abc-8def-0123456789ac"

static int owners[4];

START_TEST(test_one_lane_is_left_in_the_order_of_entering)
{
    struct lane_place places[3] = {0};
    ck_assert(!lane_is_taken(FIRST));
    ck_assert(lane_enter(&places[0], FIRST, &owners[0]));
    ck_assert(lane_is_taken(FIRST));
    ck_assert(!lane_is_taken(OTHER));
    ck_assert(!lane_enter(&places[1], FIRST, &owners[1]));
    ck_assert(!lane_enter(&places[2], FIRST, &owners[2]));
    ck_assert_ptr_eq(lane_leave(&places[0]), &owners[1]);
    /* who has left may come back, at the end */
    ck_assert(!lane_enter(&places[0], FIRST, &owners[0]));
    ck_assert_ptr_eq(lane_leave(&places[1]), &owners[2]);
    ck_assert_ptr_eq(lane_leave(&places[2]), &owners[0]);
    ck_assert_ptr_null(lane_leave(&places[0]));
    ck_assert(lane_enter(&places[0], FIRST, &owners[0])); /* an empty lane is a new one */
    ck_assert_ptr_null(lane_leave(&places[0]));
}
END_TEST

START_TEST(test_another_event_waits_for_nobody)
{
    struct lane_place places[2] = {0};
    ck_assert(lane_enter(&places[0], FIRST, &owners[0]));
    ck_assert(lane_enter(&places[1], OTHER, &owners[1]));
    ck_assert_ptr_null(lane_leave(&places[0]));
    ck_assert_ptr_null(lane_leave(&places[1]));
}
END_TEST

START_TEST(test_many_events_that_share_a_bucket_stay_apart)
{
    enum { MANY = 5000 };
    static struct lane_place places[MANY][2];
    for (int i = 0; i < MANY; i++) {
        char key[24];
        snprintf(key, sizeof key, "event %d", i);
        ck_assert(lane_enter(&places[i][0], key, &places[i][0]));
        ck_assert(!lane_enter(&places[i][1], key, &places[i][1]));
    }
    for (int i = MANY - 1; i >= 0; i--) {
        ck_assert_ptr_eq(lane_leave(&places[i][0]), &places[i][1]);
        ck_assert_ptr_null(lane_leave(&places[i][1]));
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("lane");
    TCase *tests = tcase_create("lane");
    tcase_add_test(tests, test_one_lane_is_left_in_the_order_of_entering);
    tcase_add_test(tests, test_another_event_waits_for_nobody);
    tcase_add_test(tests, test_many_events_that_share_a_bucket_stay_apart);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
