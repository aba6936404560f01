/* parked: what happens to a request that finds nothing in the hot cache. Worker process; memory of the heap for each
 * key that is waited for, of the request's arena for each request.
 *
 * Requests for one key wait together. The refresher is asked once; it answers when the body is in the cache, or why it
 * will not be. Where it does not help, this worker asks PostgreSQL: one statement at a time for a key. Whoever comes
 * while it is under way waits for the next one, as what others have been served meanwhile may be newer than its answer
 * (shm/hot_read.h, hot_serve_own). */
#include "api/parked.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "api/answer.h"
#include "api/api.h"
#include "api/asks.h"
#include "api/statements.h"
#include "base/clock.h"
#include "shm/statistics.h"

#define PARKED_MAGIC 0x5041524bU
#define BUCKETS 1024
/* The writer is about to publish: looked at again after so long. */
#define HOLD_TIME 1000
/* How often a body that was published may be gone again before anybody could send it. */
#define TRIES_MAX 3
#define NUMBER_SIZE 24

/* Request lifetime. */
struct waiter {
    TAILQ_ENTRY(waiter) link;
    struct http_request *request;
    const struct caller *caller;
    const struct hot_resource *resource;
};
TAILQ_HEAD(waiters, waiter);

enum parked_state {
    PARKED_ASKED,   /* the refresher was asked; the timer runs until fill_timeout */
    PARKED_QUERIED, /* PostgreSQL was asked: `waiters` came before that, `later` after it */
    PARKED_HELD,    /* its answer is in `row`, and waits for the writer; the timer runs */
};

/* From the first request that found nothing to the last one's answer. */
struct parked {
    OBJECT_HEADER;
    LIST_ENTRY(parked) link; /* by key; not where `query` belongs to one request */
    enum parked_state state;
    struct hot_key key;
    struct waiters waiters;
    struct waiters later;
    struct ask ask;
    int tries;
    struct event *timer;
    int64_t deadline;     /* of PARKED_HELD */
    struct pg_answer row; /* `result` is ours */
    pg_done *done;        /* of a query for one request alone; NULL: of all */
};

LIST_HEAD(parked_list, parked);

/* Boot lifetime. */
static struct {
    struct event_base *base;
    bool stopping;
    struct parked_list keys[BUCKETS];
} all;

static void query(struct parked *parked);
static void hold(struct parked *parked);

static struct parked_list *bucket_of(const struct hot_key *key)
{
    return &all.keys[XXH3_64bits(key->text, key->length) % BUCKETS];
}

static struct parked *find(const struct hot_key *key)
{
    struct parked *parked;
    LIST_FOREACH (parked, bucket_of(key), link) {
        if (parked->key.length == key->length && memcmp(parked->key.text, key->text, key->length) == 0)
            return parked;
    }
    return NULL;
}

static void arm(struct parked *parked, int64_t microseconds)
{
    struct timeval time = clock_timeval(microseconds);
    INVARIANT(evtimer_add(parked->timer, &time) == 0);
}

static void on_timer(evutil_socket_t unused, short events, void *context)
{
    struct parked *parked = context;
    (void)unused;
    (void)events;
    OBJECT_CHECK(parked, PARKED_MAGIC);
    if (parked->state == PARKED_HELD) {
        hold(parked);
        return;
    }
    INVARIANT(parked->state == PARKED_ASKED);
    asks_drop(&parked->ask, true);
    query(parked);
}

static struct parked *make(const struct hot_key *key)
{
    struct parked *parked = calloc(1, sizeof *parked);
    INVARIANT(parked != NULL);
    parked->magic = PARKED_MAGIC;
    parked->key = *key;
    TAILQ_INIT(&parked->waiters);
    TAILQ_INIT(&parked->later);
    parked->timer = evtimer_new(all.base, on_timer, parked);
    INVARIANT(parked->timer != NULL);
    return parked;
}

static void end(struct parked *parked)
{
    INVARIANT(TAILQ_EMPTY(&parked->waiters) && TAILQ_EMPTY(&parked->later) && parked->ask.number == 0);
    if (parked->done == NULL)
        LIST_REMOVE(parked, link);
    event_free(parked->timer);
    PQclear(parked->row.result);
    OBJECT_BURY(parked);
    free(parked);
}

static void add_waiter(struct waiters *waiters, struct http_request *request, const struct caller *caller,
                       const struct hot_resource *resource)
{
    struct waiter *waiter = arena_alloc(request->arena, sizeof *waiter);
    *waiter = (struct waiter){.request = request, .caller = caller, .resource = resource};
    TAILQ_INSERT_TAIL(waiters, waiter, link);
}

/* Before it is answered: with its answer the waiter is gone. */
static struct waiter *take_first(struct waiters *waiters)
{
    struct waiter *waiter = TAILQ_FIRST(waiters);
    if (waiter != NULL)
        TAILQ_REMOVE(waiters, waiter, link);
    return waiter;
}

