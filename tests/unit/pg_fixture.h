/* pg_fixture: a pool on a loop against a private PostgreSQL, for the unit tests of src/pg. */
#ifndef PG_FIXTURE_H
#define PG_FIXTURE_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "loop.h"
#include "pg/pool.h"

/* What became of one query. */
struct outcome {
    bool done;
    enum pg_status status;
    char sqlstate[6];
    char message[200];
    int rows;
    char value[64]; /* first column of the first row */
    char other[64]; /* second column, where there is one */
    int order;      /* among all answers, from 1 */
};

/* Starts the test program again below with_postgres.sh unless it runs there already. First line of main. */
void fixture_need_postgres(char **arguments);

/* Options that tests change before fixture_pool: max 1, time-outs of 2 s. */
struct pg_pool_options fixture_options(void);
struct pg_pool *fixture_pool(const struct pg_pool_options *options);
/* Submits with up to one parameter. */
void fixture_submit(struct pg_pool *pool, const struct pg_statement *statement, const char *parameter,
                    enum pg_retry retry, struct outcome *outcome);
/* Submits and waits for the answer. */
struct outcome fixture_ask(struct pg_pool *pool, const struct pg_statement *statement, const char *parameter,
                           enum pg_retry retry);
void fixture_done(void *context, const struct pg_answer *answer);

struct pg_statistics fixture_statistics(const struct pg_pool *pool);

/* Runs SQL on a connection of its own, beside the loop, and returns the first value ("" where there is none; static).
 */
const char *fixture_sql(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The connection of fixture_sql, for tests that hold a lock in it. */
PGconn *fixture_connect(void);
/* Stops ("-m immediate stop"), starts ... the server. */
void fixture_server(const char *command);

#endif
