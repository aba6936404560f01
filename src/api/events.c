/* events: the list of events and one event. Worker process; reads only. What everybody may see comes from the hot
 * cache. */
#include <string.h>
#include <xxhash.h>

#include "api/answer.h"
#include "api/caller.h"
#include "api/hot.h"
#include "api/parameters.h"
#include "api/resources.h"
#include "api/statements.h"

/* ---- the list ---- */

static const char *get_filter(struct http_request *request, const char *name)
{
    const char *value = parameters_get(request, name);
    /* to ask for what is the default is to ask for nothing: the same page, the same cursors */
    return value != NULL && strcmp(name, "status") == 0 && strcmp(value, LIST_STATUS_DEFAULT) == 0 ? NULL : value;
}

static const char *list_scope(struct http_request *request)
{
    static const char *const filters[] = {"category", "status", "from", "to", "q"};
    const char *values[sizeof filters / sizeof filters[0]];
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++)
        values[i] = get_filter(request, filters[i]);
    return parameters_scope_of(request, "events", values, sizeof filters / sizeof filters[0]);
}

/* The columns of both functions that give a page. */
struct list_columns {
    int body, next_start, next_id;
};

static void answer_page(struct http_request *request, const PGresult *row, const struct list_columns *columns)
{
    struct cursor next;
    bool more = parameters_next(row, columns->next_start, columns->next_id, &next);
    size_t length;
    const char *link;
    const char *body = parameters_page_body(request, "events", PQgetvalue(row, 0, columns->body),
                                            (size_t)PQgetlength(row, 0, columns->body), more ? &next : NULL,
                                            list_scope(request), &length, &link);
    const char *etag = arena_printf(request->arena, "%016llx", (unsigned long long)XXH3_64bits(body, length));
    answer_json(request, body, length, etag, arena_printf(request->arena, "%s%s", caller_lines(request)->text, link));
}

static void answer_cached_page(struct http_request *request, const PGresult *row)
{
    answer_page(request, row, &(struct list_columns){HOT_ROW_BODY, HOT_ROW_NEXT_START, HOT_ROW_NEXT_ID});
}

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
    answer_page(request, answer->result, &(struct list_columns){BODY, NEXT_START, NEXT_ID});
    PQclear(answer->result);
}

/* By the caller's own statement: texts and times, drafts, and what is refused. */
static void list_plain(struct http_request *request, const struct caller *caller)
{
    struct page page;
    if (!parameters_page(request, list_scope(request), &page))
        return;
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

static bool may_be_cached(const struct http_request *request)
{
    const char *category = parameters_get(request, "category");
    return hot_is_on() && parameters_get(request, "from") == NULL && parameters_get(request, "to") == NULL &&
           parameters_get(request, "q") == NULL && (category == NULL || *category != '\0');
}

static void list_as(struct http_request *request, const struct caller *caller)
{
    static const char *const known[] = {"category", "status", "from", "to", "q", "limit", "cursor", NULL};
    static const struct hot_resource resource = {.answer = answer_cached_page, .plain = list_plain};
    struct hot_key key;
    struct page page = {0};
    if (!parameters_check(request, known))
        return;
    if (!may_be_cached(request)) {
        list_plain(request, caller);
        return;
    }
    bool read = parameters_get(request, "cursor") == NULL ? parameters_limit(request, &page.limit_number)
                                                          : parameters_page(request, list_scope(request), &page);
    if (!read)
        return;
    if (hot_key_list(&key, parameters_get(request, "category"), parameters_get(request, "status"), page.limit_number,
                     page.place_number, page.id))
        hot_serve(request, caller, &key, &resource);
    else
        list_plain(request, caller);
}

void events_list(struct http_request *request)
{
    caller_identify(request, CALLER_ANYBODY, list_as);
}

/* ---- one event ---- */

static void answer_cached_event(struct http_request *request, const PGresult *row)
{
    size_t length = (size_t)PQgetlength(row, 0, HOT_ROW_BODY);
    const char *body = arena_memdup(request->arena, PQgetvalue(row, 0, HOT_ROW_BODY), length);
    answer_json(request, body, length, arena_strdup(request->arena, PQgetvalue(row, 0, HOT_ROW_ETAG)),
                caller_lines(request)->text);
}

static void on_event(void *context, const struct pg_answer *answer)
{
    struct http_request *request = context;
    OBJECT_CHECK(request, HTTP_REQUEST_MAGIC);
    answer_row(request, answer,
               &(struct answer_style){
                   .headers = caller_lines(request)->text, .lost = PROBLEM_DATABASE_UNAVAILABLE, .conditional = true});
}

static void read_plain(struct http_request *request, const struct caller *caller);
static const struct hot_resource event_resource = {.answer = answer_cached_event, .plain = read_plain};

/* A draft, for those whose it is; or one no longer, by the time that the statement looks. */
static void read_plain(struct http_request *request, const struct caller *caller)
{
    struct hot_key key;
    const char *id = parameters_path_id(request);
    if (id == NULL)
        return;
    hot_key_of(&key, HOT_PATTERN_EVENT, id, NULL);
    struct pg_query query = {.statement = &statement_event_get,
                             .parameters = {caller->user_id, caller->role, id},
                             .retry = PG_RETRY_READ,
                             .done = on_event,
                             .context = request};
    hot_query(&key, &event_resource, &query);
}

static void read_as(struct http_request *request, const struct caller *caller)
{
    struct hot_key key;
    const char *id = parameters_path_id(request);
    if (id == NULL || !parameters_check(request, (const char *const[]){NULL}))
        return;
    if (!hot_is_on()) {
        read_plain(request, caller);
        return;
    }
    hot_key_of(&key, HOT_PATTERN_EVENT, id, NULL);
    hot_serve(request, caller, &key, &event_resource);
}

void events_read(struct http_request *request)
{
    caller_identify(request, CALLER_ANYBODY, read_as);
}
