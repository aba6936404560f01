/* outage: when the next attempt to connect is due, and what the log says meanwhile. Worker, scheduler; one per pool, so
 * that all its connections together knock once. */
#ifndef PG_OUTAGE_H
#define PG_OUTAGE_H

#include <stdbool.h>
#include <stdint.h>

struct pg_outage {
    const char *pool;   /* its name, for the log */
    int failures;       /* attempts in vain since the last success that counts */
    int64_t connect_at; /* not before; clock_monotonic */
    int64_t failed_at;
    int64_t since; /* a connection is missing since then; 0: none is */
    /* of the last lines of the log, and what they leave out since */
    int64_t failure_logged_at, failures_unlogged;
    int64_t loss_logged_at, losses_unlogged;
};

/* A connection was lost. `proven`: it had served for a while, so the next attempt is due at once. */
void pg_outage_lost(struct pg_outage *outage, int64_t now, bool proven, int64_t in_flight, const char *reason);
/* An attempt to connect has failed: the next one is due after 50 ms, doubling up to 2 s, each cut by up to half. */
void pg_outage_failed(struct pg_outage *outage, int64_t now, const char *reason);
/* Waits as after a failure, without a word: the connection stands but does not do (a standby). */
void pg_outage_back_off(struct pg_outage *outage, int64_t now);
/* Connected. The next failure still counts on from here, until the connection has proven itself. */
void pg_outage_connected(struct pg_outage *outage, int64_t now);
/* The connection that stands since `ready_at` has answered: the next failure is a first one, unless it is older. */
static inline void pg_outage_proven(struct pg_outage *outage, int64_t ready_at)
{
    if (ready_at >= outage->failed_at)
        outage->failures = 0;
}

/* `most` cut by up to a tenth, evenly. For lifetimes. */
int64_t pg_outage_jitter(int64_t most);

#endif
