/* The pool of PostgreSQL connections when backends die, fall silent, or the whole server is away. */
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "pg_fixture.h"

static const struct pg_statement echo = {"echo", "select $1::text, pg_backend_pid()", 1};
/* Waits for advisory lock 1, then answers its parameter. */
static const struct pg_statement wait_echo = {
    "wait_echo", "select $1::text, pg_backend_pid() from (select pg_advisory_xact_lock(1) offset 0) as l", 1};

/* A pool with one connection whose head is `wait_echo` of "false" (see below) before a lock that `holder` holds. */
struct scene {
    struct pg_pool *pool;
    PGconn *holder;
    struct outcome head;
    char pid[64]; /* of the backend */
};

static bool somebody_waits_for_lock(void)
{
    return strcmp(fixture_sql("select count(*) from pg_locks where locktype = 'advisory' and not granted"), "0") != 0;
}

static void begin_scene(struct scene *scene, enum pg_retry retry_of_head)
{
    struct pg_pool_options options = fixture_options();
    options.statement_timeout = options.acquire_timeout = 10 * SECOND;
    scene->pool = fixture_pool(&options);
    strcpy(scene->pid, fixture_ask(scene->pool, &echo, "x", PG_RETRY_NEVER).other);
    scene->holder = fixture_connect();
    PQclear(PQexec(scene->holder, "select pg_advisory_lock(1)"));
    fixture_submit(scene->pool, &wait_echo, "false", retry_of_head, &scene->head);
}

static void end_scene(struct scene *scene)
{
    pg_pool_destroy(scene->pool);
    PQfinish(scene->holder);
}

static void terminate_and_unlock(struct scene *scene)
{
    fixture_wait_for(somebody_waits_for_lock());
    ck_assert_str_eq(fixture_sql("select pg_terminate_backend(%s, 5000)", scene->pid), "t");
    PQclear(PQexec(scene->holder, "select pg_advisory_unlock(1)"));
}

START_TEST(test_a_lost_read_is_read_again)
{
    struct scene scene;
    begin_scene(&scene, PG_RETRY_READ);
    terminate_and_unlock(&scene);
    fixture_wait_for(scene.head.done);
    ck_assert_int_eq(scene.head.status, PG_STATUS_ROWS);
    ck_assert_str_eq(scene.head.value, "false");
    ck_assert_str_ne(scene.head.other, scene.pid);
    ck_assert_int_eq(fixture_statistics(scene.pool).lost, 1);
    end_scene(&scene);
}
END_TEST

START_TEST(test_a_lost_write_with_ids_of_ours_is_sent_again_and_says_so)
{
    struct scene scene;
    begin_scene(&scene, PG_RETRY_RESEND);
    terminate_and_unlock(&scene);
    fixture_wait_for(scene.head.done);
    ck_assert_int_eq(scene.head.status, PG_STATUS_ROWS);
    ck_assert_str_eq(scene.head.value, "true");
    end_scene(&scene);
}
END_TEST

START_TEST(test_any_other_lost_write_is_told_to_be_lost)
{
    struct scene scene;
    begin_scene(&scene, PG_RETRY_NEVER);
    terminate_and_unlock(&scene);
    fixture_wait_for(scene.head.done);
    ck_assert_int_eq(scene.head.status, PG_STATUS_LOST);
    ck_assert_str_eq(fixture_ask(scene.pool, &echo, "on it goes", PG_RETRY_NEVER).value, "on it goes");
    end_scene(&scene);
}
END_TEST

/* The server said good-bye where the answer of the head would be: those behind it have certainly not run. */
START_TEST(test_what_stands_behind_a_terminated_statement_is_sent_as_if_for_the_first_time)
{
    struct scene scene;
    begin_scene(&scene, PG_RETRY_NEVER);
    static const enum pg_retry retries[] = {PG_RETRY_NEVER, PG_RETRY_READ, PG_RETRY_RESEND};
    struct outcome behind[3], later;
    for (int i = 0; i < 3; i++)
        fixture_submit(scene.pool, &echo, "false", retries[i], &behind[i]);
    ck_assert_int_eq(fixture_statistics(scene.pool).in_flight, 4);
    terminate_and_unlock(&scene);
    fixture_wait_for(scene.head.done);
    fixture_submit(scene.pool, &echo, "later", PG_RETRY_NEVER, &later);
    fixture_wait_for(behind[0].done && behind[1].done && behind[2].done && later.done);
    ck_assert_int_eq(scene.head.status, PG_STATUS_LOST);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(behind[i].status, PG_STATUS_ROWS);
        ck_assert_str_eq(behind[i].value, "false");
        ck_assert_int_lt(behind[i].order, i < 2 ? behind[i + 1].order : later.order);
    }
    end_scene(&scene);
}
END_TEST

