/* audit: what a step of the audit has found, told to the log and to the statistics. Scheduler only. */
#include "scheduler/audit.h"

#include "base/log.h"
#include "base/text.h"
#include "shm/statistics.h"

/* The columns of audit_step. */
enum { MORE, EVENTS, OPEN, ROUND_ENDED, EVENT, COUNTER, DEPARTMENT, STORED, COUNTED };

/* Of the first row: all rows have the same. 0 for null. */
static int64_t number_of(const PGresult *result, int column)
{
    int64_t number = 0;
    return text_parse_int64(PQgetvalue(result, 0, column), 0, INT64_MAX, &number) ? number : 0;
}

static const char *text_of(const PGresult *result, int row, int column, const char *otherwise)
{
    return PQgetisnull(result, row, column) ? otherwise : PQgetvalue(result, row, column);
}

bool audit_take(const PGresult *result, int64_t *found)
{
    if (PQntuples(result) == 0)
        return false;
    for (int row = 0; row < PQntuples(result); row++) {
        if (PQgetisnull(result, row, EVENT))
            continue;
        (*found)++;
        log_error("a counter differs from the rows", log_text("event", PQgetvalue(result, row, EVENT)),
                  log_text("counter", PQgetvalue(result, row, COUNTER)),
                  log_text("department", text_of(result, row, DEPARTMENT, "all")),
                  log_text("stored", text_of(result, row, STORED, "none")),
                  log_text("counted", PQgetvalue(result, row, COUNTED)));
    }
    statistics_add(STATISTICS_AUDIT_EVENTS, LABEL_NONE_ONE, LABEL_NONE_ONE, number_of(result, EVENTS));
    statistics_set(STATISTICS_AUDIT_DRIFT, LABEL_NONE_ONE, LABEL_NONE_ONE, number_of(result, OPEN));
    statistics_set(STATISTICS_AUDIT_ROUND, LABEL_NONE_ONE, LABEL_NONE_ONE, number_of(result, ROUND_ENDED));
    return PQgetvalue(result, 0, MORE)[0] == 't';
}
