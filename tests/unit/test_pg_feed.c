/* The change feed: what it tells, that it tells all of it once, and what it says when nobody can know. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "feed_fixture.h"

static struct told told;

static struct pg_feed *begin_feed(void)
{
    struct pg_feed_options options = feed_options(&told);
    struct pg_feed *feed = pg_feed_create(&options);
    fixture_wait_for(told.reads == 1);
    return feed;
}

static PGconn *begin_writer(void)
{
    PGconn *writer = fixture_connect();
    feed_run(writer, "set synchronous_commit = off");
    return writer;
}

START_TEST(test_a_first_start_is_a_gap_and_a_commit_rings)
{
    struct pg_feed *feed = begin_feed();
    ck_assert_int_eq(told.gaps, 1);
    ck_assert_str_eq(told.gap, "nothing was read before");
    ck_assert_uint_gt(told.snapshot.epoch, 1700000000000);
    ck_assert_str_eq(told.database.oid, fixture_sql("select oid from pg_database where datname = 'feed'"));
    fixture_sql(
        "insert into turnout.users (id, email, name) values ('00000000-0000-7000-8000-000000000007', 'a@b', 'A')");
    fixture_wait_for(told.reads == 2);
    ck_assert_int_eq(told.gaps, 1);
    ck_assert_int_eq(told.times[7], 1);
    pg_feed_destroy(feed);
}
END_TEST

START_TEST(test_an_event_comes_with_its_places)
{
    struct pg_feed *feed = begin_feed();
    fixture_sql(
        "insert into turnout.changes (kind, key, before, after) select 'event', gen_random_uuid(), null, "
        "turnout.event_place(gen_random_uuid(), 'social', 'draft', '2027-01-01T00:00:00Z'); notify turnout_changes");
    fixture_wait_for(told.reads == 2);
    ck_assert_ptr_null(told.event.before.category);
    ck_assert_str_eq(told.texts[2], "social");
    ck_assert_str_eq(told.texts[3], "draft");
    ck_assert_int_eq(told.event.after.start, INT64_C(1798761600000000));
    fixture_sql("insert into turnout.changes (kind, key, before, after) select k, gen_random_uuid(), null, null from "
                "unnest('{seats,stats,organizers}'::text[]) k; notify turnout_changes");
    fixture_wait_for(told.reads == 3);
    ck_assert_int_eq(told.kinds[PG_CHANGE_SEATS], 1);
    ck_assert_int_eq(told.kinds[PG_CHANGE_STATS], 1);
    ck_assert_int_eq(told.kinds[PG_CHANGE_ORGANIZERS], 1);
    pg_feed_destroy(feed);
}
END_TEST

START_TEST(test_twenty_thousand_changes_of_one_thing_are_one)
{
    struct pg_feed *feed = begin_feed();
    fixture_sql("insert into turnout.changes (kind, key) select 'user', '00000000-0000-7000-8000-000000000001' from "
                "generate_series(1, 20000); notify turnout_changes");
    fixture_wait_for(told.reads == 2);
    ck_assert_int_eq(told.times[1], 1);
    pg_feed_destroy(feed);
}
END_TEST

/* ---- exactness ---- */

#define WRITERS 6

struct writer {
    PGconn *connection;
    bool open, in_savepoint;
    int pending[4000]; /* numbers of this transaction */
    int count, kept;   /* `kept`: of before the savepoint */
};

static int written[NUMBERS_MAX], numbers, committed;

static void settle_writer(struct writer *writer, bool commit)
{
    feed_run(writer->connection, commit ? "commit" : "rollback");
    for (int i = 0; commit && i < writer->count; i++)
        written[writer->pending[i]] = 1;
    committed += commit;
    writer->open = writer->in_savepoint = false;
    writer->count = 0;
}

/* Transactions that write, write nothing, undo parts of themselves, ring or keep still, and end late. */
static void step_writer(struct writer *writer)
{
    switch (rand() % 10) {
    case 0:
        if (writer->open)
            settle_writer(writer, rand() % 4 != 0);
        break;
    case 1:
        if (writer->open && !writer->in_savepoint) {
            feed_run(writer->connection, "savepoint part");
            writer->kept = writer->count;
            writer->in_savepoint = true;
        } else if (writer->open) {
            bool keep = rand() % 2 == 0;
            feed_run(writer->connection, keep ? "release part" : "rollback to part; release part");
            writer->count = keep ? writer->count : writer->kept;
            writer->in_savepoint = false;
        }
        break;
    case 2:
        feed_run(writer->connection, writer->open ? "select pg_current_xact_id()" : "select 1");
        break;
    case 3:
        feed_run(writer->connection, "notify turnout_changes");
        break;
    default:
        if (!writer->open)
            feed_run(writer->connection, "begin");
        writer->open = true;
        feed_run(writer->connection, feed_change(numbers));
        writer->pending[writer->count++] = numbers++;
    }
}

static void expect_what_was_written(int from, const char *when)
{
    for (int i = from; i < numbers; i++)
        ck_assert_msg(told.times[i] == written[i], "%s: number %d was told %d times, and committed %d times", when, i,
                      told.times[i], written[i]);
}

