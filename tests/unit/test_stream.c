/* What the mailer's stream keeps to, whatever PostgreSQL and the SMTP server do: no letter is lost, none is sent twice
 * but those that are said to, and never more than twice the connections are in doubt. Both are played by the test, in a
 * time of its own, from seeds: an answer may come late, never, or twice over. */
#include <check.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

static int64_t virtual_now = 1000000;
static int64_t virtual_due = INT64_MAX;

static int64_t virtual_clock(void)
{
    return virtual_now;
}

static int virtual_add(struct event *timer, const struct timeval *delay)
{
    (void)timer;
    virtual_due = virtual_now + delay->tv_sec * INT64_C(1000000) + delay->tv_usec;
    return 0;
}

static int virtual_del(struct event *timer)
{
    (void)timer;
    virtual_due = INT64_MAX;
    return 0;
}

#define clock_monotonic virtual_clock
#define event_add virtual_add
#define event_del virtual_del
#include "mailer/outage.c"
#include "mailer/stream.c"
#undef stream
#include "mailer/stream_outbox.c"
#undef clock_monotonic
#undef event_add
#undef event_del

#define ROWS 400
#define CONNECTIONS 4
#define ASKED_MAX 16

/* ---- the outbox ---- */

enum state { OWED, LEASED, SENT, DEAD };
static struct row {
    enum state state;
    int attempts;
    int taken; /* times that the server took it */
} rows[ROWS + 1];
static int given; /* rows that are owed so far: the others come later */

static struct asked {
    struct pg_query query;
    char *parameters[PG_PARAMETERS_MAX];
} asked[ASKED_MAX];
static int asked_count;
static bool paused;
static int losses, repeats_allowed, releases;

void pg_pool_submit(struct pg_pool *pool, const struct pg_query *query)
{
    (void)pool;
    ck_assert_int_lt(asked_count, ASKED_MAX);
    struct asked *to = &asked[asked_count++];
    to->query = *query;
    for (int i = 0; i < query->statement->parameter_count; i++)
        to->parameters[i] = query->parameters[i] == NULL ? NULL : strdup(query->parameters[i]);
}

static PGresult *table(int columns)
{
    PGresAttDesc attributes[5];
    static const char *const names[] = {"one", "two", "three", "four", "five"};
    memset(attributes, 0, sizeof attributes);
    for (int i = 0; i < columns; i++) {
        attributes[i].name = (char *)(uintptr_t)names[i];
        attributes[i].typid = 25;
        attributes[i].typlen = -1;
    }
    PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    ck_assert(PQsetResultAttrs(result, columns, attributes));
    return result;
}

static void put(PGresult *result, int row, int column, const char *text)
{
    ck_assert(PQsetvalue(result, row, column, (char *)(uintptr_t)text, text == NULL ? -1 : (int)strlen(text)));
}

static PGresult *do_lease(char *const *parameters)
{
    PGresult *result = table(5);
    int limit = atoi(parameters[1]), count = 0;
    char id[16], letter[64];
    for (int i = 1; !paused && i <= given && count < limit; i++) {
        if (rows[i].state != OWED)
            continue;
        rows[i].state = LEASED;
        snprintf(id, sizeof id, "%d", i);
        snprintf(letter, sizeof letter, "{\"id\":%d,\"kind\":\"confirmation\"}", i);
        put(result, count, 0, "mail");
        put(result, count, 1, NULL);
        put(result, count, 2, "here");
        put(result, count, 3, id);
        put(result, count++, 4, letter);
    }
    if (count == 0) {
        put(result, 0, 0, paused ? "paused" : "empty");
        for (int i = 1; i < 5; i++)
            put(result, 0, i, NULL);
    }
    return result;
}

/* The elements of {"a","b",NULL}: none of these holds a comma or a quote. */
static int split(char *array, char **elements)
{
    int count = 0;
    for (char *one = strtok_r(array + 1, ",}", &array); one != NULL; one = strtok_r(NULL, ",}", &array)) {
        if (one[0] == '"') {
            one++;
            one[strlen(one) - 1] = '\0';
        }
        elements[count++] = one;
    }
    return count;
}

