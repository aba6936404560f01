/* session: a synchronous connection to PostgreSQL. turnoutctl only. */
#include "pg/session.h"

#include <stdio.h>
#include <string.h>

#include "pg/dsn.h"

/* A person waits: a host that swallows packets is given up soon. Seconds, as text. */
#define CONNECT_TIMEOUT "10"

static void copy_line(const char *from, char *to, size_t size);

PGconn *pg_session_open(const char *dsn_text, const char *password_file, char *error, size_t error_size)
{
    struct pg_dsn dsn;
    if (!pg_dsn_read(&dsn, dsn_text, error, error_size))
        return NULL;
    if (!pg_dsn_set_password(&dsn, password_file, error, error_size)) {
        pg_dsn_free(&dsn);
        return NULL;
    }
    pg_dsn_preset(&dsn, "options", "-c client_min_messages=warning");
    pg_dsn_set_session(&dsn, "turnoutctl", 0);
    pg_dsn_preset(&dsn, "connect_timeout", CONNECT_TIMEOUT);
    PGconn *connection = PQconnectdbParams(pg_dsn_keywords(&dsn), pg_dsn_values(&dsn), 0);
    pg_dsn_free(&dsn);
    INVARIANT(connection != NULL);
    if (PQstatus(connection) == CONNECTION_OK)
        return connection;
    copy_line(PQerrorMessage(connection), error, error_size);
    PQfinish(connection);
    return NULL;
}

void pg_session_error(const PGconn *connection, const PGresult *result, char *error, size_t error_size)
{
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
    const char *hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);
    if (message == NULL) {
        copy_line(PQerrorMessage(connection), error, error_size);
        return;
    }
    char text[1024];
    snprintf(text, sizeof text, "%s%s%s%s%s%s", message, detail == NULL ? "" : " (", detail == NULL ? "" : detail,
             detail == NULL ? "" : ")", hint == NULL ? "" : "; hint: ", hint == NULL ? "" : hint);
    copy_line(text, error, error_size);
}

/* libpq ends messages with a line end and breaks some. */
static void copy_line(const char *from, char *to, size_t size)
{
    snprintf(to, size, "%s", from);
    size_t length = strlen(to);
    while (length > 0 && to[length - 1] == '\n')
        to[--length] = '\0';
    for (char *place = to; (place = strchr(place, '\n')) != NULL;)
        *place = ' ';
}
