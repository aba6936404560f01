/* engine: orders that arrive while a call is in flight form the next one. One call of the set-based function is one
 * commit, however many people it holds; with nothing in flight an order leaves at once, alone. Worker process; uses two
 * pools of its own.
 *
 * The main lane sends with seats rows that somebody else holds skipped; such items come back `busy` and go again with
 * the next call. An event whose items stay busy gets into the busy lane (busy.h). So a held row never holds up other
 * events. */
#ifndef REGISTRATION_ENGINE_H
#define REGISTRATION_ENGINE_H

#include <event2/event.h>

#include "base/configuration.h"
#include "pg/pool.h"
#include "registration/order.h"

/* The process's only one. `configuration` is looked up at each use: batch_max, queue_max, queue_timeout,
 * idempotency_keep. */
struct engine_options {
    struct event_base *base;
    const struct configuration *configuration;
    struct pg_pool *main;
    struct pg_pool *busy;             /* its connections may stand still for a while */
    const struct pg_statement *plain; /* turnout.registration_batch */
    const struct pg_statement *keyed; /* turnout.registration_batch_with_keys, for calls in which somebody has a key */
    /* Hears of each call that was answered: how many orders, microseconds from sending to answer. NULL: nobody. */
    void (*observe)(int orders, int64_t microseconds);
};

/* Once, before the first order. */
void engine_start(const struct engine_options *options);

/* Whether an order that came now would be refused: the queue is full, or longer than can be decided within
 * queue_timeout. Costs nothing, so it is asked before a request is read any further. 0: it may come; else the seconds,
 * with jitter, after which to come again. */
int engine_refusal(void) MUST_CHECK;

/* Takes the order, also when the queue is full: whoever asked engine_refusal before it looked up the caller has been
 * let in. Its deadline is queue_timeout from now. */
void engine_submit(struct order *order);

/* All gauges. */
struct engine_statistics {
    int64_t waiting;   /* orders not sent */
    int64_t in_flight; /* orders sent */
    int64_t busy;      /* events in the busy lane */
    int64_t stuck;     /* those of them whose seats somebody does not give back */
};
void engine_statistics(struct engine_statistics *statistics);

#endif
