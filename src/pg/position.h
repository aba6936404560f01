/* position: how far a feed has read: the snapshot of its last read, in which database, and the text of it that a
 * successor goes on from. Refresher; only the feed uses it. */
#ifndef PG_POSITION_H
#define PG_POSITION_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/uuid.h"
#include "pg/feed.h"

struct pg_position {
    bool known; /* false: nothing was read yet, and only `database` and `witness` may be set */
    struct pg_snapshot snapshot;
    char xmax[24];
    char *in_progress; /* as PostgreSQL writes an array, "{17,23}"; owned */
    char witness[UUID_TEXT_SIZE];
    struct pg_feed_database database;
    char cursor[PG_FEED_CURSOR_MAX]; /* "": there is none, or it would be too long */
};

/* From a cursor; false: it is none, and the position is not known. */
bool pg_position_parse(struct pg_position *position, const char *cursor) MUST_CHECK;
/* From the row of turnout.cache_begin. Returns why nothing connects this database to the position, or NULL; `witness`
 * and `database` are those of the row in any case. "" (and nothing changed): the row is not one of cache_begin. */
const char *pg_position_begin(struct pg_position *position, const PGresult *row);
/* From the first row of turnout.changes_since. false: it is none, or older than the position. */
bool pg_position_advance(struct pg_position *position, const PGresult *rows) MUST_CHECK;
void pg_position_clear(struct pg_position *position);

#endif
