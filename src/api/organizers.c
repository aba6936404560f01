/* organizers: what is for those who manage an event: its roster and its log. Worker process; reads only. Who may look,
 * and what they see, stands in SQL. */
#include <string.h>

#include "api/answer.h"
#include "api/caller.h"
#include "api/parameters.h"
#include "api/resources.h"
#include "api/statements.h"

#define PERSONAL "Cache-Control: private, no-store\r\n"

/* What the callback needs of a list beside its rows. Request lifetime. */
struct list {
    const char *member; /* the array's name in the body */
    const char *scope;
    int name_column; /* of the next page's place; 0: the list is ordered by numbers */
};

static void on_list(void *context, const struct pg_answer *answer)
{
    enum { OUTCOME, BODY, NEXT_PLACE, NEXT_ID };
    struct http_request *request = context;
    OBJECT_CHECK(request, HTTP_REQUEST_MAGIC);
    const struct list *list = request->context;
    if (answer->status != PG_STATUS_ROWS || PQntuples(answer->result) != 1 ||
        strcmp(PQgetvalue(answer->result, 0, OUTCOME), "ok") != 0) {
        answer_row(request, answer, &(struct answer_style){.headers = PERSONAL, .lost = PROBLEM_DATABASE_UNAVAILABLE});
        return;
    }
    struct cursor next;
    bool more = parameters_next(answer->result, NEXT_PLACE, NEXT_ID, &next);
    if (more && list->name_column > 0) {
        size_t size = (size_t)PQgetlength(answer->result, 0, list->name_column) + 1;
        INVARIANT(size <= sizeof next.name); /* 32 characters, by the rule */
        memcpy(next.name, PQgetvalue(answer->result, 0, list->name_column), size);
    }
    size_t length;
    const char *link;
    const char *body = parameters_page_body(request, list->member, PQgetvalue(answer->result, 0, BODY),
                                            (size_t)PQgetlength(answer->result, 0, BODY), more ? &next : NULL,
                                            list->scope, &length, &link);
    PQclear(answer->result);
    answer_json(request, body, length, NULL, arena_printf(request->arena, PERSONAL "%s", link));
}

/* Reads what every list has: id, limit and cursor. false: answered. */
static bool read_list(struct http_request *request, const char *member, const char *const *filters,
                      const char *const *known, const char **id, struct page *page)
{
    *id = parameters_path_id(request);
    if (*id == NULL || !parameters_check(request, known))
        return false;
    struct list *list = arena_alloc(request->arena, sizeof *list);
    const char *name = arena_printf(request->arena, "%s|%s", member, *id);
    *list = (struct list){.member = member, .scope = parameters_scope(request, name, filters)};
    request->context = list;
    return parameters_page(request, list->scope, page);
}

static void roster_as(struct http_request *request, const struct caller *caller)
{
    static const char *const filters[] = {"status", "name", NULL};
    static const char *const known[] = {"status", "name", "limit", "cursor", NULL};
    const char *id;
    struct page page;
    if (!read_list(request, "registrations", filters, known, &id, &page))
        return;
    ((struct list *)request->context)->name_column = 4;
    struct pg_query query = {.statement = &statement_event_roster,
                             .parameters = {caller->user_id, caller->role, id, parameters_get(request, "status"),
                                            parameters_get(request, "name"), page.limit, page.place, page.id,
                                            page.name},
                             .retry = PG_RETRY_READ,
                             .done = on_list,
                             .context = request};
    pg_pool_submit(api_get()->read, &query);
}

void organizers_roster(struct http_request *request)
{
    caller_identify(request, CALLER_USER, roster_as);
}

static void log_as(struct http_request *request, const struct caller *caller)
{
    static const char *const filters[] = {"entity", "registration_id", NULL};
    static const char *const known[] = {"entity", "registration_id", "limit", "cursor", NULL};
    const char *id;
    struct page page;
    if (!read_list(request, "log", filters, known, &id, &page))
        return;
    struct pg_query query = {.statement = &statement_event_log,
                             .parameters = {caller->user_id, caller->role, id, parameters_get(request, "entity"),
                                            parameters_get(request, "registration_id"), page.limit, page.place},
                             .retry = PG_RETRY_READ,
                             .done = on_list,
                             .context = request};
    pg_pool_submit(api_get()->read, &query);
}

void organizers_log(struct http_request *request)
{
    caller_identify(request, CALLER_USER, log_as);
}
