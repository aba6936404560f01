/* loop: what the fixtures of servers have in common. */
#include "loop.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define PATIENCE (20 * SECOND)

static struct event_base *base;

void fixture_need(const char *variable, const char *script, char **arguments)
{
    if (getenv(variable) != NULL)
        return;
    const char *source = getenv("srcdir");
    char path[4096];
    snprintf(path, sizeof path, "%s/tests/unit/%s", source == NULL ? "." : source, script);
    execl("/bin/sh", "sh", path, arguments[0], (char *)NULL);
    perror(path);
    exit(99); /* automake: a hard error */
}

struct event_base *fixture_base(void)
{
    if (base == NULL)
        base = event_base_new();
    ck_assert_ptr_nonnull(base);
    return base;
}

int64_t fixture_deadline(void)
{
    return clock_monotonic() + PATIENCE;
}

static void wake(evutil_socket_t descriptor, short what, void *argument)
{
    (void)descriptor;
    (void)what;
    (void)argument;
}

void fixture_turn(int64_t deadline, const char *waited_for)
{
    if (clock_monotonic() > deadline)
        ck_abort_msg("waited in vain for: %s", waited_for);
    struct timeval at_most = {.tv_usec = 10000};
    event_base_once(fixture_base(), -1, EV_TIMEOUT, wake, NULL, &at_most);
    event_base_loop(base, EVLOOP_ONCE);
}

int fixture_run(Suite *suite)
{
    log_configure(LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
