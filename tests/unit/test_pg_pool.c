/* The pool of PostgreSQL connections as its callers see it, against a real server that is well. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "pg_fixture.h"

static const struct pg_statement echo = {"echo", "select $1::text, pg_backend_pid()", 1};
static const struct pg_statement sleep_seconds = {"sleep_seconds", "select pg_sleep($1::float8)", 1};
static const struct pg_statement lock_one = {"lock_one", "select pg_advisory_xact_lock($1::bigint)", 1};

/* Waits until a backend of the pool stands before advisory lock 1. */
static bool somebody_waits_for_lock(void)
{
    return strcmp(fixture_sql("select count(*) from pg_locks where locktype = 'advisory' and not granted"), "0") != 0;
}

static PGconn *hold_lock_one(void)
{
    PGconn *holder = fixture_connect();
    PQclear(PQexec(holder, "select pg_advisory_lock(1)"));
    return holder;
}

START_TEST(test_a_thousand_queries_over_two_connections_are_answered_in_order_on_each)
{
    enum { COUNT = 1000 };
    static struct outcome outcomes[COUNT];
    struct pg_pool_options options = fixture_options();
    options.connections_min = options.connections_max = 2;
    struct pg_pool *pool = fixture_pool(&options);
    fixture_wait_for(fixture_statistics(pool).idle == 2);
    for (int i = 0; i < COUNT; i++) {
        char number[16];
        snprintf(number, sizeof number, "%d", i);
        fixture_submit(pool, &echo, number, PG_RETRY_NEVER, &outcomes[i]);
    }
    ck_assert_int_gt(fixture_statistics(pool).in_flight, 100);
    ck_assert_int_gt(fixture_statistics(pool).waiting, 100);
    fixture_wait_for(fixture_statistics(pool).waiting + fixture_statistics(pool).in_flight == 0);

    struct {
        char pid[64];
        int last;
    } backends[2] = {{"", 0}, {"", 0}};
    for (int i = 0; i < COUNT; i++) {
        ck_assert_int_eq(outcomes[i].status, PG_STATUS_ROWS);
        ck_assert_int_eq(atoi(outcomes[i].value), i);
        int which = strcmp(backends[0].pid, outcomes[i].other) == 0 || backends[0].pid[0] == '\0' ? 0 : 1;
        if (backends[which].pid[0] == '\0')
            strcpy(backends[which].pid, outcomes[i].other);
        ck_assert_str_eq(backends[which].pid, outcomes[i].other);
        ck_assert_int_gt(outcomes[i].order, backends[which].last);
        backends[which].last = outcomes[i].order;
    }
    ck_assert_str_ne(backends[1].pid, "");
    pg_pool_destroy(pool);
}
END_TEST

START_TEST(test_a_statement_that_takes_too_long_is_timed_out_and_its_connection_goes_on)
{
    struct pg_pool_options options = fixture_options();
    options.statement_timeout = 200 * MILLISECOND;
    struct pg_pool *pool = fixture_pool(&options);
    struct outcome before = fixture_ask(pool, &echo, "a", PG_RETRY_NEVER);
    struct outcome slow = fixture_ask(pool, &sleep_seconds, "10", PG_RETRY_READ);
    ck_assert_int_eq(slow.status, PG_STATUS_TIMED_OUT);
    ck_assert_str_eq(slow.sqlstate, "57014");
    struct outcome quick = fixture_ask(pool, &sleep_seconds, "0", PG_RETRY_NEVER);
    ck_assert_int_eq(quick.status, PG_STATUS_ROWS);
    struct outcome after = fixture_ask(pool, &echo, "b", PG_RETRY_NEVER);
    ck_assert_str_eq(before.other, after.other);
    ck_assert_int_eq(fixture_statistics(pool).timeouts, 1);
    pg_pool_destroy(pool);
}
END_TEST

