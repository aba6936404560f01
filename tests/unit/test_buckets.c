/* The buckets that workers share: however many processes take from one at the same time, and whoever dies meanwhile, it
 * gives its burst and what flows in, and not one request more or less. */
#include <check.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/buckets.h"

#define SECOND INT64_C(1000000)
#define DAY (86400 * SECOND)
#define START (1000 * SECOND)

static void set_up(void)
{
    char error[200];
    ck_assert_msg(buckets_create(START, error, sizeof error), "%s", error);
    buckets_attach();
}

static struct buckets_answer take(const struct buckets_limit *limit, const char *key, int64_t now)
{
    return buckets_take(limit, key, strlen(key), now);
}

/* How many of `asked` requests are admitted at one moment. */
static int take_many(const struct buckets_limit *limit, const char *key, int64_t now, int asked)
{
    int admitted = 0;
    for (int i = 0; i < asked; i++)
        admitted += take(limit, key, now).admitted;
    return admitted;
}

START_TEST(test_the_burst_comes_at_once_and_then_as_much_as_flows_in)
{
    struct buckets_limit limit = buckets_limit(BUCKETS_OF_USERS, 0, 10, 50);
    ck_assert_int_eq(take_many(&limit, "somebody", START, 80), 50);
    ck_assert_int_eq(take_many(&limit, "somebody", START + 99999, 5), 0);
    ck_assert_int_eq(take_many(&limit, "somebody", START + 100000, 5), 1);
    ck_assert_int_eq(take_many(&limit, "somebody", START + SECOND, 20), 9);
    /* idle for whatever time, it holds no more than the burst */
    ck_assert_int_eq(take_many(&limit, "somebody", START + 6 * SECOND, 80), 50);
    ck_assert_int_eq(take_many(&limit, "somebody", START + DAY, 80), 50);
}
END_TEST

START_TEST(test_the_answer_says_what_is_left_and_how_long_to_wait)
{
    struct buckets_limit limit = buckets_limit(BUCKETS_OF_USERS, 0, 4, 3);
    struct buckets_answer answer = take(&limit, "somebody", START);
    ck_assert(answer.admitted && answer.counted);
    ck_assert_int_eq(answer.left, 2);
    ck_assert_int_eq(answer.wait, 0);
    ck_assert_int_eq(answer.refills, 500000);
    answer = take(&limit, "somebody", START);
    ck_assert_int_eq(answer.left, 1);
    answer = take(&limit, "somebody", START);
    ck_assert(answer.admitted);
    ck_assert_int_eq(answer.left, 0);
    ck_assert_int_eq(answer.wait, 250000);
    answer = take(&limit, "somebody", START + 50000);
    ck_assert(!answer.admitted && answer.counted);
    ck_assert_int_eq(answer.wait, 200000);
    ck_assert(!take(&limit, "somebody", START + 249900).admitted);
    ck_assert(take(&limit, "somebody", START + 50000 + answer.wait).admitted);
}
END_TEST

START_TEST(test_nobody_pays_for_another_key_kind_or_figure)
{
    struct buckets_limit writes = buckets_limit(BUCKETS_OF_USERS, 0, 1, 2);
    struct buckets_limit reads = buckets_limit(BUCKETS_OF_USERS, 1, 1, 2);
    struct buckets_limit changed = buckets_limit(BUCKETS_OF_USERS, 0, 1, 3);
    struct buckets_limit addresses = buckets_limit(BUCKETS_OF_ADDRESSES, 0, 1, 2);
    ck_assert_int_eq(take_many(&writes, "somebody", START, 5), 2);
    ck_assert_int_eq(take_many(&writes, "somebody else", START, 5), 2);
    ck_assert_int_eq(take_many(&reads, "somebody", START, 5), 2);
    ck_assert_int_eq(take_many(&changed, "somebody", START, 5), 3);
    ck_assert_int_eq(take_many(&addresses, "somebody", START, 5), 2);
    ck_assert_int_eq(take_many(&writes, "somebody", START, 5), 0);
}
END_TEST

