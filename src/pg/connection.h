/* connection: one connection to PostgreSQL in pipeline mode on the loop. Worker, scheduler,
 * refresher; only pool and feed use it.
 * It knows how to connect, how to send an entry and how to tell its answer; what an answer or a loss means for the
 * entry is the pool's to decide. */
#ifndef PG_CONNECTION_H
#define PG_CONNECTION_H

#include <event2/event.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/object.h"
#include "pg/entry.h"

#define PG_CONNECTION_MAGIC 0x7067636eu

/* Answers that may be outstanding on one connection: enough to fill the round trip to another host (64 queries of 50 µs
 * are 3 ms), few enough that one slow statement holds up little. */
#define PG_CONNECTION_DEPTH 64

enum pg_connection_state {
    PG_CONNECTION_RESOLVING,  /* a thread looks up the host; there is no PGconn */
    PG_CONNECTION_CONNECTING, /* PQconnectPoll wants to be called at the next event of the socket */
    PG_CONNECTION_READY,      /* in pipeline mode; `in_flight` are the queries sent and not answered, in order */
    PG_CONNECTION_CLOSED,     /* there is no PGconn and nothing in flight that is still ours; to be freed */
};

struct pg_connection;

/* Called from the loop, never from within a function of this file that was called from outside. */
struct pg_connection_owner {
    void (*ready)(void *context, struct pg_connection *connection);
    /* `entry` has left `in_flight`. One of `rows` and `error` is set and belongs to the callee. An error from
     * PostgreSQL below FATAL means that the transaction was rolled back. */
    void (*answered)(void *context, struct pg_connection *connection, struct pg_entry *entry, PGresult *rows,
                     PGresult *error);
    /* Connecting failed or the connection is lost; the state is PG_CONNECTION_CLOSED, and `in_flight` is the callee's
     * to empty. */
    void (*closed)(void *context, struct pg_connection *connection, const char *reason);
    /* A notification has come; NULL: nobody listens. */
    void (*notified)(void *context, struct pg_connection *connection, const char *channel, const char *payload);
};

struct pg_connection_options {
    struct event_base *base;
    const char *dsn;
    const char *password_file;
    const char *application_name;
    int64_t connect_timeout;   /* of the lookup; the whole is the pool's to watch */
    int64_t statement_timeout; /* microseconds */
};

/* Connection lifetime: from open until pg_connection_free. */
struct pg_connection {
    OBJECT_HEADER;
    TAILQ_ENTRY(pg_connection) link; /* the pool's */
    enum pg_connection_state state;
    const struct pg_connection_options *options; /* the pool's, boot lifetime */
    const struct pg_connection_owner *owner;
    void *context;
    PGconn *pg;
    struct resolver *resolver;
    struct event *read_event;  /* PG_CONNECTION_CONNECTING: once, whichever PQconnectPoll wants; READY: persistent */
    struct event *write_event; /* READY: added while PQflush has something left */
    struct event *kick_event;  /* without a socket: makes the loop come by, for what must not happen within a call */
    unsigned int rotation;

    struct pg_entries in_flight;
    int depth;
    PGresult *rows;  /* of the first in flight: what has come before its sync */
    PGresult *error; /* of the first in flight: its first error */
    const struct pg_statement **prepared;
    int prepared_count;
    int prepared_size;
    bool reading; /* inside the loop over the results */
    bool broken;  /* lost, and about to say so */
    char reason[256];

    int64_t opened_at; /* all: clock_monotonic */
    int64_t ready_at;
    int64_t head_since; /* the first in flight is being answered since */
    int64_t idle_since; /* nothing in flight since */
    int64_t answers;
    int64_t expires_at;        /* the pool's: end of its lifetime */
    int64_t statement_timeout; /* that was set on the server; the option may have changed since */
    bool draining;             /* the pool's: gets nothing new, closes when nothing is in flight */
    bool behind_never_ran; /* CLOSED: the server said good-bye in answer to the first in flight, so it has not read the
                              others */
};

/* Begins to connect; the next turn of the loop takes the first step. `rotation` says which address comes first. */
struct pg_connection *pg_connection_open(const struct pg_connection_options *options,
                                         const struct pg_connection_owner *owner, void *context, unsigned int rotation);
/* Sends an entry behind those in flight. false: the connection is lost before anything of the entry could be run; it is
 * still the caller's, and `closed` will follow. */
bool pg_connection_send(struct pg_connection *connection, struct pg_entry *entry) MUST_CHECK;
/* Whether a statement counts as prepared here. */
bool pg_connection_knows(const struct pg_connection *connection, const struct pg_statement *statement);
/* The connection is given up: `closed` will follow with this reason. */
void pg_connection_cut(struct pg_connection *connection, const char *reason);
/* Closes without a word to the owner. `in_flight` stays the caller's to empty. */
void pg_connection_close(struct pg_connection *connection);
/* Not from within one of its own callbacks. */
void pg_connection_free(struct pg_connection *connection);

#endif