START_TEST(test_a_query_that_finds_no_connection_in_time_is_told_that_it_was_never_sent)
{
    struct pg_pool_options options = fixture_options();
    options.acquire_timeout = 300 * MILLISECOND;
    struct pg_pool *pool = fixture_pool(&options);
    PGconn *holder = hold_lock_one();
    struct outcome blocked, late;
    fixture_submit(pool, &lock_one, "1", PG_RETRY_NEVER, &blocked);
    fixture_wait_for(somebody_waits_for_lock());
    /* what comes at once is still put behind it; after a tenth of a second the statement counts as stalled */
    int64_t stalled = clock_monotonic() + 150 * MILLISECOND;
    fixture_wait_for(clock_monotonic() > stalled);
    fixture_submit(pool, &echo, "late", PG_RETRY_NEVER, &late);
    fixture_wait_for(late.done);
    ck_assert_int_eq(late.status, PG_STATUS_UNAVAILABLE);
    ck_assert(!blocked.done);

    struct outcome in_time;
    fixture_submit(pool, &echo, "in time", PG_RETRY_NEVER, &in_time);
    PQfinish(holder);
    fixture_wait_for(blocked.done && in_time.done);
    ck_assert_int_eq(blocked.status, PG_STATUS_ROWS);
    ck_assert_int_eq(in_time.status, PG_STATUS_ROWS);
    pg_pool_destroy(pool);
}
END_TEST

START_TEST(test_a_full_queue_refuses_at_once_but_not_from_within_submit)
{
    struct pg_pool_options options = fixture_options();
    options.queue_max = 2;
    struct pg_pool *pool = fixture_pool(&options);
    struct outcome outcomes[3]; /* nothing is connected yet: two wait, the third is one too many */
    for (int i = 0; i < 3; i++)
        fixture_submit(pool, &echo, "x", PG_RETRY_NEVER, &outcomes[i]);
    fixture_wait_for(outcomes[2].done);
    ck_assert_int_eq(outcomes[2].status, PG_STATUS_UNAVAILABLE);
    fixture_wait_for(outcomes[0].done && outcomes[1].done);
    ck_assert_int_eq(outcomes[0].status, PG_STATUS_ROWS);
    ck_assert_int_eq(outcomes[1].status, PG_STATUS_ROWS);
    ck_assert_int_gt(outcomes[1].order, outcomes[0].order);
    pg_pool_destroy(pool);
}
END_TEST

START_TEST(test_a_busy_pool_opens_more_up_to_its_maximum_and_idle_ones_close_down_to_the_minimum)
{
    struct pg_pool_options options = fixture_options();
    options.connections_max = 3;
    options.idle_time = 200 * MILLISECOND;
    struct pg_pool *pool = fixture_pool(&options);
    fixture_wait_for(fixture_statistics(pool).idle == 1);
    struct outcome outcomes[6];
    for (int i = 0; i < 6; i++)
        fixture_submit(pool, &sleep_seconds, "0.3", PG_RETRY_NEVER, &outcomes[i]);
    fixture_wait_for(fixture_statistics(pool).open == 2);
    for (int i = 0; i < 6; i++)
        fixture_wait_for(outcomes[i].done);
    for (int i = 0; i < 6; i++)
        ck_assert_int_eq(outcomes[i].status, PG_STATUS_ROWS);
    ck_assert_int_le(fixture_statistics(pool).open, 3);
    fixture_wait_for(fixture_statistics(pool).open == 1);
    ck_assert_int_eq(fixture_statistics(pool).lost, 0);
    fixture_wait_for(
        atoi(fixture_sql("select count(*) from pg_stat_activity where application_name like 'turnout %%'")) == 1);
    pg_pool_destroy(pool);
}
END_TEST

START_TEST(test_a_connection_is_replaced_after_its_lifetime_without_an_error)
{
    struct pg_pool_options options = fixture_options();
    options.lifetime = 300 * MILLISECOND;
    for (options.connections_max = 1; options.connections_max <= 2; options.connections_max++) {
        struct pg_pool *pool = fixture_pool(&options);
        struct outcome first = fixture_ask(pool, &echo, "a", PG_RETRY_NEVER);
        for (;;) { /* queries all the time: none may notice */
            struct outcome next = fixture_ask(pool, &echo, "a", PG_RETRY_NEVER);
            ck_assert_int_eq(next.status, PG_STATUS_ROWS);
            if (strcmp(first.other, next.other) != 0)
                break;
        }
        ck_assert_int_eq(fixture_statistics(pool).lost, 0);
        pg_pool_destroy(pool);
    }
}
END_TEST

