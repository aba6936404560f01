/* fleet: the connections of one pool. Worker, scheduler. */
#include "pg/fleet.h"

#include <stdio.h>

#include "base/clock.h"

/* All in microseconds.
 * A statement without an answer for so long is probably waiting for something: nothing more is put behind it, and what
 * waits keeps the right to be told that it was never sent. Ten times a commit on a slow disk. */
#define STALL ((int64_t)100 * 1000)
/* A connection that lived so long was no part of the outage before it. */
#define PROVEN_AFTER ((int64_t)2 * 1000 * 1000)
/* How soon to look again at an old connection that cannot be replaced yet. */
#define EXPIRED_RETRY ((int64_t)1000 * 1000)

static int64_t usable(const struct pg_fleet *fleet);
static int64_t minimum(const struct pg_fleet *fleet);
static bool is_expired(const struct pg_connection *connection, int64_t now);
static int64_t due(const struct pg_fleet *fleet, const struct pg_connection *connection);
static void drain_expired(struct pg_fleet *fleet, int64_t now, bool replaced);

static inline int64_t earlier(int64_t one, int64_t other)
{
    return one < other ? one : other;
}

void pg_fleet_take_options(struct pg_fleet *fleet)
{
    const struct pg_pool_options *options = fleet->options;
    fleet->connection_options = (struct pg_connection_options){.base = options->base,
                                                               .dsn = options->dsn,
                                                               .password_file = options->password_file,
                                                               .application_name = fleet->application_name,
                                                               .connect_timeout = options->connect_timeout,
                                                               .statement_timeout = options->statement_timeout};
}

void pg_fleet_start(struct pg_fleet *fleet, const struct pg_pool_options *options,
                    const struct pg_connection_owner *owner, void *context, struct event *sweep)
{
    *fleet = (struct pg_fleet){.options = options, .owner = owner, .context = context, .sweep = sweep};
    pg_fleet_take_options(fleet);
    snprintf(fleet->application_name, sizeof fleet->application_name, "turnout%s%s %s",
             options->role == NULL ? "" : " ", options->role == NULL ? "" : options->role, options->name);
    fleet->outage.pool = options->name;
    TAILQ_INIT(&fleet->open);
    TAILQ_INIT(&fleet->closed);
}

/* The first idle one, so that those behind it can grow idle; else the one with the shortest pipeline. */
struct pg_connection *pg_fleet_choose(const struct pg_fleet *fleet, int64_t now)
{
    int most = fleet->options->depth > 0 ? fleet->options->depth : PG_CONNECTION_DEPTH;
    struct pg_connection *connection, *best = NULL;
    TAILQ_FOREACH (connection, &fleet->open, link) {
        if (connection->state != PG_CONNECTION_READY || connection->draining || connection->broken)
            continue;
        if (connection->depth == 0)
            return connection;
        if (connection->depth < most && now - connection->head_since < STALL &&
            (best == NULL || connection->depth < best->depth))
            best = connection;
    }
    return best;
}

void pg_fleet_open_more(struct pg_fleet *fleet, int64_t now, bool busy)
{
    bool missing = busy || usable(fleet) < minimum(fleet);
    const struct pg_connection *connection;
    TAILQ_FOREACH (connection, &fleet->open, link)
        missing = missing || is_expired(connection, now);
    fleet->wanted = missing && fleet->connecting == NULL && fleet->open_count < fleet->options->connections_max;
    if (!fleet->wanted || now < fleet->outage.connect_at)
        return;
    fleet->wanted = false;
    fleet->connecting = pg_connection_open(&fleet->connection_options, fleet->owner, fleet->context, fleet->rotation);
    TAILQ_INSERT_TAIL(&fleet->open, fleet->connecting, link);
    fleet->open_count++;
}

void pg_fleet_drain(struct pg_fleet *fleet, struct pg_connection *connection)
{
    connection->draining = true;
    event_active(fleet->sweep, EV_TIMEOUT, 0);
}

void pg_fleet_shrink(struct pg_fleet *fleet)
{
    int64_t excess = -fleet->options->connections_max;
    struct pg_connection *connection;
    TAILQ_FOREACH (connection, &fleet->open, link)
        excess += !connection->draining;
    for (; excess > 0; excess--) {
        struct pg_connection *least = NULL;
        TAILQ_FOREACH (connection, &fleet->open, link)
            if (!connection->draining && (least == NULL || connection->depth <= least->depth))
                least = connection;
        if (least == NULL)
            return;
        pg_fleet_drain(fleet, least);
    }
}

/* A connection that has another statement time-out than it should is replaced like one that is old. */
static int64_t end_of_life(const struct pg_fleet *fleet, const struct pg_connection *connection)
{
    if (connection->statement_timeout != fleet->options->statement_timeout)
        return 0;
    return fleet->options->lifetime <= 0 ? PG_FLEET_NEVER
                                         : connection->ready_at + pg_outage_jitter(fleet->options->lifetime);
}

void pg_fleet_change(struct pg_fleet *fleet)
{
    pg_fleet_take_options(fleet);
    struct pg_connection *connection;
    TAILQ_FOREACH (connection, &fleet->open, link)
        connection->expires_at = end_of_life(fleet, connection);
    drain_expired(fleet, clock_monotonic(), false);
}