/* Who asks how the database is must not wait until it is well again; the read beside it is waited for. */
START_TEST(test_a_probe_behind_a_terminated_statement_is_answered_at_once)
{
    struct scene scene;
    begin_scene(&scene, PG_RETRY_NEVER);
    struct outcome probe, read;
    fixture_submit(scene.pool, &echo, "false", PG_RETRY_PROBE, &probe);
    fixture_submit(scene.pool, &echo, "false", PG_RETRY_READ, &read);
    terminate_and_unlock(&scene);
    fixture_wait_for(scene.head.done && probe.done && read.done);
    ck_assert_int_eq(probe.status, PG_STATUS_UNAVAILABLE);
    ck_assert_int_eq(read.status, PG_STATUS_ROWS);
    ck_assert_int_lt(probe.order, read.order);
    end_scene(&scene);
}
END_TEST

/* A crash says nothing that could be believed: each is in doubt, and its policy decides. */
START_TEST(test_what_stands_behind_a_killed_statement_is_in_doubt)
{
    struct scene scene;
    begin_scene(&scene, PG_RETRY_READ);
    static const enum pg_retry retries[] = {PG_RETRY_NEVER, PG_RETRY_READ, PG_RETRY_RESEND};
    struct outcome behind[3];
    for (int i = 0; i < 3; i++)
        fixture_submit(scene.pool, &echo, "false", retries[i], &behind[i]);
    fixture_wait_for(somebody_waits_for_lock());
    ck_assert_int_eq(kill(atoi(scene.pid), SIGKILL), 0); /* PostgreSQL restarts itself, the lock is gone with it */
    fixture_wait_for(scene.head.done && behind[0].done && behind[1].done && behind[2].done);
    ck_assert_int_eq(scene.head.status, PG_STATUS_ROWS);
    ck_assert_int_eq(behind[0].status, PG_STATUS_LOST);
    ck_assert_int_eq(behind[1].status, PG_STATUS_ROWS);
    ck_assert_str_eq(behind[1].value, "false");
    ck_assert_int_eq(behind[2].status, PG_STATUS_ROWS);
    ck_assert_str_eq(behind[2].value, "true");
    end_scene(&scene);
}
END_TEST

START_TEST(test_an_error_in_a_second_sending_does_not_hide_that_the_first_is_unknown)
{
    static const struct pg_statement wait_fail = {
        "wait_fail", "select 1 / (1 - (($1::text = 'true')::int)) from (select pg_advisory_xact_lock(1) offset 0) as l",
        1};
    struct scene scene;
    begin_scene(&scene, PG_RETRY_READ);
    struct outcome write;
    PQclear(PQexec(scene.holder, "select pg_advisory_unlock(1)"));
    fixture_wait_for(scene.head.done);
    PQclear(PQexec(scene.holder, "select pg_advisory_lock(1)"));
    fixture_submit(scene.pool, &wait_fail, "false", PG_RETRY_RESEND, &write);
    terminate_and_unlock(&scene);
    fixture_wait_for(write.done);
    ck_assert_int_eq(write.status, PG_STATUS_LOST);
    ck_assert_str_eq(write.sqlstate, "22012");
    /* its twin, never in doubt: just an error */
    struct outcome plain = fixture_ask(scene.pool, &wait_fail, "true", PG_RETRY_RESEND);
    ck_assert_int_eq(plain.status, PG_STATUS_FAILED);
    end_scene(&scene);
}
END_TEST

START_TEST(test_a_connection_that_is_silent_for_twice_the_statement_time_out_is_cut)
{
    struct pg_pool_options options = fixture_options();
    options.statement_timeout = 200 * MILLISECOND;
    struct pg_pool *pool = fixture_pool(&options);
    struct outcome first = fixture_ask(pool, &echo, "a", PG_RETRY_NEVER), read, write;
    ck_assert_int_eq(kill(atoi(first.other), SIGSTOP), 0);
    int64_t began = clock_monotonic();
    fixture_submit(pool, &echo, "b", PG_RETRY_READ, &read);
    fixture_submit(pool, &echo, "c", PG_RETRY_NEVER, &write);
    fixture_wait_for(read.done && write.done);
    ck_assert_int_ge(clock_monotonic() - began, 400 * MILLISECOND);
    ck_assert_int_eq(read.status, PG_STATUS_ROWS);
    ck_assert_str_ne(read.other, first.other);
    ck_assert_int_eq(write.status, PG_STATUS_LOST);
    ck_assert_int_eq(kill(atoi(first.other), SIGCONT), 0);
    pg_pool_destroy(pool);
}
END_TEST

