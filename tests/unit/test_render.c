/* What the refresher does with changes, questions and answers: in a real region, with PostgreSQL played by the test,
 * which decides when a statement is answered and with what. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "identity/cursor.h"
#include "pg/feed.h"
#include "refresher/changes.h"
#include "refresher/coherence.h"
#include "refresher/item.h"
#include "refresher/render.h"
#include "refresher/second.h"
#include "shm/region.h"

#define HOUR INT64_C(3600000000)
#define ID "00000000-0000-7000-8000-000000000001"
#define OTHER "00000000-0000-7000-8000-000000000002"
#define EVENT "events:" ID
#define LIST "events:list::published:50:"
#define EPOCH "1000"

/* ---- what stands around render.c: PostgreSQL, Redis, the workers ---- */

static struct event_base *base;
static struct pg_query asked[1000];
static size_t asked_count;
static size_t answered_count; /* of these */
static int answers[FILL_UNAVAILABLE + 1];
static int64_t coherent_at;
static bool everybody_reads = true; /* whatever is published, at once */
static char cursor[32];

void pg_pool_submit(struct pg_pool *pool, const struct pg_query *query)
{
    (void)pool;
    ck_assert_uint_lt(asked_count, sizeof asked / sizeof asked[0]);
    asked[asked_count++] = *query;
}

static const char *served(const char *key);

static void on_answer(struct item *item, enum fill_result result, int64_t asked_before)
{
    if (everybody_reads)
        (void)served(item->key);
    struct waiter *waiter, *next;
    for (waiter = STAILQ_FIRST(&item->waiters); waiter != NULL; waiter = next) {
        next = STAILQ_NEXT(waiter, link);
        if (waiter->asked_at > asked_before)
            continue;
        STAILQ_REMOVE(&item->waiters, waiter, waiter, link);
        free(waiter);
        answers[result]++;
    }
}

static void on_progress(void)
{
    struct coherence_point point;
    if (!coherence_advance(&point))
        return;
    coherent_at = point.sent_at;
    snprintf(cursor, sizeof cursor, "%s", point.cursor);
}

static void on_evicted(void *context, const char *key, size_t length)
{
    (void)context;
    render_evicted(directory_find(key, length));
}

static void begin(void)
{
    char error[200];
    int64_t now = clock_monotonic();
    ck_assert_msg(region_create(INT64_C(4) << 20, 1, error, sizeof error), "%s", error);
    region_attach_writer();
    region_attach_reader(0);
    ck_assert_uint_eq(hot_open(false, on_evicted, NULL), 0);
    ck_assert(hot_extend(now, now + HOUR));
    cursor_set_key("0123456789abcdef0123456789abcdef", 32);
    base = event_base_new();
    const struct render_options options = {.base = base,
                                           .answer = on_answer,
                                           .changed_meanwhile = changes_meanwhile,
                                           .watch = changes_watch,
                                           .progress = on_progress};
    render_create(&options);
    static const struct configuration none;
    second_create(base, &none);
    render_allow(1000);
}

/* Lets the loop do what is due, for so long (milliseconds). */
static void turn(int64_t milliseconds)
{
    int64_t until = clock_monotonic() + milliseconds * 1000;
    do {
        ck_assert_int_ge(event_base_loop(base, EVLOOP_NONBLOCK), 0);
    } while (clock_monotonic() < until);
}

/* ---- answers ---- */

static void put(PGresult *row, int column, const char *value)
{
    ck_assert(PQsetvalue(row, 0, column, (char *)(uintptr_t)value, value == NULL ? -1 : (int)strlen(value)));
}

/* Answers the statement that is waiting for longest, as of transaction `xmax`. */
static void answer(const char *outcome, const char *body, const char *ids, const char *xmax)
{
    static const char *const names[] = {"outcome", "body",  "etag", "next_start", "next_id",
                                        "ids",     "epoch", "xmax", "in_progress"};
    PGresAttDesc columns[9];
    ck_assert_uint_lt(answered_count, asked_count);
    memset(columns, 0, sizeof columns);
    for (size_t i = 0; i < 9; i++) {
        columns[i].name = (char *)(uintptr_t)names[i];
        columns[i].typid = 25;
        columns[i].typlen = -1;
    }
    PGresult *row = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    ck_assert(PQsetResultAttrs(row, 9, columns));
    const char *const values[] = {outcome, body, NULL, NULL, NULL, ids, EPOCH, xmax, "0"};
    for (int i = 0; i < 9; i++)
        put(row, i, values[i]);
    const struct pg_query *query = &asked[answered_count++];
    const struct pg_answer rows = {.status = PG_STATUS_ROWS, .result = row};
    query->done(query->context, &rows);
    turn(0);
    turn(0);
}