START_TEST(test_buckets_outlive_the_going_round_of_their_clock)
{
    struct buckets_limit limit = buckets_limit(BUCKETS_OF_USERS, 0, 1, 60);
    /* 2^42 ticks after an hour before the start */
    int64_t round = START - 3600 * SECOND + (INT64_C(1) << 42) * 1000 / 64;
    ck_assert_int_eq(take_many(&limit, "somebody", round - 10 * SECOND, 100), 60);
    ck_assert_int_eq(take_many(&limit, "somebody", round + 10 * SECOND, 100), 20);
    ck_assert_int_eq(take_many(&limit, "nobody yet", round + 10 * SECOND, 100), 60);
    ck_assert_int_eq(take_many(&limit, "somebody", round + 80 * SECOND, 100), 60);
}
END_TEST

START_TEST(test_a_full_table_lets_through_what_it_cannot_count_and_says_so)
{
    struct buckets_limit limit = buckets_limit(BUCKETS_OF_ADDRESSES, 0, 1, 10);
    struct buckets_limit users = buckets_limit(BUCKETS_OF_USERS, 0, 1, 10);
    int counted = 0;
    int uncounted = 0;
    ck_assert_uint_eq(buckets_in_use(BUCKETS_OF_ADDRESSES, START), 0);
    while (buckets_in_use(BUCKETS_OF_ADDRESSES, START) < buckets_room()) {
        for (int i = 0; i < 100000; i++) {
            int key = counted + uncounted;
            struct buckets_answer answer = buckets_take(&limit, &key, sizeof key, START);
            ck_assert(answer.admitted);
            counted += answer.counted;
            uncounted += !answer.counted;
        }
    }
    /* of so many strangers, a few have the same tag in the same set and share a bucket: one in a million or so */
    ck_assert_int_ge(counted, (int)buckets_room());
    ck_assert_int_le(counted, (int)buckets_room() + 20);
    ck_assert_int_gt(uncounted, 0);
    /* users are apart, and a bucket that is full again makes room */
    ck_assert(take(&users, "somebody", START).counted);
    ck_assert_uint_eq(buckets_in_use(BUCKETS_OF_ADDRESSES, START + SECOND - 16), buckets_room());
    ck_assert_uint_eq(buckets_in_use(BUCKETS_OF_ADDRESSES, START + 20 * SECOND), 0);
    ck_assert(take(&limit, "one more", START + 20 * SECOND).counted);
}
END_TEST

/* ---- several processes ---- */

enum { PROCESSES = 4 };

/* Shared by them. */
struct world {
    atomic_int ready;
    atomic_bool go;
    atomic_int_least64_t now;
    atomic_int admitted[PROCESSES];
};

