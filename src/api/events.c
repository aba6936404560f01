/* events: the list of events and one event. Worker process; reads only. */
#include <string.h>
#include <xxhash.h>

#include "api/answer.h"
#include "api/caller.h"
#include "api/parameters.h"
#include "api/resources.h"
#include "api/statements.h"

static void on_list(void *context, const struct pg_answer *answer)
{
    enum { OUTCOME, BODY, NEXT_START, NEXT_ID };
    struct http_request *request = context;
    OBJECT_CHECK(request, HTTP_REQUEST_MAGIC);
    if (answer->status != PG_STATUS_ROWS || PQntuples(answer->result) != 1 ||
        strcmp(PQgetvalue(answer->result, 0, OUTCOME), "ok") != 0) {
        answer_row(request, answer, &(struct answer_style){.lost = PROBLEM_DATABASE_UNAVAILABLE});
        return;
    }
    struct cursor next;
    bool more = parameters_next(answer->result, NEXT_START, NEXT_ID, &next);
    size_t length;
    const char *link;
    const char *body = parameters_page_body(request, "events", PQgetvalue(answer->result, 0, BODY),
                                            (size_t)PQgetlength(answer->result, 0, BODY), more ? &next : NULL,
                                            request->context, &length, &link);
    PQclear(answer->result);
    const char *etag = arena_printf(request->arena, "%016llx", (unsigned long long)XXH3_64bits(body, length));
    answer_json(request, body, length, etag, arena_printf(request->arena, "%s%s", caller_cache_control(request), link));
}

static void list_as(struct http_request *request, const struct caller *caller)
{
    static const char *const filters[] = {"category", "status", "from", "to", "q", NULL};
    static const char *const known[] = {"category", "status", "from", "to", "q", "limit", "cursor", NULL};
    struct page page;
    if (!parameters_check(request, known))
        return;
    const char *scope = parameters_scope(request, "events", filters);
    if (!parameters_page(request, scope, &page))
        return;
    request->context = (void *)(uintptr_t)scope;
    struct pg_query query = {.statement = &statement_events_list,
                             .parameters = {caller->user_id, caller->role, parameters_get(request, "category"),
                                            parameters_get(request, "status"), parameters_get(request, "from"),
                                            parameters_get(request, "to"), parameters_get(request, "q"), page.limit,
                                            page.place, page.id},
                             .retry = PG_RETRY_READ,
                             .done = on_list,
                             .context = request};
    pg_pool_submit(api_get()->read, &query);
}

void events_list(struct http_request *request)
{
    caller_identify(request, CALLER_ANYBODY, list_as);
}

static void on_event(void *context, const struct pg_answer *answer)
{
    struct http_request *request = context;
    OBJECT_CHECK(request, HTTP_REQUEST_MAGIC);
    answer_row(request, answer,
               &(struct answer_style){.headers = caller_cache_control(request),
                                      .lost = PROBLEM_DATABASE_UNAVAILABLE,
                                      .conditional = true});
}

static void read_as(struct http_request *request, const struct caller *caller)
{
    const char *id = parameters_path_id(request);
    if (id == NULL || !parameters_check(request, (const char *const[]){NULL}))
        return;
    struct pg_query query = {.statement = &statement_event_get,
                             .parameters = {caller->user_id, caller->role, id},
                             .retry = PG_RETRY_READ,
                             .done = on_event,
                             .context = request};
    pg_pool_submit(api_get()->read, &query);
}

void events_read(struct http_request *request)
{
    caller_identify(request, CALLER_ANYBODY, read_as);
}
