/* report: a pool's numbers, or a feed's, as a child reports them to the master. Worker, scheduler, refresher. */
#ifndef PG_REPORT_H
#define PG_REPORT_H

#include "base/child.h"
#include "pg/feed.h"
#include "pg/pool.h"

/* Adds a row for the pool. */
void pg_pool_report(const struct pg_pool *pool, const char *name, struct child_report *report);
/* Adds one for the feed. */
void pg_feed_report(const struct pg_feed *feed, const char *name, struct child_report *report);

#endif
