/* engine: the main lane, what becomes of an answered call, and who is let in. Worker process; it may use the two pools.
 *
 * An order waits in `waiting`, or at a busy event (busy.c), or is in one of at most two calls in flight: one of each
 * lane. `decided` may submit more; so lists are changed before it is called, and while a call's orders are being
 * told nothing is sent. */
#include "registration/engine.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "registration/batch.h"
#include "registration/busy.h"

/* Milliseconds for which a call of the busy lane waits for its event's seats: long against the batch that another
 * worker or host holds them for, short against what the other busy events may wait. While no other waits for its turn,
 * long against a batch of each worker of many: PostgreSQL lets them have the row in the order in which they came, and
 * who gives up loses his place. */
#define BUSY_WAIT 100
#define BUSY_WAIT_ALONE 500
/* Microseconds between two looks at deadlines, while there is anything to look at. */
#define SWEEP_INTERVAL INT64_C(20000)
/* Calls that say `busy` before the event counts as busy: two workers with a full call each over a thousand events meet
 * at a quarter of them by chance. With two tries so many of those went to the busy lane, one event a call, that a
 * registration cost PostgreSQL 1.7 times as much as with four (tests/bench/registrations.py --only spread). */
#define TRIES_MAX 4
/* What a call takes follows the last ones: an eighth of the difference with each. */
#define CALL_TIME_SHARE 8

static struct {
    struct engine_options options;
    struct orders waiting;
    struct batches halves; /* of refused calls of the main lane: they go first */
    struct orders dead;    /* found while one was submitted, which is no moment to tell them */
    int64_t waiting_count;
    struct batch *main, *busy; /* in flight */
    int64_t call_time;         /* microseconds from sending to answer, lately */
    struct event *timer;
    bool timing;
    bool telling; /* orders are being told or calls made: nothing may be sent from within */
} engine;

static void on_sweep(evutil_socket_t unused, short events, void *context);
static void send_more(bool submitting);

void engine_start(const struct engine_options *options)
{
    INVARIANT(engine.timer == NULL);
    engine.options = *options;
    TAILQ_INIT(&engine.waiting);
    TAILQ_INIT(&engine.halves);
    TAILQ_INIT(&engine.dead);
    engine.timer = evtimer_new(options->base, on_sweep, NULL);
    INVARIANT(engine.timer != NULL);
}

static int seconds_until(int64_t microseconds)
{
    int64_t seconds = microseconds / 1000000 + 1;
    return (int)(seconds + (int64_t)((uint64_t)random() % (uint64_t)(seconds + 1)));
}

/* Microseconds until what waits has been sent, in full calls: with few waiting too little, but then it is soon. Who
 * waits for a stuck event is no work that newcomers would have to wait for. */
static int64_t work_ahead(void)
{
    int64_t orders = engine.waiting_count + busy_counts.orders - busy_counts.orders_stuck;
    return orders * engine.call_time / engine.options.configuration->batch_max;
}

int engine_refusal(void)
{
    const struct configuration *configuration = engine.options.configuration;
    int64_t ahead = work_ahead();
    if (engine.waiting_count + busy_counts.orders >= configuration->queue_max || ahead > configuration->queue_timeout)
        return seconds_until(ahead);
    return 0;
}

static void start_timer(void)
{
    if (engine.timing || (TAILQ_EMPTY(&engine.waiting) && TAILQ_EMPTY(&engine.dead) && busy_counts.events == 0))
        return;
    struct timeval interval = clock_timeval(SWEEP_INTERVAL);
    INVARIANT(event_add(engine.timer, &interval) == 0);
    engine.timing = true;
}

void engine_submit(struct order *order)
{
    OBJECT_CHECK(order, ORDER_MAGIC);
    order->deadline = clock_monotonic() + engine.options.configuration->queue_timeout;
    order->busy_event[0] = '\0';
    order->tries = 0;
    order->in_doubt = order->probes = false;
    TAILQ_INSERT_TAIL(&engine.waiting, order, link);
    engine.waiting_count++;
    send_more(true);
    start_timer();
}

