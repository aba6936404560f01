/* metrics: what a worker counts of its requests, and /metrics. Worker process. */
#ifndef API_METRICS_H
#define API_METRICS_H

#include "http/server.h"
#include "pg/pool.h"

/* Once per worker, before the first request: gives each line of the route tables its place in the statistics. */
void metrics_start(void);
/* Counts what the worker's servers tell; `listener` is the LABEL_LISTENER_... of one. */
const struct http_observer *metrics_observer(unsigned listener);
/* Counts what became of a registration that was asked for. NULL: refused without a statement, as too many wait. */
void metrics_registration(const struct pg_answer *answer);

#endif
