/* session: a synchronous connection to PostgreSQL. turnoutctl only: it waits, and libpq may look up names. */
#ifndef PG_SESSION_H
#define PG_SESSION_H

#include <libpq-fe.h>
#include <stddef.h>

#include "base/object.h"

/* Connects with UTF-8, UTC and without a statement time-out; the password comes from its file (NULL: none). PQfinish is
 * the caller's. NULL: `error` says why. */
PGconn *pg_session_open(const char *dsn, const char *password_file, char *error, size_t error_size) MUST_CHECK;

/* One line of what went wrong: message, detail and hint of an error from PostgreSQL, else libpq's own words. */
void pg_session_error(const PGconn *connection, const PGresult *result, char *error, size_t error_size);

#endif
