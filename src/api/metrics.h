/* metrics: what a worker counts of its requests, and /metrics. Worker process. */
#ifndef API_METRICS_H
#define API_METRICS_H

#include "http/server.h"
#include "registration/order.h"

/* Once per worker, before the first request: gives each line of the route tables its place in the statistics. */
void metrics_start(void);
/* Counts what the worker's servers tell; `listener` is the LABEL_LISTENER_... of one. */
const struct http_observer *metrics_observer(unsigned listener);
/* Counts what became of a registration that was asked for. */
void metrics_registration(const struct order_decision *decision);
/* Counts one that was decided by a statement of its own, with others. */
void metrics_registration_outcome(const char *outcome);
/* Of the registration engine: a call was answered; and its gauges. */
void metrics_orders_call(int orders, int64_t microseconds);
void metrics_orders_sample(void);

#endif
