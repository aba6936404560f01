/* import: what the commands share that write all rows of a file or none: reading the file, the records of CSV,
 * complaints that name lines, and the one transaction. turnoutctl only. */
#ifndef CTL_IMPORT_H
#define CTL_IMPORT_H

#include <jansson.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/object.h"
#include "ctl/csv.h"
#include "ctl/turnoutctl.h"

/* What became of the rows; unknown: the connection was lost with the commit on its way. */
enum import_result { IMPORT_NOT_WRITTEN, IMPORT_WRITTEN, IMPORT_UNKNOWN };

/* The command's own struct has it as its first member. */
struct import {
    const struct turnoutctl *ctl;
    const char *path;
    const char *noun;      /* "events" */
    const char *isolation; /* of the transaction: "begin" and what may stand behind it */
    size_t errors;
};

/* The whole file, with two bytes of room behind it, the first of them NUL; free() it. NULL: said why. */
char *import_read_file(const char *path, size_t *length) MUST_CHECK;
/* Counts a mistake, and prints it while there are not too many. */
void import_complain(struct import *import, long line, const char *pointer, const char *detail);

/* Reads the CSV text: `header` judges the names of the first line, `record` takes each further one that has as many
 * fields. The fields stay where they are in `text`. false: it complained, and what was read is not all. */
struct import_reader {
    /* NULL: any names will do. false: it complained. */
    bool (*header)(struct import *import, long line, char *const *names, size_t count);
    void (*record)(struct import *import, const struct csv *csv, char *const *names, size_t count);
};
bool import_read_csv(struct import *import, const struct import_reader *reader, char *text, size_t length) MUST_CHECK;

/* Sends the rows `first` and following within the open transaction; false: it said why, and nothing more is sent. What
 * is wrong with rows it complains of. `request_id` is the same for all chunks. */
typedef bool import_send(struct import *import, PGconn *connection, const char *request_id, size_t first, size_t count);

/* Calls `send` for all rows, chunk by chunk, also behind a bad one, so that all bad rows are named at once. Shows how
 * far it has come where somebody watches. */
bool import_send_all(struct import *import, PGconn *connection, size_t total, import_send *send) MUST_CHECK;
/* The same in a transaction that is committed when no row was complained of. */
enum import_result import_write(struct import *import, PGconn *connection, size_t total, import_send *send) MUST_CHECK;
/* The connection of the configuration's turnout_app. NULL: said why. */
PGconn *import_connect(struct import *import) MUST_CHECK;
/* Prints what is left to say of what was not written; what was is the command's to tell. Returns the exit status. */
int import_conclude(struct import *import, enum import_result result);

/* How many rows `send` gets at once: bounds their memory in PostgreSQL. */
#define IMPORT_CHUNK 500

#endif
