/* More keys than there is room for, in the one set that this program is built with: words change hands all the time, by
 * processes whose clocks are not quite the same. However that goes, no key ever has two buckets: whatever is counted is
 * within the burst. */
#include <check.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/buckets.h"

#define SECOND INT64_C(1000000)
#define START (1000 * SECOND)

enum { PROCESSES = 3, KEYS = 12, BURST = 3, ASKS = 2, ROUNDS = 60000, SKEW = 10000 };

/* Shared by the processes. */
struct world {
    atomic_int round;
    atomic_int arrived;
    atomic_int counted[2][KEYS]; /* of even and odd rounds */
    atomic_int most;             /* counted for one key in one round */
    atomic_int uncounted;
    atomic_int all;
};

/* The last one to come looks at what was counted and opens the next round. */
static void end_round(struct world *world, int round)
{
    if (atomic_fetch_add(&world->arrived, 1) + 1 < PROCESSES) {
        while (atomic_load(&world->round) == round)
            sched_yield();
        return;
    }
    for (int key = 0; key < KEYS; key++) {
        int counted = atomic_exchange(&world->counted[round % 2][key], 0);
        atomic_fetch_add(&world->all, counted);
        if (counted > atomic_load(&world->most))
            atomic_store(&world->most, counted);
    }
    atomic_store(&world->arrived, 0);
    atomic_fetch_add(&world->round, 1);
}

/* Each round begins as the buckets of the one before are full again, some a little sooner and some a little later; and
 * clocks are read a little sooner or later than the word. A key is asked for more often than its burst. */
static void crowd(struct world *world, unsigned seed)
{
    struct buckets_limit limit = buckets_limit(BUCKETS_OF_USERS, 0, 1, BURST);
    for (int round = 0; round < ROUNDS; round++) {
        int64_t begun = START + round * (BURST * SECOND);
        int first = rand_r(&seed) % KEYS;
        for (int i = 0; i < KEYS * ASKS; i++) {
            int key = (first + i) % KEYS;
            int64_t now = begun + rand_r(&seed) % SKEW;
            struct buckets_answer answer = buckets_take(&limit, &key, sizeof key, now);
            if (answer.admitted && answer.counted)
                atomic_fetch_add(&world->counted[round % 2][key], 1);
            if (!answer.counted)
                atomic_fetch_add(&world->uncounted, 1);
        }
        end_round(world, round);
    }
}

START_TEST(test_a_key_has_one_bucket_whoever_makes_it)
{
    char error[200];
    ck_assert_msg(buckets_create(START, error, sizeof error), "%s", error);
    buckets_attach();
    ck_assert_uint_eq(buckets_room(), 8);
    struct world *world = mmap(NULL, sizeof *world, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(world, MAP_FAILED);
    pid_t pids[PROCESSES];
    for (unsigned i = 0; i < PROCESSES; i++) {
        pids[i] = fork();
        ck_assert_int_ge(pids[i], 0);
        if (pids[i] == 0) {
            crowd(world, i + 1);
            _exit(0);
        }
    }
    for (int i = 0; i < PROCESSES; i++) {
        int status;
        ck_assert_int_eq(waitpid(pids[i], &status, 0), pids[i]);
        ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    ck_assert_int_gt(atomic_load(&world->uncounted), 0); /* it was crowded */
    ck_assert_int_gt(atomic_load(&world->all), ROUNDS * BURST);
    ck_assert_int_eq(atomic_load(&world->most), BURST);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("buckets_crowd");
    TCase *tests = tcase_create("buckets_crowd");
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, test_a_key_has_one_bucket_whoever_makes_it);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