void engine_statistics(struct engine_statistics *statistics)
{
    *statistics = (struct engine_statistics){
        .waiting = engine.waiting_count + busy_counts.orders, .busy = busy_counts.events, .stuck = busy_counts.stuck};
    const struct order *order;
    TAILQ_FOREACH (order, &engine.dead, link)
        statistics->waiting++;
    statistics->in_flight += engine.main == NULL ? 0 : engine.main->count;
    statistics->in_flight += engine.busy == NULL ? 0 : engine.busy->count;
}

/* --- how an order ends --- */

static void end_with(struct order *order, struct order_decision decision)
{
    if (order->probes) {
        /* It was sent without waiting: an answer of any kind says that the seats could be had. */
        order->probes = false;
        busy_probed(busy_enter(order->busy_event), decision.end == ORDER_BUSY || decision.end == ORDER_OVERLOADED);
    }
    /* The last call did nothing, but an earlier one may have: "nothing was done" would be a guess. */
    if (order->in_doubt && decision.end != ORDER_DECIDED)
        decision = (struct order_decision){.end = ORDER_UNKNOWN};
    if (decision.end != ORDER_DECIDED && decision.end != ORDER_FAILED && decision.end != ORDER_UNKNOWN)
        decision.retry_after = seconds_until(work_ahead());
    order->decided(order, &decision);
}

static bool is_dead(const struct order *order, int64_t now)
{
    return now >= order->deadline || !order->is_wanted(order);
}

static void end_dead(struct order *order)
{
    struct pg_statistics main;
    pg_pool_statistics(engine.options.main, &main);
    enum order_end end = order->busy_event[0] != '\0' ? ORDER_BUSY : ORDER_OVERLOADED;
    end_with(order, (struct order_decision){.end = main.reachable ? end : ORDER_UNAVAILABLE});
}

/* Returns whether there were any: who is told may submit more. */
static bool end_all_dead(void)
{
    struct order *order;
    bool any = !TAILQ_EMPTY(&engine.dead);
    while ((order = TAILQ_FIRST(&engine.dead)) != NULL) {
        TAILQ_REMOVE(&engine.dead, order, link);
        end_dead(order);
    }
    return any;
}

/* --- sending --- */

static void send_call(struct batch *batch, struct pg_pool *pool, int wait, batch_answered *answered)
{
    const struct batch_way way = {.pool = pool,
                                  .plain = engine.options.plain,
                                  .keyed = engine.options.keyed,
                                  .wait_milliseconds = wait,
                                  .keep = engine.options.configuration->idempotency_keep};
    batch_send(batch, &way, answered);
}

static struct order *take_waiting(void)
{
    struct order *order = TAILQ_FIRST(&engine.waiting);
    if (order != NULL) {
        TAILQ_REMOVE(&engine.waiting, order, link);
        engine.waiting_count--;
    }
    return order;
}

/* Where an order goes that is not for the main lane. Busy events together take half of the queue at most, so that held
 * rows leave room for everybody else. */
static void join_busy(struct busy_event *event, struct order *order)
{
    if (busy_counts.orders >= engine.options.configuration->queue_max / 2) {
        order->tries++;
        order->deadline = 0; /* the next sweep ends it, from where it will look first */
        busy_add_again(event, order);
    } else {
        busy_add(event, order);
    }
}

static const char *event_of(const struct order *order)
{
    if (order->busy_event[0] != '\0')
        return order->busy_event;
    return order->event_id; /* of a cancel nobody knows it before the first try: NULL */
}

static struct batch *next_half(void)
{
    struct batch *batch;
    while ((batch = TAILQ_FIRST(&engine.halves)) != NULL) {
        TAILQ_REMOVE(&engine.halves, batch, link);
        batch_drop(batch, clock_monotonic(), is_dead, &engine.dead);
        if (batch->count > 0)
            return batch;
        batch_free(batch);
    }
    return NULL;
}

/* `submitting`: nobody has waited, so nobody has gone. */
static struct batch *next_main(bool submitting)
{
    struct batch *batch = next_half();
    if (batch != NULL)
        return batch;
    batch = batch_make(NULL);
    int64_t now = clock_monotonic();
    struct order *order;
    while (batch->count < engine.options.configuration->batch_max && (order = take_waiting()) != NULL) {
        struct busy_event *event = order->probes || event_of(order) == NULL ? NULL : busy_find(event_of(order));
        if (!submitting && is_dead(order, now))
            TAILQ_INSERT_TAIL(&engine.dead, order, link);
        else if (event != NULL)
            join_busy(event, order);
        else
            batch_add(batch, order);
    }
    if (batch->count > 0)
        return batch;
    batch_free(batch);
    return NULL;
}

