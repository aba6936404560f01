/* Under load, with backends killed at random: each answer of the pool is true in the database. Prints what it did. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "pg_fixture.h"

#define SECONDS_OF_LOAD 6
#define WRITES_MOST 200000
#define AT_ONCE 150
/* Between kills; some are of the kind that makes PostgreSQL restart itself, which takes it a second. */
#define BETWEEN_KILLS (60 * MILLISECOND)

static const struct pg_statement plain = {"plain", "insert into written (id) values ($1::int) returning id", 1};
static const struct pg_statement resent = {"resent", "select put($2::int, $1::boolean)", 2};
static const struct pg_statement reading = {"reading", "select count(*) from generate_series(1, 100) where $1::int > 0",
                                            1};

static struct write {
    enum pg_status status;
    bool done;
} writes[WRITES_MOST];
static int submitted, open, reads_failed;
static int counts[5];

static void on_written(void *context, const struct pg_answer *answer)
{
    struct write *write = context;
    ck_assert(!write->done);
    write->done = true;
    write->status = answer->status;
    counts[answer->status]++;
    open--;
    ck_assert_msg(answer->status != PG_STATUS_FAILED, "%s %s", answer->sqlstate, answer->message);
    PQclear(answer->result);
}

static void on_read(void *context, const struct pg_answer *answer)
{
    (void)context;
    open--;
    reads_failed += answer->status != PG_STATUS_ROWS;
    PQclear(answer->result);
}

/* Every third a plain insert, one that may be repeated, a read. */
static void submit_next(struct pg_pool *pool)
{
    char id[16];
    snprintf(id, sizeof id, "%d", submitted);
    struct pg_query query = {.context = &writes[submitted], .done = on_written};
    if (submitted % 3 == 0) {
        query.statement = &plain;
        query.parameters[0] = id;
    } else if (submitted % 3 == 1) {
        query.statement = &resent;
        query.parameters[0] = "false";
        query.parameters[1] = id;
        query.retry = PG_RETRY_RESEND;
    } else {
        query.statement = &reading;
        query.parameters[0] = "1";
        query.retry = PG_RETRY_READ;
        query.done = on_read;
    }
    submitted++;
    open++;
    pg_pool_submit(pool, &query);
}

static void ignore_notice(void *argument, const char *text)
{
    (void)argument;
    (void)text;
}

/* On a connection that is no pool's, which a restart of PostgreSQL ends, too. */
static bool kill_one(PGconn **killer, bool hard)
{
    if (PQstatus(*killer) != CONNECTION_OK) {
        PQfinish(*killer);
        *killer = PQconnectdb("application_name=killer");
        PQsetNoticeProcessor(*killer, ignore_notice, NULL);
        if (PQstatus(*killer) != CONNECTION_OK)
            return false;
    }
    PGresult *result =
        PQexec(*killer, hard ? "select pid from pg_stat_activity where application_name like 'turnout %' "
                               "order by random() limit 1"
                             : "select pg_terminate_backend(pid) from pg_stat_activity "
                               "where application_name like 'turnout %' order by random() limit 1");
    bool killed = PQntuples(result) == 1;
    if (killed && hard)
        killed = kill(atoi(PQgetvalue(result, 0, 0)), SIGKILL) == 0;
    PQclear(result);
    return killed;
}

START_TEST(test_every_answer_under_random_kills_is_true)
{
    fixture_sql("create table written (id int primary key, sendings int not null default 1);"
                "create function put(p_id int, p_resent boolean) returns int language plpgsql as $$ begin "
                "  if p_resent then insert into written (id) values (p_id) on conflict do nothing;"
                "  else insert into written (id) values (p_id); end if; return p_id; end $$");
    struct pg_pool_options options = fixture_options();
    options.connections_max = 3;
    options.lifetime = 700 * MILLISECOND;
    options.acquire_timeout = options.statement_timeout = 5 * SECOND;
    struct pg_pool *pool = fixture_pool(&options);
    PGconn *killer = fixture_connect();
    PQsetNoticeProcessor(killer, ignore_notice, NULL);

    int kills = 0, hit = 0;
    int64_t end = clock_monotonic() + SECONDS_OF_LOAD * SECOND, next_kill = clock_monotonic() + BETWEEN_KILLS;
    while (clock_monotonic() < end && submitted < WRITES_MOST) {
        while (open < AT_ONCE && submitted < WRITES_MOST)
            submit_next(pool);
        if (clock_monotonic() > next_kill) {
            next_kill = clock_monotonic() + BETWEEN_KILLS;
            int64_t in_flight = fixture_statistics(pool).in_flight;
            if (kill_one(&killer, kills % 20 == 19)) {
                kills++;
                hit += in_flight > 0;
            }
            pg_pool_set_max(pool, 2 + kills % 3);
        }
        event_base_loop(fixture_base(), EVLOOP_ONCE);
        ck_assert_int_le(fixture_statistics(pool).open, 4);
    }
    fixture_wait_for(open == 0);
    PQfinish(killer);

    int64_t patience = fixture_deadline();
    while (!fixture_statistics(pool).reachable)
        fixture_turn(patience, "the server");
    PGconn *reader = fixture_connect();
    PGresult *result = PQexec(reader, "select id from written");
    static bool present[WRITES_MOST];
    for (int i = 0; i < PQntuples(result); i++)
        present[atoi(PQgetvalue(result, i, 0))] = true;
    int committed_of_lost = 0;
    for (int i = 0; i < submitted; i++) {
        if (i % 3 == 2)
            continue;
        ck_assert(writes[i].done);
        if (writes[i].status == PG_STATUS_LOST)
            committed_of_lost += present[i];
        else
            ck_assert_msg(present[i] == (writes[i].status == PG_STATUS_ROWS), "write %d: told %d, found %d", i,
                          (int)writes[i].status, present[i]);
    }
    printf("kills: %d, of them with queries in flight: %d; writes told done: %d, unknown: %d (%d had been committed), "
           "never sent: %d; reads in vain: %d of %d\n",
           kills, hit, counts[PG_STATUS_ROWS], counts[PG_STATUS_LOST], committed_of_lost, counts[PG_STATUS_UNAVAILABLE],
           reads_failed, submitted / 3);
    fflush(stdout); /* the test runs in a child that ends without */
    ck_assert_int_ge(hit, 10);
    ck_assert_int_gt(counts[PG_STATUS_ROWS], 100);
    PQclear(result);
    PQfinish(reader);
    pg_pool_destroy(pool);
    fixture_sql("drop table written; drop function put(int, boolean)");
}
END_TEST

int main(int count, char **arguments)
{
    (void)count;
    fixture_need_postgres(arguments);
    Suite *suite = suite_create("pg_truth");
    TCase *tests = tcase_create("truth");
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, test_every_answer_under_random_kills_is_true);
    suite_add_tcase(suite, tests);
    return fixture_run(suite);
}
