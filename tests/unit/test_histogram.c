/* The histogram of the load generator: what it says of quantiles is right to one part in 128. */
#include <check.h>
#include <stdlib.h>

#include "base/object.h"
#include "histogram.h"

static struct histogram histogram;

static void empty(void)
{
    histogram = (struct histogram){0};
}

START_TEST(test_an_empty_one_says_nothing)
{
    ck_assert_int_eq(histogram_quantile(&histogram, 0.99), 0);
    ck_assert(histogram_mean(&histogram) < 1e-9);
}
END_TEST

START_TEST(test_small_values_are_exact)
{
    for (int value = 1; value <= 200; value++)
        histogram_add(&histogram, value);
    ck_assert_int_eq(histogram_quantile(&histogram, 0.5), 100);
    ck_assert_int_eq(histogram_quantile(&histogram, 0.99), 198);
    ck_assert_int_eq(histogram_quantile(&histogram, 1), 200);
    ck_assert_int_eq(histogram.most, 200);
}
END_TEST

/* From 1 us to hours, also at the seams between two powers of two. */
START_TEST(test_each_value_is_found_again_to_one_in_128)
{
    for (int64_t value = 1; value < INT64_C(1) << 42; value += 1 + value / 50) {
        for (int64_t near = value - 1; near <= value + 1; near++) {
            empty();
            histogram_add(&histogram, near);
            histogram_add(&histogram, INT64_C(1)
                                          << 42); /* so that the largest value does not stand in for the bucket */
            int64_t found = histogram_quantile(&histogram, 0.5);
            ck_assert_int_ge(found, near);
            ck_assert_int_le(found, near + near / HISTOGRAM_PARTS);
        }
    }
}
END_TEST

START_TEST(test_what_does_not_fit_counts_all_the_same)
{
    histogram_add(&histogram, -5);
    histogram_add(&histogram, INT64_MAX);
    ck_assert_int_eq(histogram.count, 2);
    ck_assert_int_eq(histogram_quantile(&histogram, 0.5), 0);
    ck_assert_int_eq(histogram.most, INT64_MAX);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("histogram");
    TCase *tests = tcase_create("histogram");
    tcase_add_checked_fixture(tests, empty, NULL);
    tcase_add_test(tests, test_an_empty_one_says_nothing);
    tcase_add_test(tests, test_small_values_are_exact);
    tcase_add_test(tests, test_each_value_is_found_again_to_one_in_128);
    tcase_add_test(tests, test_what_does_not_fit_counts_all_the_same);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
