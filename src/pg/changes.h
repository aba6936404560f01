/* changes: the rows of turnout.changes_since. Refresher; only the feed uses it. */
#ifndef PG_CHANGES_H
#define PG_CHANGES_H

#include <libpq-fe.h>

/* More distinct changes than this (as the statement takes it) are as good as "everything". */
#define PG_CHANGES_MOST "100000"

/* Why these rows do not say what has changed; NULL: they do. */
const char *pg_changes_gap(const PGresult *rows);

#endif
