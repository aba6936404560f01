/* feed_fixture: a feed on a private PostgreSQL with the project's own schema, and what it has told. */
#include "feed_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "pg/migrate.h"

static const struct pg_statement cache_begin = {
    "cache_begin", "select epoch_before, epoch, witness, system, database, rules from turnout.cache_begin()", 0};
static const struct pg_statement changes_since = {
    "changes_since",
    "select kind, key, before_category, before_status, before_start, after_category, after_status, after_start, epoch, "
    "xmax, in_progress, complete from turnout.changes_since($1, $2, $3)",
    3};
static const struct pg_statement cache_probe = {"cache_probe", "select turnout.cache_probe($1)", 1};

static void note(void *context, const char *line)
{
    (void)context;
    (void)line;
}

void feed_fixture_migrate(void)
{
    fixture_sql("create role turnout_owner login; create role turnout_app login");
    fixture_sql("create database feed owner turnout_owner");
    ck_assert_int_eq(setenv("PGDATABASE", "feed", 1), 0);
    const char *source = getenv("srcdir");
    char directory[4096], error[2000] = "";
    snprintf(directory, sizeof directory, "%s/sql", source == NULL ? "." : source);
    struct pg_migrate_options options = {.dsn = "user=turnout_owner",
                                         .sql_directory = directory,
                                         .progress = note,
                                         .error = error,
                                         .error_size = sizeof error};
    ck_assert_msg(pg_migrate(&options) == 0, "%s", error);
}

static void on_read(void *context, const struct pg_feed_read *read)
{
    struct told *told = context;
    told->reads++;
    if (read->gap != NULL) {
        told->gaps++;
        snprintf(told->gap, sizeof told->gap, "%s", read->gap);
        ck_assert_uint_eq(read->count, 0);
    }
    ck_assert_uint_ge(read->snapshot.epoch, told->snapshot.epoch);
    ck_assert_int_gt(read->sent_at, told->sent_at);
    told->snapshot = read->snapshot;
    told->sent_at = read->sent_at;
    told->database = *read->database;
    strcpy(told->cursor, read->cursor);
    for (size_t i = 0; i < read->count; i++) {
        struct pg_change change;
        pg_feed_change(read, i, &change);
        told->kinds[change.kind]++;
        if (change.kind == PG_CHANGE_USER) {
            long number = strtol(change.key + 24, NULL, 10);
            ck_assert_int_lt(number, NUMBERS_MAX);
            told->times[number]++;
        } else if (change.kind == PG_CHANGE_EVENT) {
            const char *texts[] = {change.before.category, change.before.status, change.after.category,
                                   change.after.status};
            for (int j = 0; j < 4; j++)
                snprintf(told->texts[j], sizeof told->texts[j], "%s", texts[j] == NULL ? "" : texts[j]);
            told->event = change;
        }
    }
}

static void on_lost(void *context)
{
    ((struct told *)context)->lost++;
}

static void on_heard(void *context, bool arrive)
{
    struct told *told = context;
    *(arrive ? &told->hears : &told->deaf) += 1;
}

static void on_happened(void *context, enum pg_occurrence what, int64_t microseconds)
{
    (void)microseconds;
    struct told *told = context;
    told->connects += what == PG_OCCURRED_CONNECT;
    told->failures += what == PG_OCCURRED_CONNECT_FAILURE;
    told->losses += what == PG_OCCURRED_LOSS;
}

struct pg_feed_options feed_options(struct told *told)
{
    static const struct pg_feed_events events = {.read = on_read, .lost = on_lost, .heard = on_heard};
    static struct pg_observer observer = {.happened = on_happened};
    observer.context = told;
    *told = (struct told){.reads = 0};
    return (struct pg_feed_options){.base = fixture_base(),
                                    .role = "test",
                                    .dsn = "user=turnout_app",
                                    .connect_timeout = 2 * SECOND,
                                    .statement_timeout = 10 * SECOND,
                                    .poll = 3600 * SECOND,
                                    .begin = &cache_begin,
                                    .changes = &changes_since,
                                    .probe = &cache_probe,
                                    .events = &events,
                                    .context = told,
                                    .observer = &observer};
}

void feed_read_now(struct pg_feed *feed, struct told *told)
{
    int64_t now = clock_monotonic();
    pg_feed_poke(feed);
    fixture_wait_for(told->sent_at > now);
}

const char *feed_change(int number)
{
    static char sql[200];
    snprintf(sql, sizeof sql,
             "insert into turnout.changes (kind, key) values ('user', '00000000-0000-7000-8000-%012d')", number);
    return sql;
}

void feed_run(PGconn *connection, const char *sql)
{
    PGresult *result = PQexec(connection, sql);
    ExecStatusType status = PQresultStatus(result);
    ck_assert_msg(status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK, "%s: %s", sql, PQerrorMessage(connection));
    PQclear(result);
}
