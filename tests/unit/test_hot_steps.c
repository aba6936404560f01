/* A worker that is stopped before each single instruction of a look into the hot cache, while the refresher replaces
 * what is looked for and reuses every segment that it may: it always finds the key, and always the right bytes. */
#include <check.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hot_rig.h"

#define KEY "events:1"
enum { BODY = 300, LARGE = 900 << 10, STEPS_TAKEN = 80000, NOT_FOUND = 3, WRONG_BYTES = 4, NO_TRACING = 5 };

static atomic_int *returned; /* from the look that is under way */

static _Noreturn void look_again_and_again(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    region_attach_reader(1);
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
        _exit(NO_TRACING);
    for (;;) {
        atomic_store(returned, 0);
        raise(SIGSTOP);
        struct hot_view view;
        enum hot_found found = hot_find(KEY, strlen(KEY), hot_rig_now, 0, &view);
        atomic_store(returned, 1);
        if (found != HOT_FRESH)
            _exit(NOT_FOUND);
        if (!hot_rig_is_body(&view, KEY, view.version.xmax, BODY))
            _exit(WRONG_BYTES);
        hot_release();
    }
}

static uint64_t version;

static void publish_key(void)
{
    ck_assert_int_eq(hot_rig_publish(KEY, ++version, BODY), HOT_PUBLISHED);
}

/* Writes to each segment that nobody pins; the key is there all the time, each time in another one and at another
 * place, or what is read there by mistake could be right by chance. */
static void reuse_segments(void)
{
    static char bytes[LARGE];
    static const char *const others[] = {"events:2", "events:3"};
    for (unsigned i = 0; i < 10; i++) {
        const char *other = others[i % 2];
        memset(bytes, 'a' + (int)i, sizeof bytes);
        version++;
        struct hot_entry entry = {
            .key = other,
            .key_length = strlen(other),
            .pattern = HOT_PATTERN_EVENT,
            .ticket = hot_ticket(other, strlen(other)),
            .version = {.epoch = 1, .xmax = version},
            .expires_at = INT64_MAX,
            .bodies[HOT_IDENTITY] = {.bytes = bytes,
                                     .length = LARGE - version * 7919 % 200000,
                                     .lines = "",
                                     .etag = ""},
        };
        ck_assert_int_eq(hot_publish(&entry), HOT_PUBLISHED);
        publish_key();
    }
}

/* The signal that stops the worker next; a worker that has ended has said why. */
static int stopped_by(pid_t pid, unsigned steps)
{
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFSTOPPED(status), "stopped after %u instructions it ended with %d", steps,
                  WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
    return WSTOPSIG(status);
}

/* Instructions from the begin of the next look on, `limit` at most; fewer where the look is over. */
static unsigned step(pid_t pid, unsigned limit)
{
    unsigned steps = 0;
    for (; steps < limit && atomic_load(returned) == 0; steps++) {
        ck_assert_int_eq(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
        ck_assert_int_eq(stopped_by(pid, steps), SIGTRAP);
    }
    return steps;
}

static void go_on_to_the_next_look(pid_t pid, unsigned steps)
{
    ck_assert_int_eq(ptrace(PTRACE_CONT, pid, NULL, NULL), 0);
    ck_assert_int_eq(stopped_by(pid, steps), SIGSTOP);
}

START_TEST(test_whichever_instruction_a_worker_is_stopped_at_it_finds_the_right_bytes)
{
    returned = mmap(NULL, sizeof *returned, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(returned, MAP_FAILED);
    hot_rig_begin(5, 2);
    publish_key();
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        look_again_and_again();
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == NO_TRACING) {
        printf("skipped: no process may be traced here\n");
        return;
    }
    ck_assert(WIFSTOPPED(status));
    /* The second one: in the first the addresses of functions are looked up. */
    go_on_to_the_next_look(pid, 0);
    unsigned all = step(pid, UINT32_MAX);
    /* Sanitizers make many instructions of one; not each of them then, as there is a trap for each step up to it. */
    unsigned stride = all * all / 2 / STEPS_TAKEN + 1, tried = 0;
    reuse_segments();
    go_on_to_the_next_look(pid, all);
    for (unsigned steps = 0; steps < all; steps += stride) {
        step(pid, steps);
        reuse_segments();
        go_on_to_the_next_look(pid, steps);
        tried++;
    }
    printf("a look has %u instructions; stopped at %u of them\n", all, tried);
    kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hot steps");
    TCase *cases = tcase_create("hot steps");
    tcase_set_timeout(cases, 120);
    tcase_add_test(cases, test_whichever_instruction_a_worker_is_stopped_at_it_finds_the_right_bytes);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
