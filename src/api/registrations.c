/* registrations: registering, one's own registrations, cancelling. Worker process; the decision table stands in SQL.
 * Registering and cancelling carry ids of ours, so that a lost connection is resolved exactly: the same call again
 * finds what the first one did. */
#include <string.h>

#include "api/caller.h"
#include "api/members.h"
#include "api/orders.h"
#include "api/parameters.h"
#include "api/resources.h"
#include "api/statements.h"
#include "base/uuid.h"
#include "http/body.h"

#define PERSONAL "Cache-Control: private, no-store\r\n"

/* {"event_id": ..., "user_id": ...}; the second is optional. false: answered. */
static bool read_order(struct http_request *request, const char **event_id, const char **user_id)
{
    json_t *object = body_object(request, false);
    if (object == NULL)
        return false;
    const char *name;
    json_t *value;
    json_t *errors = members_errors();
    *event_id = NULL;
    *user_id = NULL;
    json_object_foreach(object, name, value)
    {
        const char **place = strcmp(name, "event_id") == 0 ? event_id : strcmp(name, "user_id") == 0 ? user_id : NULL;
        char id[UUID_TEXT_SIZE];
        if (place == NULL)
            members_wrong(errors, name, "is not a field of a registration");
        else if (!json_is_string(value) || !uuid_parse(json_string_value(value), json_string_length(value), id))
            members_wrong(errors, name, "must be an id (UUID)");
        else
            *place = arena_strdup(request->arena, id);
    }
    if (json_object_get(object, "event_id") == NULL)
        members_wrong(errors, "event_id", "is required");
    json_decref(object);
    return members_good(request, errors);
}

static void create_as(struct http_request *request, const struct caller *caller)
{
    const char *event_id;
    const char *user_id;
    if (!parameters_check(request, (const char *const[]){NULL}) || !read_order(request, &event_id, &user_id))
        return;
    struct order_request *asked = orders_start(request, ORDER_REGISTER);
    char *id = arena_alloc(request->arena, UUID_TEXT_SIZE);
    uuid_v7(id);
    asked->order.registration_id = id;
    asked->order.actor_id = caller->user_id;
    asked->order.role = caller->role;
    asked->order.event_id = event_id;
    asked->order.user_id = user_id == NULL ? caller->user_id : user_id;
    asked->style.location = "/api/registrations/";
    asked->style.headers = PERSONAL;
    orders_send(asked);
}

void registrations_create(struct http_request *request)
{
    if (orders_admit(request))
        caller_identify(request, CALLER_USER, create_as);
}

static void cancel_as(struct http_request *request, const struct caller *caller)
{
    const char *id = parameters_path_id(request);
    if (id == NULL || !parameters_check(request, (const char *const[]){NULL}))
        return;
    struct order_request *asked = orders_start(request, ORDER_CANCEL);
    asked->order.registration_id = id;
    asked->order.actor_id = caller->user_id;
    asked->order.role = caller->role;
    asked->style.headers = PERSONAL;
    orders_send(asked);
}

void registrations_cancel(struct http_request *request)
{
    if (orders_admit(request))
        caller_identify(request, CALLER_USER, cancel_as);
}

static void on_registration(void *context, const struct pg_answer *answer)
{
    struct http_request *request = context;
    OBJECT_CHECK(request, HTTP_REQUEST_MAGIC);
    answer_row(request, answer, &(struct answer_style){.headers = PERSONAL, .lost = PROBLEM_DATABASE_UNAVAILABLE});
}

static void read_as(struct http_request *request, const struct caller *caller)
{
    const char *id = parameters_path_id(request);
    if (id == NULL || !parameters_check(request, (const char *const[]){NULL}))
        return;
    struct pg_query query = {.statement = &statement_registration_get,
                             .parameters = {caller->user_id, caller->role, id},
                             .retry = PG_RETRY_READ,
                             .done = on_registration,
                             .context = request};
    pg_pool_submit(api_get()->read, &query);
}

void registrations_read(struct http_request *request)
{
    caller_identify(request, CALLER_USER, read_as);
}

static void on_list(void *context, const struct pg_answer *answer)
{
    enum { OUTCOME, BODY, NEXT_AT, NEXT_ID };
    struct http_request *request = context;
    OBJECT_CHECK(request, HTTP_REQUEST_MAGIC);
    if (answer->status != PG_STATUS_ROWS || PQntuples(answer->result) != 1 ||
        strcmp(PQgetvalue(answer->result, 0, OUTCOME), "ok") != 0) {
        on_registration(context, answer);
        return;
    }
    struct cursor next;
    bool more = parameters_next(answer->result, NEXT_AT, NEXT_ID, &next);
    size_t length;
    const char *link;
    const char *body = parameters_page_body(request, "registrations", PQgetvalue(answer->result, 0, BODY),
                                            (size_t)PQgetlength(answer->result, 0, BODY), more ? &next : NULL,
                                            request->context, &length, &link);
    PQclear(answer->result);
    answer_json(request, body, length, NULL, arena_printf(request->arena, PERSONAL "%s", link));
}

static void list_as(struct http_request *request, const struct caller *caller)
{
    static const char *const known[] = {"limit", "cursor", NULL};
    struct page page;
    const char *scope = arena_printf(request->arena, "registrations|%s", caller->user_id);
    if (!parameters_check(request, known) || !parameters_page(request, scope, &page))
        return;
    request->context = (void *)(uintptr_t)scope;
    struct pg_query query = {.statement = &statement_registrations_mine,
                             .parameters = {caller->user_id, page.limit, page.place, page.id},
                             .retry = PG_RETRY_READ,
                             .done = on_list,
                             .context = request};
    pg_pool_submit(api_get()->read, &query);
}

void registrations_list(struct http_request *request)
{
    caller_identify(request, CALLER_USER, list_as);
}
