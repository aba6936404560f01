/* verdict: what an error from PostgreSQL means for the query and its connection. Worker, scheduler; no state. */
#ifndef PG_VERDICT_H
#define PG_VERDICT_H

#include <libpq-fe.h>
#include <stdbool.h>

#include "pg/entry.h"

/* Each of these is an answer: the transaction is known to be committed (ROWS) or rolled back (all others). */
enum pg_verdict {
    PG_VERDICT_ROWS,
    PG_VERDICT_FAILED,      /* the caller's to understand */
    PG_VERDICT_TIMED_OUT,   /* cancelled: statement_timeout, or an administrator */
    PG_VERDICT_ROLLED_BACK, /* for somebody else's sake: again as it is, a few times */
    PG_VERDICT_READ_ONLY,   /* this server is a standby now: again on another connection */
    PG_VERDICT_UNPREPARED,  /* the prepared statement is not there: again, once, without one */
    PG_VERDICT_STALE_PLAN,  /* its plan outlived a function's signature: the same, and the connection is replaced */
};

/* By SQLSTATE; PG_VERDICT_FAILED for all that are not in the table. */
enum pg_verdict pg_verdict_of(const PGresult *error);
/* Whether a query may be sent again after it; notes in the entry that it was. */
bool pg_verdict_repeats(enum pg_verdict verdict, struct pg_entry *entry);
/* What the caller is told when it is not. */
enum pg_status pg_verdict_status(enum pg_verdict verdict);

#endif
