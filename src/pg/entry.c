/* entry: a query on its way. Worker, scheduler; touches nothing but its own memory. */
#include "pg/entry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pg_entry *pg_entry_create(const struct pg_query *query, uint64_t sequence, int64_t now)
{
    int count = query->statement->parameter_count;
    INVARIANT(count >= 0 && count <= PG_PARAMETERS_MAX);
    INVARIANT(query->retry != PG_RETRY_RESEND || (query->resent_parameter >= 0 && query->resent_parameter < count));

    size_t lengths[PG_PARAMETERS_MAX] = {0};
    size_t total = 0;
    for (int i = 0; i < count; i++) {
        lengths[i] = query->parameters[i] == NULL ? 0 : strlen(query->parameters[i]) + 1;
        total += lengths[i];
    }
    struct pg_entry *entry = malloc(sizeof *entry + total);
    INVARIANT(entry != NULL);
    *entry = (struct pg_entry){.magic = PG_ENTRY_MAGIC, .query = *query, .sequence = sequence, .submitted = now};
    char *place = entry->texts;
    for (int i = 0; i < count; i++) {
        if (query->parameters[i] == NULL)
            continue;
        memcpy(place, query->parameters[i], lengths[i]);
        entry->query.parameters[i] = place;
        place += lengths[i];
    }
    return entry;
}

void pg_entry_answer(struct pg_entry *entry, enum pg_status status, PGresult *rows, const PGresult *error,
                     const char *message)
{
    OBJECT_CHECK(entry, PG_ENTRY_MAGIC);
    struct pg_answer answer = {.status = status, .result = rows, .message = message, .in_doubt = entry->in_doubt};
    if (error != NULL) {
        snprintf(answer.sqlstate, sizeof answer.sqlstate, "%s", pg_entry_sqlstate(error));
        const char *primary = PQresultErrorField(error, PG_DIAG_MESSAGE_PRIMARY);
        answer.message = primary != NULL ? primary : PQresultErrorMessage(error);
    }
    if (answer.message == NULL)
        answer.message = "";
    pg_done *done = entry->query.done;
    void *context = entry->query.context;
    OBJECT_BURY(entry);
    free(entry);
    done(context, &answer);
}

void pg_entries_insert(struct pg_entries *entries, struct pg_entry *entry)
{
    struct pg_entry *before = TAILQ_LAST(entries, pg_entries);
    while (before != NULL && before->sequence > entry->sequence)
        before = TAILQ_PREV(before, pg_entries, link);
    if (before == NULL)
        TAILQ_INSERT_HEAD(entries, entry, link);
    else
        TAILQ_INSERT_AFTER(entries, before, entry, link);
}

const char *pg_entry_sqlstate(const PGresult *error)
{
    const char *sqlstate = PQresultErrorField(error, PG_DIAG_SQLSTATE);
    return sqlstate == NULL ? "" : sqlstate;
}