static struct world *make_world(void)
{
    struct world *world = mmap(NULL, sizeof *world, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(world, MAP_FAILED);
    atomic_store(&world->now, START);
    return world;
}

static void fork_all(struct world *world, void (*work)(struct world *world, int number), pid_t pids[PROCESSES])
{
    for (int i = 0; i < PROCESSES; i++) {
        pids[i] = fork();
        ck_assert_int_ge(pids[i], 0);
        if (pids[i] != 0)
            continue;
        atomic_fetch_add(&world->ready, 1);
        while (!atomic_load(&world->go))
            sched_yield();
        work(world, i);
        _exit(0);
    }
    while (atomic_load(&world->ready) < PROCESSES)
        sched_yield();
    atomic_store(&world->go, true);
}

static void wait_for_all(const pid_t pids[PROCESSES])
{
    for (int i = 0; i < PROCESSES; i++) {
        int status;
        ck_assert_int_eq(waitpid(pids[i], &status, 0), pids[i]);
        ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
}

static int admitted_by_all(const struct world *world)
{
    int sum = 0;
    for (int i = 0; i < PROCESSES; i++)
        sum += atomic_load(&world->admitted[i]);
    return sum;
}

enum { RUSH_RATE = 1000, RUSH_BURST = 200000, RUSH_SECONDS = 100, RUSH_LEAD = 1000 };

/* While there is anything, everybody takes; whoever finds nothing lets the time go on. Nobody runs far ahead, so that
 * all of them take part. */
static void rush(struct world *world, int number)
{
    struct buckets_limit limit = buckets_limit(BUCKETS_OF_USERS, 0, RUSH_RATE, RUSH_BURST);
    const atomic_int *next = &world->admitted[(number + 1) % PROCESSES];
    int64_t now;
    while ((now = atomic_load(&world->now)) <= START + RUSH_SECONDS * SECOND) {
        if (atomic_load(&world->admitted[number]) > atomic_load(next) + RUSH_LEAD) {
            sched_yield();
            continue;
        }
        if (take(&limit, "the one", now).admitted)
            atomic_fetch_add(&world->admitted[number], 1);
        else
            atomic_compare_exchange_strong(&world->now, &now, now + 500);
    }
}

START_TEST(test_processes_that_hammer_one_bucket_get_exactly_what_it_holds)
{
    struct world *world = make_world();
    pid_t pids[PROCESSES];
    fork_all(world, rush, pids);
    wait_for_all(pids);
    for (int i = 0; i < PROCESSES; i++) {
        int share = atomic_load(&world->admitted[i]);
        ck_assert_int_gt(share, RUSH_BURST / PROCESSES / 2);
    }
    ck_assert_int_eq(admitted_by_all(world), RUSH_BURST + RUSH_RATE * RUSH_SECONDS);
}
END_TEST

enum { HAMMER_RATE = 1000, HAMMER_BURST = 2000000 };

/* Until its own alarm kills it, wherever it is then. */
static void hammer(struct world *world, int number)
{
    struct buckets_limit limit = buckets_limit(BUCKETS_OF_USERS, 0, HAMMER_RATE, HAMMER_BURST);
    const struct itimerval alarm_time = {.it_value = {.tv_usec = 3000 + 1000 * number}};
    if (signal(SIGALRM, SIG_DFL) == SIG_ERR || setitimer(ITIMER_REAL, &alarm_time, NULL) != 0)
        _exit(1);
    for (;;)
        atomic_fetch_add(&world->admitted[number], take(&limit, "the one", START).admitted);
}

START_TEST(test_a_process_that_is_killed_takes_at_most_the_request_in_its_hands_with_it)
{
    struct world *world = make_world();
    struct buckets_limit limit = buckets_limit(BUCKETS_OF_USERS, 0, HAMMER_RATE, HAMMER_BURST);
    pid_t pids[PROCESSES];
    fork_all(world, hammer, pids);
    for (int i = 0; i < PROCESSES; i++) {
        int status;
        ck_assert_int_eq(waitpid(pids[i], &status, 0), pids[i]);
        ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM);
    }
    int sum = admitted_by_all(world) + take_many(&limit, "the one", START, HAMMER_BURST);
    ck_assert_int_le(sum, HAMMER_BURST);
    ck_assert_int_ge(sum, HAMMER_BURST - PROCESSES);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("buckets");
    TCase *tests = tcase_create("buckets");
    tcase_add_checked_fixture(tests, set_up, NULL);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, test_the_burst_comes_at_once_and_then_as_much_as_flows_in);
    tcase_add_test(tests, test_the_answer_says_what_is_left_and_how_long_to_wait);
    tcase_add_test(tests, test_nobody_pays_for_another_key_kind_or_figure);
    tcase_add_test(tests, test_buckets_outlive_the_going_round_of_their_clock);
    tcase_add_test(tests, test_a_full_table_lets_through_what_it_cannot_count_and_says_so);
    tcase_add_test(tests, test_processes_that_hammer_one_bucket_get_exactly_what_it_holds);
    tcase_add_test(tests, test_a_process_that_is_killed_takes_at_most_the_request_in_its_hands_with_it);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
