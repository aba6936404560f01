/* The statistics pages: who reads sees what all processes have counted, the dead ones too, and nothing that is not
 * true. */
#include <check.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "shm/statistics_page.h"
#include "shm/statistics_read.h"
#include "shm/usage.h"

#define CHILDREN 4
#define REPLAYED "turnout_idempotency_keys_total{result=\"replayed\"} "
#define WORKER_MEMORY "turnout_process_resident_memory_bytes{role=\"worker\"} "
#define DURATION "turnout_http_request_duration_seconds"

static const char *const route_labels[] = {"route=\"/a\",method=\"GET\"", "route=\"/b\",method=\"GET\""};

static void set_up(void)
{
    statistics_create();
    statistics_set_routes(route_labels, 2);
}

/* The number behind a line's text; -1: there is no such line. */
static double value_of(const char *line)
{
    struct buffer text = {0};
    statistics_write(&text);
    char wanted[200];
    snprintf(wanted, sizeof wanted, "\n%s", line);
    const char *at = strstr(buffer_text(&text), wanted);
    double value = at == NULL ? -1 : strtod(at + strlen(wanted), NULL);
    buffer_free(&text);
    return value;
}

/* Runs `work` in a new worker of the slot, which then waits to be killed. */
static pid_t start_worker(int slot, void (*work)(void))
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        statistics_begin(LABEL_ROLE_WORKER, slot);
        work();
        if (write(ends[1], "", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    statistics_holder(LABEL_ROLE_WORKER, slot, pid);
    char byte;
    ck_assert_int_eq(read(ends[0], &byte, 1), 1);
    close(ends[0]);
    close(ends[1]);
    return pid;
}

static void kill_worker(int slot, pid_t pid)
{
    kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    statistics_holder(LABEL_ROLE_WORKER, slot, 0);
}

static void count_thousand(void)
{
    for (int i = 0; i < 1000; i++)
        statistics_count(STATISTICS_IDEMPOTENCY, LABEL_IDEMPOTENCY_REPLAYED);
    statistics_set(STATISTICS_RESIDENT, LABEL_ROLE_WORKER, LABEL_NONE_ONE, 7);
}

static void do_nothing(void)
{
}

START_TEST(test_what_all_have_counted_is_there_also_when_they_are_dead)
{
    set_up();
    pid_t pids[CHILDREN];
    for (int i = 0; i < CHILDREN; i++)
        pids[i] = start_worker(i, count_thousand);
    count_thousand(); /* the master, too */
    ck_assert_double_eq(value_of(REPLAYED), 1000 * (CHILDREN + 1));
    for (int i = 0; i < CHILDREN; i++)
        kill_worker(i, pids[i]);
    ck_assert_double_eq(value_of(REPLAYED), 1000 * (CHILDREN + 1));
    /* a successor goes on from there */
    kill_worker(0, start_worker(0, count_thousand));
    ck_assert_double_eq(value_of(REPLAYED), 1000 * (CHILDREN + 2));
}
END_TEST

START_TEST(test_gauges_count_only_while_their_process_lives)
{
    set_up();
    pid_t first = start_worker(0, count_thousand);
    pid_t second = start_worker(1, count_thousand);
    ck_assert_double_eq(value_of(WORKER_MEMORY), 14);
    kill_worker(0, first);
    ck_assert_double_eq(value_of(WORKER_MEMORY), 7);
    /* the successor has told nothing yet */
    first = start_worker(0, do_nothing);
    ck_assert_double_eq(value_of(WORKER_MEMORY), 7);
    kill_worker(0, first);
    kill_worker(1, second);
    ck_assert_double_eq(value_of(WORKER_MEMORY), 0);
}
END_TEST

START_TEST(test_a_moment_outlives_its_process)
{
    set_up();
    static const char line[] = "turnout_job_last_success_timestamp_seconds{job_name=\"partitions\"} ";
    statistics_set(STATISTICS_JOB_TIME, LABEL_JOB_PARTITIONS, LABEL_NONE_ONE, INT64_C(1764000000250000));
    ck_assert_double_eq(value_of(line), 1764000000.25);
    statistics_holder(LABEL_ROLE_MASTER, 0, 0);
    ck_assert_double_eq(value_of(line), 1764000000.25);
}
END_TEST

/* Each round the killed one has counted until the very end. */
static void count_until_killed(int slot)
{
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        statistics_begin(LABEL_ROLE_WORKER, slot);
        for (int64_t i = 0;; i++) {
            statistics_add(STATISTICS_HTTP_REQUESTS, 0, LABEL_CODE_200, 1);
            statistics_observe(STATISTICS_HTTP_DURATION, 0, i % 20000000);
        }
    }
    statistics_holder(LABEL_ROLE_WORKER, slot, pid);
    double requests = -1, count = -1, sum = -1; /* nothing is told before it happens */
    for (int i = 0; i < 20; i++) {
        double requests_now = value_of("turnout_http_requests_total{route=\"/a\",method=\"GET\",code=\"200\"} ");
        double count_now = value_of(DURATION "_count{route=\"/a\",method=\"GET\"} ");
        double sum_now = value_of(DURATION "_sum{route=\"/a\",method=\"GET\"} ");
        ck_assert(requests_now >= requests && count_now >= count && sum_now >= sum);
        requests = requests_now;
        count = count_now;
        sum = sum_now;
    }
    kill_worker(slot, pid);
}

