/* pool_metrics: what is counted of a process's pools of connections to PostgreSQL. Worker, scheduler,
 * refresher. */
#ifndef API_POOL_METRICS_H
#define API_POOL_METRICS_H

#include "pg/feed.h"
#include "pg/pool.h"

/* pg_pool_options.observer of the pool that has this LABEL_POOL_... */
const struct pg_observer *pool_metrics_observer(unsigned pool);
/* Sets the pool's gauges to how it stands. */
void pool_metrics_sample(unsigned label, const struct pg_pool *pool);
/* The same for a feed, which is one connection. */
void pool_metrics_sample_feed(unsigned label, const struct pg_feed *feed);

#endif
