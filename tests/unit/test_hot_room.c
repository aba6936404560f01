/* The room of the hot cache: what has to go when it is full, and what pins hold back. */
#include <check.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "hot_rig.h"
#include "shm/hot_layout.h"

static const char *key_of(char *key, unsigned number)
{
    snprintf(key, 30, "events:%u", number);
    return key;
}

static struct hot_statistics statistics_now(void)
{
    struct hot_statistics statistics;
    hot_statistics(&statistics);
    return statistics;
}

static void fill_up(unsigned from, unsigned entries, size_t size)
{
    char key[30];
    for (unsigned i = from; i < from + entries; i++)
        ck_assert_int_eq(hot_rig_publish(key_of(key, i), 1, size), HOT_PUBLISHED);
}

/* ---- full ---- */

static unsigned evicted_count;
static void count_evicted(void *context, const char *key, size_t length)
{
    (void)context;
    (void)length;
    ck_assert_mem_eq(key, "events:", 7);
    evicted_count++;
}

START_TEST(test_a_full_cache_takes_a_new_entry_at_once)
{
    hot_rig_begin(4, 1);
    ck_assert_uint_eq(hot_open(false, count_evicted, NULL), 0);
    for (unsigned i = 0; i < 3000; i++) {
        char key[30];
        fill_up(i, 1, 4000);
        ck_assert_int_eq(hot_rig_find(key_of(key, i)), 1);
    }
    struct hot_statistics statistics = statistics_now();
    ck_assert_uint_gt(evicted_count, 2000);
    ck_assert_int_eq(statistics.evictions[HOT_PATTERN_EVENT], evicted_count);
    ck_assert_int_eq(statistics.entries[HOT_PATTERN_EVENT], 3000 - evicted_count);
    ck_assert_int_ge(statistics.segments_free, 1);
}
END_TEST

START_TEST(test_what_is_read_stays_and_what_nobody_reads_goes)
{
    hot_rig_begin(4, 1);
    char key[30];
    fill_up(0, 10, 4000);
    for (unsigned i = 10; i < 3000; i++) {
        fill_up(i, 1, 4000);
        for (unsigned hot = 0; i % 20 == 0 && hot < 5; hot++)
            ck_assert_int_eq(hot_rig_find(key_of(key, hot)), 1);
    }
    for (unsigned i = 0; i < 10; i++)
        ck_assert_int_eq(hot_rig_find(key_of(key, i)), i < 5 ? 1 : HOT_RIG_MISSING);
}
END_TEST

START_TEST(test_entries_that_are_replaced_again_and_again_push_nothing_out)
{
    hot_rig_begin(4, 1);
    fill_up(0, 100, 8000);
    char key[30];
    for (unsigned version = 2; version < 2000; version++)
        ck_assert_int_eq(hot_rig_publish(key_of(key, version % 10), version, 8000), HOT_PUBLISHED);
    struct hot_statistics statistics = statistics_now();
    ck_assert_int_eq(statistics.evictions[HOT_PATTERN_EVENT], 0);
    ck_assert_int_eq(statistics.entries[HOT_PATTERN_EVENT], 100);
    for (unsigned i = 0; i < 100; i++)
        ck_assert_int_gt(hot_rig_find(key_of(key, i)), 0);
}
END_TEST

START_TEST(test_a_full_index_takes_a_new_entry_at_once)
{
    hot_rig_begin(4, 1);
    char key[30];
    /* Twice as many as there are slots: 8,192. */
    for (unsigned i = 0; i < 16384; i++) {
        fill_up(i, 1, 10);
        ck_assert_int_eq(hot_rig_find(key_of(key, i)), 1);
    }
    int64_t there = 0;
    for (unsigned i = 0; i < 16384; i++)
        there += hot_rig_find(key_of(key, i)) == 1;
    struct hot_statistics statistics = statistics_now();
    ck_assert_int_eq(statistics.entries[HOT_PATTERN_EVENT], there);
    ck_assert_int_eq(statistics.entries[HOT_PATTERN_EVENT] + statistics.evictions[HOT_PATTERN_EVENT], 16384);
    printf("slots in use when the index is full: %.3f of them\n", (double)there / 8192);
    ck_assert_int_gt(there, 8192 * 9 / 10);
}
END_TEST

START_TEST(test_large_entries_have_room_too)
{
    hot_rig_begin(4, 1);
    char key[30];
    fill_up(0, 500, 4000);
    for (unsigned i = 1000; i < 1020; i++) {
        fill_up(i, 1, 650 << 10);
        ck_assert_int_eq(hot_rig_find(key_of(key, i)), 1);
        fill_up(i - 500, 1, 4000);
        ck_assert_int_eq(hot_rig_find(key_of(key, i - 500)), 1);
    }
}
END_TEST

/* ---- against a list of the least recently used ---- */

#define TRACE_KEYS 20000
#define TRACE_LENGTH 300000

static uint64_t random_state = 7;
static uint32_t random_next(void)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(random_state >> 32);
}

static size_t trace_size(unsigned key)
{
    return 300 + key * 2654435761U % 6000;
}

