/* The registration engine, whatever PostgreSQL does: each order is decided once, and what it is told is true. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "engine_rig.h"

enum { MAIN, BUSY };
/* Longer than whoever waits may wait. */
#define LONG (60000 * MILLISECONDS)

static enum rig_fate next_fate = RIG_ANSWERED;

/* For one call. */
static enum rig_fate take_fate(void)
{
    enum rig_fate fate = next_fate;
    next_fate = RIG_ANSWERED;
    return fate;
}

static enum rig_fate keys_in_use(void)
{
    return RIG_KEYS_IN_USE;
}

static void hold(int event, int64_t microseconds)
{
    rig.held_until[event] = rig.now + microseconds;
}

START_TEST(test_who_comes_alone_leaves_at_once_and_who_comes_meanwhile_leaves_together)
{
    rig_submit(ORDER_REGISTER, 0);
    ck_assert_int_eq(rig_in_flight(MAIN), 1);
    for (int i = 0; i < 200; i++)
        rig_submit(i % 3 == 0 ? ORDER_CANCEL : ORDER_REGISTER, i % 4);
    ck_assert_int_eq(rig_in_flight(MAIN), 1);
    rig_pass(3 * MILLISECONDS);
    ck_assert_int_eq(rig_in_flight(MAIN), 128);
    rig_pass(2 * MILLISECONDS);
    ck_assert_int_eq(rig_in_flight(MAIN), 72);
    rig_finish(LONG);
    ck_assert_int_eq(rig.calls[MAIN], 3);
    ck_assert_int_eq(rig.calls[BUSY], 0);
}
END_TEST

START_TEST(test_who_waits_for_held_seats_holds_up_nobody_else_and_is_told_at_the_deadline)
{
    hold(0, LONG);
    for (int i = 0; i < 20; i++)
        rig_submit(i % 2 == 0 ? ORDER_REGISTER : ORDER_CANCEL, 0);
    rig_pass(600 * MILLISECONDS);
    struct engine_statistics now;
    engine_statistics(&now);
    ck_assert_int_eq(now.stuck, 1);
    for (int i = 0; i < 100; i++) {
        struct rig_order *other = rig_submit(ORDER_REGISTER, 1);
        rig_pass(5 * MILLISECONDS);
        ck_assert_int_eq(other->decided, 1);
    }
    rig_pass(5000 * MILLISECONDS);
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(rig.orders[i].end, ORDER_BUSY);
    rig_finish(LONG);
}
END_TEST

START_TEST(test_held_seats_that_are_given_back_are_seen_soon)
{
    hold(0, 1500 * MILLISECONDS);
    for (int i = 0; i < 300; i++)
        rig_submit(ORDER_REGISTER, 0);
    rig_pass(1500 * MILLISECONDS + 250 * MILLISECONDS);
    for (int i = 0; i < 300; i++)
        ck_assert_int_eq(rig.orders[i].end, ORDER_DECIDED);
    rig_finish(LONG);
}
END_TEST

/* Of a row that is always held by the next in PostgreSQL's queue, a look without waiting would never find it free. */
START_TEST(test_a_busy_event_waits_longer_for_its_seats_while_no_other_wants_the_lane)
{
    hold(0, 450 * MILLISECONDS);
    struct rig_order *alone = rig_submit(ORDER_REGISTER, 0);
    rig_pass(455 * MILLISECONDS);
    ck_assert_int_eq(alone->sent, 5); /* four times without waiting, then waiting for as long as it took */
    ck_assert_int_eq(alone->end, ORDER_DECIDED);

    hold(1, 450 * MILLISECONDS);
    hold(2, 450 * MILLISECONDS);
    rig_submit(ORDER_REGISTER, 3);
    rig_submit(ORDER_REGISTER, 1);
    rig_submit(ORDER_REGISTER, 2);
    rig_pass(200 * MILLISECONDS);
    ck_assert_int_eq(rig.calls[BUSY], 1 + 2); /* the first of the two has made way */
    rig_finish(LONG);
}
END_TEST

START_TEST(test_the_one_that_postgresql_refuses_fails_alone_in_either_lane)
{
    for (int lane = 0; lane < 2; lane++) {
        int first = rig.order_count;
        hold(0, lane == BUSY ? 60 * MILLISECONDS : 0);
        rig_submit(ORDER_REGISTER, 0);
        for (int i = 1; i < 50; i++) {
            struct rig_order *order = rig_make(ORDER_REGISTER, 0);
            order->poisons = i == 7 || i == 30;
            rig_send(order);
        }
        rig_finish(LONG);
        for (int i = 0; i < 50; i++)
            ck_assert_int_eq(rig.orders[first + i].end, i == 7 || i == 30 ? ORDER_FAILED : ORDER_DECIDED);
    }
    ck_assert_int_gt(rig.calls[BUSY], 1);
}
END_TEST