static void on_main(struct batch *batch, const struct pg_answer *answer);
static void on_busy(struct batch *batch, const struct pg_answer *answer);

static void send_more(bool submitting)
{
    int most = (int)engine.options.configuration->batch_max;
    if (engine.telling)
        return;
    engine.telling = true;
    do {
        if (engine.main == NULL && (engine.main = next_main(submitting)) != NULL)
            send_call(engine.main, engine.options.main, 0, on_main);
        if (engine.busy == NULL && (engine.busy = busy_next(most, clock_monotonic(), is_dead, &engine.dead)) != NULL)
            send_call(engine.busy, engine.options.busy, busy_others_wait() ? BUSY_WAIT : BUSY_WAIT_ALONE, on_busy);
    } while (!submitting && end_all_dead());
    engine.telling = false;
}

/* --- answers --- */

/* Goes again: with the next call of the main lane the first time, then as one of a busy event. Whoever comes back
 * stands before those who came later: `again` keeps the order until the whole call is told. */
static void postpone(struct order *order, const char *event_id, struct orders *again)
{
    if (order->probes) { /* of the event that it was of so far: a cancel may learn its event only now */
        order->probes = false;
        busy_probed(busy_enter(order->busy_event), true);
    }
    if (event_id != NULL && strlen(event_id) < sizeof order->busy_event)
        memcpy(order->busy_event, event_id, strlen(event_id) + 1);
    order->tries++;
    TAILQ_INSERT_TAIL(again, order, link);
}

static void bring_back(struct orders *again)
{
    struct order *order;
    while ((order = TAILQ_LAST(again, orders)) != NULL) {
        TAILQ_REMOVE(again, order, link);
        const char *id = event_of(order) != NULL ? event_of(order) : order->registration_id;
        struct busy_event *event = order->tries >= TRIES_MAX ? busy_enter(id) : busy_find(id);
        if (event != NULL) {
            busy_add_again(event, order);
        } else {
            TAILQ_INSERT_HEAD(&engine.waiting, order, link);
            engine.waiting_count++;
        }
    }
}

static struct order *take_first(struct batch *batch)
{
    struct order *order = TAILQ_FIRST(&batch->orders);
    if (order != NULL) {
        TAILQ_REMOVE(&batch->orders, order, link);
        batch->count--;
    }
    return order;
}

static void postpone_all(struct batch *batch, struct orders *again)
{
    struct order *order;
    while ((order = take_first(batch)) != NULL)
        postpone(order, event_of(order), again);
}

static void end_all(struct batch *batch, struct order_decision decision)
{
    struct order *order;
    while ((order = take_first(batch)) != NULL)
        end_with(order, decision);
}

static void note_time(const struct batch *batch)
{
    int64_t took = clock_monotonic() - batch->sent;
    engine.call_time += (took - engine.call_time) / CALL_TIME_SHARE;
    if (engine.options.observe != NULL)
        engine.options.observe(batch->count, took);
}

/* Returns whether none of them could be decided. */
static bool tell(struct batch *batch, const struct pg_answer *answer, struct orders *again)
{
    enum { OUTCOME, REF = 3 };
    const PGresult *result = answer->result;
    INVARIANT(PQntuples(result) == batch->count);
    note_time(batch);
    struct order *order;
    bool all_busy = true;
    for (int row = 0; (order = take_first(batch)) != NULL; row++) {
        if (strcmp(PQgetvalue(result, row, OUTCOME), "busy") == 0) {
            postpone(order, PQgetisnull(result, row, REF) ? event_of(order) : PQgetvalue(result, row, REF), again);
            continue;
        }
        all_busy = false;
        end_with(order,
                 (struct order_decision){.end = ORDER_DECIDED, .result = result, .row = row, .keyed = batch->keyed});
    }
    PQclear(answer->result);
    return all_busy;
}

/* One of them is what PostgreSQL refuses, or takes too long: each half by itself. */
static void divide(struct batch *batch)
{
    struct batch *parts[] = {batch_halve(batch), batch_make(batch->event)};
    TAILQ_CONCAT(&parts[1]->orders, &batch->orders, link);
    parts[1]->count = batch->count;
    batch->count = 0;
    for (int i = 0; i < 2; i++) {
        if (batch->event != NULL)
            busy_add_batch(parts[i]);
        else
            TAILQ_INSERT_HEAD(&engine.halves, parts[i], link);
    }
}

