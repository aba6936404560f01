/* pool: the queries that wait for PostgreSQL and the connections that take them. Worker, scheduler; owns its
 * connections and all queries between submit and answer.
 *
 * A query waits in `fresh` (never sent, in order of submission) or in `again` (it comes back from a lost connection or
 * was rolled back; in order of submission too, and served first), or it is in flight on a connection, or it has been
 * turned away and waits in `refused` for the loop to say so. All of a list have the same time-out, so each list is in
 * order of deadlines, and one timer looks at the heads.
 *
 * `done` of a query may submit more and change the maximum. So nothing is closed or freed under its feet: connections
 * that should go are closed by the kick event, which the loop runs next. */
#include "pg/pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/child.h"
#include "base/clock.h"
#include "pg/connection.h"
#include "pg/entry.h"
#include "pg/fleet.h"
#include "pg/verdict.h"

#define POOL_MAGIC 0x7067706cu

struct pg_pool {
    OBJECT_HEADER;
    struct pg_pool_options options; /* its texts are owned */
    struct pg_fleet fleet;
    struct event *timer;
    int64_t timer_at;
    struct event *kick;
    struct pg_entries fresh, again, refused;
    int64_t fresh_count, again_count;
    uint64_t sequence;
    bool answering;
    bool destroying;
    int64_t connects, lost, timeouts;
    bool reachable;
    char last_error[256];
};

static void on_timer(evutil_socket_t descriptor, short what, void *argument);
static void on_kick(evutil_socket_t descriptor, short what, void *argument);
static void on_ready(void *context, struct pg_connection *connection);
static void on_answered(void *context, struct pg_connection *connection, struct pg_entry *entry, PGresult *rows,
                        PGresult *error);
static void on_closed(void *context, struct pg_connection *connection, const char *reason);
static void pump(struct pg_pool *pool);
static void arm(struct pg_pool *pool, int64_t now);
static void refuse_late(struct pg_pool *pool, struct pg_entries *list, int64_t *count, int64_t now);
static void refuse(struct pg_pool *pool, struct pg_entry *entry);
static void tell(const struct pg_pool *pool, enum pg_occurrence what, int64_t microseconds);
static bool may_follow_a_loss(enum pg_retry retry, bool never_ran);
static bool may_be_sent_again(const struct pg_pool *pool, struct pg_entry *entry, int64_t now);
static void repeat(struct pg_pool *pool, struct pg_entry *entry);
static void answer(struct pg_pool *pool, struct pg_entry *entry, enum pg_status status, PGresult *rows,
                   const PGresult *error, const char *message);
static enum pg_status status_of_unanswered(const struct pg_entry *entry);

static const struct pg_connection_owner owner = {.ready = on_ready, .answered = on_answered, .closed = on_closed};

struct pg_pool *pg_pool_create(const struct pg_pool_options *options)
{
    struct pg_pool *pool = calloc(1, sizeof *pool);
    INVARIANT(pool != NULL);
    pool->magic = POOL_MAGIC;
    pool->options = *options;
    pool->options.name = strdup(options->name);
    pool->options.dsn = strdup(options->dsn);
    pool->options.password_file = options->password_file == NULL ? NULL : strdup(options->password_file);
    INVARIANT(pool->options.name != NULL && pool->options.dsn != NULL);
    TAILQ_INIT(&pool->fresh);
    TAILQ_INIT(&pool->again);
    TAILQ_INIT(&pool->refused);
    pool->timer = event_new(options->base, -1, 0, on_timer, pool);
    pool->kick = event_new(options->base, -1, 0, on_kick, pool);
    INVARIANT(pool->timer != NULL && pool->kick != NULL);
    pool->timer_at = PG_FLEET_NEVER;
    pg_fleet_start(&pool->fleet, &pool->options, &owner, pool, pool->kick);
    pump(pool);
    return pool;
}

void pg_pool_submit(struct pg_pool *pool, const struct pg_query *query)
{
    OBJECT_CHECK(pool, POOL_MAGIC);
    int64_t now = clock_monotonic();
    struct pg_entry *entry = pg_entry_create(query, ++pool->sequence, now);
    if (pool->fresh_count >= pool->options.queue_max || pool->destroying) {
        refuse(pool, entry);
        return;
    }
    entry->deadline = now + pool->options.acquire_timeout;
    TAILQ_INSERT_TAIL(&pool->fresh, entry, link);
    pool->fresh_count++;
    pump(pool);
}

