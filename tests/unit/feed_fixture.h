/* feed_fixture: a feed on a private PostgreSQL with the project's own schema, and what it has told. */
#ifndef FEED_FIXTURE_H
#define FEED_FIXTURE_H

#include "pg/feed.h"
#include "pg_fixture.h"

#define NUMBERS_MAX 100000

/* What the feed said. Changes of these tests are of kind `user`, and their keys are numbers. */
struct told {
    int reads, gaps, lost;
    char gap[200]; /* the last one */
    struct pg_snapshot snapshot;
    int64_t sent_at;
    char cursor[PG_FEED_CURSOR_MAX];
    struct pg_feed_database database;
    int times[NUMBERS_MAX];          /* how often each number came */
    int kinds[PG_CHANGE_KIND_COUNT]; /* how many changes of each kind */
    struct pg_change event;          /* the last one of kind `event`; its texts are in `texts` */
    char texts[4][64];
    int hears, deaf;                /* how often it was told */
    int connects, failures, losses; /* by its observer */
};

/* Makes roles and schema: an unchecked fixture, before all tests. */
void feed_fixture_migrate(void);
/* A feed that polls once an hour; `told` is cleared. */
struct pg_feed_options feed_options(struct told *told);
/* Turns the loop until the answer of a read has come that was sent after this call. */
void feed_read_now(struct pg_feed *feed, struct told *told);
/* SQL that tells of a number, as a trigger does. */
const char *feed_change(int number);
/* Runs SQL on a connection; must succeed. */
void feed_run(PGconn *connection, const char *sql);

/* The tests of feed_gaps.c. */
TCase *feed_gaps(void);

#endif
