/* fleet: the connections of one pool: how many, which one takes the next query, which one has to go. Worker, scheduler,
 * refresher; only pool and feed use it. It never answers a query: what is in flight on a lost connection is the pool's.
 */
#ifndef PG_FLEET_H
#define PG_FLEET_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "pg/connection.h"
#include "pg/outage.h"
#include "pg/pool.h"

#define PG_FLEET_NEVER INT64_MAX

TAILQ_HEAD(pg_connections, pg_connection);

/* Lies in its pool, or feed. */
struct pg_fleet {
    const struct pg_pool_options *options; /* the pool's; pg_pool_set_max and pg_pool_change change them */
    struct pg_connection_options connection_options;
    char application_name[64]; /* PostgreSQL cuts at 63 bytes */
    const struct pg_connection_owner *owner;
    void *context;
    struct event *sweep;              /* runs pg_fleet_sweep: the pool's kick */
    struct pg_connections open;       /* what counts against the maximum: connecting, ready, draining */
    struct pg_connections closed;     /* to be freed by the sweep */
    struct pg_connection *connecting; /* one at a time: others would fail or succeed with it */
    int64_t open_count;
    unsigned int rotation; /* the address that the next attempt begins with */
    bool wanted;           /* a connection would be opened, were it not for the back-off */
    struct pg_outage outage;
};

/* Opens nothing yet. `options` are kept, `sweep` is the event that runs pg_fleet_sweep. */
void pg_fleet_start(struct pg_fleet *fleet, const struct pg_pool_options *options,
                    const struct pg_connection_owner *owner, void *context, struct event *sweep);
/* NULL: the next query has to wait. */
struct pg_connection *pg_fleet_choose(const struct pg_fleet *fleet, int64_t now);
/* Begins to open another connection where one is missing, allowed and due. `busy`: a query waits, or had to go behind
 * another one. */
void pg_fleet_open_more(struct pg_fleet *fleet, int64_t now, bool busy);
/* Takes no more queries and closes when nothing is in flight; never within this call. */
void pg_fleet_drain(struct pg_fleet *fleet, struct pg_connection *connection);
/* Drains what is above the maximum. */
void pg_fleet_shrink(struct pg_fleet *fleet);
/* The options have changed: for connections to come. */
void pg_fleet_take_options(struct pg_fleet *fleet);
/* The same, and connections that stand are replaced where they have to be. */
void pg_fleet_change(struct pg_fleet *fleet);

/* For the callbacks of a connection. */
void pg_fleet_on_ready(struct pg_fleet *fleet, struct pg_connection *connection);
void pg_fleet_on_closed(struct pg_fleet *fleet, struct pg_connection *connection, int64_t now, const char *reason);

/* For the timer: cuts what is silent, drains what is idle or old; and when it has to look again. */
void pg_fleet_check(struct pg_fleet *fleet, int64_t now);
int64_t pg_fleet_next_check(const struct pg_fleet *fleet, int64_t now);
/* For the kick: closes what has drained, frees what has closed. Not from within a callback of a connection. */
void pg_fleet_sweep(struct pg_fleet *fleet);
/* Closes one without a word; its queries in flight are the caller's to empty before the next sweep. */
void pg_fleet_close(struct pg_fleet *fleet, struct pg_connection *connection);

#endif