static PGresult *do_done(char *const *parameters)
{
    PGresult *result = table(2);
    static char *ids[ROWS], *outcomes[ROWS];
    char *copies[2] = {strdup(parameters[1]), strdup(parameters[2])};
    int count = split(copies[0], ids), told = 0;
    ck_assert_int_eq(split(copies[1], outcomes), count);
    for (int i = 0; i < count; i++) {
        struct row *row = &rows[atoi(ids[i])];
        if (row->state != LEASED)
            continue;
        if (strcmp(outcomes[i], "sent") == 0)
            row->state = SENT;
        else if (strcmp(outcomes[i], "permanent") == 0)
            row->state = DEAD;
        else
            row->state = OWED;
        put(result, told, 0, ids[i]);
        put(result, told++, 1, row->state == DEAD ? "dead" : "owed");
    }
    free(copies[0]);
    free(copies[1]);
    return result;
}

static PGresult *do_renew(char *const *parameters)
{
    PGresult *result = table(1);
    static char *ids[ROWS];
    char *copy = strdup(parameters[1]);
    int count = split(copy, ids), told = 0;
    for (int i = 0; i < count; i++) {
        if (rows[atoi(ids[i])].state == LEASED)
            put(result, told++, 0, ids[i]);
    }
    free(copy);
    return result;
}

static PGresult *do_release(void)
{
    PGresult *result = table(1);
    releases++;
    for (int i = 1; i <= ROWS; i++) {
        if (rows[i].state == LEASED)
            rows[i].state = OWED;
    }
    put(result, 0, 0, "0");
    return result;
}

static PGresult *perform(const struct asked *one)
{
    const struct pg_statement *statement = one->query.statement;
    if (statement == &statement_mail_lease)
        return do_lease(one->parameters);
    if (statement == &statement_mail_done)
        return do_done(one->parameters);
    if (statement == &statement_mail_renew)
        return do_renew(one->parameters);
    ck_assert_ptr_eq(statement, &statement_mail_release);
    return do_release();
}

/* Answers the oldest statement: as it is, performed but the answer lost, or not performed at all. */
static void answer(int how)
{
    ck_assert_int_gt(asked_count, 0);
    struct asked one = asked[0];
    memmove(asked, asked + 1, sizeof asked[0] * (size_t)--asked_count);
    struct pg_answer told = {.status = PG_STATUS_ROWS};
    bool again = one.query.retry == PG_RETRY_READ;
    if (how == 0) {
        told.result = perform(&one);
    } else if (how == 1 && again) { /* lost after it was performed, and sent again by the pool */
        PQclear(perform(&one));
        told.result = perform(&one);
        told.in_doubt = true;
        losses++;
    } else if (how == 1) {
        PQclear(perform(&one));
        told = (struct pg_answer){.status = PG_STATUS_LOST, .message = "lost"};
        losses++;
    } else {
        told = (struct pg_answer){.status = PG_STATUS_UNAVAILABLE, .message = "away"};
    }
    one.query.done(one.query.context, &told);
    for (int i = 0; i < one.query.statement->parameter_count; i++)
        free(one.parameters[i]);
}

/* ---- the SMTP server ---- */

static struct smtp_message sending[CONNECTIONS];
static int sending_count;

int64_t smtp_room(const struct smtp *smtp)
{
    (void)smtp;
    return CONNECTIONS - sending_count;
}

void smtp_send(struct smtp *smtp, const struct smtp_message *message)
{
    (void)smtp;
    ck_assert_int_lt(sending_count, CONNECTIONS);
    int id = (int)((struct parcel *)message->context)->id;
    ck_assert_int_eq(rows[id].state, LEASED);
    sending[sending_count++] = *message;
}

static void finish(int which, enum smtp_outcome outcome)
{
    struct smtp_message message = sending[which];
    int id = (int)((struct parcel *)message.context)->id;
    sending[which] = sending[--sending_count];
    if (outcome == SMTP_SENT)
        rows[id].taken++;
    if (outcome == SMTP_GIVEN_UP && rand() % 2 == 0) {
        rows[id].taken++; /* it had taken it */
        repeats_allowed++;
    }
    message.done(message.context, outcome, outcome == SMTP_SENT ? "250 ok" : "told so");
}

void smtp_cancel_all(struct smtp *smtp)
{
    (void)smtp;
    while (sending_count > 0)
        finish(0, SMTP_GIVEN_UP);
}

/* ---- what else stands around the stream ---- */

