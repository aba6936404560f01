/* pool_metrics: from what happens in pools to statistics. Worker, scheduler, refresher; it counts in the process's own
 * page. */
#include "api/pool_metrics.h"

#include "shm/statistics.h"

static unsigned label_of(const void *context)
{
    return *(const unsigned *)context;
}

static void on_happened(void *context, enum pg_occurrence what, int64_t microseconds)
{
    unsigned pool = label_of(context);
    switch (what) {
    case PG_OCCURRED_CONNECT:
        statistics_add(STATISTICS_DB_CONNECTS, pool, LABEL_RESULT_OK, 1);
        return;
    case PG_OCCURRED_CONNECT_FAILURE:
        statistics_add(STATISTICS_DB_CONNECTS, pool, LABEL_RESULT_FAILED, 1);
        return;
    case PG_OCCURRED_LOSS:
        statistics_count(STATISTICS_DB_LOST, pool);
        return;
    case PG_OCCURRED_WAIT:
        statistics_observe(STATISTICS_DB_ACQUIRE, pool, microseconds);
        return;
    case PG_OCCURRED_ANSWER:
        statistics_observe(STATISTICS_DB_STATEMENT, pool, microseconds);
        return;
    case PG_OCCURRED_ACQUIRE_TIMEOUT:
        statistics_add(STATISTICS_DB_TIMEOUTS, pool, LABEL_TIMEOUT_ACQUIRE, 1);
        return;
    case PG_OCCURRED_STATEMENT_TIMEOUT:
        statistics_add(STATISTICS_DB_TIMEOUTS, pool, LABEL_TIMEOUT_STATEMENT, 1);
        return;
    }
}

const struct pg_observer *pool_metrics_observer(unsigned pool)
{
    static unsigned labels[LABEL_POOL_COUNT];
    static struct pg_observer observers[LABEL_POOL_COUNT];
    INVARIANT(pool < LABEL_POOL_COUNT);
    labels[pool] = pool;
    observers[pool] = (struct pg_observer){.happened = on_happened, .context = &labels[pool]};
    return &observers[pool];
}

static void set_gauges(unsigned label, const struct pg_statistics *now)
{
    statistics_set(STATISTICS_DB_CONNECTIONS, label, LABEL_USE_USED, now->used);
    statistics_set(STATISTICS_DB_CONNECTIONS, label, LABEL_USE_IDLE, now->idle);
    statistics_set(STATISTICS_DB_CONNECTIONS, label, LABEL_USE_CONNECTING, now->open - now->idle - now->used);
    statistics_set(STATISTICS_DB_MOST, label, LABEL_NONE_ONE, now->max);
    statistics_set(STATISTICS_DB_IN_FLIGHT, label, LABEL_NONE_ONE, now->in_flight);
    statistics_set(STATISTICS_DB_WAITING, label, LABEL_NONE_ONE, now->waiting);
    statistics_set(STATISTICS_DB_UNREACHABLE, label, LABEL_NONE_ONE, now->reachable ? 0 : 1);
}

void pool_metrics_sample(unsigned label, const struct pg_pool *pool)
{
    struct pg_statistics now;
    pg_pool_statistics(pool, &now);
    set_gauges(label, &now);
}

void pool_metrics_sample_feed(unsigned label, const struct pg_feed *feed)
{
    struct pg_statistics now;
    pg_feed_statistics(feed, &now);
    set_gauges(label, &now);
}
