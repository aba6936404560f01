/* migrate: brings the database's schema and rules up to date. turnoutctl only (synchronous), but for
 * pg_schema_expected. */
#ifndef PG_MIGRATE_H
#define PG_MIGRATE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/object.h"

struct pg_migrate_options {
    const char *dsn; /* of the owner */
    const char *password_file;
    const char *sql_directory;
    /* Called with one line (no line end) for each thing done. */
    void (*progress)(void *context, const char *line);
    void *context;
    char *error; /* why it failed; may be several lines */
    size_t error_size;
};

/* 0: the database is as the files say (or newer). 1: it is not, `error` says why; what had been applied before stays,
 * and running it again goes on from there. Any number of hosts may run it at once. */
int pg_migrate(const struct pg_migrate_options *options) MUST_CHECK;

/* The version that belongs to these files: the highest number in sql_directory/schema. Looks at names only, and starts
 * no library: the master calls it. */
bool pg_schema_expected(const char *sql_directory, int *version, char *error, size_t error_size) MUST_CHECK;

#endif
