/* dashboard: the statistics of an event, for those who manage it. Worker process; reads only. The body is the same for
 * all of them and comes from the hot cache; who may read it is decided by PostgreSQL for each request. */
#include "api/answer.h"
#include "api/caller.h"
#include "api/hot.h"
#include "api/parameters.h"
#include "api/resources.h"
#include "api/statements.h"

static void answer_cached_stats(struct http_request *request, const PGresult *row)
{
    answer_hashed_json(request, PQgetvalue(row, 0, HOT_ROW_BODY), (size_t)PQgetlength(row, 0, HOT_ROW_BODY),
                       caller_lines(request)->text);
}

/* As event_manage and the body together have answered. */
static void on_stats(void *context, const struct pg_answer *answer)
{
    enum { OUTCOME, BODY };
    struct http_request *request = context;
    OBJECT_CHECK(request, HTTP_REQUEST_MAGIC);
    if (!answer_is_success(answer)) {
        answer_row(request, answer, &(struct answer_style){.lost = PROBLEM_DATABASE_UNAVAILABLE});
        return;
    }
    answer_hashed_json(request, PQgetvalue(answer->result, 0, BODY), (size_t)PQgetlength(answer->result, 0, BODY),
                       caller_lines(request)->text);
    PQclear(answer->result);
}

static void stats_plain(struct http_request *request, const struct caller *caller);
static const struct hot_resource stats_resource = {.answer = answer_cached_stats, .plain = stats_plain};

static void ask(struct http_request *request, const struct caller *caller, const struct pg_statement *statement,
                pg_done *done)
{
    struct hot_key key;
    const char *id = parameters_path_id(request);
    if (id == NULL)
        return;
    struct pg_query query = {.statement = statement,
                             .parameters = {caller->user_id, caller->role, id},
                             .retry = PG_RETRY_READ,
                             .done = done,
                             .context = request};
    if (statement == &statement_event_manage) {
        pg_pool_submit(api_get()->read, &query);
        return;
    }
    hot_key_of(&key, HOT_PATTERN_STATS, id, NULL);
    hot_query(&key, &stats_resource, &query);
}

/* Those of a draft, which are in no cache; and where there is none. */
static void stats_plain(struct http_request *request, const struct caller *caller)
{
    ask(request, caller, &statement_event_stats, on_stats);
}

static void on_managed(void *context, const struct pg_answer *answer)
{
    struct http_request *request = context;
    OBJECT_CHECK(request, HTTP_REQUEST_MAGIC);
    struct hot_key key;
    if (!answer_is_success(answer)) {
        answer_row(request, answer, &(struct answer_style){.lost = PROBLEM_DATABASE_UNAVAILABLE});
        return;
    }
    PQclear(answer->result);
    const char *id = parameters_path_id(request);
    if (id == NULL)
        return;
    hot_key_of(&key, HOT_PATTERN_STATS, id, NULL);
    hot_serve(request, request->context, &key, &stats_resource);
}

static void stats_as(struct http_request *request, const struct caller *caller)
{
    if (!parameters_check(request, (const char *const[]){NULL}))
        return;
    if (!hot_is_on()) {
        stats_plain(request, caller);
        return;
    }
    request->context = (void *)(uintptr_t)caller; /* lives as long as the request */
    ask(request, caller, &statement_event_manage, on_managed);
}

void dashboard_stats(struct http_request *request)
{
    caller_identify(request, CALLER_USER, stats_as);
}