START_TEST(test_a_stopped_server_costs_answers_and_no_restart_of_ours)
{
    struct pg_pool_options options = fixture_options();
    options.connections_min = options.connections_max = 2;
    options.acquire_timeout = 300 * MILLISECOND;
    options.statement_timeout = SECOND;
    struct pg_pool *pool = fixture_pool(&options);
    fixture_wait_for(fixture_statistics(pool).idle == 2);
    PGconn *holder = fixture_connect();
    PQclear(PQexec(holder, "select pg_advisory_lock(1)"));
    struct outcome sent_write, sent_read, waiting;
    fixture_submit(pool, &wait_echo, "x", PG_RETRY_NEVER, &sent_write);
    fixture_submit(pool, &wait_echo, "x", PG_RETRY_READ, &sent_read);
    fixture_wait_for(somebody_waits_for_lock());
    fixture_server("stop -m immediate");
    fixture_wait_for(sent_write.done);
    fixture_submit(pool, &echo, "x", PG_RETRY_READ, &waiting);
    fixture_wait_for(sent_read.done && waiting.done);
    ck_assert_int_eq(sent_write.status, PG_STATUS_LOST);
    ck_assert_int_eq(sent_read.status, PG_STATUS_LOST);
    ck_assert_int_eq(waiting.status, PG_STATUS_UNAVAILABLE);
    ck_assert(!fixture_statistics(pool).reachable);
    ck_assert_ptr_nonnull(fixture_statistics(pool).last_error);
    ck_assert_int_le(fixture_statistics(pool).open, 2);
    PQfinish(holder);

    fixture_server("start");
    int64_t began = clock_monotonic();
    fixture_wait_for(fixture_statistics(pool).reachable);
    ck_assert_int_lt(clock_monotonic() - began, 3 * SECOND); /* the back-off ends at two */
    ck_assert_str_eq(fixture_ask(pool, &echo, "back", PG_RETRY_NEVER).value, "back");
    fixture_wait_for(fixture_statistics(pool).idle == 2);
    pg_pool_destroy(pool);
}
END_TEST

START_TEST(test_reads_outlive_a_quick_restart_of_the_server)
{
    struct pg_pool_options options = fixture_options();
    options.acquire_timeout = options.statement_timeout = 10 * SECOND;
    struct pg_pool *pool = fixture_pool(&options);
    fixture_ask(pool, &echo, "x", PG_RETRY_NEVER);
    fixture_server("restart -m fast");
    struct outcome outcomes[10];
    for (int i = 0; i < 10; i++)
        fixture_submit(pool, &echo, "y", PG_RETRY_READ, &outcomes[i]);
    for (int i = 0; i < 10; i++) {
        fixture_wait_for(outcomes[i].done);
        ck_assert_int_eq(outcomes[i].status, PG_STATUS_ROWS);
        ck_assert(i == 0 || outcomes[i].order > outcomes[i - 1].order);
    }
    pg_pool_destroy(pool);
}
END_TEST

START_TEST(test_a_pool_starts_before_its_server)
{
    fixture_server("stop -m fast");
    struct pg_pool_options options = fixture_options();
    struct pg_pool *pool = fixture_pool(&options);
    fixture_wait_for(fixture_statistics(pool).last_error != NULL);
    ck_assert(!fixture_statistics(pool).reachable);
    fixture_server("start");
    fixture_wait_for(fixture_statistics(pool).reachable && fixture_statistics(pool).idle == 1);
    pg_pool_destroy(pool);
}
END_TEST

/* A listener that never accepts: the kernel takes the connection, and nobody answers. */
static int open_silent_port(int *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, length), 0);
    ck_assert_int_eq(listen(listener, 8), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    *port = ntohs(address.sin_port);
    return listener;
}

START_TEST(test_a_host_that_swallows_packets_is_passed_over_at_the_next_attempt)
{
    int port;
    int listener = open_silent_port(&port);
    char dsn[300];
    snprintf(dsn, sizeof dsn, "host=127.0.0.1,%s port=%d,%s", getenv("PGHOST"), port, getenv("PGPORT"));
    struct pg_pool_options options = fixture_options();
    options.dsn = dsn;
    options.connect_timeout = 200 * MILLISECOND;
    struct pg_pool *pool = fixture_pool(&options);
    struct outcome outcome = fixture_ask(pool, &echo, "x", PG_RETRY_NEVER);
    ck_assert_int_eq(outcome.status, PG_STATUS_ROWS);
    ck_assert_ptr_nonnull(strstr(fixture_statistics(pool).last_error, "did not answer the attempt to connect"));
    pg_pool_destroy(pool);
    close(listener);
}
END_TEST