bool letter_write(const struct letters *letters, const struct letter_style *style, const json_t *owed,
                  struct letter *letter, char *error, size_t error_size)
{
    (void)letters;
    (void)style;
    (void)error;
    (void)error_size;
    ck_assert_ptr_nonnull(owed);
    snprintf(letter->recipient, sizeof letter->recipient, "somebody@example.com");
    buffer_append_text(&letter->message, "Subject: hello\r\n\r\nhello\r\n");
    return true;
}

void letter_free(struct letter *letter)
{
    buffer_free(&letter->message);
}

void letters_free(struct letters *letters)
{
    (void)letters;
}

unsigned tally_kind(const char *kind)
{
    (void)kind;
    return 0;
}

void tally_outcome(unsigned kind, enum smtp_outcome outcome, int64_t microseconds)
{
    (void)kind;
    (void)outcome;
    ck_assert_int_ge(microseconds, 0);
}

static bool ended;

static void on_ended(void)
{
    ended = true;
}

static void start(void)
{
    struct event_base *base = event_base_new();
    stream_create(&(const struct stream_options){.base = base, .owner = "here/1", .ended = on_ended});
    stream_set(&(const struct stream_settings){.connections = CONNECTIONS,
                                               .attempts = 12,
                                               .retry_min = 1000,
                                               .retry_max = 1000000,
                                               .interval = 1000000,
                                               .lease_time = 60000000,
                                               .from = "events@example.com"});
    stream_begin();
}

static void pass_time(void)
{
    ck_assert_msg(virtual_due != INT64_MAX, "nothing is under way and no timer is set");
    if (virtual_now < virtual_due)
        virtual_now = virtual_due;
    virtual_due = INT64_MAX;
    on_timer(-1, EV_TIMEOUT, NULL);
}

static int count(enum state state)
{
    int found = 0;
    for (int i = 1; i <= ROWS; i++)
        found += rows[i].state == state;
    return found;
}

static void check_bound(void)
{
    struct stream_figures figures;
    stream_figures(&figures);
    ck_assert_int_le(figures.in_flight, 2 * CONNECTIONS);
    int doubtful = 0; /* taken by the server, not yet sent for the outbox */
    for (int i = 1; i <= ROWS; i++)
        doubtful += rows[i].state != SENT && rows[i].taken > 0;
    ck_assert_int_le(doubtful - repeats_allowed, 2 * CONNECTIONS);
}

/* One thing happens. `trouble`: 0 none, else one in so many answers is not as it should be. */
static void step(int trouble)
{
    int dice = rand() % 10;
    bool wrong = trouble > 0 && rand() % trouble == 0;
    if (dice < 4 && asked_count > 0)
        answer(wrong ? 1 + rand() % 2 : 0);
    else if (dice < 8 && sending_count > 0)
        finish(rand() % sending_count, !wrong       ? SMTP_SENT
                                       : rand() % 2 ? SMTP_UNREACHABLE
                                       : rand() % 2 ? SMTP_TEMPORARY
                                                    : SMTP_LOST);
    else if (dice == 8 && given < ROWS)
        given += 1 + rand() % 20 > ROWS - given ? 1 : rand() % 20;
    else if (asked_count == 0 && sending_count == 0)
        pass_time();
    if (given > ROWS)
        given = ROWS;
    virtual_now += 200;
    check_bound();
}

static void expect_everything_sent_once(void)
{
    for (int i = 1; i <= ROWS; i++) {
        ck_assert_msg(rows[i].state == SENT, "row %d is in state %d", i, rows[i].state);
        ck_assert_msg(rows[i].taken == 1, "row %d was taken %d times", i, rows[i].taken);
    }
}

/* Checks run in processes of their own: each seed begins afresh. */
START_TEST(whatever_happens_each_letter_is_sent_once)
{
    srand((unsigned)_i);
    start();
    for (int steps = 0; count(SENT) < ROWS; steps++) {
        ck_assert_msg(steps < 200000, "only %d of %d are sent", count(SENT), ROWS);
        step(_i % 2 == 0 ? 0 : 20);
    }
    expect_everything_sent_once();
    if (_i % 2 == 1)
        ck_assert_int_gt(losses, 0);
}
END_TEST

