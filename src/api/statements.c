/* statements: the table of prepared statements. Worker and scheduler. */
#include "api/statements.h"

#define STATEMENT_DEFINE(name, parameters, sql) const struct pg_statement statement_##name = {#name, sql, parameters};
STATEMENT_LIST(STATEMENT_DEFINE)
#undef STATEMENT_DEFINE

const struct pg_statement *const api_statements[] = {
#define STATEMENT_ADDRESS(name, parameters, sql) &statement_##name,
    STATEMENT_LIST(STATEMENT_ADDRESS)
#undef STATEMENT_ADDRESS
        NULL};
