/* batch: some orders, sent as one statement. Worker process. */
#ifndef REGISTRATION_BATCH_H
#define REGISTRATION_BATCH_H

#include "pg/pool.h"
#include "registration/order.h"

struct busy_event;

struct batch;
typedef void batch_answered(struct batch *batch, const struct pg_answer *answer);

/* Lives from batch_make until batch_free; owns none of its orders' memory. */
struct batch {
    OBJECT_HEADER;
    TAILQ_ENTRY(batch) link;
    struct orders orders;
    int count;
    struct busy_event *event; /* the busy lane's, all its orders are of this event; NULL: of the main lane */
    batch_answered *answered;
    bool keyed;   /* some order has a key */
    int64_t sent; /* clock_monotonic */
};

TAILQ_HEAD(batches, batch);

/* Empty. */
struct batch *batch_make(struct busy_event *event);
/* Puts an order behind the others. */
void batch_add(struct batch *batch, struct order *order);
/* Moves the orders that are dead over to `dead`. */
void batch_drop(struct batch *batch, int64_t now, order_is_dead *is_dead, struct orders *dead);
/* A second half, in a call of its own; the first stays. At least two orders. */
struct batch *batch_halve(struct batch *batch);

/* How a call is sent. */
struct batch_way {
    struct pg_pool *pool;
    const struct pg_statement *plain, *keyed;
    int wait_milliseconds; /* for seats rows that somebody else holds; 0: they are skipped */
    int64_t keep;          /* microseconds for which stored answers count */
};
/* `answered` is called exactly once, never from within this call. A lost connection: sent again, as what it is. */
void batch_send(struct batch *batch, const struct batch_way *way, batch_answered *answered);
/* Its orders have been taken out. */
void batch_free(struct batch *batch);

#endif
