/* csv: reads records of RFC 4180 from memory: quoted fields, doubled quotes, line ends of either kind. turnoutctl only.
 */
#ifndef CTL_CSV_H
#define CTL_CSV_H

#include <stdbool.h>
#include <stddef.h>

#include "base/object.h"

#define CSV_FIELDS_MAX 64

/* A text that is read record by record. Fields are written over the text itself, each ended by NUL. */
struct csv {
    char *at;
    char *end;
    long line; /* of the record read last, from 1 */
    long next_line;
    size_t count; /* fields of the record read last */
    char *fields[CSV_FIELDS_MAX];
    const char *error; /* why csv_next gave CSV_BROKEN */
};

enum csv_result { CSV_RECORD, CSV_END, CSV_BROKEN };

/* `text` is `length` bytes and one more that may be written; a byte order mark is skipped. */
void csv_begin(struct csv *csv, char *text, size_t length);
/* Empty lines are skipped. */
enum csv_result csv_next(struct csv *csv) MUST_CHECK;

#endif