/* Publishes an entry of the size without a look at its bytes. */
static uint32_t publish_plain(const char *key, size_t size)
{
    static char bytes[8000];
    struct hot_entry entry = {
        .key = key,
        .key_length = strlen(key),
        .pattern = HOT_PATTERN_EVENT,
        .ticket = hot_ticket(key, strlen(key)),
        .version = {.epoch = 1, .xmax = 1},
        .rendered_at = hot_rig_now,
        .expires_at = hot_rig_now + INT64_C(7200000000),
        .bodies[HOT_IDENTITY] = {.bytes = bytes, .length = size, .lines = "", .etag = ""},
    };
    ck_assert_int_eq(hot_publish(&entry), HOT_PUBLISHED);
    return (uint32_t)(sizeof(struct hot_entry_header) + entry.key_length + size + 63) / 64 * 64;
}

/* The least recently used go first: a ring of keys, as old as their place. */
static struct {
    unsigned before[TRACE_KEYS + 1], after[TRACE_KEYS + 1]; /* TRACE_KEYS is the end and the begin */
    uint32_t size[TRACE_KEYS];                              /* 0: not there */
    int64_t used;
} list;

static void list_unlink(unsigned key)
{
    list.after[list.before[key]] = list.after[key];
    list.before[list.after[key]] = list.before[key];
}

static void list_put_first(unsigned key)
{
    list.before[key] = TRACE_KEYS;
    list.after[key] = list.after[TRACE_KEYS];
    list.before[list.after[key]] = key;
    list.after[TRACE_KEYS] = key;
}

static bool list_hit(unsigned key, uint32_t size, int64_t room)
{
    bool there = list.size[key] != 0;
    if (there)
        list_unlink(key);
    else
        list.used += size;
    list.size[key] = size;
    list_put_first(key);
    while (list.used > room) {
        unsigned last = list.before[TRACE_KEYS];
        list_unlink(last);
        list.used -= list.size[last];
        list.size[last] = 0;
    }
    return there;
}

START_TEST(test_hits_are_nearly_as_many_as_with_a_list_of_the_least_recently_used)
{
    /* Of 20,000 keys with 65 MiB together, by Zipf's law; caches for a fifteenth and for a quarter of that. */
    static const int mebibytes[] = {4, 16};
    static double sums[TRACE_KEYS];
    double sum = 0;
    for (unsigned i = 0; i < TRACE_KEYS; i++)
        sums[i] = sum += 1 / pow(i + 1, 0.9);
    hot_rig_begin(mebibytes[_i], 1);
    list.before[TRACE_KEYS] = list.after[TRACE_KEYS] = TRACE_KEYS;
    int64_t hits = 0, list_hits = 0, from = clock_monotonic();
    for (unsigned i = 0; i < TRACE_LENGTH; i++) {
        double at = sum * random_next() / 4294967296.0;
        unsigned low = 0, high = TRACE_KEYS - 1;
        while (low < high) {
            unsigned middle = (low + high) / 2;
            if (sums[middle] < at)
                low = middle + 1;
            else
                high = middle;
        }
        unsigned number = (low * 7919U) % TRACE_KEYS; /* neighbours in rank are not of one size */
        char key[30];
        key_of(key, number);
        struct hot_view view;
        uint32_t size = (uint32_t)(sizeof(struct hot_entry_header) + strlen(key) + trace_size(number) + 63) / 64 * 64;
        if (hot_find(key, strlen(key), hot_rig_now, 0, &view) == HOT_FRESH) {
            hits++;
            hot_release();
        } else {
            ck_assert_uint_eq(publish_plain(key, trace_size(number)), size);
        }
        list_hits += list_hit(number, size, (int64_t)mebibytes[_i] << 20);
    }
    printf("%d MiB: %.1f %% hits, with a list of the least recently used %.1f %%, %.2f us a request\n", mebibytes[_i],
           100.0 * (double)hits / TRACE_LENGTH, 100.0 * (double)list_hits / TRACE_LENGTH,
           (double)(clock_monotonic() - from) / TRACE_LENGTH);
    ck_assert_int_gt(hits, list_hits - TRACE_LENGTH / 10);
}
END_TEST

/* ---- pins ---- */

/* A worker of slot `slot` that finds a key, is stopped with it in its hands, and once it goes on says whether it still
 * has the same bytes. */
static pid_t stopped_worker(int slot, const char *key, uint64_t version, size_t size)
{
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        region_attach_reader(slot);
        struct hot_view view;
        if (hot_find(key, strlen(key), hot_rig_now, 0, &view) != HOT_FRESH)
            _exit(2);
        raise(SIGSTOP);
        _exit(hot_rig_is_body(&view, key, version, size) ? 0 : 1);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, WUNTRACED), pid);
    ck_assert(WIFSTOPPED(status));
    return pid;
}

static void go_on_with_the_same_bytes(pid_t pid)
{
    int status;
    kill(pid, SIGCONT);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 0);
}