void pg_pool_set_max(struct pg_pool *pool, int64_t connections_max)
{
    OBJECT_CHECK(pool, POOL_MAGIC);
    pool->options.connections_max = connections_max;
    pg_fleet_shrink(&pool->fleet);
    pump(pool);
}

static void move_deadlines(struct pg_entries *list, int64_t from_submission)
{
    struct pg_entry *entry;
    TAILQ_FOREACH (entry, list, link)
        entry->deadline = entry->submitted + from_submission;
}

void pg_pool_change(struct pg_pool *pool, const struct pg_pool_settings *settings)
{
    OBJECT_CHECK(pool, POOL_MAGIC);
    struct pg_pool_options *options = &pool->options;
    free((char *)options->password_file);
    options->password_file = settings->password_file == NULL ? NULL : strdup(settings->password_file);
    INVARIANT(options->password_file != NULL || settings->password_file == NULL);
    options->connections_min = settings->connections_min;
    options->connect_timeout = settings->connect_timeout;
    options->acquire_timeout = settings->acquire_timeout;
    options->statement_timeout = settings->statement_timeout;
    options->idle_time = settings->idle_time;
    options->lifetime = settings->lifetime;
    pg_fleet_change(&pool->fleet);
    /* all of a list, or it would no longer be in the order of its deadlines */
    int64_t sent = options->acquire_timeout + options->statement_timeout;
    move_deadlines(&pool->fresh, options->acquire_timeout);
    move_deadlines(&pool->again, sent);
    struct pg_connection *connection;
    TAILQ_FOREACH (connection, &pool->fleet.open, link)
        move_deadlines(&connection->in_flight, sent);
    pump(pool);
}

void pg_pool_statistics(const struct pg_pool *pool, struct pg_statistics *statistics)
{
    OBJECT_CHECK(pool, POOL_MAGIC);
    *statistics = (struct pg_statistics){.open = pool->fleet.open_count,
                                         .waiting = pool->fresh_count + pool->again_count,
                                         .max = pool->options.connections_max,
                                         .connects = pool->connects,
                                         .lost = pool->lost,
                                         .timeouts = pool->timeouts,
                                         .reachable = pool->reachable,
                                         .last_error = pool->last_error[0] == '\0' ? NULL : pool->last_error};
    const struct pg_connection *connection;
    TAILQ_FOREACH (connection, &pool->fleet.open, link) {
        statistics->in_flight += connection->depth;
        statistics->used += connection->state == PG_CONNECTION_READY && connection->depth > 0;
        statistics->idle += connection->state == PG_CONNECTION_READY && connection->depth == 0;
    }
}

void pg_pool_destroy(struct pg_pool *pool)
{
    OBJECT_CHECK(pool, POOL_MAGIC);
    INVARIANT(!pool->answering);
    pool->destroying = true;
    struct pg_connection *connection;
    struct pg_entry *entry;
    while ((connection = TAILQ_FIRST(&pool->fleet.open)) != NULL) {
        pg_fleet_close(&pool->fleet, connection);
        while ((entry = TAILQ_FIRST(&connection->in_flight)) != NULL) {
            TAILQ_REMOVE(&connection->in_flight, entry, link);
            answer(pool, entry, PG_STATUS_LOST, NULL, NULL, "the pool was closed");
        }
    }
    TAILQ_CONCAT(&pool->refused, &pool->again, link);
    TAILQ_CONCAT(&pool->refused, &pool->fresh, link);
    on_kick(-1, 0, pool);
    event_free(pool->timer);
    event_free(pool->kick);
    free((char *)pool->options.name);
    free((char *)pool->options.dsn);
    free((char *)pool->options.password_file);
    OBJECT_BURY(pool);
    free(pool);
}

static void on_timer(evutil_socket_t descriptor, short what, void *argument)
{
    (void)descriptor;
    (void)what;
    struct pg_pool *pool = argument;
    OBJECT_CHECK(pool, POOL_MAGIC);
    int64_t now = clock_monotonic();
    pool->timer_at = PG_FLEET_NEVER;
    pg_fleet_check(&pool->fleet, now);
    refuse_late(pool, &pool->again, &pool->again_count, now);
    refuse_late(pool, &pool->fresh, &pool->fresh_count, now);
    pump(pool);
}

