/* The change feed when its connection is lost, the server crashes, bells do not arrive, or nobody can know what was
 * changed. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "feed_fixture.h"

static struct told told;

static struct pg_feed *begin_feed_from(const char *cursor)
{
    char copy[PG_FEED_CURSOR_MAX];
    snprintf(copy, sizeof copy, "%s", cursor == NULL ? "" : cursor);
    struct pg_feed_options options = feed_options(&told);
    options.cursor = copy;
    struct pg_feed *feed = pg_feed_create(&options);
    fixture_wait_for(told.reads == 1);
    return feed;
}

/* The feed's, when those of earlier tests have gone. */
static int backend(void)
{
#define OURS "from pg_stat_activity where application_name = 'turnout test feed'"
    fixture_wait_for(strcmp(fixture_sql("select count(*) " OURS), "1") == 0);
    int process = atoi(fixture_sql("select pid " OURS));
    ck_assert_int_gt(process, 1);
    return process;
}

static void end_backend(void)
{
    ck_assert_str_eq(fixture_sql("select pg_terminate_backend(%d, 20000)", backend()), "t");
}

START_TEST(test_what_was_committed_while_the_connection_was_lost_is_told_after_it)
{
    struct pg_feed *feed = begin_feed_from(NULL);
    PGconn *late = fixture_connect();
    feed_run(late, "begin");
    feed_run(late, feed_change(1));
    fixture_sql("%s", feed_change(2));
    feed_read_now(feed, &told);
    struct pg_snapshot before = told.snapshot;
    fixture_sql("alter role turnout_app nologin");
    end_backend();
    fixture_wait_for(told.lost >= 1);
    feed_run(late, "commit");
    fixture_sql("%s", feed_change(3));
    fixture_sql("alter role turnout_app login");
    fixture_wait_for(told.connects >= 2);
    ck_assert_int_eq(told.losses, told.lost);
    for (int i = 1; i <= 3; i++)
        ck_assert_int_eq(told.times[i], 1);
    ck_assert_int_eq(told.gaps, 1);
    ck_assert_uint_gt(told.snapshot.epoch, before.epoch);
    PQfinish(late);
    pg_feed_destroy(feed);
}
END_TEST

START_TEST(test_a_successor_goes_on_from_the_cursor)
{
    struct pg_feed *feed = begin_feed_from(NULL);
    PGconn *late = fixture_connect();
    feed_run(late, "begin");
    feed_run(late, feed_change(1));
    fixture_sql("%s", feed_change(2));
    feed_read_now(feed, &told);
    pg_feed_destroy(feed);
    feed_run(late, "commit");
    fixture_sql("%s", feed_change(3));
    feed = begin_feed_from(told.cursor);
    ck_assert_int_eq(told.gaps, 0);
    ck_assert_int_eq(told.times[1] + told.times[3], 2);
    ck_assert_int_eq(told.times[2], 0);
    PQfinish(late);
    pg_feed_destroy(feed);
}
END_TEST

/* For each: what is done to the cursor, and what it is then. Unchanged it is none (above). */
START_TEST(test_a_cursor_that_belongs_to_nothing_known_is_a_gap)
{
    pg_feed_destroy(begin_feed_from(NULL));
    char system[40], oid[24], witness[64], rest[200];
    int64_t epoch;
    ck_assert_int_eq(sscanf(told.cursor, "1 %39s %23s %63s %" SCNd64 " %199[^\n]", system, oid, witness, &epoch, rest),
                     5);
    char cursors[6][PG_FEED_CURSOR_MAX];
    static const char form[] = "%d %s %s %s %" PRId64 " %s";
    snprintf(cursors[0], sizeof cursors[0], form, 2, system, oid, witness, epoch, rest);
    snprintf(cursors[1], sizeof cursors[1], form, 1, system, oid, witness, epoch, "1000");
    snprintf(cursors[2], sizeof cursors[2], form, 1, "17", oid, witness, epoch, rest);
    snprintf(cursors[3], sizeof cursors[3], form, 1, system, "17", witness, epoch, rest);
    snprintf(cursors[4], sizeof cursors[4], form, 1, system, oid, "0193b5f0-1c2d-7abc-8def-0123456789ab", epoch, rest);
    static const char *const gaps[] = {"nothing was read before",
                                       "nothing was read before",
                                       "it is another database",
                                       "it is another database",
                                       "the database has crashed, or comes from a standby or a backup",
                                       "the database has gone back in time"};
    for (int i = 0; i < 6; i++) {
        if (i == 5) /* the row is raised past it before the first read: only what it was before tells */
            snprintf(cursors[5], sizeof cursors[5], form, 1, system, oid, witness, (int64_t)told.snapshot.epoch + 1,
                     rest);
        pg_feed_destroy(begin_feed_from(cursors[i]));
        ck_assert_msg(told.gaps == 1 && strcmp(told.gap, gaps[i]) == 0, "cursor %d: %s", i, told.gap);
    }
}
END_TEST

