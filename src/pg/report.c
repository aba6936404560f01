/* report: from the statistics of a pool or feed to the row of a child's report. Worker, scheduler, refresher. */
#include "pg/report.h"

#include <stdio.h>

static void add_row(const struct pg_statistics *statistics, const char *name, struct child_report *report);

void pg_pool_report(const struct pg_pool *pool, const char *name, struct child_report *report)
{
    struct pg_statistics statistics;
    pg_pool_statistics(pool, &statistics);
    add_row(&statistics, name, report);
}

void pg_feed_report(const struct pg_feed *feed, const char *name, struct child_report *report)
{
    struct pg_statistics statistics;
    pg_feed_statistics(feed, &statistics);
    add_row(&statistics, name, report);
}

static void add_row(const struct pg_statistics *statistics, const char *name, struct child_report *report)
{
    INVARIANT(report->pool_count < CHILD_POOLS_MAX);
    struct child_pool_report *row = &report->pools[report->pool_count++];
    snprintf(row->name, sizeof row->name, "%s", name);
    row->open = statistics->open;
    row->idle = statistics->idle;
    row->in_flight = statistics->in_flight;
    row->waiting = statistics->waiting;
    row->max = statistics->max;
    row->connects = statistics->connects;
    row->lost = statistics->lost;
    row->timeouts = statistics->timeouts;
    row->reachable = statistics->reachable;
}
