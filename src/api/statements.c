/* statements: the table of prepared statements. Worker, refresher and scheduler. */
#include "api/statements.h"

#include <stddef.h>

#define STATEMENT_DEFINE(name, parameters, sql) const struct pg_statement statement_##name = {#name, sql, parameters};
STATEMENT_LIST(STATEMENT_DEFINE)
#undef STATEMENT_DEFINE

const struct pg_statement *const api_statements[] = {
#define STATEMENT_ADDRESS(name, parameters, sql) &statement_##name,
    STATEMENT_LIST(STATEMENT_ADDRESS)
#undef STATEMENT_ADDRESS
        NULL};

#define KEYED(name)                                  \
    {                                                \
        &statement_##name, &statement_##name##_keyed \
    }

const struct pg_statement *api_statement_keyed(const struct pg_statement *statement)
{
    static const struct {
        const struct pg_statement *plain;
        const struct pg_statement *keyed;
    } writes[] = {KEYED(event_create),  KEYED(event_update),         KEYED(event_delete),
                  KEYED(event_publish), KEYED(event_cancel),         KEYED(registration_transfer),
                  KEYED(register_list), KEYED(calendar_feed_create), KEYED(calendar_feed_delete)};
    for (size_t i = 0; i < sizeof writes / sizeof writes[0]; i++) {
        if (writes[i].plain == statement)
            return writes[i].keyed;
    }
    return NULL;
}