/* false: some are left, for whom nothing is there. */
static bool serve_from_cache(struct parked *parked)
{
    struct waiter *waiter;
    while ((waiter = take_first(&parked->waiters)) != NULL) {
        enum hot_found found = hot_try(waiter->request, &parked->key, waiter->resource);
        if (found == HOT_MISSING || found == HOT_LAPSED) {
            TAILQ_INSERT_HEAD(&parked->waiters, waiter, link);
            return false;
        }
    }
    return true;
}

/* Whose client has gone waits for nothing; nginx's status for it, which nobody is sent. */
static void drop_gone(struct waiters *waiters)
{
    struct waiter *waiter, *next;
    for (waiter = TAILQ_FIRST(waiters); waiter != NULL; waiter = next) {
        next = TAILQ_NEXT(waiter, link);
        if (waiter->request->connection != NULL)
            continue;
        TAILQ_REMOVE(waiters, waiter, link);
        http_respond(waiter->request, &(struct http_response){.status = 499});
    }
}

/* There is no such public thing. What this caller alone may see stands in PostgreSQL. */
static void answer_absent(const struct waiter *waiter)
{
    if (waiter->caller->user_id == NULL)
        problem_respond(waiter->request, PROBLEM_NOT_FOUND, NULL);
    else
        waiter->resource->plain(waiter->request, waiter->caller);
}

/* ---- asking PostgreSQL ---- */

/* The waiters have been answered; those who came later are next. */
static void go_on(struct parked *parked)
{
    PQclear(parked->row.result);
    parked->row = (struct pg_answer){0};
    TAILQ_CONCAT(&parked->waiters, &parked->later, link);
    if (serve_from_cache(parked))
        end(parked);
    else
        query(parked);
}

static bool is_ok(const PGresult *row)
{
    return strcmp(PQgetvalue(row, 0, HOT_ROW_OUTCOME), "ok") == 0;
}

static void answer_own(struct parked *parked)
{
    struct waiter *waiter;
    bool absent = strcmp(PQgetvalue(parked->row.result, 0, HOT_ROW_OUTCOME), "not_found") == 0;
    while ((waiter = take_first(&parked->waiters)) != NULL) {
        if (is_ok(parked->row.result))
            waiter->resource->answer(waiter->request, parked->row.result);
        else if (absent)
            answer_absent(waiter);
        else
            waiter->resource->plain(waiter->request, waiter->caller); /* which says what is wrong with the question */
    }
    go_on(parked);
}

/* For one request alone. */
static void answer_done(struct parked *parked)
{
    struct waiter *waiter = take_first(&parked->waiters);
    struct pg_answer row = parked->row;
    parked->row.result = NULL; /* its callee's from now on */
    parked->done(waiter->request, &row);
    end(parked);
}

/* The writer has said that it publishes and did not for all of fill_timeout: it has died in between, and none has come
 * after it. What is here may be older than what others are about to find there. */
static void refuse(struct parked *parked)
{
    struct waiter *waiter;
    while ((waiter = take_first(&parked->waiters)) != NULL)
        problem_respond(waiter->request, PROBLEM_OVERLOADED, &(struct problem_details){.retry_after = 1});
    if (parked->done == NULL)
        go_on(parked);
    else
        end(parked);
}

/* Its row is there: may it be sent? */
static void hold(struct parked *parked)
{
    const struct hot_key *key = &parked->key;
    int64_t now = clock_monotonic();
    switch (hot_serve_own(key->text, key->length, now, api_get()->configuration->stale_max)) {
    case HOT_OWN_SERVE:
        if (parked->done == NULL)
            answer_own(parked);
        else
            answer_done(parked);
        return;
    case HOT_OWN_LOOK_AGAIN:
        if (!serve_from_cache(parked))
            break;
        if (parked->done == NULL)
            go_on(parked);
        else
            end(parked);
        return;
    case HOT_OWN_WAIT:
        break;
    }
    if (now >= parked->deadline)
        refuse(parked);
    else
        arm(parked, HOLD_TIME);
}

/* Nothing came of it. */
static void answer_failures(struct parked *parked, const struct pg_answer *answer)
{
    struct waiter *waiter;
    while ((waiter = take_first(&parked->waiters)) != NULL)
        answer_failure(waiter->request, answer, PROBLEM_DATABASE_UNAVAILABLE);
    go_on(parked);
}

static void on_row(void *context, const struct pg_answer *answer)
{
    struct parked *parked = context;
    OBJECT_CHECK(parked, PARKED_MAGIC);
    INVARIANT(parked->state == PARKED_QUERIED);
    parked->row = *answer;
    parked->row.message = NULL;
    bool is_row = answer->status == PG_STATUS_ROWS && PQntuples(answer->result) == 1;
    if (is_row) {
        parked->state = PARKED_HELD;
        parked->deadline = clock_monotonic() + api_get()->configuration->fill_timeout;
        hold(parked);
        return;
    }
    parked->row.result = NULL;
    if (parked->done != NULL) {
        struct waiter *waiter = take_first(&parked->waiters);
        parked->done(waiter->request, answer);
        end(parked);
        return;
    }
    INVARIANT(answer->status != PG_STATUS_ROWS); /* these functions return one row */
    answer_failures(parked, answer);
}

