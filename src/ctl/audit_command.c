/* audit_command: counts the rows of one event or of all and says which counters differ. turnoutctl only. The rule is
 * turnout.audit_events, the scheduler's; it notes what it finds and corrects nothing. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/uuid.h"
#include "ctl/turnoutctl.h"
#include "pg/session.h"

/* Rows that one statement reads, more only for a larger event: it can be stopped between any two. */
#define ROWS_PER_CALL "20000"

/* Columns of `sql` below; each row has the first three, and those of a drift are null where there is none. */
enum { EVENTS, ROWS, NEXT_AFTER, EVENT, COUNTER, DEPARTMENT, STORED, COUNTED };

static const char sql[] =
    "select a.events_read, a.rows_read, a.next_after, d.event_id, d.counter, d.department, d.stored, d.counted "
    "from turnout.audit_events($1, $2, $3) a left join lateral unnest(a.drifts) d on true";

struct audit {
    bool json;
    int64_t events;
    int64_t rows;
    json_t *drifts;   /* array of objects */
    char after[64];   /* "": from the first event */
    const char *only; /* id of the one event; NULL: all */
};

static int64_t number_of(const PGresult *result, int row, int column)
{
    int64_t number = 0;
    return text_parse_int64(PQgetvalue(result, row, column), INT64_MIN, INT64_MAX, &number) ? number : 0;
}

static json_t *number_or_null(const PGresult *result, int row, int column)
{
    return PQgetisnull(result, row, column) ? json_null() : json_integer(number_of(result, row, column));
}

static void print_drift(const PGresult *result, int row)
{
    const char *stored = PQgetisnull(result, row, STORED) ? "missing" : PQgetvalue(result, row, STORED);
    printf("event %s: %s", PQgetvalue(result, row, EVENT), PQgetvalue(result, row, COUNTER));
    if (!PQgetisnull(result, row, DEPARTMENT))
        printf(" of department \"%s\"", PQgetvalue(result, row, DEPARTMENT));
    printf(" is %s, rows are %s\n", stored, PQgetvalue(result, row, COUNTED));
}

static void take_drift(struct audit *audit, const PGresult *result, int row)
{
    json_t *department =
        PQgetisnull(result, row, DEPARTMENT) ? json_null() : json_string(PQgetvalue(result, row, DEPARTMENT));
    json_t *drift = json_pack("{s:s, s:s, s:o, s:o, s:o}", "event_id", PQgetvalue(result, row, EVENT), "counter",
                              PQgetvalue(result, row, COUNTER), "department", department, "stored",
                              number_or_null(result, row, STORED), "counted", number_or_null(result, row, COUNTED));
    INVARIANT(drift != NULL && json_array_append_new(audit->drifts, drift) == 0);
    if (!audit->json)
        print_drift(result, row);
}

/* One call; `*more` says whether events are left. */
static bool take_events(struct audit *audit, PGconn *connection, bool *more)
{
    const char *parameters[] = {audit->after[0] == '\0' ? NULL : audit->after, ROWS_PER_CALL, audit->only};
    PGresult *result = PQexecParams(connection, sql, 3, NULL, parameters, NULL, NULL, 0);
    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        char error[512];
        pg_session_error(connection, result, error, sizeof error);
        fprintf(stderr, "turnoutctl: %s\n", error);
        PQclear(result);
        return false;
    }
    audit->events += number_of(result, 0, EVENTS);
    audit->rows += number_of(result, 0, ROWS);
    for (int row = 0; row < PQntuples(result); row++) {
        if (!PQgetisnull(result, row, EVENT))
            take_drift(audit, result, row);
    }
    *more = !PQgetisnull(result, 0, NEXT_AFTER);
    snprintf(audit->after, sizeof audit->after, "%s", PQgetvalue(result, 0, NEXT_AFTER));
    PQclear(result);
    fflush(stdout);
    return true;
}

static bool take_all(struct audit *audit, PGconn *connection)
{
    bool more = true;
    while (more) {
        if (!take_events(audit, connection, &more))
            return false;
    }
    return true;
}

static void print_summary(struct audit *audit)
{
    size_t count = json_array_size(audit->drifts);
    if (!audit->json) {
        printf("%" JSON_INTEGER_FORMAT " events and %" JSON_INTEGER_FORMAT " rows audited: ", (json_int_t)audit->events,
               (json_int_t)audit->rows);
        if (count == 0)
            puts("no counter differs");
        else
            printf("%zu counter%s, nothing was corrected\n", count, count == 1 ? " differs" : "s differ");
        return;
    }
    json_t *object = json_pack("{s:I, s:I, s:O}", "events", (json_int_t)audit->events, "rows", (json_int_t)audit->rows,
                               "drifts", audit->drifts);
    INVARIANT(object != NULL);
    char *text = json_dumps(object, JSON_COMPACT);
    INVARIANT(text != NULL);
    puts(text);
    free(text);
    json_decref(object);
}

static int conclude(struct audit *audit)
{
    if (audit->only != NULL && audit->events == 0) {
        fprintf(stderr, "turnoutctl: there is no event %s\n", audit->only);
        return CTL_USAGE;
    }
    print_summary(audit);
    return json_array_size(audit->drifts) == 0 ? CTL_DONE : CTL_REFUSED;
}

int audit_command(const struct turnoutctl *ctl)
{
    char id[UUID_TEXT_SIZE];
    if (ctl->argument_count != 0)
        log_bad_start("audit: unexpected argument \"%s\"", ctl->arguments[0]);
    if (ctl->event != NULL && !uuid_parse(ctl->event, strlen(ctl->event), id))
        log_bad_start("audit: \"%s\" is no id of an event", ctl->event);
    struct configuration *configuration = turnoutctl_configuration(ctl);
    char error[512];
    PGconn *connection =
        pg_session_open(configuration->database, configuration->database_password_file, error, sizeof error);
    configuration_free(configuration);
    if (connection == NULL) {
        fprintf(stderr, "turnoutctl: %s\n", error);
        return CTL_UNREACHABLE;
    }
    struct audit audit = {.json = ctl->json, .only = ctl->event == NULL ? NULL : id, .drifts = json_array()};
    INVARIANT(audit.drifts != NULL);
    /* not 1: that would say that something differs */
    int status = take_all(&audit, connection) ? conclude(&audit) : CTL_UNREACHABLE;
    json_decref(audit.drifts);
    PQfinish(connection);
    return status;
}