START_TEST(test_a_lower_maximum_closes_connections_only_when_they_have_answered)
{
    struct pg_pool_options options = fixture_options();
    options.connections_min = options.connections_max = 3;
    struct pg_pool *pool = fixture_pool(&options);
    fixture_wait_for(fixture_statistics(pool).idle == 3);
    struct outcome outcomes[3];
    for (int i = 0; i < 3; i++)
        fixture_submit(pool, &sleep_seconds, "0.2", PG_RETRY_NEVER, &outcomes[i]);
    ck_assert_int_eq(fixture_statistics(pool).in_flight, 3);
    pg_pool_set_max(pool, 1);
    fixture_wait_for(outcomes[0].done && outcomes[1].done && outcomes[2].done);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(outcomes[i].status, PG_STATUS_ROWS);
    fixture_wait_for(fixture_statistics(pool).open == 1);
    ck_assert_int_eq(fixture_ask(pool, &echo, "a", PG_RETRY_NEVER).status, PG_STATUS_ROWS);
    pg_pool_set_max(pool, 3);
    fixture_wait_for(fixture_statistics(pool).open == 3);
    ck_assert_int_eq(fixture_statistics(pool).lost, 0);
    pg_pool_destroy(pool);
}
END_TEST

START_TEST(test_a_statement_that_cannot_be_prepared_fails_alone_and_tells_each_caller_why)
{
    static const struct pg_statement wrong = {"wrong", "select no_such_column, $1::text", 1};
    struct pg_pool_options options = fixture_options();
    struct pg_pool *pool = fixture_pool(&options);
    struct outcome good, bad[3], later;
    fixture_submit(pool, &echo, "good", PG_RETRY_NEVER, &good);
    for (int i = 0; i < 3; i++)
        fixture_submit(pool, &wrong, "x", PG_RETRY_NEVER, &bad[i]);
    fixture_submit(pool, &echo, "later", PG_RETRY_NEVER, &later);
    fixture_wait_for(good.done && later.done && bad[0].done && bad[1].done && bad[2].done);
    ck_assert_str_eq(good.value, "good");
    ck_assert_str_eq(later.value, "later");
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(bad[i].status, PG_STATUS_FAILED);
        ck_assert_str_eq(bad[i].sqlstate, "42703");
    }
    ck_assert_int_eq(fixture_statistics(pool).connects, 1);
    pg_pool_destroy(pool);
}
END_TEST

START_TEST(test_a_function_replaced_with_another_result_is_called_again_unseen)
{
    static const struct pg_statement call = {"call", "select answer from changing($1::int) as t(answer)", 1};
    fixture_sql("create function changing(int) returns int language sql as 'select $1'");
    struct pg_pool_options options = fixture_options();
    struct pg_pool *pool = fixture_pool(&options);
    ck_assert_str_eq(fixture_ask(pool, &call, "7", PG_RETRY_NEVER).value, "7");
    fixture_sql("drop function changing(int);"
                "create function changing(int) returns text language sql as 'select repeat(''x'', $1)'");
    struct outcome outcomes[3];
    for (int i = 0; i < 3; i++)
        fixture_submit(pool, &call, "3", PG_RETRY_NEVER, &outcomes[i]);
    fixture_wait_for(outcomes[0].done && outcomes[1].done && outcomes[2].done);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(outcomes[i].status, PG_STATUS_ROWS);
        ck_assert_str_eq(outcomes[i].value, "xxx");
    }
    /* the connection with the old plan was replaced, and nobody noticed */
    ck_assert_int_eq(fixture_statistics(pool).connects, 2);
    ck_assert_int_eq(fixture_statistics(pool).lost, 0);
    ck_assert_str_eq(fixture_ask(pool, &call, "2", PG_RETRY_NEVER).value, "xx");
    fixture_sql("drop function changing(int)");
    struct outcome gone = fixture_ask(pool, &call, "3", PG_RETRY_NEVER);
    ck_assert_int_eq(gone.status, PG_STATUS_FAILED);
    ck_assert_str_eq(gone.sqlstate, "42883");
    pg_pool_destroy(pool);
}
END_TEST

