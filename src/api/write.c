/* write: a writing statement until it is decided. Worker process; it may use the write pool. */
#include "api/write.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/idempotency.h"
#include "api/key_lane.h"
#include "api/statements.h"
#include "base/clock.h"
#include "base/uuid.h"

#define WRITE_MAGIC 0x57524954U
/* Microseconds: a seats row is held for one commit, a few milliseconds. The wait doubles up to the most, with half of
 * it random, so that those who wait for the same row do not meet again. */
#define BUSY_WAIT_FIRST INT64_C(1000)
#define BUSY_WAIT_MOST INT64_C(64000)
/* Writes that may wait behind others of their event, all lanes together: past it they are refused before they cost
 * anything. */
#define WAITING_MAX 10000
/* Seconds for Retry-After of who has waited too long behind others. */
#define LATE_RETRY 1

static int waiting; /* in lanes, not with PostgreSQL */

static void on_answer(void *context, const struct pg_answer *answer);

static void submit(struct write *write)
{
    write->query.done = on_answer;
    write->query.context = write;
    pg_pool_submit(api_get()->write, &write->query);
}

static void on_timer(evutil_socket_t unused, short events, void *context)
{
    struct write *write = context;
    (void)unused;
    (void)events;
    OBJECT_CHECK(write, WRITE_MAGIC);
    submit(write);
}

static bool is_outcome(const struct pg_answer *answer, const char *outcome)
{
    return answer->status == PG_STATUS_ROWS && PQntuples(answer->result) == 1 &&
           strcmp(PQgetvalue(answer->result, 0, 0), outcome) == 0;
}

static bool is_busy(const struct pg_answer *answer)
{
    if (answer->status == PG_STATUS_FAILED)
        return strcmp(answer->sqlstate, "55P03") == 0; /* lock_not_available */
    return is_outcome(answer, "busy");
}

static void try_again_later(struct write *write)
{
    int64_t wait = BUSY_WAIT_FIRST << (write->attempts < 6 ? write->attempts : 6);
    if (wait > BUSY_WAIT_MOST)
        wait = BUSY_WAIT_MOST;
    wait = wait / 2 + (int64_t)((uint64_t)random() % (uint64_t)wait) / 2;
    write->attempts++;
    /* The row may be held by our own lost try: from now on the rule looks for what it did. */
    if (write->in_doubt && write->query.retry == PG_RETRY_RESEND)
        write->query.parameters[write->query.resent_parameter] = "true";
    if (write->timer == NULL)
        write->timer = evtimer_new(api_get()->base, on_timer, write);
    INVARIANT(write->timer != NULL);
    struct timeval delay = clock_timeval(wait);
    evtimer_add(write->timer, &delay);
}

static void refuse(struct write *write)
{
    key_lane_free(&write->key_place);
    problem_respond(write->request, PROBLEM_OVERLOADED, &(const struct problem_details){.retry_after = LATE_RETRY});
}

/* Makes way for the next at the same event. Who has waited too long there, or has gone, costs no statement. */
static void leave_lane(struct write *write)
{
    struct write *next = write->place.lane == NULL ? NULL : lane_leave(&write->place);
    while (next != NULL) {
        OBJECT_CHECK(next, WRITE_MAGIC);
        waiting--;
        if (clock_monotonic() < next->deadline && next->request->connection != NULL)
            break;
        struct write *late = next;
        next = lane_leave(&late->place);
        refuse(late);
    }
    if (next != NULL)
        submit(next);
}

static void on_answer(void *context, const struct pg_answer *answer)
{
    struct write *write = context;
    OBJECT_CHECK(write, WRITE_MAGIC);
    bool busy = is_busy(answer);
    write->in_doubt = write->in_doubt || answer->in_doubt;
    if (busy && clock_monotonic() < write->deadline) {
        PQclear(answer->result);
        try_again_later(write);
        return;
    }
    if (write->timer != NULL)
        event_free(write->timer);
    leave_lane(write);
    key_lane_free(&write->key_place);
    if (write->in_doubt && (busy || answer->status != PG_STATUS_ROWS)) {
        /* The last try did nothing, but an earlier one may: "nothing was written" would be a guess. */
        PQclear(answer->result);
        const struct pg_answer unknown = {.status = PG_STATUS_LOST};
        answer_failure(write->request, &unknown, write->style.lost);
        return;
    }
    bool replayed = false;
    if (write->key != NULL && answer->status == PG_STATUS_ROWS && PQntuples(answer->result) == 1)
        replayed = key_lane_count(answer->result, 0);
    if (write->count != NULL && !replayed && answer_is_success(answer))
        write->count(answer);
    answer_row(write->request, answer, &write->style);
}

struct write *write_start(struct http_request *request, const struct pg_statement *statement)
{
    INVARIANT(api_statement_keyed(statement) != NULL); /* every write accepts Idempotency-Key */
    struct write *write = arena_zalloc(request->arena, sizeof *write);
    char *action_id = arena_alloc(request->arena, UUID_TEXT_SIZE);
    uuid_v7(action_id);
    write->magic = WRITE_MAGIC;
    write->request = request;
    write->query.statement = statement;
    write->query.parameters[0] = request->request_id;
    write->query.parameters[1] = action_id;
    write->action_id = action_id;
    write->style.lost = PROBLEM_OUTCOME_UNKNOWN;
    write->deadline = clock_monotonic() + api_get()->configuration->db_acquire_timeout;
    return write;
}

/* Makes it a write under the request's Idempotency-Key, where there is one. false: answered. */
static bool take_key(struct write *write)
{
    struct http_request *request = write->request;
    if (!key_lane_take(request, &write->key, &write->key_place))
        return false;
    if (write->key == NULL)
        return true;

    struct pg_query *query = &write->query;
    int at = query->statement->parameter_count;
    query->statement = api_statement_keyed(query->statement);
    if (query->retry != PG_RETRY_RESEND) {
        /* what the first try did is found under the key */
        query->retry = PG_RETRY_RESEND;
        query->resent_parameter = at;
        query->parameters[at++] = "false";
    }
    query->parameters[at++] = write->key;
    query->parameters[at++] = idempotency_hash(request);
    query->parameters[at++] =
        arena_printf(request->arena, "%" PRId64 " microseconds", api_get()->configuration->idempotency_keep);
    INVARIANT(at == query->statement->parameter_count);
    return true;
}

void write_send(struct write *write)
{
    if (!take_key(write))
        return;
    if (write->event_id != NULL && waiting >= WAITING_MAX) {
        refuse(write);
        return;
    }
    if (write->event_id == NULL || lane_enter(&write->place, write->event_id, write))
        submit(write);
    else
        waiting++;
}