static void fail_statement(enum pg_status status)
{
    const struct pg_query *query = &asked[answered_count++];
    const struct pg_answer failure = {.status = status, .message = "no"};
    query->done(query->context, &failure);
    turn(0);
    turn(0);
}

static struct item *ask(const char *text)
{
    struct hot_key key;
    struct waiter *waiter = calloc(1, sizeof *waiter);
    ck_assert(hot_key_parse(&key, text, strlen(text)));
    struct item *item = directory_add(&key);
    waiter->asked_at = clock_monotonic();
    STAILQ_INSERT_TAIL(&item->waiters, waiter, link);
    render_want(item);
    turn(0);
    return item;
}

static size_t under_way(void)
{
    return asked_count - answered_count;
}

/* Until so many statements are under way. */
static void await(size_t count)
{
    int64_t until = clock_monotonic() + 10000000;
    while (under_way() < count && clock_monotonic() < until)
        turn(1);
    ck_assert_uint_eq(under_way(), count);
}

/* What a worker would serve, also in the statistics of who reads what; "": nothing. */
static const char *served(const char *key)
{
    static char body[512];
    struct hot_view view;
    body[0] = '\0';
    if (hot_find(key, strlen(key), clock_monotonic(), 0, &view) != HOT_FRESH)
        return body;
    snprintf(body, sizeof body, "%.*s", (int)view.bodies[HOT_IDENTITY].length, view.bodies[HOT_IDENTITY].bytes);
    hot_release();
    return body;
}

/* ---- changes ---- */

static uint64_t read_number;

/* A read of the feed with `count` changes of one kind, as of `xmax`; its cursor says so, too. */
static void read_changes(const char *kind, const char *const *ids, size_t count, uint64_t xmax)
{
    char text[32];
    PGresAttDesc columns[12];
    memset(columns, 0, sizeof columns);
    for (size_t i = 0; i < 12; i++) {
        columns[i].name = (char *)(uintptr_t) "column";
        columns[i].typid = 25;
        columns[i].typlen = -1;
    }
    PGresult *rows = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    ck_assert(PQsetResultAttrs(rows, 12, columns));
    for (int row = 0; row <= (int)count; row++) {
        const char *values[12] = {row == 0 ? "snapshot" : kind, row == 0 ? NULL : ids[row - 1]};
        if (row > 0 && strcmp(kind, "event") == 0) {
            values[5] = "meetup";
            values[6] = "published";
            values[7] = "5";
        }
        for (int column = 0; column < 12; column++)
            ck_assert(PQsetvalue(rows, row, column, (char *)(uintptr_t)values[column],
                                 values[column] == NULL ? -1 : (int)strlen(values[column])));
    }
    snprintf(text, sizeof text, "%llu", (unsigned long long)xmax);
    const struct pg_feed_read read = {.snapshot = {.epoch = 1000, .xmax = xmax},
                                      .sent_at = clock_monotonic(),
                                      .cursor = text,
                                      .count = count,
                                      .rows = rows};
    read_number = coherence_add(read.sent_at, read.cursor);
    changes_apply(&read, read_number);
    on_progress();
    PQclear(rows);
    turn(0);
}

static void seats(const char *id, uint64_t xmax)
{
    read_changes("seats", &id, 1, xmax);
}

/* ---- tests ---- */

