/* people: who verified identities are. Worker process; it may call turnout.users_known over the read pool and, for
 * those who are not known there, turnout.users_seen over the write pool.
 *
 * Two lanes, each with one call in flight at most. Nearly everybody passes only the first: a short read that needs no
 * commit, waits behind no batch of registrations, and is over before the reads behind it would notice. A call that
 * PostgreSQL refuses is halved until the one that it refuses is alone. */
#include "api/people.h"

#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/statements.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "pg/array.h"

#define QUESTION_MAGIC 0x50455251U
/* People in a call: some hundred look-ups by index are a millisecond, all that a read behind them has to wait. */
#define CALL_MAX 200
/* Milliseconds for which a call waits for a row or name that somebody else holds: long against a commit, short against
 * what stands behind it on the write pool. */
#define WAIT_MILLISECONDS "500"

TAILQ_HEAD(questions, people_question);

/* Questions that go in one call. Lives from when it is made until its last question is answered or moved on. */
struct call {
    TAILQ_ENTRY(call) link;
    struct questions questions;
    int count;
    struct lane *lane;
};

struct lane {
    const struct pg_statement *statement;
    void (*answered)(struct call *call, const PGresult *result);
    struct questions waiting;
    TAILQ_HEAD(, call) halves; /* of calls that were refused; they go first */
    bool busy;
};

static void take_known(struct call *call, const PGresult *result);
static void take_seen(struct call *call, const PGresult *result);

static struct lane known = {.statement = &statement_users_known,
                            .answered = take_known,
                            .waiting = TAILQ_HEAD_INITIALIZER(known.waiting),
                            .halves = TAILQ_HEAD_INITIALIZER(known.halves)};
static struct lane seen = {.statement = &statement_users_seen,
                           .answered = take_seen,
                           .waiting = TAILQ_HEAD_INITIALIZER(seen.waiting),
                           .halves = TAILQ_HEAD_INITIALIZER(seen.halves)};

static void on_answer(void *context, const struct pg_answer *answer);

static void add(struct call *call, struct people_question *question)
{
    TAILQ_INSERT_TAIL(&call->questions, question, link);
    call->count++;
}

static struct call *make_call(struct lane *lane)
{
    struct call *call = calloc(1, sizeof *call);
    INVARIANT(call != NULL);
    TAILQ_INIT(&call->questions);
    call->lane = lane;
    return call;
}

static struct call *next_call(struct lane *lane)
{
    struct call *call = TAILQ_FIRST(&lane->halves);
    if (call != NULL) {
        TAILQ_REMOVE(&lane->halves, call, link);
        return call;
    }
    if (TAILQ_EMPTY(&lane->waiting))
        return NULL;
    call = make_call(lane);
    struct people_question *question;
    while (call->count < CALL_MAX && (question = TAILQ_FIRST(&lane->waiting)) != NULL) {
        TAILQ_REMOVE(&lane->waiting, question, link);
        add(call, question);
    }
    return call;
}

/* Whoever has waited as long as a statement may wait for a connection is asked to come again, and costs nothing. */
static void send_away_the_late(struct lane *lane)
{
    static const struct people_answer busy = {.outcome = "busy"};
    int64_t since = clock_monotonic() - api_get()->configuration->db_acquire_timeout;
    struct people_question *question;
    while ((question = TAILQ_FIRST(&lane->waiting)) != NULL && question->asked_at <= since) {
        TAILQ_REMOVE(&lane->waiting, question, link);
        question->answered(question, &busy);
    }
}

/* Parameters are copied by the pool: one set of buffers serves all calls. */
static void submit(struct call *call)
{
    enum { ISSUER, SUBJECT, EMAIL, NAME, DEPARTMENT, KIND, LOCALE, TIMEZONE, VERIFIED, ROLE, COUNT };
    static struct buffer arrays[COUNT];
    const struct people_question *question;
    for (int i = 0; i < COUNT; i++)
        pg_array_begin(&arrays[i]);
    TAILQ_FOREACH (question, &call->questions, link) {
        const struct token_claims *claims = question->claims;
        pg_array_add(&arrays[ISSUER], claims->issuer);
        pg_array_add(&arrays[SUBJECT], claims->subject);
        pg_array_add(&arrays[ROLE], question->role);
        if (call->lane == &known)
            continue;
        pg_array_add(&arrays[EMAIL], claims->email);
        pg_array_add(&arrays[NAME], claims->name);
        pg_array_add(&arrays[DEPARTMENT], claims->department);
        pg_array_add(&arrays[KIND], claims->kind);
        pg_array_add(&arrays[LOCALE], claims->locale);
        pg_array_add(&arrays[TIMEZONE], claims->zoneinfo);
        pg_array_add(&arrays[VERIFIED], claims->email_verified ? "t" : "f");
    }
    struct pg_query query = {.statement = call->lane->statement,
                             .retry = PG_RETRY_READ, /* the same call again finds the users that the first one made */
                             .done = on_answer,
                             .context = call};
    if (call->lane == &known) {
        static const int wanted[] = {ISSUER, SUBJECT, ROLE};
        for (int i = 0; i < 3; i++)
            query.parameters[i] = pg_array_end(&arrays[wanted[i]]);
        pg_pool_submit(api_get()->read, &query);
    } else {
        for (int i = 0; i < COUNT; i++)
            query.parameters[i] = pg_array_end(&arrays[i]);
        query.parameters[COUNT] = WAIT_MILLISECONDS;
        pg_pool_submit(api_get()->write, &query);
    }
}

