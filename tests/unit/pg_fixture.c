/* pg_fixture: a pool on a loop against a private PostgreSQL, for the unit tests of src/pg. */
#include "pg_fixture.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int answers;

void fixture_need_postgres(char **arguments)
{
    fixture_need("TURNOUT_TEST_PGDATA", "with_postgres.sh", arguments);
}

struct pg_pool_options fixture_options(void)
{
    return (struct pg_pool_options){.base = fixture_base(),
                                    .role = "test",
                                    .name = "read",
                                    .dsn = "",
                                    .connections_min = 1,
                                    .connections_max = 1,
                                    .connect_timeout = 2 * SECOND,
                                    .acquire_timeout = 2 * SECOND,
                                    .statement_timeout = 2 * SECOND,
                                    .idle_time = 600 * SECOND,
                                    .lifetime = 3600 * SECOND,
                                    .queue_max = 10000};
}

struct pg_pool *fixture_pool(const struct pg_pool_options *options)
{
    struct pg_pool *pool = pg_pool_create(options);
    ck_assert_ptr_nonnull(pool);
    return pool;
}

void fixture_submit(struct pg_pool *pool, const struct pg_statement *statement, const char *parameter,
                    enum pg_retry retry, struct outcome *outcome)
{
    *outcome = (struct outcome){.done = false};
    struct pg_query query = {
        .statement = statement, .parameters = {parameter}, .retry = retry, .done = fixture_done, .context = outcome};
    pg_pool_submit(pool, &query);
    ck_assert_msg(!outcome->done, "answered from within submit");
}

struct outcome fixture_ask(struct pg_pool *pool, const struct pg_statement *statement, const char *parameter,
                           enum pg_retry retry)
{
    struct outcome outcome;
    fixture_submit(pool, statement, parameter, retry, &outcome);
    fixture_wait_for(outcome.done);
    return outcome;
}

void fixture_done(void *context, const struct pg_answer *answer)
{
    struct outcome *outcome = context;
    ck_assert_msg(!outcome->done, "answered twice");
    ck_assert_int_eq(answer->result != NULL, answer->status == PG_STATUS_ROWS);
    outcome->done = true;
    outcome->order = ++answers;
    outcome->status = answer->status;
    snprintf(outcome->sqlstate, sizeof outcome->sqlstate, "%s", answer->sqlstate);
    snprintf(outcome->message, sizeof outcome->message, "%s", answer->message);
    outcome->rows = PQntuples(answer->result);
    if (outcome->rows > 0 && PQnfields(answer->result) > 0)
        snprintf(outcome->value, sizeof outcome->value, "%.63s", PQgetvalue(answer->result, 0, 0));
    if (outcome->rows > 0 && PQnfields(answer->result) > 1)
        snprintf(outcome->other, sizeof outcome->other, "%.63s", PQgetvalue(answer->result, 0, 1));
    PQclear(answer->result);
}

struct pg_statistics fixture_statistics(const struct pg_pool *pool)
{
    struct pg_statistics statistics;
    pg_pool_statistics(pool, &statistics);
    return statistics;
}

PGconn *fixture_connect(void)
{
    PGconn *connection = PQconnectdb("application_name=fixture options='-c client_min_messages=error'");
    ck_assert_msg(PQstatus(connection) == CONNECTION_OK, "%s", PQerrorMessage(connection));
    return connection;
}

const char *fixture_sql(const char *format, ...)
{
    static char value[256];
    char *sql;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&sql, format, arguments);
    va_end(arguments);
    ck_assert_int_ge(length, 0);
    PGconn *connection = fixture_connect();
    PGresult *result = PQexec(connection, sql);
    ExecStatusType status = PQresultStatus(result);
    ck_assert_msg(status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK, "%s: %s", sql, PQerrorMessage(connection));
    value[0] = '\0';
    if (PQntuples(result) > 0)
        snprintf(value, sizeof value, "%s", PQgetvalue(result, 0, 0));
    PQclear(result);
    PQfinish(connection);
    free(sql);
    return value;
}

void fixture_server(const char *command)
{
    char line[4096];
    snprintf(line, sizeof line, "%s %s >/dev/null", getenv("TURNOUT_TEST_PG_CTL"), command);
    ck_assert_int_eq(system(line), 0);
}
