/* Busy events: one event a call, by turns; a stuck one sends a probe and nothing else. */
#include "registration/busy.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define FIRST "00000000-0000-7000-8000-000000000001"
#define SECOND "00000000-0000-7000-8000-000000000002"
/* Far beyond every pause between probes, and the time after which an event is forgotten. */
#define MUCH_LATER INT64_C(10000000)

static struct order orders[8];
static struct orders dead = TAILQ_HEAD_INITIALIZER(dead);
static struct orders probes = TAILQ_HEAD_INITIALIZER(probes);

static bool is_late(const struct order *order, int64_t now)
{
    return now >= order->deadline;
}

static void sweep_at(int64_t now)
{
    TAILQ_INIT(&dead);
    TAILQ_INIT(&probes);
    busy_sweep(now, is_late, &dead, &probes);
}

static struct order *order_number(int number, const char *event)
{
    orders[number] = (struct order){.magic = ORDER_MAGIC, .deadline = INT64_MAX};
    busy_add(busy_enter(event), &orders[number]);
    return &orders[number];
}

/* The orders of the next call by number, as text; its orders are gone and the seats are not held. */
static const char *next_call(int most)
{
    static char text[32];
    struct batch *batch = busy_next(most, 0, is_late, &dead);
    text[0] = '\0';
    if (batch == NULL)
        return text;
    struct order *order;
    for (int length = 0; (order = TAILQ_FIRST(&batch->orders)) != NULL; length++) {
        TAILQ_REMOVE(&batch->orders, order, link);
        text[length] = (char)('0' + (order - orders));
        text[length + 1] = '\0';
    }
    busy_answered(batch->event, false);
    batch_free(batch);
    return text;
}

static int count_of(const struct orders *list)
{
    const struct order *order;
    int count = 0;
    TAILQ_FOREACH (order, list, link)
        count++;
    return count;
}

/* Each test leaves an empty table. */
static void end(void)
{
    sweep_at(clock_monotonic() + MUCH_LATER);
    ck_assert_int_eq(count_of(&dead) + count_of(&probes), 0);
    ck_assert_int_eq(busy_counts.events, 0);
    ck_assert_int_eq(busy_counts.orders, 0);
    ck_assert_int_eq(busy_counts.stuck, 0);
    ck_assert_int_eq(busy_counts.orders_stuck, 0);
}

START_TEST(test_events_take_turns_with_calls_of_their_own)
{
    order_number(0, FIRST);
    order_number(1, SECOND);
    order_number(2, FIRST);
    order_number(3, FIRST);
    ck_assert_str_eq(orders[2].busy_event, FIRST);
    ck_assert_int_eq(busy_counts.events, 2);
    ck_assert_str_eq(next_call(2), "02");
    ck_assert_str_eq(next_call(2), "1");
    ck_assert_str_eq(next_call(2), "3");
    ck_assert_str_eq(next_call(2), "");
    end();
}
END_TEST

START_TEST(test_who_comes_back_stands_first_and_an_event_in_flight_has_no_turn)
{
    order_number(0, FIRST);
    order_number(1, FIRST);
    struct batch *batch = busy_next(1, 0, is_late, &dead);
    ck_assert_ptr_null(busy_next(1, 0, is_late, &dead));
    TAILQ_REMOVE(&batch->orders, &orders[0], link);
    busy_add_again(batch->event, &orders[0]);
    ck_assert_ptr_null(busy_next(1, 0, is_late, &dead));
    busy_answered(batch->event, false);
    batch_free(batch);
    ck_assert_str_eq(next_call(5), "01");
    end();
}
END_TEST

