/* sql_files: the folder of migrations and rules as turnoutctl migrate reads it. turnoutctl; workers ask for the version
 * that belongs to this build. */
#ifndef PG_SQL_FILES_H
#define PG_SQL_FILES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/object.h"

#define PG_SHA256_TEXT_SIZE 65

struct pg_sql_file {
    int version;                        /* of a migration; 0 for a rule */
    char *name;                         /* "0001_tables.sql" */
    char *text;                         /* with a NUL behind it and none in it */
    char checksum[PG_SHA256_TEXT_SIZE]; /* SHA-256 of the text, lower-case hex */
};

struct pg_sql_files {
    struct pg_sql_file *files; /* in order of names, which for migrations is the order of versions */
    int count;
};

/* sql_directory/schema: NNNN_name.sql, numbered from 0001 without gaps. false: `error` says why; nothing to free. */
bool pg_sql_files_read_schema(struct pg_sql_files *list, const char *sql_directory, char *error,
                              size_t error_size) MUST_CHECK;
/* sql_directory/rules: every name.sql. */
bool pg_sql_files_read_rules(struct pg_sql_files *list, const char *sql_directory, char *error,
                             size_t error_size) MUST_CHECK;
void pg_sql_files_free(struct pg_sql_files *list);

/* SHA-256 over all names and texts. */
void pg_sql_files_checksum(const struct pg_sql_files *list, char checksum[PG_SHA256_TEXT_SIZE]);

#endif