START_TEST(test_too_many_connections_at_the_server_leave_those_that_are_open_working)
{
    fixture_sql("create role narrow login connection limit 1");
    struct pg_pool_options options = fixture_options();
    options.dsn = "user=narrow";
    options.connections_min = options.connections_max = 2;
    struct pg_pool *pool = fixture_pool(&options);
    fixture_wait_for(fixture_statistics(pool).connects == 1 && fixture_statistics(pool).last_error != NULL);
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(fixture_ask(pool, &echo, "x", PG_RETRY_NEVER).status, PG_STATUS_ROWS);
    ck_assert(fixture_statistics(pool).reachable);
    fixture_sql("alter role narrow connection limit 2");
    fixture_wait_for(fixture_statistics(pool).idle == 2);
    pg_pool_destroy(pool);
    fixture_wait_for(strcmp(fixture_sql("select count(*) from pg_stat_activity where usename = 'narrow'"), "0") == 0);
    fixture_sql("drop role narrow");
}
END_TEST

START_TEST(test_a_write_that_meets_a_standby_is_sent_again_elsewhere)
{
    static const struct pg_statement insert = {"insert", "insert into written values ($1::int) returning n", 1};
    fixture_sql("create role mover login; create table written (n int); grant all on written to mover;"
                "alter role mover set default_transaction_read_only = on");
    struct pg_pool_options options = fixture_options();
    options.dsn = "user=mover";
    options.acquire_timeout = options.statement_timeout = 500 * MILLISECOND;
    struct pg_pool *pool = fixture_pool(&options);
    struct outcome outcome;
    fixture_submit(pool, &insert, "1", PG_RETRY_NEVER, &outcome);
    fixture_wait_for(fixture_statistics(pool).last_error != NULL);
    fixture_sql("alter role mover set default_transaction_read_only = off");
    fixture_wait_for(outcome.done);
    ck_assert_int_eq(outcome.status, PG_STATUS_ROWS);
    ck_assert_str_eq(fixture_sql("select count(*) from written"), "1");

    fixture_sql("alter role mover set default_transaction_read_only = on");
    fixture_sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'mover'");
    fixture_wait_for(fixture_statistics(pool).lost == 1 && fixture_statistics(pool).idle == 1);
    struct outcome never = fixture_ask(pool, &insert, "2", PG_RETRY_NEVER);
    ck_assert_int_eq(never.status, PG_STATUS_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(fixture_statistics(pool).last_error, "read-only"));
    ck_assert_int_le(fixture_statistics(pool).connects, 12); /* knocked politely, not in a circle */
    pg_pool_destroy(pool);
    fixture_wait_for(strcmp(fixture_sql("select count(*) from pg_stat_activity where usename = 'mover'"), "0") == 0);
    fixture_sql("drop table written; drop role mover");
}
END_TEST

int main(int count, char **arguments)
{
    (void)count;
    fixture_need_postgres(arguments);
    Suite *suite = suite_create("pg_loss");
    TCase *tests = tcase_create("loss");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, test_a_lost_read_is_read_again);
    tcase_add_test(tests, test_a_lost_write_with_ids_of_ours_is_sent_again_and_says_so);
    tcase_add_test(tests, test_any_other_lost_write_is_told_to_be_lost);
    tcase_add_test(tests, test_what_stands_behind_a_terminated_statement_is_sent_as_if_for_the_first_time);
    tcase_add_test(tests, test_a_probe_behind_a_terminated_statement_is_answered_at_once);
    tcase_add_test(tests, test_what_stands_behind_a_killed_statement_is_in_doubt);
    tcase_add_test(tests, test_an_error_in_a_second_sending_does_not_hide_that_the_first_is_unknown);
    tcase_add_test(tests, test_a_connection_that_is_silent_for_twice_the_statement_time_out_is_cut);
    tcase_add_test(tests, test_a_stopped_server_costs_answers_and_no_restart_of_ours);
    tcase_add_test(tests, test_reads_outlive_a_quick_restart_of_the_server);
    tcase_add_test(tests, test_a_pool_starts_before_its_server);
    tcase_add_test(tests, test_a_host_that_swallows_packets_is_passed_over_at_the_next_attempt);
    tcase_add_test(tests, test_too_many_connections_at_the_server_leave_those_that_are_open_working);
    tcase_add_test(tests, test_a_write_that_meets_a_standby_is_sent_again_elsewhere);
    suite_add_tcase(suite, tests);
    return fixture_run(suite);
}
