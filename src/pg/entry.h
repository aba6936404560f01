/* entry: a query on its way: copied at submit, waiting or in flight, answered once. Worker, scheduler; only the pool
 * and its connections see it. */
#ifndef PG_ENTRY_H
#define PG_ENTRY_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/object.h"
#include "pg/pool.h"

#define PG_ENTRY_MAGIC 0x70676571u

/* Lives from submit until `done` has been called. In exactly one list at a time. */
struct pg_entry {
    OBJECT_HEADER;
    TAILQ_ENTRY(pg_entry) link;
    struct pg_query query; /* parameters point into `texts`, or to "true" */
    uint64_t sequence;     /* order of submission */
    int64_t submitted;     /* clock_monotonic */
    int64_t deadline;      /* until the first sending: for that; then for the last repetition */
    int rolled_back;       /* how often PostgreSQL undid it for somebody else's sake (40001, 40P01) */
    bool in_doubt;         /* a connection was lost while it may have been running */
    bool alone;            /* its prepared statement was found unusable once: goes with its text, unprepared */
    bool prepares;         /* in flight: its first result is that of its Prepare */
    char texts[];
};

TAILQ_HEAD(pg_entries, pg_entry);

/* Copies the query and its parameter texts. */
struct pg_entry *pg_entry_create(const struct pg_query *query, uint64_t sequence, int64_t now);

/* Calls `done` and frees the entry, which is in no list any more. `rows` goes to the callee (PG_STATUS_ROWS), `error`
 * (may be NULL) stays the caller's; `message` stands in where there is no error from PostgreSQL. */
void pg_entry_answer(struct pg_entry *entry, enum pg_status status, PGresult *rows, const PGresult *error,
                     const char *message);

/* Puts an entry where its sequence says. Cheap when entries come in order. */
void pg_entries_insert(struct pg_entries *entries, struct pg_entry *entry);

/* The SQLSTATE of an error from PostgreSQL, "" for one that libpq made up itself. */
const char *pg_entry_sqlstate(const PGresult *error);

#endif
