/* verdict: what an error from PostgreSQL means for the query and its connection. Worker, scheduler; no state. */
#include "pg/verdict.h"

#include <string.h>

/* How often a query is sent in all when PostgreSQL rolls it back for somebody else's sake. */
#define ROLLED_BACK_MOST 3

/* Lines with a function are for errors that have several causes: the one meant comes from that function of the server
 * (PG_DIAG_SOURCE_FUNCTION), as its message is translated. */
static const struct {
    const char *sqlstate;
    const char *function;
    enum pg_verdict verdict;
} verdicts[] = {
    {"57014", NULL, PG_VERDICT_TIMED_OUT},                     /* query_canceled */
    {"40001", NULL, PG_VERDICT_ROLLED_BACK},                   /* serialization_failure */
    {"40P01", NULL, PG_VERDICT_ROLLED_BACK},                   /* deadlock_detected */
    {"25006", NULL, PG_VERDICT_READ_ONLY},                     /* read_only_sql_transaction */
    {"26000", NULL, PG_VERDICT_UNPREPARED},                    /* invalid_sql_statement_name */
    {"0A000", "RevalidateCachedQuery", PG_VERDICT_STALE_PLAN}, /* cached plan must not change result type */
};

enum pg_verdict pg_verdict_of(const PGresult *error)
{
    const char *sqlstate = pg_entry_sqlstate(error);
    const char *function = PQresultErrorField(error, PG_DIAG_SOURCE_FUNCTION);
    for (size_t i = 0; i < sizeof verdicts / sizeof verdicts[0]; i++)
        if (strcmp(verdicts[i].sqlstate, sqlstate) == 0 &&
            (verdicts[i].function == NULL || (function != NULL && strcmp(verdicts[i].function, function) == 0)))
            return verdicts[i].verdict;
    return PG_VERDICT_FAILED;
}

bool pg_verdict_repeats(enum pg_verdict verdict, struct pg_entry *entry)
{
    switch (verdict) {
    case PG_VERDICT_ROLLED_BACK:
        return ++entry->rolled_back < ROLLED_BACK_MOST;
    case PG_VERDICT_READ_ONLY:
        return true;
    case PG_VERDICT_UNPREPARED:
    case PG_VERDICT_STALE_PLAN:
        if (entry->alone)
            return false;
        entry->alone = true;
        return true;
    default:
        return false;
    }
}

enum pg_status pg_verdict_status(enum pg_verdict verdict)
{
    switch (verdict) {
    case PG_VERDICT_ROWS:
        return PG_STATUS_ROWS;
    case PG_VERDICT_TIMED_OUT:
        return PG_STATUS_TIMED_OUT;
    case PG_VERDICT_READ_ONLY:
        return PG_STATUS_UNAVAILABLE;
    default:
        return PG_STATUS_FAILED;
    }
}