START_TEST(test_many_who_ask_for_one_key_cost_one_statement)
{
    for (int i = 0; i < 1000; i++)
        (void)ask(EVENT);
    await(1);
    answer("ok", "{\"a\":1}", NULL, "10");
    ck_assert_int_eq(answers[FILL_PUBLISHED], 1000);
    ck_assert_str_eq(served(EVENT), "{\"a\":1}");
    /* one whose question was under way when it was published */
    (void)ask(EVENT);
    ck_assert_int_eq(answers[FILL_PUBLISHED], 1001);
    ck_assert_uint_eq(under_way(), 0);
}
END_TEST

START_TEST(test_a_burst_of_changes_is_rendered_a_handful_of_times)
{
    (void)ask(EVENT);
    answer("ok", "{}", NULL, "10");
    (void)served(EVENT);
    turn(60);
    size_t before = asked_count;
    int64_t began = clock_monotonic();
    uint64_t xmax = 10;
    while (clock_monotonic() - began < 200000) {
        seats(ID, ++xmax);
        (void)served(EVENT);
        if (under_way() == 0)
            continue;
        char text[32];
        snprintf(text, sizeof text, "%llu", (unsigned long long)xmax);
        answer("ok", text, NULL, text);
    }
    ck_assert_uint_gt(xmax, 30);
    ck_assert_uint_ge(asked_count - before, 2);
    ck_assert_uint_le(asked_count - before, (size_t)((clock_monotonic() - began) / 50000) + 2);
    while (coherence_outstanding() > 0) {
        await(1);
        answer("ok", "last", NULL, "1000000");
    }
}
END_TEST

START_TEST(test_a_change_to_what_nobody_reads_deletes_it)
{
    everybody_reads = false;
    (void)ask(EVENT);
    answer("ok", "{}", NULL, "10");
    seats(ID, 11);
    while (directory_count() > 0) {
        turn(1);
        ck_assert_uint_eq(under_way(), 0);
    }
    ck_assert_str_eq(served(EVENT), "");
    ck_assert_str_eq(cursor, "11");

    (void)ask(EVENT);
    answer("ok", "{}", NULL, "12");
    ck_assert_str_eq(served(EVENT), "{}"); /* now somebody does */
    seats(ID, 13);
    await(1);
}
END_TEST

START_TEST(test_the_cursor_waits_for_the_rendering)
{
    (void)ask(EVENT);
    answer("ok", "old", NULL, "10");
    (void)served(EVENT);
    turn(60);
    seats(ID, 11);
    seats(OTHER, 12);
    ck_assert_str_eq(cursor, "");
    await(1);
    answer("ok", "new", NULL, "12");
    ck_assert_str_eq(cursor, "12");
    ck_assert_str_eq(served(EVENT), "new");
}
END_TEST

START_TEST(test_a_change_while_its_rendering_is_under_way_is_rendered_after_it)
{
    (void)ask(EVENT);
    answer("ok", "1", NULL, "10");
    (void)served(EVENT);
    turn(60);
    seats(ID, 11);
    await(1);
    seats(ID, 12);
    answer("ok", "2", NULL, "11"); /* published, though it does not show the second */
    ck_assert_str_eq(served(EVENT), "2");
    ck_assert_str_eq(cursor, "11");
    await(1);
    seats(ID, 13);
    answer("ok", "3", NULL, "13"); /* the snapshot shows what was read meanwhile */
    ck_assert_str_eq(cursor, "13");
    turn(60);
    ck_assert_uint_eq(under_way(), 0);
}
END_TEST

START_TEST(test_changes_without_end_do_not_keep_the_cursor_back)
{
    (void)ask(EVENT);
    answer("ok", "1", NULL, "10");
    for (uint64_t xmax = 11; xmax < 20; xmax++) {
        char text[32];
        seats(ID, xmax);
        await(1);
        seats(ID, xmax + 1);
        snprintf(text, sizeof text, "%llu", (unsigned long long)xmax);
        answer("ok", text, NULL, text);
        ck_assert_int_ge(atoll(cursor), (long long)xmax);
    }
}
END_TEST

