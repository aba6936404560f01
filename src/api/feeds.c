/* feeds: a person's own calendar, which programs read by a secret address. Worker process. Whoever has the address
 * reads it: the person can have a new one, and the old one is worth nothing from then on. */
#include <jansson.h>
#include <string.h>

#include "api/answer.h"
#include "api/caller.h"
#include "api/limits.h"
#include "api/members.h"
#include "api/parameters.h"
#include "api/resources.h"
#include "api/statements.h"
#include "api/write.h"
#include "base/log.h"
#include "identity/link_token.h"
#include "mail/calendar.h"

#define PERSONAL "Cache-Control: private, no-store\r\n"
#define FEED_NAME "Events"

/* ---- having one ---- */

enum { USER = 2, TOKEN_HASH }; /* behind the request's and the action's id */

/* {"id", "created_at"} becomes {"url", "created_at"}: what is stored under an Idempotency-Key is no secret, and the
 * same answer is made of it again. */
static const char *with_url(struct http_request *request, const char *body, size_t *length)
{
    char token[LINK_TOKEN_TEXT_MAX];
    const char *public_url = api_get()->configuration->public_url;
    json_t *object = json_loadb(body, *length, 0, NULL);
    const char *id = json_string_value(json_object_get(object, "id"));
    const char *created_at = json_string_value(json_object_get(object, "created_at"));
    INVARIANT(id != NULL && created_at != NULL);
    link_token_feed(id, token);
    const char *whole =
        arena_printf(request->arena, "{\"url\":\"%s/api/users/me/calendar.ics?token=%s\",\"created_at\":\"%s\"}",
                     public_url == NULL ? "" : public_url, token, created_at);
    json_decref(object);
    *length = strlen(whole);
    return whole;
}

static struct write *start(struct http_request *request, const struct caller *caller,
                           const struct pg_statement *statement)
{
    struct write *write = write_start(request, statement);
    write->query.parameters[USER] = caller->user_id;
    write->query.retry = PG_RETRY_NEVER;
    write->style.headers = PERSONAL;
    return write;
}

static bool is_plain(struct http_request *request)
{
    return parameters_check(request, (const char *const[]){NULL}) && members_none(request);
}

static void create_as(struct http_request *request, const struct caller *caller)
{
    char token[LINK_TOKEN_TEXT_MAX];
    if (!is_plain(request))
        return;
    struct write *write = start(request, caller, &statement_calendar_feed_create);
    char *hash = arena_alloc(request->arena, LINK_TOKEN_HASH_SIZE);
    link_token_feed(write->action_id, token);
    link_token_hash(token, hash);
    write->query.parameters[TOKEN_HASH] = hash;
    write->style.body = with_url;
    write->style.location = "/api/users/me/calendar-feed"; /* what DELETE takes away */
    write_send(write);
}

void feeds_create(struct http_request *request)
{
    caller_identify(request, CALLER_USER, create_as);
}

static void delete_as(struct http_request *request, const struct caller *caller)
{
    if (is_plain(request))
        write_send(start(request, caller, &statement_calendar_feed_delete));
}

void feeds_delete(struct http_request *request)
{
    caller_identify(request, CALLER_USER, delete_as);
}

/* ---- reading it ---- */

/* What PostgreSQL gave, until this turn of the loop or another has the time to write it out. Request lifetime. */
struct feed {
    struct http_request *request;
    const char *json;
    size_t length;
};

static void write_feed(void *context)
{
    struct feed *feed = context;
    struct http_request *request = feed->request;
    struct buffer text = {0};
    if (!calendar_write_json(&(struct calendar){.name = FEED_NAME}, feed->json, feed->length, &text)) {
        log_error("a rule gave what is no event", log_text("request_id", request->request_id));
        problem_respond(request, PROBLEM_INTERNAL, NULL);
        return;
    }
    http_respond(request, &(struct http_response){
                              .status = 200,
                              .content_type = CALENDAR_CONTENT_TYPE,
                              .headers = PERSONAL,
                              .body = arena_memdup(request->arena, buffer_bytes(&text), buffer_length(&text)),
                              .body_length = buffer_length(&text)});
    buffer_free(&text);
}

static void on_feed(void *context, const struct pg_answer *answer)
{
    enum { OUTCOME, BODY };
    struct http_request *request = context;
    OBJECT_CHECK(request, HTTP_REQUEST_MAGIC);
    if (!answer_is_success(answer)) {
        answer_row(request, answer, &(struct answer_style){.lost = PROBLEM_DATABASE_UNAVAILABLE});
        return;
    }
    struct feed *feed = arena_alloc(request->arena, sizeof *feed);
    feed->request = request;
    feed->length = (size_t)PQgetlength(answer->result, 0, BODY);
    feed->json = arena_memdup(request->arena, PQgetvalue(answer->result, 0, BODY), feed->length);
    PQclear(answer->result);
    http_in_turn(request, write_feed, feed);
}

/* A token that our key has made is counted as a user is, and any other as an address without a token: it may be one of
 * an older key. */
void feeds_read(struct http_request *request)
{
    char id[UUID_TEXT_SIZE];
    if (!parameters_check(request, (const char *const[]){"token", NULL}))
        return;
    const char *token = parameters_get(request, "token");
    bool is_known = token != NULL && link_token_is_feed(token, id);
    if (!(is_known ? limits_admit_user(request, id) : limits_admit_address(request)))
        return;
    if (token == NULL) {
        problem_respond(request, PROBLEM_NOT_FOUND, NULL);
        return;
    }
    char *hash = arena_alloc(request->arena, LINK_TOKEN_HASH_SIZE);
    link_token_hash(token, hash);
    struct pg_query query = {.statement = &statement_calendar_feed_get,
                             .parameters = {hash},
                             .retry = PG_RETRY_READ,
                             .done = on_feed,
                             .context = request};
    pg_pool_submit(api_get()->read, &query);
}