START_TEST(test_the_one_that_takes_too_long_costs_its_neighbours_one_try)
{
    rig.configuration.queue_timeout = 30000 * MILLISECONDS;
    rig_submit(ORDER_REGISTER, 0);
    for (int i = 1; i < 9; i++) {
        struct rig_order *order = rig_make(ORDER_REGISTER, 0);
        order->hangs = i == 3;
        rig_send(order);
    }
    rig_finish(LONG);
    for (int i = 0; i < 9; i++)
        ck_assert_int_eq(rig.orders[i].end, i == 3 ? ORDER_TIMED_OUT : ORDER_DECIDED);
}
END_TEST

START_TEST(test_a_call_that_is_lost_is_told_as_what_it_was)
{
    static const struct {
        enum rig_fate fate;
        enum order_end end;
    } cases[] = {{RIG_LOST_BEFORE, ORDER_DECIDED},    {RIG_LOST_AFTER, ORDER_DECIDED},
                 {RIG_LOST_AT_WORK, ORDER_DECIDED},   {RIG_GIVEN_UP_BEFORE, ORDER_UNKNOWN},
                 {RIG_GIVEN_UP_AFTER, ORDER_UNKNOWN}, {RIG_UNAVAILABLE, ORDER_UNAVAILABLE}};
    rig.fate = take_fate;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        next_fate = cases[i].fate;
        struct rig_order *order = rig_submit(ORDER_REGISTER, 0);
        rig_finish(LONG);
        ck_assert_int_eq(order->end, cases[i].end);
    }
}
END_TEST

START_TEST(test_who_waits_while_postgresql_is_away_is_told_that)
{
    rig.fate = take_fate;
    next_fate = RIG_UNAVAILABLE;
    rig.is_away = true;
    rig.takes = 8000 * MILLISECONDS; /* for which the pool looks for a connection */
    for (int i = 0; i < 3; i++)
        rig_submit(ORDER_REGISTER, 0);
    rig_pass(8500 * MILLISECONDS);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(rig.orders[i].end, ORDER_UNAVAILABLE);
    rig_finish(LONG);
}
END_TEST

/* The row may be held by the very try that was lost. */
START_TEST(test_who_was_in_a_lost_call_waits_for_held_seats_like_others)
{
    hold(0, 50 * MILLISECONDS);
    struct rig_order *order = rig_submit(ORDER_REGISTER, 0);
    rig_pass(10 * MILLISECONDS);
    ck_assert_int_eq(rig_in_flight(BUSY), 1);
    rig_finish(LONG);
    ck_assert_int_eq(order->end, ORDER_DECIDED);

    hold(1, 700 * MILLISECONDS);
    rig.fate = take_fate;
    order = rig_submit(ORDER_REGISTER, 1);
    rig_pass(3 * MILLISECONDS);
    next_fate = RIG_LOST_BEFORE; /* of its call in the busy lane */
    rig_finish(LONG);
    ck_assert(order->was_lost);
    ck_assert_int_eq(order->end, ORDER_DECIDED);
}
END_TEST

START_TEST(test_who_was_in_a_lost_call_and_waits_in_vain_is_told_that_nobody_knows)
{
    rig.fate = take_fate;
    next_fate = RIG_LOST_AFTER;
    hold(0, LONG);
    struct rig_order *order = rig_submit(ORDER_REGISTER, 0);
    struct rig_order *other = rig_submit(ORDER_REGISTER, 0);
    rig_pass(6000 * MILLISECONDS);
    ck_assert_int_eq(order->end, ORDER_UNKNOWN);
    ck_assert_int_eq(other->end, ORDER_BUSY);
    rig_finish(LONG);
}
END_TEST

START_TEST(test_a_cancel_that_waits_for_its_key_may_then_find_its_seats_held)
{
    rig_submit(ORDER_REGISTER, 1); /* so that the next one is odd */
    rig_pass(5 * MILLISECONDS);
    rig.fate = keys_in_use;
    struct rig_order *order = rig_make(ORDER_CANCEL, 0);
    order->order.key = "key";
    order->order.request_hash = "hash";
    rig_send(order);
    rig_pass(400 * MILLISECONDS);
    ck_assert_int_gt(order->sent, 3);
    rig.fate = NULL;
    hold(0, 1000 * MILLISECONDS);
    rig_finish(LONG);
    ck_assert_int_eq(order->end, ORDER_DECIDED);
}
END_TEST

START_TEST(test_who_leaves_while_waiting_for_held_seats_costs_no_statement)
{
    hold(0, 900 * MILLISECONDS);
    for (int i = 0; i < 30; i++)
        rig_submit(ORDER_REGISTER, 0);
    rig_pass(600 * MILLISECONDS);
    for (int i = 0; i < 30; i += 3)
        rig.orders[i + 1].gone = true;
    rig_finish(LONG);
    for (int i = 0; i < 30; i++)
        ck_assert_int_eq(rig.orders[i].applied, i % 3 != 1);
}
END_TEST