START_TEST(test_a_page_under_way_is_compared_with_what_was_read_meanwhile)
{
    (void)ask(LIST);
    seats(ID, 11); /* nobody knows yet whether it shows there */
    ck_assert_str_eq(cursor, "");
    answer("ok", "[]", "{" ID "}", "10");
    ck_assert_str_eq(cursor, ""); /* it does */
    (void)served(LIST);
    await(1);
    seats(OTHER, 12);
    answer("ok", "[]", "{" ID "}", "11");
    ck_assert_str_eq(cursor, "12"); /* it does not */
    turn(60);
    ck_assert_uint_eq(under_way(), 0);

    const char *const newly[] = {OTHER};
    read_changes("event", newly, 1, 13);
    await(3); /* the page that it appears on, the one of its category, and itself */
}
END_TEST

START_TEST(test_a_newly_published_event_is_rendered_before_anybody_asks)
{
    const char *const newly[] = {ID};
    read_changes("event", newly, 1, 11);
    await(3); /* it, the first page, the first page of its category */
    answer("ok", "{}", NULL, "11");
    answer("ok", "[]", "{" ID "}", "11");
    answer("ok", "[]", "{" ID "}", "11");
    ck_assert_str_eq(served(EVENT), "{}");
    ck_assert_str_ne(served(LIST), "");
    ck_assert_str_ne(served("events:list:meetup:published:50:"), "");
    ck_assert_uint_eq(render_wanted(), 0);
}
END_TEST

START_TEST(test_what_is_not_there_is_said_to_those_who_asked_before)
{
    struct item *item = ask(EVENT);
    struct waiter *late = calloc(1, sizeof *late);
    turn(1);
    late->asked_at = clock_monotonic();
    STAILQ_INSERT_TAIL(&item->waiters, late, link);
    answer("not_found", NULL, NULL, "10");
    ck_assert_int_eq(answers[FILL_ABSENT], 1);
    await(1); /* once more for the other one */
    answer("not_found", NULL, NULL, "10");
    ck_assert_int_eq(answers[FILL_ABSENT], 2);
    ck_assert_uint_eq(directory_count(), 0);
}
END_TEST

START_TEST(test_a_body_that_is_older_is_asked_for_again_and_in_the_end_left_to_the_worker)
{
    (void)ask(EVENT);
    answer("ok", "new", NULL, "20");
    render_drop(directory_find(EVENT, strlen(EVENT)));
    (void)ask(EVENT);
    int tries = 0;
    while (answers[FILL_OWN] == 0) {
        ck_assert_int_lt(tries++, 20);
        await(1);
        answer("ok", "old", NULL, "19");
        ck_assert_str_eq(served(EVENT), "");
    }
    ck_assert_int_gt(tries, 3);
    (void)ask(EVENT);
    answer("ok", "newer", NULL, "20");
    ck_assert_str_eq(served(EVENT), "newer");
}
END_TEST

START_TEST(test_a_body_of_an_earlier_epoch_is_not_taken)
{
    (void)ask(EVENT);
    render_allow(1001);
    answer("ok", "x", NULL, "10");
    ck_assert_str_eq(served(EVENT), "");
    await(1); /* asked for again */
    ck_assert_int_eq(answers[FILL_PUBLISHED], 0);
}
END_TEST

START_TEST(test_a_gap_takes_everything_and_what_is_under_way)
{
    const struct hot_version version = {.epoch = 1000, .xmax = 15};
    (void)ask(EVENT);
    answer("ok", "read", NULL, "10");
    ck_assert_str_eq(served(EVENT), "read");
    (void)ask(LIST);
    changes_gap(&version);
    coherence_reset();
    ck_assert_str_eq(served(EVENT), "");
    await(2);
    answer("ok", "[]", "{}", "16"); /* the page, sent before: not taken, whatever it says */
    ck_assert_str_eq(served(LIST), "");
    ck_assert_int_eq(answers[FILL_PUBLISHED], 1);
    answer("ok", "again", NULL, "16"); /* what was read before is there again */
    ck_assert_str_eq(served(EVENT), "again");
    answer("ok", "[]", "{}", "16");
    ck_assert_str_ne(served(LIST), "");
    ck_assert_int_eq(answers[FILL_PUBLISHED], 2);
}
END_TEST

