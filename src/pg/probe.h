/* probe: does a connection that listens hear? A notification to itself, sent through a pool, must come back. A pooler
 * in transaction mode between us and PostgreSQL takes LISTEN and never tells of anything. Refresher; only the feed uses
 * it. */
#ifndef PG_PROBE_H
#define PG_PROBE_H

#include <event2/event.h>
#include <stdbool.h>

#include "base/uuid.h"
#include "pg/pool.h"

#define PG_PROBE_CHANNEL "turnout_probe"

enum pg_probe_state {
    PG_PROBE_OFF,    /* nobody listens */
    PG_PROBE_UNSURE, /* nothing has come yet, and it is not too late */
    PG_PROBE_HEARS,
    PG_PROBE_DEAF, /* what was sent did not come; another one is sent each minute */
};

struct probe_shot;

/* Lies in its feed. */
struct pg_probe {
    struct pg_pool *pool; /* NULL: nothing is sent, and only a notification that comes decides */
    const struct pg_statement *statement;
    int64_t time; /* microseconds that a notification may be on its way */
    /* PG_PROBE_HEARS or PG_PROBE_DEAF has begun. */
    void (*decided)(void *context, bool hears);
    void *context;
    enum pg_probe_state state;
    struct event *timer;
    char expected[UUID_TEXT_SIZE]; /* the payload that is on its way; "": none */
    struct probe_shot *shot;       /* the one that the pool has not answered */
};

/* `probe` holds pool, statement, time, decided and context. */
void pg_probe_start(struct pg_probe *probe, struct event_base *base);
void pg_probe_stop(struct pg_probe *probe);
/* A connection listens from now on; none does any more. */
void pg_probe_begin(struct pg_probe *probe);
void pg_probe_end(struct pg_probe *probe);
/* A notification has come. */
void pg_probe_notified(struct pg_probe *probe, const char *channel, const char *payload);

#endif
