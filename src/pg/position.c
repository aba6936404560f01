/* position: how far a feed has read. Refresher; no state of its own. */
#include "pg/position.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Columns of the statements cache_begin and changes_since. */
enum { BEGIN_EPOCH_BEFORE, BEGIN_EPOCH, BEGIN_WITNESS, BEGIN_SYSTEM, BEGIN_DATABASE, BEGIN_RULES, BEGIN_COLUMNS };
enum { SNAPSHOT_EPOCH = 8, SNAPSHOT_XMAX, SNAPSHOT_IN_PROGRESS, SNAPSHOT_COMPLETE, SNAPSHOT_COLUMNS };

/* Changes with what the text means. */
#define CURSOR_FORMAT "1"

static bool take_number(const char *text, uint64_t *number);
static bool take_in_progress(const char *text, uint64_t *count);
static void make_cursor(struct pg_position *position);

bool pg_position_parse(struct pg_position *position, const char *cursor)
{
    *position = (struct pg_position){.known = false};
    char witness[64], *in_progress = NULL;
    struct pg_feed_database database = {.rules = ""};
    struct pg_snapshot snapshot;
    int end = 0;
    char xmax[24];
    if (sscanf(cursor, CURSOR_FORMAT " %23s %11s %63s %" SCNu64 " %23s %n", database.system, database.oid, witness,
               &snapshot.epoch, xmax, &end) != 5 ||
        strlen(witness) >= sizeof position->witness || !take_number(xmax, &snapshot.xmax) ||
        !take_in_progress(cursor + end, &snapshot.in_progress))
        return false;
    in_progress = strdup(cursor + end);
    INVARIANT(in_progress != NULL);
    position->known = true;
    position->snapshot = snapshot;
    position->in_progress = in_progress;
    position->database = database;
    memcpy(position->xmax, xmax, sizeof xmax);
    memcpy(position->witness, witness, sizeof position->witness);
    make_cursor(position);
    return true;
}

const char *pg_position_begin(struct pg_position *position, const PGresult *row)
{
    uint64_t epoch_before, epoch;
    if (PQntuples(row) != 1 || PQnfields(row) != BEGIN_COLUMNS ||
        !take_number(PQgetvalue(row, 0, BEGIN_EPOCH_BEFORE), &epoch_before) ||
        !take_number(PQgetvalue(row, 0, BEGIN_EPOCH), &epoch))
        return "";
    const char *system = PQgetvalue(row, 0, BEGIN_SYSTEM), *oid = PQgetvalue(row, 0, BEGIN_DATABASE);
    const char *witness = PQgetvalue(row, 0, BEGIN_WITNESS);
    const char *gap = NULL;
    if (!position->known)
        gap = "nothing was read before";
    else if (strcmp(system, position->database.system) != 0 || strcmp(oid, position->database.oid) != 0)
        gap = "it is another database";
    else if (strcmp(witness, position->witness) != 0)
        gap = "the database has crashed, or comes from a standby or a backup";
    else if (epoch_before < position->snapshot.epoch)
        gap = "the database has gone back in time";
    snprintf(position->database.system, sizeof position->database.system, "%s", system);
    snprintf(position->database.oid, sizeof position->database.oid, "%s", oid);
    snprintf(position->database.rules, sizeof position->database.rules, "%s", PQgetvalue(row, 0, BEGIN_RULES));
    snprintf(position->witness, sizeof position->witness, "%s", witness);
    return gap;
}

bool pg_position_advance(struct pg_position *position, const PGresult *rows)
{
    struct pg_snapshot snapshot;
    if (PQntuples(rows) < 1 || PQnfields(rows) != SNAPSHOT_COLUMNS ||
        !take_number(PQgetvalue(rows, 0, SNAPSHOT_EPOCH), &snapshot.epoch) ||
        !take_number(PQgetvalue(rows, 0, SNAPSHOT_XMAX), &snapshot.xmax) ||
        !take_in_progress(PQgetvalue(rows, 0, SNAPSHOT_IN_PROGRESS), &snapshot.in_progress))
        return false;
    const struct pg_snapshot *before = &position->snapshot;
    if (position->known && (snapshot.epoch < before->epoch || snapshot.xmax < before->xmax))
        return false;
    free(position->in_progress);
    position->in_progress = strdup(PQgetvalue(rows, 0, SNAPSHOT_IN_PROGRESS));
    INVARIANT(position->in_progress != NULL);
    snprintf(position->xmax, sizeof position->xmax, "%" PRIu64, snapshot.xmax);
    position->snapshot = snapshot;
    position->known = true;
    make_cursor(position);
    return true;
}

void pg_position_clear(struct pg_position *position)
{
    free(position->in_progress);
    position->in_progress = NULL;
    position->known = false;
    position->cursor[0] = '\0';
}

static bool take_number(const char *text, uint64_t *number)
{
    char *end;
    *number = strtoull(text, &end, 10);
    return end != text && *end == '\0' && *text != '-';
}

/* Digits and commas in braces. */
static bool take_in_progress(const char *text, uint64_t *count)
{
    size_t length = strlen(text);
    if (length < 2 || text[0] != '{' || text[length - 1] != '}' || strspn(text + 1, "0123456789,") != length - 2)
        return false;
    *count = length > 2;
    for (const char *comma = text; (comma = strchr(comma, ',')) != NULL; comma++)
        ++*count;
    return true;
}

static void make_cursor(struct pg_position *position)
{
    int length = snprintf(position->cursor, sizeof position->cursor, CURSOR_FORMAT " %s %s %s %" PRIu64 " %s %s",
                          position->database.system, position->database.oid, position->witness,
                          position->snapshot.epoch, position->xmax, position->in_progress);
    if (length < 0 || (size_t)length >= sizeof position->cursor)
        position->cursor[0] = '\0';
}
