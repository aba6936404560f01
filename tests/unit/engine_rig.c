/* engine_rig: what stands for PostgreSQL, the clock and people. The linker puts it in place of the real ones. */
#include "engine_rig.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "registration/busy.h"

enum { MAIN, BUSY, LANES };
/* Of the statement; the pool's, as if it were sent again for so long. */
#define STATEMENT_TIMEOUT (5000 * MILLISECONDS)
#define AT_WORK (40 * MILLISECONDS)

struct rig rig;

/* Complete here only: the engine never looks into one. */
struct pg_pool {
    bool in_flight;
    enum rig_fate fate;
    pg_done *done;
    void *context;
    int64_t wait, answer_at;
    bool resent;
    int count;
    struct rig_order *orders[1000];
};

static struct pg_pool pools[LANES];
static bool submitting;

static struct {
    event_callback_fn call;
    int64_t at; /* INT64_MAX: not set */
} timer = {.at = INT64_MAX};

/* --- what the linker puts in place of the real ones --- */

int64_t __wrap_clock_monotonic(void);
struct event *__wrap_event_new(struct event_base *base, evutil_socket_t descriptor, short events,
                               event_callback_fn call, void *context);
int __wrap_event_add(struct event *event, const struct timeval *delay);
void __wrap_pg_pool_submit(struct pg_pool *pool, const struct pg_query *query);
void __wrap_pg_pool_statistics(const struct pg_pool *pool, struct pg_statistics *statistics);

int64_t __wrap_clock_monotonic(void)
{
    return rig.now;
}

struct event *__wrap_event_new(struct event_base *base, evutil_socket_t descriptor, short events,
                               event_callback_fn call, void *context)
{
    (void)base;
    (void)descriptor;
    (void)events;
    (void)context;
    timer.call = call;
    return (struct event *)&timer;
}

int __wrap_event_add(struct event *event, const struct timeval *delay)
{
    ck_assert_ptr_eq(event, &timer);
    ck_assert(timer.at == INT64_MAX);
    timer.at = rig.now + delay->tv_sec * 1000000 + delay->tv_usec;
    return 0;
}

void __wrap_pg_pool_statistics(const struct pg_pool *pool, struct pg_statistics *statistics)
{
    (void)pool;
    *statistics = (struct pg_statistics){.reachable = !rig.is_away};
}

static void read_orders(struct pg_pool *pool, const char *array)
{
    pool->count = 0;
    for (const char *at = array; (at = strstr(at, "\"a")) != NULL;) {
        at += 2;
        pool->orders[pool->count++] = &rig.orders[strtol(at, NULL, 10)];
    }
}

/* When the call is answered: a call that waits for seats begins when they are given back, or ends in vain. */
static int64_t due(const struct pg_pool *pool)
{
    int64_t held = rig.held_until[pool->orders[0]->at];
    bool hangs = false;
    for (int i = 0; i < pool->count; i++)
        hangs = hangs || (pool->orders[i]->hangs && (pool->wait > 0 || rig.held_until[pool->orders[i]->at] <= rig.now));
    if (pool->wait > 0 && held >= rig.now + pool->wait)
        return rig.now + pool->wait;
    int64_t begins = pool->wait > 0 && held > rig.now ? held : rig.now;
    return begins + (hangs ? STATEMENT_TIMEOUT : rig.takes);
}

void __wrap_pg_pool_submit(struct pg_pool *pool, const struct pg_query *query)
{
    enum { ACTIONS = 1, RESENT = 8 };
    int last = query->statement->parameter_count - 1;
    ck_assert(!pool->in_flight); /* one call at a time in each lane */
    *pool = (struct pg_pool){.in_flight = true, .done = query->done, .context = query->context};
    read_orders(pool, query->parameters[ACTIONS]);
    pool->resent = strcmp(query->parameters[RESENT], "true") == 0;
    pool->wait = strtol(query->parameters[last], NULL, 10) * MILLISECONDS;
    pool->fate = rig.fate == NULL ? RIG_ANSWERED : rig.fate();
    pool->answer_at = due(pool);
    ck_assert_int_gt(pool->count, 0);
    ck_assert_int_le(pool->count, (int)rig.configuration.batch_max);
    ck_assert(query->retry == PG_RETRY_RESEND && query->resent_parameter == RESENT);
    ck_assert((pool->wait > 0) == (pool == &pools[BUSY]));
    rig.calls[pool - pools]++;
    for (int i = 0; i < pool->count; i++) {
        struct rig_order *order = pool->orders[i];
        order->sent++;
        ck_assert_int_eq(order->decided, 0);
        /* Who has waited too long, or has gone, costs no statement. */
        ck_assert(order->submitted == rig.now || (!order->gone && rig.now < order->order.deadline));
        if (pool == &pools[BUSY]) /* the first would be held while it waits for the second */
            ck_assert_int_eq(order->at, pool->orders[0]->at);
    }
}

