/* pool: connections to PostgreSQL in pipeline mode on the libevent loop, and the queries that wait for one.
 * Worker, scheduler. Each process keeps reads and writes in pools of their own: a statement that waits holds up all
 * behind it on its connection. Each query is one prepared statement followed by a sync: one implicit transaction. */
#ifndef PG_POOL_H
#define PG_POOL_H

#include <event2/event.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/object.h"

struct pg_pool;

/* A statement that the server prepares, one line of a table. `name` is its name in PostgreSQL, too. */
struct pg_statement {
    const char *name;
    const char *sql;
    int parameter_count;
};

/* What the pool may do when the connection is lost with the query in flight. */
enum pg_retry {
    PG_RETRY_NEVER,  /* answered PG_LOST, unless it is known not to have begun */
    PG_RETRY_PROBE,  /* not even then: who asks wants to know how it stands now */
    PG_RETRY_READ,   /* sent again until its deadline */
    PG_RETRY_RESEND, /* sent again until its deadline with parameter `resent_parameter` set to "true" */
};

enum pg_status {
    PG_STATUS_ROWS,        /* `result` holds the rows */
    PG_STATUS_FAILED,      /* PostgreSQL answered with an error: `sqlstate`, `message` */
    PG_STATUS_TIMED_OUT,   /* statement time-out (it was rolled back) */
    PG_STATUS_UNAVAILABLE, /* no connection before the deadline; it has never been sent, nothing was done */
    PG_STATUS_LOST,        /* it was sent, the connection was lost, and what became of it is not known; with `sqlstate`:
                              it was sent again, and that sending was undone */
};

struct pg_answer {
    enum pg_status status;
    PGresult *result; /* PG_STATUS_ROWS: owned by the callee, PQclear it; else NULL */
    char sqlstate[6];
    const char *message; /* valid during the call */
    bool in_doubt; /* an earlier sending was lost with its connection: it may be at work still, or have taken effect */
};

typedef void pg_done(void *context, const struct pg_answer *answer);

#define PG_PARAMETERS_MAX 16

/* A query; the caller fills it and pg_pool_submit copies it and its parameter texts. */
struct pg_query {
    const struct pg_statement *statement;
    const char *parameters[PG_PARAMETERS_MAX]; /* text format; NULL is null */
    enum pg_retry retry;
    int resent_parameter; /* index, PG_RETRY_RESEND */
    pg_done *done;
    void *context;
};

/* What an observer hears, while it happens. */
enum pg_occurrence {
    PG_OCCURRED_CONNECT,
    PG_OCCURRED_CONNECT_FAILURE,
    PG_OCCURRED_LOSS,              /* of a connection that stood */
    PG_OCCURRED_WAIT,              /* a query was sent for the first time, or given up unsent, after so long */
    PG_OCCURRED_ANSWER,            /* PostgreSQL has answered a query, so long after it was submitted */
    PG_OCCURRED_ACQUIRE_TIMEOUT,   /* no connection for a query in time */
    PG_OCCURRED_STATEMENT_TIMEOUT, /* PostgreSQL has cancelled it */
};

/* Whoever counts. `microseconds` as said above, else 0. */
struct pg_observer {
    void (*happened)(void *context, enum pg_occurrence what, int64_t microseconds);
    void *context;
};

struct pg_pool_options {
    struct event_base *base;
    const char *role;          /* of the process, "worker": application_name is "turnout <role> <name>" */
    const char *name;          /* "read", "write", "owner": log, statistics */
    const char *dsn;           /* libpq connection string */
    const char *password_file; /* read at each connect; NULL: none */
    int64_t connections_min;
    int64_t connections_max;
    int64_t connect_timeout;   /* microseconds, all */
    int64_t acquire_timeout;   /* until a query is sent; else PG_STATUS_UNAVAILABLE */
    int64_t statement_timeout; /* set on the server; the pool cuts a connection that is silent for twice as long */
    int64_t idle_time;         /* a connection above the minimum closes after it */
    int64_t lifetime; /* a connection is replaced after it (with up to a tenth of jitter), when nothing is in flight */
    int depth;        /* queries in flight on one connection; 0: as many as fill a round trip */
    int queue_max;    /* queries that may wait for a connection; past it PG_STATUS_UNAVAILABLE at once */
    const struct pg_observer *observer; /* NULL: nobody counts; boot lifetime */
};

struct pg_statistics {
    int64_t open;      /* connections, also connecting ones: what counts against max_connections */
    int64_t idle;      /* connected, nothing in flight */
    int64_t used;      /* connected, with something in flight */
    int64_t in_flight; /* queries sent, not answered */
    int64_t waiting;   /* queries not sent yet */
    int64_t max;
    int64_t connects;       /* since the start */
    int64_t lost;           /* connections lost since the start */
    int64_t timeouts;       /* acquire and statement time-outs since the start */
    bool reachable;         /* the last connection attempt or answer succeeded */
    const char *last_error; /* or NULL */
};

/* For the check of the configuration: is this a connection string that we take? Passwords are refused (they belong into
 * a file), and no error repeats any part of the text, as that part may be one. */
bool pg_dsn_check(const char *dsn, char *error, size_t error_size) MUST_CHECK;

/* What may change while a pool is at work: see pg_pool_options. */
struct pg_pool_settings {
    const char *password_file;
    int64_t connections_min;
    int64_t connect_timeout;
    int64_t acquire_timeout;
    int64_t statement_timeout;
    int64_t idle_time;
    int64_t lifetime;
};

/* Boot lifetime. Connects at once to its minimum; an unreachable server is no error, it keeps trying with backoff. */
struct pg_pool *pg_pool_create(const struct pg_pool_options *options);
/* `done` is called exactly once, never from within this call. */
void pg_pool_submit(struct pg_pool *pool, const struct pg_query *query);
/* Lowers or raises the maximum; connections above it close as soon as nothing is in flight on them. */
void pg_pool_set_max(struct pg_pool *pool, int64_t connections_max);
/* What waits and what is in flight gets new deadlines. Another statement time-out holds on new connections: those that
 * stand are replaced one after the other. */
void pg_pool_change(struct pg_pool *pool, const struct pg_pool_settings *settings);
void pg_pool_statistics(const struct pg_pool *pool, struct pg_statistics *statistics);
/* Closes connections; queries still open are answered LOST or UNAVAILABLE. Not from within `done`. */
void pg_pool_destroy(struct pg_pool *pool);

#endif
