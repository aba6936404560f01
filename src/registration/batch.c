/* batch: the arrays of one call of turnout.registration_batch. Worker process; it may use the pool it is given. */
#include "registration/batch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "pg/array.h"

#define BATCH_MAGIC 0x43414c4fU

/* The parameters of both statements; behind RESENT stands the wait, in the keyed one the keys before it. */
enum {
    KINDS,
    ACTIONS,
    REGISTRATIONS,
    REQUESTS,
    ACTORS,
    ROLES,
    EVENTS,
    USERS,
    RESENT,
    PLAIN_WAIT,
    KEYS = PLAIN_WAIT,
    HASHES,
    KEEP,
    KEYED_WAIT
};

struct batch *batch_make(struct busy_event *event)
{
    struct batch *batch = calloc(1, sizeof *batch);
    INVARIANT(batch != NULL);
    batch->magic = BATCH_MAGIC;
    batch->event = event;
    TAILQ_INIT(&batch->orders);
    return batch;
}

void batch_add(struct batch *batch, struct order *order)
{
    OBJECT_CHECK(batch, BATCH_MAGIC);
    TAILQ_INSERT_TAIL(&batch->orders, order, link);
    batch->count++;
}

void batch_drop(struct batch *batch, int64_t now, order_is_dead *is_dead, struct orders *dead)
{
    struct order *order, *next;
    OBJECT_CHECK(batch, BATCH_MAGIC);
    for (order = TAILQ_FIRST(&batch->orders); order != NULL; order = next) {
        next = TAILQ_NEXT(order, link);
        if (!is_dead(order, now))
            continue;
        TAILQ_REMOVE(&batch->orders, order, link);
        batch->count--;
        TAILQ_INSERT_TAIL(dead, order, link);
    }
}

struct batch *batch_halve(struct batch *batch)
{
    OBJECT_CHECK(batch, BATCH_MAGIC);
    INVARIANT(batch->count > 1);
    struct batch *behind = batch_make(batch->event);
    int half = batch->count / 2;
    for (int i = 0; i < half; i++) {
        struct order *last = TAILQ_LAST(&batch->orders, orders);
        TAILQ_REMOVE(&batch->orders, last, link);
        TAILQ_INSERT_HEAD(&behind->orders, last, link);
    }
    batch->count -= half;
    behind->count = half;
    return behind;
}

/* The field of an order that stands in this array. */
static const char *field(const struct order *order, int array)
{
    switch (array) {
    case KINDS:
        return order->kind == ORDER_REGISTER ? "register" : "cancel";
    case ACTIONS:
        return order->action_id;
    case REGISTRATIONS:
        return order->registration_id;
    case REQUESTS:
        return order->request_id;
    case ACTORS:
        return order->actor_id;
    case ROLES:
        return order->role;
    case EVENTS:
        return order->event_id;
    case USERS:
        return order->user_id;
    case KEYS:
        return order->key;
    default:
        INVARIANT(array == HASHES);
        return order->key == NULL ? NULL : order->request_hash;
    }
}

/* The buffers are kept from call to call: the pool copies what it is given. */
static const char *array_of(const struct batch *batch, int array)
{
    static struct buffer texts[KEYED_WAIT];
    const struct order *order;
    pg_array_begin(&texts[array]);
    TAILQ_FOREACH (order, &batch->orders, link)
        pg_array_add(&texts[array], field(order, array));
    return pg_array_end(&texts[array]);
}

static void on_answer(void *context, const struct pg_answer *answer)
{
    struct batch *batch = context;
    OBJECT_CHECK(batch, BATCH_MAGIC);
    struct order *order;
    if (answer->in_doubt || answer->status == PG_STATUS_LOST) {
        TAILQ_FOREACH (order, &batch->orders, link)
            order->in_doubt = true;
    }
    batch->answered(batch, answer);
}

void batch_send(struct batch *batch, const struct batch_way *way, batch_answered *answered)
{
    OBJECT_CHECK(batch, BATCH_MAGIC);
    struct pg_query query = {.retry = PG_RETRY_RESEND, .resent_parameter = RESENT, .done = on_answer, .context = batch};
    const struct order *order;
    bool in_doubt = false;
    batch->keyed = false;
    TAILQ_FOREACH (order, &batch->orders, link) {
        batch->keyed = batch->keyed || order->key != NULL;
        in_doubt = in_doubt || order->in_doubt;
    }
    for (int array = KINDS; array < RESENT; array++)
        query.parameters[array] = array_of(batch, array);
    /* What an order did when it was sent before, with others, the rule looks for by its action. */
    query.parameters[RESENT] = in_doubt ? "true" : "false";
    char wait[16];
    char keep[40];
    snprintf(wait, sizeof wait, "%d", way->wait_milliseconds);
    snprintf(keep, sizeof keep, "%" PRId64 " microseconds", way->keep);
    if (batch->keyed) {
        query.parameters[KEYS] = array_of(batch, KEYS);
        query.parameters[HASHES] = array_of(batch, HASHES);
        query.parameters[KEEP] = keep;
        query.parameters[KEYED_WAIT] = wait;
    } else {
        query.parameters[PLAIN_WAIT] = wait;
    }
    query.statement = batch->keyed ? way->keyed : way->plain;
    INVARIANT(query.statement->parameter_count == (batch->keyed ? KEYED_WAIT : PLAIN_WAIT) + 1);
    batch->answered = answered;
    batch->sent = clock_monotonic();
    pg_pool_submit(way->pool, &query);
}

void batch_free(struct batch *batch)
{
    OBJECT_CHECK(batch, BATCH_MAGIC);
    INVARIANT(TAILQ_EMPTY(&batch->orders));
    OBJECT_BURY(batch);
    free(batch);
}