/* What the refresher would have asked, too. */
static void query(struct parked *parked)
{
    static const struct pg_statement *const statements[HOT_PATTERN_COUNT] = {
        [HOT_PATTERN_LIST] = &statement_cache_events_list,  [HOT_PATTERN_EVENT] = &statement_cache_event,
        [HOT_PATTERN_STATS] = &statement_cache_stats,       [HOT_PATTERN_USER] = &statement_cache_user,
        [HOT_PATTERN_CALENDAR] = &statement_cache_calendar,
    };
    const struct hot_key *key = &parked->key;
    drop_gone(&parked->waiters);
    if (TAILQ_EMPTY(&parked->waiters)) {
        end(parked);
        return;
    }
    parked->state = PARKED_QUERIED;
    event_del(parked->timer);
    statistics_count(STATISTICS_CACHE_OWN, key->pattern);
    struct pg_query own = {
        .statement = statements[key->pattern], .retry = PG_RETRY_READ, .done = on_row, .context = parked};
    char limit[NUMBER_SIZE], place[NUMBER_SIZE];
    if (key->pattern == HOT_PATTERN_LIST) {
        snprintf(limit, sizeof limit, "%" PRId64, key->limit);
        snprintf(place, sizeof place, "%" PRId64, key->after_place);
        own.parameters[0] = key->category[0] == '\0' ? NULL : key->category;
        own.parameters[1] = key->status;
        own.parameters[2] = limit;
        own.parameters[3] = key->first_page ? NULL : place;
        own.parameters[4] = key->first_page ? NULL : key->after_id;
    } else {
        own.parameters[0] = key->id;
        own.parameters[1] = key->pattern == HOT_PATTERN_USER && key->role[0] != '\0' ? key->role : NULL;
    }
    pg_pool_submit(api_get()->read, &own);
}

/* ---- asking the refresher ---- */

static void on_answered(struct ask *ask, enum fill_result result)
{
    struct parked *parked = (struct parked *)((char *)ask - offsetof(struct parked, ask));
    struct waiter *waiter;
    OBJECT_CHECK(parked, PARKED_MAGIC);
    INVARIANT(parked->state == PARKED_ASKED);
    switch (result) {
    case FILL_PUBLISHED:
        if (serve_from_cache(parked))
            end(parked);
        else if (++parked->tries < TRIES_MAX)
            asks_put(&parked->ask, &parked->key); /* the timer goes on */
        else
            query(parked);
        return;
    case FILL_ABSENT:
        while ((waiter = take_first(&parked->waiters)) != NULL)
            answer_absent(waiter);
        end(parked);
        return;
    case FILL_OWN:
    case FILL_UNAVAILABLE:
        break;
    }
    query(parked);
}

void parked_add(struct http_request *request, const struct caller *caller, const struct hot_key *key,
                const struct hot_resource *resource, enum hot_found found)
{
    struct parked *parked = find(key);
    if (parked != NULL) {
        add_waiter(parked->state == PARKED_ASKED ? &parked->waiters : &parked->later, request, caller, resource);
        return;
    }
    parked = make(key);
    LIST_INSERT_HEAD(bucket_of(key), parked, link);
    add_waiter(&parked->waiters, request, caller, resource);
    if (found == HOT_LAPSED || all.stopping || asks_is_silent(key)) {
        query(parked);
        return;
    }
    parked->state = PARKED_ASKED;
    arm(parked, api_get()->configuration->fill_timeout);
    asks_put(&parked->ask, &parked->key);
}

void parked_query(const struct hot_key *key, const struct hot_resource *resource, const struct pg_query *query_of_one)
{
    struct parked *parked = make(key);
    struct pg_query own = *query_of_one;
    add_waiter(&parked->waiters, query_of_one->context, NULL, resource);
    parked->state = PARKED_QUERIED;
    parked->done = query_of_one->done;
    own.done = on_row;
    own.context = parked;
    statistics_count(STATISTICS_CACHE_OWN, key->pattern);
    pg_pool_submit(api_get()->read, &own);
}

void parked_start(struct event_base *base, int fill)
{
    all.base = base;
    asks_start(base, fill, on_answered);
}

void parked_stop(void)
{
    all.stopping = true;
    for (size_t i = 0; i < BUCKETS; i++) {
        struct parked *parked, *next;
        for (parked = LIST_FIRST(&all.keys[i]); parked != NULL; parked = next) {
            next = LIST_NEXT(parked, link);
            if (parked->state != PARKED_ASKED)
                continue;
            asks_drop(&parked->ask, false);
            query(parked);
        }
    }
}