void pg_fleet_on_ready(struct pg_fleet *fleet, struct pg_connection *connection)
{
    fleet->connecting = NULL;
    pg_outage_connected(&fleet->outage, connection->ready_at);
    connection->expires_at = end_of_life(fleet, connection);
    drain_expired(fleet, connection->ready_at, true);
}

void pg_fleet_on_closed(struct pg_fleet *fleet, struct pg_connection *connection, int64_t now, const char *reason)
{
    bool proven = connection->answers > 0 || now - connection->ready_at >= PROVEN_AFTER;
    if (connection == fleet->connecting)
        pg_outage_failed(&fleet->outage, now, reason);
    else
        pg_outage_lost(&fleet->outage, now, proven, connection->depth, reason);
    pg_fleet_close(fleet, connection);
}

void pg_fleet_check(struct pg_fleet *fleet, int64_t now)
{
    struct pg_connection *connection;
    TAILQ_FOREACH (connection, &fleet->open, link) {
        if (due(fleet, connection) > now)
            continue;
        if (connection->state != PG_CONNECTION_READY) {
            fleet->rotation++; /* the address may be one that swallows packets */
            pg_connection_cut(connection, "PostgreSQL did not answer the attempt to connect in time");
        } else if (connection->depth > 0) {
            pg_connection_cut(connection, "no answer for twice the statement time-out");
        } else {
            pg_fleet_drain(fleet, connection);
        }
    }
    drain_expired(fleet, now, false);
}

int64_t pg_fleet_next_check(const struct pg_fleet *fleet, int64_t now)
{
    int64_t next = fleet->wanted ? fleet->outage.connect_at : PG_FLEET_NEVER;
    const struct pg_connection *connection;
    TAILQ_FOREACH (connection, &fleet->open, link) {
        next = earlier(next, due(fleet, connection));
        if (connection->state == PG_CONNECTION_READY && !connection->draining)
            next = earlier(next, is_expired(connection, now) ? now + EXPIRED_RETRY : connection->expires_at);
    }
    return next;
}

void pg_fleet_sweep(struct pg_fleet *fleet)
{
    struct pg_connection *connection, *next;
    for (connection = TAILQ_FIRST(&fleet->open); connection != NULL; connection = next) {
        next = TAILQ_NEXT(connection, link);
        if (connection->draining && connection->depth == 0 && !connection->broken)
            pg_fleet_close(fleet, connection);
    }
    while ((connection = TAILQ_FIRST(&fleet->closed)) != NULL) {
        TAILQ_REMOVE(&fleet->closed, connection, link);
        pg_connection_free(connection);
    }
}

void pg_fleet_close(struct pg_fleet *fleet, struct pg_connection *connection)
{
    pg_connection_close(connection);
    if (connection == fleet->connecting)
        fleet->connecting = NULL;
    TAILQ_REMOVE(&fleet->open, connection, link);
    fleet->open_count--;
    TAILQ_INSERT_TAIL(&fleet->closed, connection, link);
    event_active(fleet->sweep, EV_TIMEOUT, 0);
}

static int64_t usable(const struct pg_fleet *fleet)
{
    int64_t count = 0;
    const struct pg_connection *connection;
    TAILQ_FOREACH (connection, &fleet->open, link)
        count += connection->state == PG_CONNECTION_READY && !connection->draining && !connection->broken;
    return count;
}

static int64_t minimum(const struct pg_fleet *fleet)
{
    return earlier(fleet->options->connections_min, fleet->options->connections_max);
}

static bool is_expired(const struct pg_connection *connection, int64_t now)
{
    return connection->state == PG_CONNECTION_READY && !connection->draining && connection->expires_at <= now;
}

/* When pg_fleet_check has to do with a connection, but for its lifetime. */
static int64_t due(const struct pg_fleet *fleet, const struct pg_connection *connection)
{
    const struct pg_pool_options *options = fleet->options;
    if (connection->broken)
        return PG_FLEET_NEVER;
    if (connection->state != PG_CONNECTION_READY)
        return connection->opened_at + options->connect_timeout;
    if (connection->depth > 0)
        return connection->statement_timeout > 0 ? connection->head_since + 2 * connection->statement_timeout
                                                 : PG_FLEET_NEVER;
    return options->idle_time > 0 && !connection->draining && usable(fleet) > minimum(fleet)
               ? connection->idle_since + options->idle_time
               : PG_FLEET_NEVER;
}

/* Lets an old connection go, one at a time: when another one has come, or none can come beside it, or nobody misses it.
 * While nothing can be opened an old connection is better than none. */
static void drain_expired(struct pg_fleet *fleet, int64_t now, bool replaced)
{
    struct pg_connection *connection, *expired = NULL;
    TAILQ_FOREACH (connection, &fleet->open, link) {
        if (connection->draining || connection->state != PG_CONNECTION_READY)
            return;
        if (expired == NULL && is_expired(connection, now))
            expired = connection;
    }
    if (expired == NULL || fleet->outage.since != 0)
        return;
    if (replaced || fleet->open_count >= fleet->options->connections_max ||
        (expired->depth == 0 && usable(fleet) > minimum(fleet)))
        pg_fleet_drain(fleet, expired);
}
