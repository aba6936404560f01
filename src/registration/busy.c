/* busy: a table of busy events by id, and the round of those that have something to send. Worker process. */
#include "registration/busy.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/clock.h"
#include "base/log.h"

#define BUCKETS 256
/* All in microseconds. An event that nobody asks for is an ordinary one again. */
#define IDLE_TIME INT64_C(1000000)
/* Until the next look at a stuck event: doubled with each, half of it random, so that workers do not look together. */
#define PROBE_FIRST INT64_C(20000)
#define PROBE_MOST INT64_C(200000)

struct busy_event {
    LIST_ENTRY(busy_event) bucket;
    TAILQ_ENTRY(busy_event) turn;
    char id[UUID_TEXT_SIZE];
    struct orders orders;
    struct batches halves; /* of a call that was refused: they go first */
    int64_t count;         /* of `orders` */
    bool has_turn;
    bool in_flight;
    bool stuck;
    bool probing;
    int probes;
    int64_t stuck_since, probe_at, idle_since;
};

struct busy_counts busy_counts;

static LIST_HEAD(, busy_event) table[BUCKETS];
static TAILQ_HEAD(, busy_event) turns = TAILQ_HEAD_INITIALIZER(turns);

static size_t bucket_of(const char *id)
{
    return XXH3_64bits(id, strlen(id)) % BUCKETS;
}

struct busy_event *busy_find(const char *id)
{
    struct busy_event *event;
    LIST_FOREACH (event, &table[bucket_of(id)], bucket) {
        if (strcmp(event->id, id) == 0)
            return event;
    }
    return NULL;
}

struct busy_event *busy_enter(const char *id)
{
    struct busy_event *event = busy_find(id);
    if (event != NULL)
        return event;
    event = calloc(1, sizeof *event);
    INVARIANT(event != NULL && strlen(id) < sizeof event->id);
    memcpy(event->id, id, strlen(id) + 1);
    TAILQ_INIT(&event->orders);
    TAILQ_INIT(&event->halves);
    event->idle_since = clock_monotonic();
    LIST_INSERT_HEAD(&table[bucket_of(id)], event, bucket);
    busy_counts.events++;
    return event;
}

static void count_orders(struct busy_event *event, int64_t change)
{
    event->count += change;
    busy_counts.orders += change;
    if (event->stuck)
        busy_counts.orders_stuck += change;
}

static void set_stuck(struct busy_event *event, bool stuck)
{
    if (event->stuck == stuck)
        return;
    event->stuck = stuck;
    busy_counts.stuck += stuck ? 1 : -1;
    busy_counts.orders_stuck += stuck ? event->count : -event->count;
    if (stuck) {
        event->stuck_since = clock_monotonic();
        event->probes = 0;
        log_debug("an event's seats are held by somebody else", log_text("event_id", event->id));
    } else {
        log_debug("an event's seats can be had again", log_text("event_id", event->id),
                  log_int("microseconds", clock_monotonic() - event->stuck_since));
    }
}

/* Takes its place in the round where it has something to send and nothing is under way. */
static void take_turn(struct busy_event *event)
{
    if (event->has_turn || event->in_flight || event->stuck ||
        (TAILQ_EMPTY(&event->orders) && TAILQ_EMPTY(&event->halves)))
        return;
    TAILQ_INSERT_TAIL(&turns, event, turn);
    event->has_turn = true;
}

static void leave_turn(struct busy_event *event)
{
    if (event->has_turn)
        TAILQ_REMOVE(&turns, event, turn);
    event->has_turn = false;
}

static void name_event(const struct busy_event *event, struct order *order)
{
    memcpy(order->busy_event, event->id, sizeof order->busy_event);
}

void busy_add(struct busy_event *event, struct order *order)
{
    name_event(event, order);
    TAILQ_INSERT_TAIL(&event->orders, order, link);
    count_orders(event, 1);
    take_turn(event);
}

void busy_add_again(struct busy_event *event, struct order *order)
{
    name_event(event, order);
    TAILQ_INSERT_HEAD(&event->orders, order, link);
    count_orders(event, 1);
    take_turn(event);
}

void busy_add_batch(struct batch *batch)
{
    TAILQ_INSERT_HEAD(&batch->event->halves, batch, link);
    take_turn(batch->event);
}