START_TEST(test_a_stopped_worker_keeps_its_bytes_and_nobody_else_notices)
{
    hot_rig_begin(4, 2);
    fill_up(0, 1, 4000);
    pid_t pid = stopped_worker(1, "events:0", 1, 4000);
    ck_assert_int_eq(statistics_now().pins, 1);
    char key[30];
    ck_assert_int_eq(hot_rig_publish("events:0", 1, 4000), HOT_PUBLISHED);
    for (unsigned i = 1; i < 5000; i++) {
        fill_up(i, 1, 4000);
        ck_assert_int_eq(hot_rig_find(key_of(key, i)), 1);
        if (i % 100 == 0)
            hot_maintain();
    }
    go_on_with_the_same_bytes(pid);
}
END_TEST

START_TEST(test_the_pin_of_the_dead_is_cleared_by_the_master)
{
    /* This process is the master; the refresher is a child that looks at pins only. */
    char error[200];
    ck_assert(region_create(4 << 20, 2, error, sizeof error));
    int pipe_ends[2];
    ck_assert_int_eq(pipe(pipe_ends), 0);
    pid_t writer = fork();
    if (writer == 0) {
        region_attach_writer();
        if (hot_open(false, NULL, NULL) != 0 || !hot_extend(hot_rig_now, hot_rig_now * 2))
            _exit(1);
        fill_up(0, 1, 4000);
        char byte;
        for (int64_t expected = 0; read(pipe_ends[0], &byte, 1) == 1 && byte != 'e'; expected = !expected)
            if (statistics_now().pins != expected || kill(getppid(), SIGUSR1) != 0)
                _exit(2);
        _exit(0);
    }
    sigset_t told;
    sigemptyset(&told);
    sigaddset(&told, SIGUSR1);
    sigprocmask(SIG_BLOCK, &told, NULL);
    int number;
    ck_assert_int_eq(write(pipe_ends[1], "0", 1), 1);
    ck_assert_int_eq(sigwait(&told, &number), 0);
    pid_t worker = stopped_worker(1, "events:0", 1, 4000);
    ck_assert_int_eq(write(pipe_ends[1], "1", 1), 1);
    ck_assert_int_eq(sigwait(&told, &number), 0);
    kill(worker, SIGKILL);
    ck_assert_int_eq(waitpid(worker, NULL, 0), worker);
    region_clear_pin(1);
    ck_assert_int_eq(write(pipe_ends[1], "0e", 2), 2);
    int status;
    ck_assert_int_eq(waitpid(writer, &status, 0), writer);
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 0);
}
END_TEST

START_TEST(test_with_every_segment_pinned_there_is_no_room_but_no_wait_and_no_harm)
{
    hot_rig_begin(4, 5);
    char key[30];
    pid_t pids[4];
    int stopped = 0;
    unsigned i = 0;
    /* One in each segment: two would not fit. */
    for (; stopped < 4; i++) {
        enum hot_publish published = hot_rig_publish(key_of(key, i), 1, 400 << 10);
        ck_assert_int_eq(published, HOT_PUBLISHED);
        pids[stopped] = stopped_worker(stopped + 1, key, 1, 400 << 10);
        stopped++;
    }
    enum hot_publish last = HOT_PUBLISHED;
    for (unsigned tries = 0; tries < 3; tries++)
        last = hot_rig_publish(key_of(key, i + tries), 1, 400 << 10);
    ck_assert_int_eq(last, HOT_TOO_LARGE);
    ck_assert_int_eq(hot_rig_find(key_of(key, i - 1)), 1);
    ck_assert_int_eq(hot_rig_find(key_of(key, i + 2)), HOT_RIG_MISSING);
    for (int worker = 0; worker < 4; worker++)
        go_on_with_the_same_bytes(pids[worker]);
    /* They have ended with their pins: still nothing, until somebody clears those. */
    ck_assert_int_eq(hot_rig_publish(key_of(key, i + 2), 1, 400 << 10), HOT_TOO_LARGE);
    for (uint32_t worker = 1; worker < 5; worker++)
        hot_worker_line(hot_region.writable, worker)->pin = 0;
    ck_assert_int_eq(hot_rig_publish(key_of(key, i + 2), 1, 400 << 10), HOT_PUBLISHED);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hot room");
    TCase *cases = tcase_create("hot room");
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, test_a_full_cache_takes_a_new_entry_at_once);
    tcase_add_test(cases, test_what_is_read_stays_and_what_nobody_reads_goes);
    tcase_add_test(cases, test_entries_that_are_replaced_again_and_again_push_nothing_out);
    tcase_add_test(cases, test_a_full_index_takes_a_new_entry_at_once);
    tcase_add_test(cases, test_large_entries_have_room_too);
    tcase_add_loop_test(cases, test_hits_are_nearly_as_many_as_with_a_list_of_the_least_recently_used, 0, 2);
    tcase_add_test(cases, test_a_stopped_worker_keeps_its_bytes_and_nobody_else_notices);
    tcase_add_test(cases, test_the_pin_of_the_dead_is_cleared_by_the_master);
    tcase_add_test(cases, test_with_every_segment_pinned_there_is_no_room_but_no_wait_and_no_harm);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