START_TEST(test_who_comes_to_a_full_queue_is_told_when_to_come_again)
{
    rig.configuration.queue_max = 100;
    for (int i = 0; i <= 100; i++) {
        ck_assert_int_eq(engine_refusal(), 0);
        rig_submit(ORDER_REGISTER, 0);
    }
    ck_assert_int_ge(engine_refusal(), 1);
    rig_finish(LONG);
    ck_assert_int_eq(engine_refusal(), 0);
}
END_TEST

START_TEST(test_who_would_wait_too_long_is_told_when_to_come_again)
{
    rig.configuration.batch_max = 10;
    rig.takes = 200 * MILLISECONDS;
    for (int i = 0; i < 100; i++) {
        rig_submit(ORDER_REGISTER, 0);
        rig_pass(200 * MILLISECONDS);
    }
    int admitted = 0;
    while (engine_refusal() == 0) {
        rig_submit(ORDER_REGISTER, 0);
        ck_assert_int_lt(++admitted, 400);
    }
    ck_assert_int_gt(admitted, 200);
    ck_assert_int_ge(engine_refusal(), 5); /* seconds: what they take */
    rig_finish(LONG);
    ck_assert_int_eq(engine_refusal(), 0);
}
END_TEST

/* --- everything at once --- */

static unsigned draw(unsigned most)
{
    return (unsigned)random() % most;
}

static enum rig_fate any_fate(void)
{
    return draw(4) > 0 ? RIG_ANSWERED : (enum rig_fate)draw(RIG_FATES);
}

static void submit_any(void)
{
    struct rig_order *order = rig_make(draw(4) == 0 ? ORDER_CANCEL : ORDER_REGISTER, (int)draw(RIG_EVENTS));
    order->is_full = draw(10) == 0;
    order->poisons = draw(100) == 0;
    order->hangs = draw(400) == 0;
    if (draw(3) == 0) {
        order->order.key = "key";
        order->order.request_hash = "hash";
    }
    rig_send(order);
}

static void somebody_comes_again(struct rig_order *order)
{
    (void)order;
    if (draw(10) == 0 && rig.order_count < RIG_ORDERS)
        submit_any();
}

START_TEST(test_everybody_is_decided_once_and_told_the_truth_whatever_happens)
{
    static const int64_t maxima[] = {1, 3, 16, 128};
    srandom((unsigned)_i + 1);
    rig.fate = any_fate;
    rig.on_decided = somebody_comes_again;
    rig.configuration.batch_max = maxima[draw(4)];
    for (int step = 0; step < 300; step++) {
        for (unsigned i = draw(20); i > 0; i--)
            submit_any();
        if (draw(5) == 0)
            hold((int)draw(RIG_EVENTS), draw(4) == 0 ? draw(8000000) : draw(200000));
        if (draw(3) == 0 && rig.order_count > 0)
            rig.orders[draw((unsigned)rig.order_count)].gone = true;
        if (draw(50) == 0)
            rig.configuration.queue_max = 1 + draw(500);
        if (draw(50) == 0)
            rig.configuration.queue_timeout = 100 * MILLISECONDS + draw(6000000);
        rig_pass(draw(10) == 0 ? draw(2000000) : draw(10000));
    }
    rig.on_decided = NULL;
    rig_finish(10 * LONG);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("engine");
    TCase *tests = tcase_create("engine");
    tcase_add_checked_fixture(tests, rig_start, NULL);
    tcase_add_test(tests, test_who_comes_alone_leaves_at_once_and_who_comes_meanwhile_leaves_together);
    tcase_add_test(tests, test_who_waits_for_held_seats_holds_up_nobody_else_and_is_told_at_the_deadline);
    tcase_add_test(tests, test_held_seats_that_are_given_back_are_seen_soon);
    tcase_add_test(tests, test_a_busy_event_waits_longer_for_its_seats_while_no_other_wants_the_lane);
    tcase_add_test(tests, test_the_one_that_postgresql_refuses_fails_alone_in_either_lane);
    tcase_add_test(tests, test_the_one_that_takes_too_long_costs_its_neighbours_one_try);
    tcase_add_test(tests, test_a_call_that_is_lost_is_told_as_what_it_was);
    tcase_add_test(tests, test_who_waits_while_postgresql_is_away_is_told_that);
    tcase_add_test(tests, test_who_was_in_a_lost_call_waits_for_held_seats_like_others);
    tcase_add_test(tests, test_who_was_in_a_lost_call_and_waits_in_vain_is_told_that_nobody_knows);
    tcase_add_test(tests, test_a_cancel_that_waits_for_its_key_may_then_find_its_seats_held);
    tcase_add_test(tests, test_who_leaves_while_waiting_for_held_seats_costs_no_statement);
    tcase_add_test(tests, test_who_comes_to_a_full_queue_is_told_when_to_come_again);
    tcase_add_test(tests, test_who_would_wait_too_long_is_told_when_to_come_again);
    tcase_add_loop_test(tests, test_everybody_is_decided_once_and_told_the_truth_whatever_happens, 0,
                        getenv("TURNOUT_FULL") == NULL ? 40 : 500);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