static void send_next(struct lane *lane)
{
    struct call *call = lane->busy ? NULL : next_call(lane);
    if (call == NULL)
        return;
    lane->busy = true;
    submit(call);
}

static struct people_question *take(struct call *call)
{
    struct people_question *question = TAILQ_FIRST(&call->questions);
    if (question != NULL) {
        OBJECT_CHECK(question, QUESTION_MAGIC);
        TAILQ_REMOVE(&call->questions, question, link);
    }
    return question;
}

static const char *value_or_null(const PGresult *result, int row, int column)
{
    return PQgetisnull(result, row, column) ? NULL : PQgetvalue(result, row, column);
}

static void take_known(struct call *call, const PGresult *result)
{
    enum { ROLE, REF };
    struct people_question *question;
    for (int row = 0; (question = take(call)) != NULL; row++) {
        if (PQgetisnull(result, row, REF)) {
            TAILQ_INSERT_TAIL(&seen.waiting, question, link);
            continue;
        }
        const struct people_answer answer = {
            .outcome = "ok", .role = PQgetvalue(result, row, ROLE), .user_id = PQgetvalue(result, row, REF)};
        question->answered(question, &answer);
    }
    send_next(&seen);
}

static void take_seen(struct call *call, const PGresult *result)
{
    enum { OUTCOME, BODY, ROLE, REF };
    struct people_question *question;
    for (int row = 0; (question = take(call)) != NULL; row++) {
        const struct people_answer answer = {.outcome = PQgetvalue(result, row, OUTCOME),
                                             .body = value_or_null(result, row, BODY),
                                             .role = value_or_null(result, row, ROLE),
                                             .user_id = value_or_null(result, row, REF)};
        question->answered(question, &answer);
    }
}

/* The second half first, so that the first one stands before it. */
static void halve(struct call *call)
{
    struct call *second = make_call(call->lane);
    while (second->count < call->count) {
        struct people_question *last = TAILQ_LAST(&call->questions, questions);
        TAILQ_REMOVE(&call->questions, last, link);
        TAILQ_INSERT_HEAD(&second->questions, last, link);
        second->count++;
        call->count--;
    }
    TAILQ_INSERT_HEAD(&call->lane->halves, second, link);
    TAILQ_INSERT_HEAD(&call->lane->halves, call, link);
}

static void fail(struct call *call, const struct pg_answer *failure)
{
    bool is_held =
        failure->status == PG_STATUS_FAILED && strcmp(failure->sqlstate, "55P03") == 0; /* lock_not_available */
    const struct people_answer busy = {.outcome = "busy"};
    const struct people_answer failed = {.failure = failure};
    struct people_question *question;
    while ((question = take(call)) != NULL)
        question->answered(question, is_held ? &busy : &failed);
}

static void on_answer(void *context, const struct pg_answer *answer)
{
    struct call *call = context;
    struct lane *lane = call->lane;
    lane->busy = false;
    if (answer->status == PG_STATUS_FAILED && call->count > 1) {
        halve(call);
        send_next(lane);
        return;
    }
    send_away_the_late(lane);
    send_next(lane); /* PostgreSQL works while those of this one go on */
    static const struct pg_answer incomplete = {.status = PG_STATUS_FAILED, .message = "not a row for each person"};
    if (answer->status != PG_STATUS_ROWS)
        fail(call, answer);
    else if (PQntuples(answer->result) != call->count)
        fail(call, &incomplete);
    else
        lane->answered(call, answer->result);
    PQclear(answer->result);
    free(call);
}

void people_ask(struct people_question *question)
{
    question->magic = QUESTION_MAGIC;
    question->asked_at = clock_monotonic();
    TAILQ_INSERT_TAIL(&known.waiting, question, link);
    send_next(&known);
}