static void end_late(struct batch *batch)
{
    struct orders late = TAILQ_HEAD_INITIALIZER(late);
    struct order *order;
    batch_drop(batch, clock_monotonic(), is_dead, &late);
    while ((order = TAILQ_FIRST(&late)) != NULL) {
        TAILQ_REMOVE(&late, order, link);
        end_with(order, (struct order_decision){.end = ORDER_TIMED_OUT});
    }
}

/* This sending was rolled back. Where one before it was lost, the next one finds out what that did. */
static bool settle_undone(struct batch *batch, const struct pg_answer *answer, struct orders *again)
{
    if (strcmp(answer->sqlstate, "55P03") == 0) { /* lock_not_available */
        postpone_all(batch, again);
        return true;
    }
    if (strcmp(answer->sqlstate, "40001") == 0 || strcmp(answer->sqlstate, "40P01") == 0) {
        postpone_all(batch, again); /* serialization_failure, deadlock_detected: nothing is wrong with any of them */
        return false;
    }
    bool timed_out = strcmp(answer->sqlstate, "57014") == 0; /* query_canceled */
    if (timed_out)
        end_late(batch);
    if (batch->count > 1)
        divide(batch);
    else
        end_all(batch, (struct order_decision){.end = timed_out ? ORDER_TIMED_OUT : ORDER_FAILED,
                                               .sqlstate = answer->sqlstate,
                                               .message = answer->message});
    return false;
}

/* Takes all orders out of the call. Returns whether its seats could not be had. */
static bool settle(struct batch *batch, const struct pg_answer *answer, struct orders *again)
{
    switch (answer->status) {
    case PG_STATUS_ROWS:
        return tell(batch, answer, again);
    case PG_STATUS_UNAVAILABLE:
        end_all(batch, (struct order_decision){.end = ORDER_UNAVAILABLE});
        return false;
    case PG_STATUS_LOST:
        /* read_only_sql_transaction: there is no primary to ask again */
        if (*answer->sqlstate != '\0' && strcmp(answer->sqlstate, "25006") != 0)
            break;
        end_all(batch, (struct order_decision){.end = ORDER_UNKNOWN});
        return false;
    case PG_STATUS_TIMED_OUT:
    case PG_STATUS_FAILED:
        break;
    }
    return settle_undone(batch, answer, again);
}

static void finish(struct batch *batch, const struct pg_answer *answer, struct batch **place)
{
    struct orders again = TAILQ_HEAD_INITIALIZER(again);
    INVARIANT(*place == batch);
    engine.telling = true;
    bool held = settle(batch, answer, &again);
    bring_back(&again);
    if (batch->event != NULL)
        busy_answered(batch->event, held);
    *place = NULL;
    batch_free(batch);
    engine.telling = false;
    send_more(false);
    start_timer();
}

static void on_main(struct batch *batch, const struct pg_answer *answer)
{
    finish(batch, answer, &engine.main);
}

static void on_busy(struct batch *batch, const struct pg_answer *answer)
{
    finish(batch, answer, &engine.busy);
}

/* --- deadlines --- */

static void on_sweep(evutil_socket_t unused, short events, void *context)
{
    (void)unused;
    (void)events;
    (void)context;
    struct orders probes = TAILQ_HEAD_INITIALIZER(probes);
    int64_t now = clock_monotonic();
    struct order *order;
    engine.timing = false;
    engine.telling = true;
    while ((order = TAILQ_FIRST(&engine.waiting)) != NULL && is_dead(order, now)) {
        (void)take_waiting();
        TAILQ_INSERT_TAIL(&engine.dead, order, link);
    }
    busy_sweep(now, is_dead, &engine.dead, &probes);
    while ((order = TAILQ_FIRST(&probes)) != NULL) {
        TAILQ_REMOVE(&probes, order, link);
        order->probes = true;
        TAILQ_INSERT_HEAD(&engine.waiting, order, link);
        engine.waiting_count++;
    }
    (void)end_all_dead();
    engine.telling = false;
    send_more(false);
    start_timer();
}
