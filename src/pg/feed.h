/* feed: what has changed in the database, read exactly, as soon as it is committed. Refresher; one connection of its
 * own, beside its pool.
 *
 * NOTIFY is only a doorbell: at each bell, and every `poll` without one, a statement reads from turnout.changes what
 * its own snapshot shows and the snapshot of the read before did not. So nothing is lost and nothing comes twice,
 * whatever commits late and however long other transactions run. Where that can't be said (a first start, another
 * database, a crash of the server, rows that were pruned), the read says so: a gap.
 *
 * After each connect, and before each gap: the epoch is raised (turnout.cache_begin), committed, and only then is the
 * snapshot taken. */
#ifndef PG_FEED_H
#define PG_FEED_H

#include <event2/event.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/object.h"
#include "pg/pool.h"

struct pg_feed;

/* Which commits a snapshot shows; see turnout's versions of cached bodies. */
struct pg_snapshot {
    uint64_t epoch;
    uint64_t xmax;
    uint64_t in_progress; /* how many below xmax */
};

/* turnout.change_kind, but for `all`, which is a gap. */
enum pg_change_kind {
    PG_CHANGE_EVENT,      /* its row: `before` and `after` place it on list pages */
    PG_CHANGE_SEATS,      /* capacity, registered or waitlisted count */
    PG_CHANGE_STATS,      /* only what the dashboard shows */
    PG_CHANGE_ORGANIZERS, /* who manages the event */
    PG_CHANGE_USER,
    PG_CHANGE_KIND_COUNT,
};

struct pg_event_place {
    const char *category; /* NULL: it was or is not there */
    const char *status;
    int64_t start; /* microseconds since 1970 */
};

/* One of the distinct changes of a read: many of one kind to one thing are one. */
struct pg_change {
    enum pg_change_kind kind;
    const char *key;              /* the event's id, the user's */
    struct pg_event_place before; /* PG_CHANGE_EVENT */
    struct pg_event_place after;
};

/* Which database it is, for names of what is shared between hosts. */
struct pg_feed_database {
    char system[24]; /* its cluster's identifier */
    char oid[12];
    char rules[72]; /* checksum of sql/rules */
};

#define PG_FEED_CURSOR_MAX 12000

struct pg_feed_read {
    /* NULL: `changes` is all that this snapshot shows and the read before did not. Else why nobody can say what has
     * changed (for the log): everything may have, and there are no changes. */
    const char *gap;
    struct pg_snapshot snapshot;
    int64_t sent_at; /* clock_monotonic: what was committed before this, the snapshot shows */
    /* Where a successor would go on from this read, see pg_feed_options; at most PG_FEED_CURSOR_MAX bytes with its
     * zero. The cursor of a read stands for: all that its snapshot shows is done with. */
    const char *cursor;
    const struct pg_feed_database *database;
    size_t count; /* changes: pg_feed_change */
    const PGresult *rows;
};

struct pg_feed_events {
    /* Once per read, in their order. Everything in `read` is valid during the call. */
    void (*read)(void *context, const struct pg_feed_read *read);
    /* The connection is lost, or what it leads to is no primary: no read until further notice. Once per loss. */
    void (*lost)(void *context);
    /* After each connect: whether notifications arrive. false was logged as an error; until they do, it polls every
     * 250 ms. */
    void (*heard)(void *context, bool arrive);
};

struct pg_feed_options {
    struct event_base *base;
    const char *role; /* of the process, "refresher": application_name is "turnout <role> feed" */
    const char *dsn;
    const char *password_file; /* NULL: none */
    int64_t connect_timeout;   /* microseconds, all */
    int64_t statement_timeout; /* a connection that is silent for twice as long is cut */
    int64_t poll;              /* a read after so long without a bell */
    /* From the table of statements: turnout.cache_begin, turnout.changes_since, turnout.cache_probe. */
    const struct pg_statement *begin;
    const struct pg_statement *changes;
    const struct pg_statement *probe;
    struct pg_pool *pool; /* the one that the probe is sent through: outlives the feed; NULL: no probe */
    int64_t probe_time;   /* how long it may be on its way; 0: 5 s */
    /* pg_feed_read.cursor of an earlier read of this process or its predecessor; NULL or "": the first read is a gap.
     */
    const char *cursor;
    const struct pg_feed_events *events;
    void *context;
    const struct pg_observer *observer; /* NULL: nobody counts */
};

/* Boot lifetime; copies its texts. Connects at once; an unreachable server is no error. */
struct pg_feed *pg_feed_create(const struct pg_feed_options *options);
/* Reads as if the bell had rung. */
void pg_feed_poke(struct pg_feed *feed);
/* What may change at a reload: see pg_feed_options. Time-outs hold from the next connection on. */
void pg_feed_change_settings(struct pg_feed *feed, const char *password_file, int64_t connect_timeout,
                             int64_t statement_timeout, int64_t poll);
/* As of a pool with one connection. */
void pg_feed_statistics(const struct pg_feed *feed, struct pg_statistics *statistics);
/* Not from within its events. */
void pg_feed_destroy(struct pg_feed *feed);

/* One of its changes, from 0; texts are those of the read. */
void pg_feed_change(const struct pg_feed_read *read, size_t index, struct pg_change *change);

#endif