/* What submit and `done` may not do themselves. */
static void on_kick(evutil_socket_t descriptor, short what, void *argument)
{
    (void)descriptor;
    (void)what;
    struct pg_pool *pool = argument;
    OBJECT_CHECK(pool, POOL_MAGIC);
    struct pg_entry *entry;
    while ((entry = TAILQ_FIRST(&pool->refused)) != NULL) {
        TAILQ_REMOVE(&pool->refused, entry, link);
        answer(pool, entry, status_of_unanswered(entry), NULL, NULL,
               pool->reachable ? "no connection was free in time" : pool->last_error);
    }
    pg_fleet_sweep(&pool->fleet);
    if (!pool->destroying)
        pump(pool);
}

static void on_ready(void *context, struct pg_connection *connection)
{
    struct pg_pool *pool = context;
    OBJECT_CHECK(pool, POOL_MAGIC);
    pool->connects++;
    tell(pool, PG_OCCURRED_CONNECT, 0);
    pool->reachable = true;
    pg_fleet_on_ready(&pool->fleet, connection);
    pump(pool);
}

static void on_answered(void *context, struct pg_connection *connection, struct pg_entry *entry, PGresult *rows,
                        PGresult *error)
{
    struct pg_pool *pool = context;
    OBJECT_CHECK(pool, POOL_MAGIC);
    int64_t now = connection->head_since;
    enum pg_verdict verdict = error == NULL ? PG_VERDICT_ROWS : pg_verdict_of(error);
    pool->reachable = true;
    if (verdict == PG_VERDICT_READ_ONLY) {
        pg_outage_back_off(&pool->fleet.outage, now);
        snprintf(pool->last_error, sizeof pool->last_error, "%s", PQresultErrorField(error, PG_DIAG_MESSAGE_PRIMARY));
    } else {
        pg_outage_proven(&pool->fleet.outage, connection->ready_at);
    }
    bool condemned = verdict == PG_VERDICT_READ_ONLY || verdict == PG_VERDICT_STALE_PLAN ||
                     (verdict == PG_VERDICT_UNPREPARED && pg_connection_knows(connection, entry->query.statement));
    if (condemned || connection->draining)
        pg_fleet_drain(&pool->fleet, connection);

    bool first_is_unknown = entry->in_doubt && entry->query.retry == PG_RETRY_RESEND;
    if (pg_verdict_repeats(verdict, entry) && may_be_sent_again(pool, entry, now)) {
        repeat(pool, entry);
    } else if (verdict == PG_VERDICT_ROWS) {
        tell(pool, PG_OCCURRED_ANSWER, now - entry->submitted);
        answer(pool, entry, PG_STATUS_ROWS, rows, NULL, NULL);
    } else {
        tell(pool, PG_OCCURRED_ANSWER, now - entry->submitted);
        if (verdict == PG_VERDICT_TIMED_OUT) {
            pool->timeouts++;
            tell(pool, PG_OCCURRED_STATEMENT_TIMEOUT, 0);
        }
        /* this sending is undone; what became of the one before nobody knows */
        answer(pool, entry, first_is_unknown ? PG_STATUS_LOST : pg_verdict_status(verdict), NULL, error, NULL);
    }
    PQclear(error);
    if (pool->fresh_count + pool->again_count > 0)
        pump(pool);
}

static void on_closed(void *context, struct pg_connection *connection, const char *reason)
{
    struct pg_pool *pool = context;
    OBJECT_CHECK(pool, POOL_MAGIC);
    int64_t now = clock_monotonic();
    if (connection == pool->fleet.connecting) {
        pool->reachable = false;
        tell(pool, PG_OCCURRED_CONNECT_FAILURE, 0);
    } else {
        pool->lost++;
        tell(pool, PG_OCCURRED_LOSS, 0);
    }
    snprintf(pool->last_error, sizeof pool->last_error, "%s", reason);
    pg_fleet_on_closed(&pool->fleet, connection, now, reason);

    struct pg_entries unknown = TAILQ_HEAD_INITIALIZER(unknown);
    struct pg_entry *entry;
    for (bool first = true; (entry = TAILQ_FIRST(&connection->in_flight)) != NULL; first = false) {
        TAILQ_REMOVE(&connection->in_flight, entry, link);
        bool never_ran = !first && connection->behind_never_ran;
        entry->in_doubt = entry->in_doubt || !never_ran;
        if (may_follow_a_loss(entry->query.retry, never_ran) && may_be_sent_again(pool, entry, now))
            repeat(pool, entry);
        else
            TAILQ_INSERT_TAIL(&unknown, entry, link);
    }
    connection->depth = 0;
    while ((entry = TAILQ_FIRST(&unknown)) != NULL) {
        TAILQ_REMOVE(&unknown, entry, link);
        answer(pool, entry, status_of_unanswered(entry), NULL, NULL, reason);
    }
    pump(pool);
}