START_TEST(test_without_postgresql_entries_stay_and_those_who_wait_are_told)
{
    (void)ask(EVENT);
    answer("ok", "kept", NULL, "10");
    ck_assert_str_eq(served(EVENT), "kept");
    seats(ID, 11);
    await(1);
    fail_statement(PG_STATUS_LOST);
    render_forbid(false);
    (void)ask(LIST);
    ck_assert_int_eq(answers[FILL_UNAVAILABLE], 0); /* it may be back at once */
    render_forbid(true);
    ck_assert_int_eq(answers[FILL_UNAVAILABLE], 1);
    (void)ask(LIST);
    ck_assert_int_eq(answers[FILL_UNAVAILABLE], 2);
    ck_assert_str_eq(served(EVENT), "kept");
    render_drop_late(clock_monotonic() + HOUR);
    ck_assert_str_eq(served(EVENT), "kept");
    ck_assert_str_eq(cursor, "");
    render_allow(1000);
    await(1);
    answer("ok", "new", NULL, "12");
    ck_assert_str_eq(served(EVENT), "new");
    ck_assert_str_eq(cursor, "11");
}
END_TEST

START_TEST(test_what_is_late_is_dropped_so_that_the_cursor_goes_on)
{
    (void)ask(EVENT);
    answer("ok", "old", NULL, "10");
    (void)served(EVENT);
    turn(60);
    seats(ID, 11);
    await(1);
    seats(ID, 12);
    turn(2);
    render_drop_late(clock_monotonic());
    turn(0);
    on_progress();
    ck_assert_str_eq(cursor, "12");
    ck_assert_str_eq(served(EVENT), "");
    answer("ok", "too old", NULL, "11"); /* does not show the second change, which counts as done with */
    ck_assert_str_eq(served(EVENT), "");
    ck_assert_uint_eq(coherence_outstanding(), 0);
}
END_TEST

START_TEST(test_statements_under_way_are_few_and_what_is_waited_for_comes_first)
{
    char key[64];
    for (int i = 0; i < 100; i++) {
        struct hot_key parsed;
        snprintf(key, sizeof key, "events:00000000-0000-7000-8000-%012d", i + 100);
        ck_assert(hot_key_parse(&parsed, key, strlen(key)));
        render_want(directory_add(&parsed)); /* to be warm */
    }
    turn(1);
    size_t most = under_way();
    ck_assert_uint_ge(most, 2);
    ck_assert_uint_lt(most, 50);
    (void)ask(EVENT);
    answer("ok", "{}", NULL, "10");
    ck_assert_str_eq(asked[asked_count - 1].parameters[0] == NULL ? "" : "asked", "asked");
    ck_assert_ptr_eq(asked[asked_count - 1].context, directory_find(EVENT, strlen(EVENT)));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("render");
    TCase *tests = tcase_create("render");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tests, begin, NULL);
    tcase_set_timeout(tests, 30);
    tcase_add_test(tests, test_many_who_ask_for_one_key_cost_one_statement);
    tcase_add_test(tests, test_a_burst_of_changes_is_rendered_a_handful_of_times);
    tcase_add_test(tests, test_a_change_to_what_nobody_reads_deletes_it);
    tcase_add_test(tests, test_the_cursor_waits_for_the_rendering);
    tcase_add_test(tests, test_a_change_while_its_rendering_is_under_way_is_rendered_after_it);
    tcase_add_test(tests, test_changes_without_end_do_not_keep_the_cursor_back);
    tcase_add_test(tests, test_a_page_under_way_is_compared_with_what_was_read_meanwhile);
    tcase_add_test(tests, test_a_newly_published_event_is_rendered_before_anybody_asks);
    tcase_add_test(tests, test_what_is_not_there_is_said_to_those_who_asked_before);
    tcase_add_test(tests, test_a_body_that_is_older_is_asked_for_again_and_in_the_end_left_to_the_worker);
    tcase_add_test(tests, test_a_body_of_an_earlier_epoch_is_not_taken);
    tcase_add_test(tests, test_a_gap_takes_everything_and_what_is_under_way);
    tcase_add_test(tests, test_without_postgresql_entries_stay_and_those_who_wait_are_told);
    tcase_add_test(tests, test_what_is_late_is_dropped_so_that_the_cursor_goes_on);
    tcase_add_test(tests, test_statements_under_way_are_few_and_what_is_waited_for_comes_first);
    suite_add_tcase(suite, tests);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
