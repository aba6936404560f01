/* refresher: the process that keeps the hot cache true. It may write the region, Redis, and the epoch in PostgreSQL. */
#include "refresher/refresher.h"

#include "base/log.h"
#include "shm/hot_write.h"
#include "shm/statistics.h"
#include "shm/usage.h"

static struct {
    struct child *child;
} refresher;

static void on_evicted(void *context, const char *key, size_t length)
{
    (void)context;
    (void)key;
    (void)length;
}

static void on_stop(void *context, enum child_stop how)
{
    (void)context;
    (void)how;
    child_exit(refresher.child, EXIT_STATUS_DONE);
}

static void on_report(void *context, struct child_report *report)
{
    (void)context;
    (void)report;
    usage_sample();
}

/* Its two connections are not part of the workers' share. */
static void on_db_share(void *context, int64_t share)
{
    (void)context;
    (void)share;
}

static void on_lag(void *context, int64_t microseconds)
{
    (void)context;
    (void)microseconds;
}

static bool on_reload(void *context, char *error, size_t error_size)
{
    (void)context;
    (void)error;
    (void)error_size;
    return true;
}

int refresher_main(const struct refresher_options *options)
{
    refresher.child = child_create(options->start);
    size_t kept = hot_open(options->distrust, on_evicted, NULL);
    log_info("the hot cache is open", log_int("entries", kept));
    static const struct child_callbacks callbacks = {
        .stop = on_stop, .report = on_report, .db_share = on_db_share, .lag = on_lag, .reload = on_reload};
    child_ready(refresher.child);
    child_warmed(refresher.child);
    return child_run(refresher.child, &callbacks);
}
