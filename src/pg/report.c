/* report: from a pool's statistics to the row of a child's report. Worker, scheduler. */
#include "pg/report.h"

#include <stdio.h>

void pg_pool_report(const struct pg_pool *pool, const char *name, struct child_report *report)
{
    struct pg_statistics statistics;
    pg_pool_statistics(pool, &statistics);
    INVARIANT(report->pool_count < CHILD_POOLS_MAX);
    struct child_pool_report *row = &report->pools[report->pool_count++];
    snprintf(row->name, sizeof row->name, "%s", name);
    row->open = statistics.open;
    row->idle = statistics.idle;
    row->in_flight = statistics.in_flight;
    row->waiting = statistics.waiting;
    row->max = statistics.max;
    row->connects = statistics.connects;
    row->lost = statistics.lost;
    row->timeouts = statistics.timeouts;
    row->reachable = statistics.reachable;
}