START_TEST(test_a_prepared_statement_that_vanished_is_prepared_again)
{
    static const struct pg_statement forget_all = {"forget_all", "deallocate all", 0};
    struct pg_pool_options options = fixture_options();
    struct pg_pool *pool = fixture_pool(&options);
    ck_assert_str_eq(fixture_ask(pool, &echo, "before", PG_RETRY_NEVER).value, "before");
    ck_assert_int_eq(fixture_ask(pool, &forget_all, NULL, PG_RETRY_NEVER).status, PG_STATUS_ROWS);
    ck_assert_str_eq(fixture_ask(pool, &echo, "after", PG_RETRY_NEVER).value, "after");
    ck_assert_int_eq(fixture_statistics(pool).lost, 0);
    pg_pool_destroy(pool);
}
END_TEST

START_TEST(test_an_error_at_commit_is_an_error_although_rows_came)
{
    static const struct pg_statement insert_child = {"insert_child",
                                                     "insert into child (parent) values ($1::int) returning parent", 1};
    fixture_sql("create table parent (id int primary key); insert into parent values (1);"
                "create table child (parent int references parent deferrable initially deferred)");
    struct pg_pool_options options = fixture_options();
    struct pg_pool *pool = fixture_pool(&options);
    ck_assert_str_eq(fixture_ask(pool, &insert_child, "1", PG_RETRY_NEVER).value, "1");
    struct outcome orphan = fixture_ask(pool, &insert_child, "2", PG_RETRY_NEVER);
    ck_assert_int_eq(orphan.status, PG_STATUS_FAILED);
    ck_assert_str_eq(orphan.sqlstate, "23503");
    ck_assert_str_eq(fixture_ask(pool, &echo, "after", PG_RETRY_NEVER).value, "after");
    fixture_sql("drop table child, parent");
    pg_pool_destroy(pool);
}
END_TEST

START_TEST(test_a_transaction_undone_for_another_is_repeated_three_times_in_all)
{
    static const struct pg_statement unlucky = {"unlucky", "select unlucky($1::int)", 1};
    fixture_sql("create sequence tries; create function unlucky(p_good int) returns bigint language plpgsql as $$"
                "declare v_try bigint := nextval('tries'); begin if v_try < p_good then"
                " raise exception 'try %%', v_try using errcode = '40P01'; end if; return v_try; end $$");
    struct pg_pool_options options = fixture_options();
    struct pg_pool *pool = fixture_pool(&options);
    ck_assert_str_eq(fixture_ask(pool, &unlucky, "3", PG_RETRY_NEVER).value, "3");
    struct outcome hopeless = fixture_ask(pool, &unlucky, "1000", PG_RETRY_NEVER);
    ck_assert_int_eq(hopeless.status, PG_STATUS_FAILED);
    ck_assert_str_eq(hopeless.sqlstate, "40P01");
    ck_assert_str_eq(fixture_sql("select last_value from tries"), "6");
    fixture_sql("drop function unlucky(int); drop sequence tries");
    pg_pool_destroy(pool);
}
END_TEST

START_TEST(test_notices_large_results_and_empty_ones_pass)
{
    static const struct pg_statement large = {"large",
                                              "select repeat('ü', 2000), i from generate_series(1, $1::int) as i", 1};
    static const struct pg_statement noisy = {"noisy", "select noisy($1)", 1};
    fixture_sql("create function noisy(text) returns text language plpgsql as "
                "$$ begin raise warning 'secret %%', $1; return $1; end $$");
    struct pg_pool_options options = fixture_options();
    options.statement_timeout = 20 * SECOND;
    struct pg_pool *pool = fixture_pool(&options);
    struct outcome outcomes[3];
    fixture_submit(pool, &noisy, "loud", PG_RETRY_NEVER, &outcomes[0]);
    fixture_submit(pool, &large, "5000", PG_RETRY_NEVER, &outcomes[1]); /* 20 MB */
    fixture_submit(pool, &large, "0", PG_RETRY_NEVER, &outcomes[2]);
    fixture_wait_for(outcomes[0].done && outcomes[1].done && outcomes[2].done);
    ck_assert_str_eq(outcomes[0].value, "loud");
    ck_assert_int_eq(outcomes[1].rows, 5000);
    ck_assert_int_eq(outcomes[2].status, PG_STATUS_ROWS);
    ck_assert_int_eq(outcomes[2].rows, 0);
    fixture_sql("drop function noisy(text)");
    pg_pool_destroy(pool);
}
END_TEST