START_TEST(test_halves_of_a_refused_call_go_apart_and_first)
{
    for (int i = 0; i < 4; i++)
        order_number(i, FIRST);
    struct batch *batch = busy_next(3, 0, is_late, &dead);
    struct batch *behind = batch_halve(batch);
    ck_assert_int_eq(batch->count, 2);
    ck_assert_int_eq(behind->count, 1);
    busy_add_batch(behind);
    busy_add_batch(batch);
    busy_answered(batch->event, false);
    ck_assert_str_eq(next_call(8), "01");
    ck_assert_str_eq(next_call(8), "2");
    ck_assert_str_eq(next_call(8), "3");
    end();
}
END_TEST

START_TEST(test_a_stuck_event_sends_one_probe_and_all_once_its_seats_can_be_had)
{
    for (int i = 0; i < 3; i++)
        order_number(i, FIRST);
    struct batch *batch = busy_next(1, 0, is_late, &dead);
    TAILQ_REMOVE(&batch->orders, &orders[0], link);
    busy_add_again(batch->event, &orders[0]);
    busy_answered(batch->event, true);
    batch_free(batch);
    ck_assert_str_eq(next_call(8), "");
    ck_assert_int_eq(busy_counts.stuck, 1);
    ck_assert_int_eq(busy_counts.orders_stuck, 3);

    int64_t now = clock_monotonic();
    sweep_at(now);
    ck_assert_int_eq(count_of(&probes), 0); /* too soon */
    sweep_at(now + MUCH_LATER);
    ck_assert_ptr_eq(TAILQ_FIRST(&probes), &orders[0]);
    ck_assert_int_eq(count_of(&probes), 1);
    sweep_at(now + 2 * MUCH_LATER);
    ck_assert_int_eq(count_of(&probes), 0); /* one at a time */

    busy_probed(busy_find(FIRST), true);
    ck_assert_str_eq(next_call(8), "");
    sweep_at(now + 3 * MUCH_LATER);
    ck_assert_ptr_eq(TAILQ_FIRST(&probes), &orders[1]);
    busy_probed(busy_find(FIRST), false);
    ck_assert_str_eq(next_call(8), "2");
    end();
}
END_TEST

START_TEST(test_halves_of_a_stuck_event_are_orders_again)
{
    order_number(0, FIRST);
    order_number(1, FIRST);
    struct batch *batch = busy_next(2, 0, is_late, &dead);
    struct batch *behind = batch_halve(batch);
    TAILQ_REMOVE(&batch->orders, &orders[0], link);
    busy_add_batch(behind);
    busy_answered(batch->event, true);
    batch_free(batch);
    sweep_at(clock_monotonic() + MUCH_LATER);
    ck_assert_ptr_eq(TAILQ_FIRST(&probes), &orders[1]);
    busy_probed(busy_find(FIRST), false);
    end();
}
END_TEST

START_TEST(test_the_late_are_handed_over_and_the_others_keep_their_turn)
{
    order_number(0, FIRST)->deadline = 5;
    order_number(1, FIRST)->deadline = 6;
    order_number(2, FIRST);
    sweep_at(5);
    ck_assert_int_eq(count_of(&dead), 1);
    sweep_at(clock_monotonic());
    ck_assert_ptr_eq(TAILQ_FIRST(&dead), &orders[1]);
    ck_assert_str_eq(next_call(8), "2");
    order_number(3, SECOND)->deadline = 5;
    sweep_at(6);
    ck_assert_int_eq(count_of(&dead), 1);
    ck_assert_str_eq(next_call(8), "");
    end();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("busy");
    TCase *tests = tcase_create("busy");
    tcase_add_test(tests, test_events_take_turns_with_calls_of_their_own);
    tcase_add_test(tests, test_who_comes_back_stands_first_and_an_event_in_flight_has_no_turn);
    tcase_add_test(tests, test_halves_of_a_refused_call_go_apart_and_first);
    tcase_add_test(tests, test_a_stuck_event_sends_one_probe_and_all_once_its_seats_can_be_had);
    tcase_add_test(tests, test_halves_of_a_stuck_event_are_orders_again);
    tcase_add_test(tests, test_the_late_are_handed_over_and_the_others_keep_their_turn);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