/* --- what stands for the rule --- */

static PGresult *rows_of(int count)
{
    static char names[][10] = {"outcome", "body", "etag", "ref", "replayed"};
    PGresAttDesc columns[5];
    memset(columns, 0, sizeof columns);
    for (int i = 0; i < 5; i++)
        columns[i].name = names[i];
    PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    ck_assert(result != NULL && PQsetResultAttrs(result, 5, columns) == 1);
    for (int row = 0; row < count; row++)
        ck_assert(PQsetvalue(result, row, 4, (char[]){"f"}, 1) == 1);
    return result;
}

static void put(PGresult *result, int row, int column, const char *text)
{
    char copy[64];
    snprintf(copy, sizeof copy, "%s", text);
    ck_assert(PQsetvalue(result, row, column, copy, (int)strlen(copy)) == 1);
}

static void decide(struct rig_order *order, bool resent, PGresult *result, int row)
{
    ck_assert(!order->applied || resent); /* or it would be done a second time */
    order->applied = order->applied || !order->is_full;
    put(result, row, 0, order->is_full ? "full" : order->order.kind == ORDER_CANCEL ? "ok" : "registered");
    put(result, row, 3, order->registration);
}

/* One sending. NULL: refused with `sqlstate`, and nothing was done. */
static PGresult *run(const struct pg_pool *pool, bool resent, const char **sqlstate)
{
    *sqlstate = "";
    for (int i = 0; i < pool->count; i++) {
        const struct rig_order *order = pool->orders[i];
        bool held = rig.held_until[order->at] > rig.now;
        if (held && pool->wait > 0)
            *sqlstate = "55P03";
        else if (!held && order->hangs && **sqlstate == '\0')
            *sqlstate = "57014";
        else if (!held && order->poisons && **sqlstate == '\0')
            *sqlstate = "XX000";
    }
    if (pool->fate == RIG_DEADLOCK)
        *sqlstate = "40P01";
    if (**sqlstate != '\0')
        return NULL;
    PGresult *result = rows_of(pool->count);
    for (int i = 0; i < pool->count; i++) {
        struct rig_order *order = pool->orders[i];
        bool key_in_use = pool->fate == RIG_KEYS_IN_USE && order->number % 2 == 1;
        bool held = rig.held_until[order->at] > rig.now;
        if (!held && !key_in_use) {
            decide(order, resent, result, i);
            continue;
        }
        put(result, i, 0, "busy");
        if (!key_in_use)
            put(result, i, 3, order->event);
    }
    return result;
}

static void lose(struct pg_pool *pool)
{
    const char *sqlstate;
    if (pool->fate != RIG_LOST_BEFORE && pool->fate != RIG_GIVEN_UP_BEFORE)
        PQclear(run(pool, pool->resent, &sqlstate));
    for (int i = 0; i < pool->count; i++) {
        struct rig_order *order = pool->orders[i];
        order->was_lost = true;
        if (pool->fate == RIG_LOST_AT_WORK && rig.held_until[order->at] < rig.now + AT_WORK)
            rig.held_until[order->at] = rig.now + AT_WORK;
    }
}

static void answer(struct pg_pool *pool)
{
    enum rig_fate fate = pool->fate;
    struct pg_answer told = {.status = PG_STATUS_ROWS, .message = "said by the rig"};
    const char *sqlstate = "";
    if (fate >= RIG_LOST_BEFORE && fate <= RIG_GIVEN_UP_AFTER) {
        told.in_doubt = true;
        lose(pool);
    }
    if (fate == RIG_UNAVAILABLE)
        told.status = PG_STATUS_UNAVAILABLE;
    else if (fate == RIG_GIVEN_UP_BEFORE || fate == RIG_GIVEN_UP_AFTER)
        told.status = PG_STATUS_LOST;
    else
        told.result = run(pool, pool->resent || told.in_doubt, &sqlstate);
    snprintf(told.sqlstate, sizeof told.sqlstate, "%s", sqlstate);
    if (*sqlstate != '\0') /* as the pool says it */
        told.status = told.in_doubt                    ? PG_STATUS_LOST
                      : strcmp(sqlstate, "57014") == 0 ? PG_STATUS_TIMED_OUT
                                                       : PG_STATUS_FAILED;
    pool->in_flight = false;
    pool->done(pool->context, &told);
}

/* --- people --- */

static bool is_wanted(const struct order *order)
{
    return !((const struct rig_order *)order)->gone;
}

static bool did_nothing(enum order_end end)
{
    return end != ORDER_DECIDED && end != ORDER_UNKNOWN;
}