START_TEST(test_large_parameters_pass_while_both_sides_are_full)
{
    enum { COUNT = 60, SIZE = 300000 };
    static const struct pg_statement mirror = {"mirror", "select length($1::text), $1::text", 1};
    static struct outcome outcomes[COUNT];
    struct pg_pool_options options = fixture_options();
    options.statement_timeout = 20 * SECOND;
    struct pg_pool *pool = fixture_pool(&options);
    char *text = malloc(SIZE + 1);
    ck_assert_ptr_nonnull(text);
    memset(text, 'x', SIZE);
    text[SIZE] = '\0';
    for (int i = 0; i < COUNT; i++)
        fixture_submit(pool, &mirror, text, PG_RETRY_NEVER, &outcomes[i]);
    for (int i = 0; i < COUNT; i++) {
        fixture_wait_for(outcomes[i].done);
        ck_assert_int_eq(outcomes[i].status, PG_STATUS_ROWS);
        ck_assert_int_eq(atoi(outcomes[i].value), SIZE);
    }
    free(text);
    pg_pool_destroy(pool);
}
END_TEST

START_TEST(test_a_session_has_our_settings_and_parameters_may_be_null)
{
    static const struct pg_statement settings = {
        "settings",
        "select coalesce($1::text, 'null') || '|' || current_setting('statement_timeout') || '|' || "
        "current_setting('timezone') || '|' || current_setting('client_encoding') || '|' || "
        "current_setting('idle_in_transaction_session_timeout'), current_setting('application_name')",
        1};
    struct pg_pool_options options = fixture_options();
    options.dsn = "options='-c timezone=Asia/Tokyo -c work_mem=1MB'";
    struct pg_pool *pool = fixture_pool(&options);
    struct outcome outcome = fixture_ask(pool, &settings, NULL, PG_RETRY_NEVER);
    ck_assert_str_eq(outcome.value, "null|2s|UTC|UTF8|2s");
    ck_assert_str_eq(outcome.other, "turnout test read");
    pg_pool_destroy(pool);
}
END_TEST

START_TEST(test_the_password_comes_from_its_file_at_each_connect_and_is_in_no_error)
{
    fixture_sql("create role with_password login password 'correct horse'");
    char path[] = "/tmp/turnout-password.XXXXXX";
    int descriptor = mkstemp(path);
    ck_assert_int_ge(descriptor, 0);
    ck_assert_int_eq(write(descriptor, "battery staple\n", 15), 15);
    struct pg_pool_options options = fixture_options();
    options.dsn = "user=with_password";
    options.password_file = path;
    options.acquire_timeout = 200 * MILLISECOND;
    struct pg_pool *pool = fixture_pool(&options);
    struct outcome refused = fixture_ask(pool, &echo, "a", PG_RETRY_NEVER);
    ck_assert_int_eq(refused.status, PG_STATUS_UNAVAILABLE);
    ck_assert(!fixture_statistics(pool).reachable);
    ck_assert_ptr_nonnull(strstr(fixture_statistics(pool).last_error, "password authentication failed"));
    ck_assert_ptr_null(strstr(fixture_statistics(pool).last_error, "staple"));
    /* somebody corrects the file: no restart is needed */
    ck_assert_int_eq(ftruncate(descriptor, 0), 0);
    ck_assert_int_eq(pwrite(descriptor, "correct horse\n", 14, 0), 14);
    fixture_wait_for(fixture_statistics(pool).reachable);
    ck_assert_int_eq(fixture_ask(pool, &echo, "a", PG_RETRY_NEVER).status, PG_STATUS_ROWS);
    pg_pool_destroy(pool);
    close(descriptor);
    unlink(path);
    fixture_sql("drop role with_password");
}
END_TEST