static void interleave(unsigned int seed)
{
    srand(seed);
    numbers = committed = 0;
    memset(written, 0, sizeof written);
    struct pg_feed *feed = begin_feed();
    struct writer *writers = calloc(WRITERS, sizeof *writers);
    for (int i = 0; i < WRITERS; i++)
        writers[i].connection = begin_writer();
    PGconn *elsewhere = PQconnectdb("dbname=postgres"); /* of the same cluster, in the way for a while */
    for (int step = 0; step < 5000; step++) {
        struct writer *writer = &writers[rand() % WRITERS];
        step_writer(writer);
        if (rand() % 8 == 0)
            pg_feed_poke(feed);
        if (rand() % 3 == 0)
            event_base_loop(fixture_base(), EVLOOP_NONBLOCK);
        if (step % 1000 == 300)
            feed_run(elsewhere, "begin; select pg_current_xact_id()");
        if (step % 1000 == 900)
            feed_run(elsewhere, "commit");
        if (step % 500 == 499) {
            feed_read_now(feed, &told);
            expect_what_was_written(0, "on the way");
        }
    }
    for (int i = 0; i < WRITERS; i++) {
        if (writers[i].open)
            settle_writer(&writers[i], i % 2 == 0);
        PQfinish(writers[i].connection);
    }
    feed_read_now(feed, &told);
    expect_what_was_written(0, "at the end");
    ck_assert_int_eq(told.gaps, 1);
    ck_assert_int_gt(committed, 150);
    ck_assert_int_gt(told.reads, 20);
    PQfinish(elsewhere);
    free(writers);
    pg_feed_destroy(feed);
}

START_TEST(test_every_commit_is_told_once_however_transactions_interleave)
{
    unsigned int rounds = getenv("TURNOUT_FULL") == NULL ? 1 : 30;
    for (unsigned int seed = 0; seed < rounds; seed++)
        interleave(20261122 + seed);
}
END_TEST

/* The transaction began before a read, and the one after it has to find it. */
START_TEST(test_a_late_commit_is_told_by_the_next_read)
{
    struct pg_feed *feed = begin_feed();
    PGconn *late = begin_writer(), *other = begin_writer();
    feed_run(late, "begin");
    feed_run(late, feed_change(1));
    for (int i = 2; i < 5; i++) {
        feed_run(other, feed_change(i));
        feed_read_now(feed, &told);
        ck_assert_int_eq(told.times[i], 1);
        ck_assert_uint_ge(told.snapshot.in_progress, 1);
    }
    ck_assert_int_eq(told.times[1], 0);
    feed_run(late, "commit");
    feed_read_now(feed, &told);
    feed_read_now(feed, &told);
    for (int i = 1; i < 5; i++)
        ck_assert_int_eq(told.times[i], 1);
    PQfinish(late);
    PQfinish(other);
    pg_feed_destroy(feed);
}
END_TEST

/* The read waits for a lock, with a snapshot from before; then comes the commit that it did not see. Its bell arrives
 * together with the answer. */
START_TEST(test_a_bell_during_a_read_leads_to_another_one)
{
    struct pg_feed *feed = begin_feed();
    PGconn *holder = begin_writer();
    feed_run(holder, "begin; lock table turnout.changes_pruned in access exclusive mode");
    pg_feed_poke(feed);
    fixture_wait_for(strcmp(fixture_sql("select count(*) from pg_locks where not granted"), "1") == 0);
    fixture_sql("%s; notify turnout_changes", feed_change(1));
    feed_run(holder, "commit");
    fixture_wait_for(told.times[1] == 1);
    ck_assert_int_eq(told.reads, 3);
    PQfinish(holder);
    pg_feed_destroy(feed);
}
END_TEST

START_TEST(test_without_a_bell_a_poll_finds_it)
{
    struct pg_feed_options options = feed_options(&told);
    options.poll = 50 * MILLISECOND;
    struct pg_feed *feed = pg_feed_create(&options);
    fixture_wait_for(told.reads == 1);
    fixture_sql("%s", feed_change(1));
    fixture_wait_for(told.times[1] == 1);
    ck_assert_int_eq(told.hears, 0);
    pg_feed_destroy(feed);
}
END_TEST

int main(int count, char **arguments)
{
    (void)count;
    fixture_need_postgres(arguments);
    Suite *suite = suite_create("feed");
    TCase *tells = tcase_create("what it tells");
    tcase_set_timeout(tells, 300);
    tcase_add_unchecked_fixture(tells, feed_fixture_migrate, NULL);
    tcase_add_test(tells, test_a_first_start_is_a_gap_and_a_commit_rings);
    tcase_add_test(tells, test_an_event_comes_with_its_places);
    tcase_add_test(tells, test_twenty_thousand_changes_of_one_thing_are_one);
    tcase_add_test(tells, test_every_commit_is_told_once_however_transactions_interleave);
    tcase_add_test(tells, test_a_late_commit_is_told_by_the_next_read);
    tcase_add_test(tells, test_a_bell_during_a_read_leads_to_another_one);
    tcase_add_test(tells, test_without_a_bell_a_poll_finds_it);
    suite_add_tcase(suite, tells);
    suite_add_tcase(suite, feed_gaps());
    return fixture_run(suite);
}