START_TEST(told_to_end_it_gives_back_what_it_has_not_begun)
{
    srand((unsigned)_i);
    given = ROWS;
    start();
    for (int steps = 0; count(SENT) < ROWS / 4; steps++)
        step(0);
    ck_assert_int_gt(count(LEASED), CONNECTIONS);
    stream_stop(virtual_now + 1000000);
    for (int steps = 0; !ended && steps < 100000; steps++)
        step(0);
    ck_assert(ended);
    ck_assert_int_eq(count(LEASED), 0);
    ck_assert_int_eq(count(OWED) + count(SENT), ROWS);
    for (int i = 1; i <= ROWS; i++)
        ck_assert_int_eq(rows[i].taken, rows[i].state == SENT);
}
END_TEST

START_TEST(told_to_end_beside_a_server_that_hangs_it_ends_at_its_time)
{
    given = ROWS;
    start();
    while (sending_count < CONNECTIONS) {
        if (asked_count > 0)
            answer(0);
        else
            pass_time();
    }
    stream_stop(virtual_now + 1000000);
    for (int steps = 0; !ended && steps < 1000; steps++) {
        if (asked_count > 0)
            answer(0);
        else
            pass_time();
    }
    ck_assert(ended);
    ck_assert_int_eq(count(LEASED), 0);
    ck_assert_int_eq(count(OWED), ROWS);
}
END_TEST

START_TEST(a_server_that_is_away_is_tried_by_one_letter_at_a_time)
{
    given = ROWS;
    start();
    while (sending_count < CONNECTIONS) {
        if (asked_count > 0)
            answer(0);
        else
            pass_time();
    }
    while (sending_count > 0)
        finish(0, SMTP_UNREACHABLE);
    int tries = 0, most = 0;
    int64_t began = virtual_now;
    while (virtual_now - began < 60000000) {
        if (asked_count > 0) {
            answer(0);
        } else if (sending_count > 0) {
            most = sending_count > most ? sending_count : most;
            tries++;
            finish(0, SMTP_UNREACHABLE);
        } else {
            pass_time();
        }
    }
    ck_assert_int_eq(most, 1);
    ck_assert_int_ge(tries, 4);
    ck_assert_int_le(tries, 10);
    for (int i = 1; i <= ROWS; i++)
        ck_assert_int_eq(rows[i].attempts + rows[i].taken, 0);
    while (count(SENT) < ROWS) {
        if (asked_count > 0)
            answer(0);
        else if (sending_count > 0)
            finish(0, SMTP_SENT);
        else
            pass_time();
    }
    expect_everything_sent_once();
}
END_TEST

START_TEST(nothing_is_begun_before_what_a_predecessor_held_is_owed_again)
{
    given = ROWS;
    rows[1].state = LEASED;
    start();
    ck_assert_int_eq(asked_count, 1);
    ck_assert_ptr_eq(asked[0].query.statement, &statement_mail_release);
    ck_assert_str_eq(asked[0].parameters[1], "true");
    answer(2);
    ck_assert_int_eq(asked_count, 0);
    pass_time();
    ck_assert_ptr_eq(asked[0].query.statement, &statement_mail_release);
    answer(0);
    ck_assert_int_eq(rows[1].state, OWED);
    ck_assert_ptr_eq(asked[0].query.statement, &statement_mail_lease);
}
END_TEST

START_TEST(while_paused_nothing_is_sent_and_then_everything)
{
    given = ROWS;
    paused = true;
    start();
    for (int i = 0; i < 100; i++) {
        if (asked_count > 0)
            answer(0);
        else
            pass_time();
    }
    struct stream_figures figures;
    stream_figures(&figures);
    ck_assert(figures.paused);
    ck_assert_int_eq(sending_count, 0);
    paused = false;
    while (count(SENT) < ROWS)
        step(0);
    expect_everything_sent_once();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stream");
    TCase *all = tcase_create("all");
    tcase_add_loop_test(all, whatever_happens_each_letter_is_sent_once, 0, 40);
    tcase_add_loop_test(all, told_to_end_it_gives_back_what_it_has_not_begun, 0, 10);
    tcase_add_test(all, told_to_end_beside_a_server_that_hangs_it_ends_at_its_time);
    tcase_add_test(all, a_server_that_is_away_is_tried_by_one_letter_at_a_time);
    tcase_add_test(all, nothing_is_begun_before_what_a_predecessor_held_is_owed_again);
    tcase_add_test(all, while_paused_nothing_is_sent_and_then_everything);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