START_TEST(test_who_is_killed_in_the_middle_leaves_numbers_that_fit_together)
{
    set_up();
    for (int round = 1; round <= 20; round++) {
        count_until_killed(round % CHILDREN);
        double requests = value_of("turnout_http_requests_total{route=\"/a\",method=\"GET\",code=\"200\"} ");
        double count = value_of(DURATION "_count{route=\"/a\",method=\"GET\"} ");
        double all = value_of(DURATION "_bucket{route=\"/a\",method=\"GET\",le=\"+Inf\"} ");
        ck_assert_double_eq(count, all);
        ck_assert_double_ge(requests, count);
        ck_assert_double_le(requests - count, round); /* one at most for each that was killed */
    }
}
END_TEST

START_TEST(test_a_limit_belongs_to_its_bucket)
{
    set_up();
    ck_assert_double_eq(value_of(DURATION "_count{route=\"/b\",method=\"GET\"} "), -1); /* not told before it happens */
    static const int64_t durations[] = {0, 100, 101, 10000000, 10000001, -5};
    for (size_t i = 0; i < sizeof durations / sizeof durations[0]; i++)
        statistics_observe(STATISTICS_HTTP_DURATION, 1, durations[i]);
    ck_assert_double_eq(value_of(DURATION "_bucket{route=\"/b\",method=\"GET\",le=\"0.0001\"} "), 3);
    ck_assert_double_eq(value_of(DURATION "_bucket{route=\"/b\",method=\"GET\",le=\"0.00025\"} "), 4);
    ck_assert_double_eq(value_of(DURATION "_bucket{route=\"/b\",method=\"GET\",le=\"10\"} "), 5);
    ck_assert_double_eq(value_of(DURATION "_bucket{route=\"/b\",method=\"GET\",le=\"+Inf\"} "), 6);
    ck_assert_double_eq_tol(value_of(DURATION "_sum{route=\"/b\",method=\"GET\"} "), 20.000202, 1e-9);
}
END_TEST

START_TEST(test_every_status_has_its_code)
{
    ck_assert_uint_eq(statistics_code(200), LABEL_CODE_200);
    ck_assert_uint_eq(statistics_code(505), LABEL_CODE_505);
    ck_assert_uint_eq(statistics_code(299), LABEL_CODE_OTHER);
    ck_assert_uint_eq(statistics_code(-1), LABEL_CODE_OTHER);
    ck_assert_uint_eq(statistics_code(600), LABEL_CODE_OTHER);
}
END_TEST

START_TEST(test_no_two_processes_write_to_one_cache_line)
{
    ck_assert_uint_eq(sizeof(struct statistics_page) % 4096, 0);
    ck_assert_uint_eq(sizeof(struct statistics_roll) % 4096, 0);
    set_up();
    ck_assert_uint_eq((uintptr_t)&statistics_memory->pages[1] % 4096, 0);
    printf("a page of the statistics: %zu bytes, %d cells\n", sizeof(struct statistics_page), STATISTICS_CELLS);
}
END_TEST

START_TEST(test_a_child_does_not_tell_its_parents_time)
{
    set_up();
    int64_t end = clock_monotonic() + 50000;
    while (clock_monotonic() < end)
        continue;
    usage_sample();
    double before = value_of("turnout_process_cpu_seconds_total{role=\"master\",mode=\"user\"} ") +
                    value_of("turnout_process_cpu_seconds_total{role=\"master\",mode=\"system\"} ");
    ck_assert_double_gt(before, 0);
    pid_t pid = start_worker(0, usage_sample);
    double child = value_of("turnout_process_cpu_seconds_total{role=\"worker\",mode=\"user\"} ");
    ck_assert_double_ge(child, 0);
    ck_assert_double_lt(child, before);
    ck_assert_double_gt(value_of(WORKER_MEMORY), 4096);
    ck_assert_double_ge(value_of("turnout_process_open_descriptors{role=\"worker\"} "), 3);
    kill_worker(0, pid);
}
END_TEST

/* What one request counts: two counters, one histogram, the bytes that came and went. */
START_TEST(test_counting_a_request_costs_nanoseconds)
{
    set_up();
    enum { REQUESTS = 1000000 };
    int64_t best = INT64_MAX;
    for (int round = 0; round < 5; round++) {
        int64_t from = clock_monotonic();
        for (int i = 0; i < REQUESTS; i++) {
            statistics_add(STATISTICS_HTTP_RECEIVED, LABEL_LISTENER_PUBLIC, LABEL_NONE_ONE, 300);
            statistics_add(STATISTICS_HTTP_REQUESTS, 0, statistics_code(200), 1);
            statistics_observe(STATISTICS_HTTP_DURATION, 0, 900);
            statistics_add(STATISTICS_HTTP_SENT, LABEL_LISTENER_PUBLIC, LABEL_NONE_ONE, 8192);
        }
        int64_t took = clock_monotonic() - from;
        best = took < best ? took : best;
    }
    printf("counting one request: %.1f ns\n", (double)best * 1000 / REQUESTS);
    ck_assert_double_eq(value_of(DURATION "_count{route=\"/a\",method=\"GET\"} "), 5.0 * REQUESTS);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("statistics");
    TCase *cases = tcase_create("statistics");
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, test_what_all_have_counted_is_there_also_when_they_are_dead);
    tcase_add_test(cases, test_gauges_count_only_while_their_process_lives);
    tcase_add_test(cases, test_a_moment_outlives_its_process);
    tcase_add_test(cases, test_who_is_killed_in_the_middle_leaves_numbers_that_fit_together);
    tcase_add_test(cases, test_a_limit_belongs_to_its_bucket);
    tcase_add_test(cases, test_every_status_has_its_code);
    tcase_add_test(cases, test_no_two_processes_write_to_one_cache_line);
    tcase_add_test(cases, test_a_child_does_not_tell_its_parents_time);
    tcase_add_test(cases, test_counting_a_request_costs_nanoseconds);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