static void submit_another(void *context, const struct pg_answer *answer)
{
    struct pg_pool **pool = context;
    PQclear(answer->result);
    static struct outcome nested;
    static int count;
    if (count++ < 3) {
        struct pg_query query = {
            .statement = &echo, .parameters = {"again"}, .done = submit_another, .context = context};
        pg_pool_submit(*pool, &query);
    } else {
        fixture_submit(*pool, &echo, "last", PG_RETRY_NEVER, &nested);
        *pool = NULL;
    }
}

START_TEST(test_an_answer_may_submit_the_next_query)
{
    struct pg_pool_options options = fixture_options();
    struct pg_pool *pool = fixture_pool(&options), *shown = pool;
    struct pg_query query = {.statement = &echo, .parameters = {"one"}, .done = submit_another, .context = &shown};
    pg_pool_submit(pool, &query);
    fixture_wait_for(shown == NULL && fixture_statistics(pool).in_flight == 0);
    pg_pool_destroy(pool);
}
END_TEST

START_TEST(test_a_closed_pool_answers_everything_that_is_open)
{
    struct pg_pool_options options = fixture_options();
    struct pg_pool *pool = fixture_pool(&options);
    PGconn *holder = hold_lock_one();
    struct outcome sent, waiting;
    fixture_submit(pool, &lock_one, "1", PG_RETRY_READ, &sent);
    fixture_wait_for(somebody_waits_for_lock());
    int64_t stalled = clock_monotonic() + 150 * MILLISECOND;
    fixture_wait_for(clock_monotonic() > stalled);
    fixture_submit(pool, &echo, "x", PG_RETRY_READ, &waiting);
    pg_pool_destroy(pool);
    ck_assert(sent.done && waiting.done);
    ck_assert_int_eq(sent.status, PG_STATUS_LOST);
    ck_assert_int_eq(waiting.status, PG_STATUS_UNAVAILABLE);
    PQfinish(holder);
}
END_TEST

int main(int count, char **arguments)
{
    (void)count;
    fixture_need_postgres(arguments);
    Suite *suite = suite_create("pg_pool");
    TCase *tests = tcase_create("pool");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, test_a_thousand_queries_over_two_connections_are_answered_in_order_on_each);
    tcase_add_test(tests, test_a_statement_that_takes_too_long_is_timed_out_and_its_connection_goes_on);
    tcase_add_test(tests, test_a_query_that_finds_no_connection_in_time_is_told_that_it_was_never_sent);
    tcase_add_test(tests, test_a_full_queue_refuses_at_once_but_not_from_within_submit);
    tcase_add_test(tests, test_a_busy_pool_opens_more_up_to_its_maximum_and_idle_ones_close_down_to_the_minimum);
    tcase_add_test(tests, test_a_connection_is_replaced_after_its_lifetime_without_an_error);
    tcase_add_test(tests, test_a_lower_maximum_closes_connections_only_when_they_have_answered);
    tcase_add_test(tests, test_a_statement_that_cannot_be_prepared_fails_alone_and_tells_each_caller_why);
    tcase_add_test(tests, test_a_function_replaced_with_another_result_is_called_again_unseen);
    tcase_add_test(tests, test_a_prepared_statement_that_vanished_is_prepared_again);
    tcase_add_test(tests, test_an_error_at_commit_is_an_error_although_rows_came);
    tcase_add_test(tests, test_a_transaction_undone_for_another_is_repeated_three_times_in_all);
    tcase_add_test(tests, test_notices_large_results_and_empty_ones_pass);
    tcase_add_test(tests, test_large_parameters_pass_while_both_sides_are_full);
    tcase_add_test(tests, test_a_session_has_our_settings_and_parameters_may_be_null);
    tcase_add_test(tests, test_the_password_comes_from_its_file_at_each_connect_and_is_in_no_error);
    tcase_add_test(tests, test_an_answer_may_submit_the_next_query);
    tcase_add_test(tests, test_a_closed_pool_answers_everything_that_is_open);
    suite_add_tcase(suite, tests);
    return fixture_run(suite);
}