/* Whether what somebody is told is true. */
static void on_decided(struct order *told, const struct order_decision *decision)
{
    struct rig_order *order = (struct rig_order *)told;
    ck_assert(!submitting);
    ck_assert_int_eq(++order->decided, 1);
    order->end = decision->end;
    order->decided_at = rig.now;
    if (did_nothing(decision->end))
        ck_assert_msg(!order->applied, "order %d is told %d, and has taken effect", order->number, decision->end);
    if (decision->end == ORDER_DECIDED) {
        const char *expected = order->is_full ? "full" : order->order.kind == ORDER_CANCEL ? "ok" : "registered";
        ck_assert_str_eq(PQgetvalue(decision->result, decision->row, 0), expected);
        ck_assert_str_eq(PQgetvalue(decision->result, decision->row, 3), order->registration);
        ck_assert(order->applied || order->is_full);
    }
    if (decision->end == ORDER_FAILED)
        ck_assert_msg(order->poisons && strcmp(decision->sqlstate, "XX000") == 0, "order %d fails with %s",
                      order->number, decision->sqlstate);
    if (decision->end == ORDER_UNKNOWN)
        ck_assert(order->was_lost);
    else if (decision->end != ORDER_DECIDED && decision->end != ORDER_FAILED)
        ck_assert_int_ge(decision->retry_after, 1);
    memset(&order->order, 0x5a, sizeof order->order); /* it is its maker's again */
    if (rig.on_decided != NULL)
        rig.on_decided(order);
}

struct rig_order *rig_make(enum order_kind kind, int event)
{
    ck_assert_int_lt(rig.order_count, RIG_ORDERS);
    struct rig_order *order = &rig.orders[rig.order_count];
    order->number = rig.order_count++;
    order->at = event;
    snprintf(order->action, sizeof order->action, "a%d", order->number);
    snprintf(order->registration, sizeof order->registration, "registration %d", order->number);
    snprintf(order->event, sizeof order->event, "event %d", event);
    order->order = (struct order){.magic = ORDER_MAGIC,
                                  .kind = kind,
                                  .action_id = order->action,
                                  .registration_id = order->registration,
                                  .request_id = "request",
                                  .actor_id = "actor",
                                  .event_id = kind == ORDER_REGISTER ? order->event : NULL,
                                  .user_id = kind == ORDER_REGISTER ? "user" : NULL,
                                  .is_wanted = is_wanted,
                                  .decided = on_decided};
    return order;
}

void rig_send(struct rig_order *order)
{
    order->submitted = rig.now;
    submitting = true;
    engine_submit(&order->order);
    submitting = false;
}

struct rig_order *rig_submit(enum order_kind kind, int event)
{
    struct rig_order *order = rig_make(kind, event);
    rig_send(order);
    return order;
}

/* --- time --- */

void rig_start(void)
{
    static const struct pg_statement plain = {"registration_batch", "", 10};
    static const struct pg_statement keyed = {"registration_batch_keyed", "", 13};
    rig.now = 1000000 * MILLISECONDS;
    rig.takes = 2 * MILLISECONDS;
    rig.configuration =
        (struct configuration){.batch_max = 128, .queue_max = 5000, .queue_timeout = 5000 * MILLISECONDS};
    engine_start(&(const struct engine_options){.configuration = &rig.configuration,
                                                .main = &pools[MAIN],
                                                .busy = &pools[BUSY],
                                                .plain = &plain,
                                                .keyed = &keyed});
}

/* The next thing happens, unless it is not before `end`. */
static bool step(int64_t end)
{
    int64_t at = timer.at;
    struct pg_pool *first = NULL;
    for (int lane = 0; lane < LANES; lane++) {
        if (pools[lane].in_flight && pools[lane].answer_at <= at) {
            at = pools[lane].answer_at;
            first = &pools[lane];
        }
    }
    if (at > end)
        return false;
    rig.now = at > rig.now ? at : rig.now;
    if (first != NULL) {
        answer(first);
    } else {
        timer.at = INT64_MAX;
        timer.call(-1, 0, NULL);
    }
    struct engine_statistics now;
    engine_statistics(&now);
    ck_assert(pools[MAIN].in_flight || now.waiting == busy_counts.orders); /* nobody waits for the timer */
    return true;
}

void rig_pass(int64_t microseconds)
{
    int64_t end = rig.now + microseconds;
    while (step(end - 1))
        ;
    rig.now = end;
}

int rig_in_flight(int lane)
{
    return pools[lane].in_flight ? pools[lane].count : 0;
}

void rig_finish(int64_t within)
{
    int64_t end = rig.now + within;
    struct engine_statistics now;
    do {
        engine_statistics(&now);
    } while (now.waiting + now.in_flight + now.busy > 0 && step(end));
    ck_assert_int_eq(now.waiting, 0);
    ck_assert_int_eq(now.in_flight, 0);
    ck_assert_int_eq(now.busy, 0);
    ck_assert_int_eq(now.stuck, 0);
    for (int i = 0; i < rig.order_count; i++)
        ck_assert_msg(rig.orders[i].decided == 1, "order %d was decided %d times", i, rig.orders[i].decided);
}