/* cache_begin has told, and the connection is lost before the read that says so. */
START_TEST(test_a_gap_outlives_the_connection_that_found_it)
{
    pg_feed_destroy(begin_feed_from(NULL));
    char cursor[PG_FEED_CURSOR_MAX];
    strcpy(cursor, told.cursor);
    fixture_sql("delete from turnout.cache_witness");
    PGconn *holder = fixture_connect();
    feed_run(holder, "begin; lock table turnout.changes_pruned in access exclusive mode");
    struct pg_feed_options options = feed_options(&told);
    options.cursor = cursor;
    struct pg_feed *feed = pg_feed_create(&options);
    fixture_wait_for(strcmp(fixture_sql("select count(*) from pg_locks where not granted"), "1") == 0);
    end_backend();
    feed_run(holder, "commit");
    fixture_wait_for(told.reads == 1);
    ck_assert_int_eq(told.gaps, 1);
    ck_assert_str_eq(told.gap, "the database has crashed, or comes from a standby or a backup");
    ck_assert_int_ge(told.failures, 1);
    PQfinish(holder);
    pg_feed_destroy(feed);
}
END_TEST

/* Both: rows after the cursor's xmax, and rows of a transaction that was in progress and wrote long before it ended. */
START_TEST(test_pruned_changes_are_a_gap)
{
    pg_feed_destroy(begin_feed_from(NULL));
    fixture_sql("%s", feed_change(1));
    fixture_wait_for(strcmp(fixture_sql("select turnout.prune_changes('0')"), "0") != 0);
    struct pg_feed *feed = begin_feed_from(told.cursor);
    ck_assert_str_eq(told.gap, "changes were pruned before they were read");
    PGconn *late = fixture_connect();
    feed_run(late, "begin");
    feed_run(late, feed_change(2));
    PGresult *xid = PQexec(late, "select pg_current_xact_id()");
    char late_xid[24];
    snprintf(late_xid, sizeof late_xid, "%s", PQgetvalue(xid, 0, 0));
    PQclear(xid);
    fixture_sql("%s", feed_change(3));
    feed_read_now(feed, &told);
    ck_assert_uint_ge(told.snapshot.in_progress, 1);
    fixture_sql("select turnout.prune_changes('0')"); /* nothing of it is settled */
    feed_read_now(feed, &told);
    ck_assert_int_eq(told.gaps, 1);
    pg_feed_destroy(feed);
    feed_run(late, "commit");
    /* as far as the late one, and not as far as the cursor's xmax */
    fixture_sql("update turnout.changes_pruned set xid = (%s + 1)::text::xid8", late_xid);
    feed = begin_feed_from(told.cursor);
    ck_assert_int_eq(told.gaps, 1);
    ck_assert_int_eq(told.times[2], 0);
    PQfinish(late);
    pg_feed_destroy(feed);
}
END_TEST

START_TEST(test_new_rules_and_too_many_changes_are_gaps_too)
{
    struct pg_feed *feed = begin_feed_from(NULL);
    struct pg_snapshot before = told.snapshot;
    fixture_sql("update turnout.rules set checksum = 'new'");
    fixture_wait_for(told.gaps == 2);
    ck_assert_str_eq(told.gap, "everything may have changed");
    ck_assert_str_eq(told.database.rules, "new");
    ck_assert_uint_gt(told.snapshot.epoch, before.epoch);
    fixture_sql("insert into turnout.changes (kind, key) select 'user', gen_random_uuid() from "
                "generate_series(1, 100001); notify turnout_changes");
    fixture_wait_for(told.gaps == 3);
    ck_assert_str_eq(told.gap, "too much has changed at once");
    fixture_sql("%s; notify turnout_changes", feed_change(1));
    fixture_wait_for(told.times[1] == 1);
    ck_assert_int_eq(told.gaps, 3);
    pg_feed_destroy(feed);
}
END_TEST

START_TEST(test_a_restart_is_no_gap_and_a_crash_is_one)
{
    struct pg_feed *feed = begin_feed_from(NULL);
    fixture_server("-m fast stop");
    fixture_wait_for(told.lost >= 1);
    fixture_server("start");
    fixture_sql("%s", feed_change(1));
    fixture_wait_for(told.connects >= 2);
    feed_read_now(feed, &told);
    ck_assert_int_eq(told.gaps, 1);
    ck_assert_int_eq(told.times[1], 1);
    fixture_server("-m immediate stop");
    fixture_server("start");
    fixture_wait_for(told.gaps == 2);
    ck_assert_str_eq(told.gap, "the database has crashed, or comes from a standby or a backup");
    pg_feed_destroy(feed);
}
END_TEST

START_TEST(test_a_server_that_takes_no_writes_is_no_primary)
{
    fixture_sql("alter role turnout_app set default_transaction_read_only = on");
    struct pg_feed_options options = feed_options(&told);
    struct pg_feed *feed = pg_feed_create(&options);
    fixture_wait_for(told.failures >= 3);
    struct pg_statistics statistics;
    pg_feed_statistics(feed, &statistics);
    ck_assert_msg(!statistics.reachable && strstr(statistics.last_error, "read-only") != NULL, "%s",
                  statistics.last_error);
    ck_assert_int_eq(told.reads + told.lost, 0);
    fixture_sql("alter role turnout_app reset default_transaction_read_only");
    fixture_wait_for(told.reads == 1);
    pg_feed_statistics(feed, &statistics);
    ck_assert(statistics.reachable);
    ck_assert_int_eq(statistics.connects, 1);
    pg_feed_destroy(feed);
}
END_TEST