/* A half, or a new call; empty where all of them are dead. */
static struct batch *next_of(struct busy_event *event, int most, int64_t now, order_is_dead *is_dead,
                             struct orders *dead)
{
    struct batch *batch = TAILQ_FIRST(&event->halves);
    if (batch != NULL) {
        TAILQ_REMOVE(&event->halves, batch, link);
        batch_drop(batch, now, is_dead, dead);
        return batch;
    }
    batch = batch_make(event);
    struct order *order;
    while (batch->count < most && (order = TAILQ_FIRST(&event->orders)) != NULL) {
        TAILQ_REMOVE(&event->orders, order, link);
        count_orders(event, -1);
        if (is_dead(order, now))
            TAILQ_INSERT_TAIL(dead, order, link);
        else
            batch_add(batch, order);
    }
    return batch;
}

struct batch *busy_next(int most, int64_t now, order_is_dead *is_dead, struct orders *dead)
{
    struct busy_event *event;
    while ((event = TAILQ_FIRST(&turns)) != NULL) {
        struct batch *batch = next_of(event, most, now, is_dead, dead);
        leave_turn(event);
        event->in_flight = batch->count > 0;
        if (event->in_flight)
            return batch;
        batch_free(batch);
        take_turn(event);
    }
    return NULL;
}

bool busy_others_wait(void)
{
    return !TAILQ_EMPTY(&turns);
}

static void look_again_later(struct busy_event *event)
{
    int64_t wait = PROBE_FIRST << (event->probes < 4 ? event->probes : 4);
    if (wait > PROBE_MOST)
        wait = PROBE_MOST;
    event->probes++;
    event->probe_at = clock_monotonic() + wait / 2 + (int64_t)((uint64_t)random() % (uint64_t)wait) / 2;
}

void busy_answered(struct busy_event *event, bool held)
{
    event->in_flight = false;
    event->idle_since = clock_monotonic();
    if (held) {
        set_stuck(event, true);
        leave_turn(event);
        look_again_later(event);
    }
    take_turn(event);
}

void busy_probed(struct busy_event *event, bool held)
{
    INVARIANT(event->probing);
    event->probing = false;
    event->idle_since = clock_monotonic();
    if (held) {
        look_again_later(event);
    } else {
        set_stuck(event, false);
        take_turn(event);
    }
}

/* A half that was refused, and whose event got stuck since, is taken apart: only orders are probes. */
static void open_halves(struct busy_event *event)
{
    struct batch *batch;
    while ((batch = TAILQ_FIRST(&event->halves)) != NULL) {
        struct order *order;
        TAILQ_REMOVE(&event->halves, batch, link);
        while ((order = TAILQ_LAST(&batch->orders, orders)) != NULL) {
            TAILQ_REMOVE(&batch->orders, order, link);
            busy_add_again(event, order);
        }
        batch_free(batch);
    }
}

static void sweep_event(struct busy_event *event, int64_t now, order_is_dead *is_dead, struct orders *dead,
                        struct orders *probes)
{
    struct order *order;
    if (event->stuck)
        open_halves(event);
    while ((order = TAILQ_FIRST(&event->orders)) != NULL && is_dead(order, now)) {
        TAILQ_REMOVE(&event->orders, order, link);
        count_orders(event, -1);
        TAILQ_INSERT_TAIL(dead, order, link);
    }
    if (order == NULL && TAILQ_EMPTY(&event->halves))
        leave_turn(event);
    if (order != NULL && event->stuck && !event->probing && now >= event->probe_at) {
        TAILQ_REMOVE(&event->orders, order, link);
        count_orders(event, -1);
        TAILQ_INSERT_TAIL(probes, order, link);
        event->probing = true;
    }
}

void busy_sweep(int64_t now, order_is_dead *is_dead, struct orders *dead, struct orders *probes)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        struct busy_event *event, *next;
        for (event = LIST_FIRST(&table[i]); event != NULL; event = next) {
            next = LIST_NEXT(event, bucket);
            sweep_event(event, now, is_dead, dead, probes);
            if (event->has_turn || event->in_flight || event->probing || event->count > 0 ||
                !TAILQ_EMPTY(&event->halves) || now - event->idle_since < IDLE_TIME)
                continue;
            set_stuck(event, false);
            LIST_REMOVE(event, bucket);
            busy_counts.events--;
            free(event);
        }
    }
}