/* Sends what can be sent, opens what is missing, sets the timer. */
static void pump(struct pg_pool *pool)
{
    int64_t now = clock_monotonic();
    bool busy = false;
    struct pg_connection *connection;
    while (pool->again_count + pool->fresh_count > 0 && (connection = pg_fleet_choose(&pool->fleet, now)) != NULL) {
        bool repeated = pool->again_count > 0;
        struct pg_entries *list = repeated ? &pool->again : &pool->fresh;
        struct pg_entry *entry = TAILQ_FIRST(list);
        TAILQ_REMOVE(list, entry, link);
        busy = busy || connection->depth > 0;
        if (pg_connection_send(connection, entry)) {
            *(repeated ? &pool->again_count : &pool->fresh_count) -= 1;
            if (!repeated)
                tell(pool, PG_OCCURRED_WAIT, now - entry->submitted);
            entry->deadline = entry->submitted + pool->options.acquire_timeout + pool->options.statement_timeout;
        } else {
            TAILQ_INSERT_HEAD(list, entry, link);
        }
    }
    if (pool->destroying)
        return;
    pg_fleet_open_more(&pool->fleet, now, busy || pool->again_count + pool->fresh_count > 0);
    arm(pool, now);
}

/* One that fires too early does no harm, and moving it with each query would cost more. */
static void arm(struct pg_pool *pool, int64_t now)
{
    int64_t next = pg_fleet_next_check(&pool->fleet, now);
    if (pool->again_count > 0 && TAILQ_FIRST(&pool->again)->deadline < next)
        next = TAILQ_FIRST(&pool->again)->deadline;
    if (pool->fresh_count > 0 && TAILQ_FIRST(&pool->fresh)->deadline < next)
        next = TAILQ_FIRST(&pool->fresh)->deadline;
    if (next >= pool->timer_at)
        return;
    struct timeval interval = clock_timeval(next > now ? next - now : 0);
    INVARIANT(event_add(pool->timer, &interval) == 0);
    pool->timer_at = next;
}

static void refuse_late(struct pg_pool *pool, struct pg_entries *list, int64_t *count, int64_t now)
{
    struct pg_entry *entry;
    while ((entry = TAILQ_FIRST(list)) != NULL && entry->deadline <= now) {
        TAILQ_REMOVE(list, entry, link);
        --*count;
        pool->timeouts++;
        tell(pool, PG_OCCURRED_ACQUIRE_TIMEOUT, 0);
        if (list == &pool->fresh)
            tell(pool, PG_OCCURRED_WAIT, now - entry->submitted);
        refuse(pool, entry);
    }
}

static void refuse(struct pg_pool *pool, struct pg_entry *entry)
{
    TAILQ_INSERT_TAIL(&pool->refused, entry, link);
    event_active(pool->kick, EV_TIMEOUT, 0);
}

static void tell(const struct pg_pool *pool, enum pg_occurrence what, int64_t microseconds)
{
    const struct pg_observer *observer = pool->options.observer;
    if (observer != NULL)
        observer->happened(observer->context, what, microseconds);
}

static bool may_follow_a_loss(enum pg_retry retry, bool never_ran)
{
    if (retry == PG_RETRY_PROBE)
        return false;
    return never_ran || retry != PG_RETRY_NEVER;
}

static bool may_be_sent_again(const struct pg_pool *pool, struct pg_entry *entry, int64_t now)
{
    return !pool->destroying && now < entry->deadline;
}

static void repeat(struct pg_pool *pool, struct pg_entry *entry)
{
    if (entry->in_doubt && entry->query.retry == PG_RETRY_RESEND)
        entry->query.parameters[entry->query.resent_parameter] = "true";
    pg_entries_insert(&pool->again, entry);
    pool->again_count++;
}

static void answer(struct pg_pool *pool, struct pg_entry *entry, enum pg_status status, PGresult *rows,
                   const PGresult *error, const char *message)
{
    pool->answering = true;
    child_set_activity(entry->query.statement->name, NULL);
    pg_entry_answer(entry, status, rows, error, message);
    child_set_activity(NULL, NULL);
    pool->answering = false;
}

static enum pg_status status_of_unanswered(const struct pg_entry *entry)
{
    return entry->in_doubt ? PG_STATUS_LOST : PG_STATUS_UNAVAILABLE;
}