START_TEST(test_a_connection_that_falls_silent_is_replaced)
{
    struct pg_feed_options options = feed_options(&told);
    options.statement_timeout = 1 * SECOND;
    options.poll = 50 * MILLISECOND;
    struct pg_feed *feed = pg_feed_create(&options);
    fixture_wait_for(told.reads >= 2);
    int process = backend();
    ck_assert_int_eq(kill(process, SIGSTOP), 0);
    fixture_sql("%s", feed_change(1));
    fixture_wait_for(told.times[1] == 1);
    ck_assert_int_eq(kill(process, SIGCONT), 0);
    ck_assert_int_ge(told.lost, 1);
    ck_assert_int_eq(told.gaps, 1);
    pg_feed_destroy(feed);
}
END_TEST

START_TEST(test_a_notification_to_itself_proves_that_bells_arrive)
{
    struct pg_feed_options options = feed_options(&told);
    struct pg_pool_options pool_options = fixture_options();
    pool_options.dsn = options.dsn;
    options.pool = fixture_pool(&pool_options);
    struct pg_feed *feed = pg_feed_create(&options);
    fixture_wait_for(told.hears == 1);
    end_backend();
    fixture_wait_for(told.hears == 2);
    ck_assert_int_eq(told.deaf, 0);
    pg_feed_destroy(feed);
    pg_pool_destroy(options.pool);
}
END_TEST

/* As behind a pooler in transaction mode: LISTEN is taken, and nothing ever comes. */
START_TEST(test_where_no_bell_arrives_changes_are_looked_for_often_and_the_first_bell_ends_it)
{
    static const struct pg_statement swallowed = {"swallowed", "select 1 where $1::text is null", 1};
    struct pg_feed_options options = feed_options(&told);
    struct pg_pool_options pool_options = fixture_options();
    pool_options.dsn = options.dsn;
    options.pool = fixture_pool(&pool_options);
    options.probe = &swallowed;
    options.probe_time = 50 * MILLISECOND;
    struct pg_feed *feed = pg_feed_create(&options);
    fixture_wait_for(told.deaf == 1);
    fixture_sql("%s", feed_change(1));
    fixture_wait_for(told.times[1] == 1);
    ck_assert_int_eq(told.hears, 0);
    fixture_sql("notify turnout_changes");
    fixture_wait_for(told.hears == 1);
    ck_assert_int_eq(told.deaf, 1);
    pg_feed_destroy(feed);
    pg_pool_destroy(options.pool);
}
END_TEST

/* As behind a pooler: what was prepared on one connection is asked of another one. */
START_TEST(test_statements_that_are_not_prepared_any_more_go_with_their_text)
{
    static const struct pg_statement forgetful = {
        "forgetful",
        "select epoch_before, epoch, witness, system, database, rules from turnout.cache_begin() where forget()", 0};
    fixture_sql("create function forget() returns boolean language plpgsql as "
                "'begin deallocate all; return true; end'");
    struct pg_feed_options options = feed_options(&told);
    options.begin = &forgetful;
    struct pg_feed *feed = pg_feed_create(&options);
    fixture_wait_for(told.reads == 1);
    fixture_sql("insert into turnout.changes (kind) values ('all'); notify turnout_changes");
    fixture_wait_for(told.gaps == 2);
    fixture_sql("%s; notify turnout_changes", feed_change(1));
    fixture_wait_for(told.times[1] == 1);
    ck_assert_int_eq(told.lost, 0);
    pg_feed_destroy(feed);
}
END_TEST

TCase *feed_gaps(void)
{
    TCase *gaps = tcase_create("gaps");
    tcase_set_timeout(gaps, 60);
    tcase_add_test(gaps, test_what_was_committed_while_the_connection_was_lost_is_told_after_it);
    tcase_add_test(gaps, test_a_successor_goes_on_from_the_cursor);
    tcase_add_test(gaps, test_a_cursor_that_belongs_to_nothing_known_is_a_gap);
    tcase_add_test(gaps, test_a_gap_outlives_the_connection_that_found_it);
    tcase_add_test(gaps, test_pruned_changes_are_a_gap);
    tcase_add_test(gaps, test_new_rules_and_too_many_changes_are_gaps_too);
    tcase_add_test(gaps, test_a_restart_is_no_gap_and_a_crash_is_one);
    tcase_add_test(gaps, test_a_server_that_takes_no_writes_is_no_primary);
    tcase_add_test(gaps, test_a_connection_that_falls_silent_is_replaced);
    tcase_add_test(gaps, test_a_notification_to_itself_proves_that_bells_arrive);
    tcase_add_test(gaps, test_where_no_bell_arrives_changes_are_looked_for_often_and_the_first_bell_ends_it);
    tcase_add_test(gaps, test_statements_that_are_not_prepared_any_more_go_with_their_text);
    return gaps;
}
