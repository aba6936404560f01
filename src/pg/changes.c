/* changes: the rows of turnout.changes_since. Refresher; no state. */
#include "pg/changes.h"

#include <stdlib.h>
#include <string.h>

#include "pg/feed.h"

/* Columns; a name for each kind. */
enum { CHANGE_KIND, CHANGE_KEY, CHANGE_BEFORE, CHANGE_AFTER = CHANGE_BEFORE + 3, CHANGES_COMPLETE = 11 };
static const char *const kinds[PG_CHANGE_KIND_COUNT] = {[PG_CHANGE_EVENT] = "event",
                                                        [PG_CHANGE_SEATS] = "seats",
                                                        [PG_CHANGE_STATS] = "stats",
                                                        [PG_CHANGE_ORGANIZERS] = "organizers",
                                                        [PG_CHANGE_USER] = "user"};

const char *pg_changes_gap(const PGresult *rows)
{
    int count = PQntuples(rows);
    if (count > atoi(PG_CHANGES_MOST) + 1)
        return "too much has changed at once";
    if (count > 0 && strcmp(PQgetvalue(rows, 0, CHANGES_COMPLETE), "t") != 0)
        return "changes were pruned before they were read";
    for (int row = 1; row < count; row++) {
        const char *kind = PQgetvalue(rows, row, CHANGE_KIND);
        bool known = false;
        for (int i = 0; i < PG_CHANGE_KIND_COUNT && !known; i++)
            known = strcmp(kind, kinds[i]) == 0;
        if (!known)
            return "everything may have changed";
    }
    return NULL;
}

void pg_feed_change(const struct pg_feed_read *read, size_t index, struct pg_change *change)
{
    INVARIANT(index < read->count);
    int row = (int)index + 1; /* behind the snapshot's */
    const char *kind = PQgetvalue(read->rows, row, CHANGE_KIND);
    *change = (struct pg_change){.key = PQgetvalue(read->rows, row, CHANGE_KEY)};
    while (strcmp(kind, kinds[change->kind]) != 0)
        change->kind++; /* pg_changes_gap has seen that it is there */
    struct pg_event_place *const places[] = {&change->before, &change->after};
    for (int i = 0; i < 2; i++) {
        int column = i == 0 ? CHANGE_BEFORE : CHANGE_AFTER;
        if (PQgetisnull(read->rows, row, column))
            continue;
        places[i]->category = PQgetvalue(read->rows, row, column);
        places[i]->status = PQgetvalue(read->rows, row, column + 1);
        places[i]->start = strtoll(PQgetvalue(read->rows, row, column + 2), NULL, 10);
    }
}
