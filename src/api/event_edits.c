/* event_edits: creating, editing, deleting, publishing and cancelling events. Worker process; every rule stands in SQL.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "api/caller.h"
#include "api/members.h"
#include "api/parameters.h"
#include "api/resources.h"
#include "api/statements.h"
#include "api/write.h"
#include "base/text.h"
#include "base/uuid.h"
#include "http/body.h"

static const char *fields_of(struct http_request *request, bool merge_patch)
{
    json_t *object = body_object(request, merge_patch);
    if (object == NULL)
        return NULL;
    char *text = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(17));
    json_decref(object);
    INVARIANT(text != NULL);
    const char *copy = arena_strdup(request->arena, text);
    free(text);
    return copy;
}

static struct write *start(struct http_request *request, const struct caller *caller,
                           const struct pg_statement *statement, const char *id)
{
    struct write *write = write_start(request, statement);
    write->query.parameters[2] = caller->user_id;
    write->query.parameters[3] = caller->role;
    write->query.parameters[4] = id;
    write->event_id = id;
    write->query.retry = PG_RETRY_NEVER;
    return write;
}

static void create_as(struct http_request *request, const struct caller *caller)
{
    if (!parameters_check(request, (const char *const[]){NULL}))
        return;
    const char *fields = fields_of(request, false);
    if (fields == NULL)
        return;
    char *id = arena_alloc(request->arena, UUID_TEXT_SIZE);
    uuid_v7(id);
    struct write *write = start(request, caller, &statement_event_create, id);
    write->query.parameters[5] = fields;
    write->style.location = "/api/events/";
    write_send(write);
}

void events_create(struct http_request *request)
{
    caller_identify(request, CALLER_USER, create_as);
}

/* The version part of the one strong tag in If-Match ("version.registered.waitlisted", with or without the suffix of a
 * coding), or "*", which gives NULL. false: answered. */
static bool read_if_match(struct http_request *request, const char **version)
{
    const char *header = http_request_header(request, "if-match");
    if (header == NULL) {
        problem_respond(request, PROBLEM_PRECONDITION_REQUIRED, NULL);
        return false;
    }
    *version = NULL;
    if (strcmp(header, "*") == 0)
        return true;
    size_t length = strlen(header);
    if (length < 3 || header[0] != '"' || header[length - 1] != '"' || strchr(header + 1, '"') != header + length - 1) {
        bool weak = strncmp(header, "W/", 2) == 0;
        struct problem_details details = {.detail = weak
                                                        ? "A weak tag never matches: send the ETag as it was given."
                                                        : "Send If-Match with the one ETag that you were given, or *."};
        problem_respond(request, weak ? PROBLEM_VERSION_CONFLICT : PROBLEM_BAD_REQUEST, &details);
        return false;
    }
    int64_t number;
    char *text = arena_memdup(request->arena, header + 1, strcspn(header + 1, ".\""));
    /* a tag of another form can't be ours: it matches no version */
    *version = text_parse_int64(text, 1, INT32_MAX, &number) ? text : "0";
    return true;
}

static void update_as(struct http_request *request, const struct caller *caller)
{
    const char *id = parameters_path_id(request);
    const char *version;
    if (id == NULL || !parameters_check(request, (const char *const[]){NULL}) || !read_if_match(request, &version))
        return;
    const char *fields = fields_of(request, true);
    if (fields == NULL)
        return;
    struct write *write = start(request, caller, &statement_event_update, id);
    write->query.parameters[5] = version;
    write->query.parameters[6] = fields;
    write_send(write);
}

void events_update(struct http_request *request)
{
    caller_identify(request, CALLER_USER, update_as);
}

static void simple_as(struct http_request *request, const struct caller *caller, const struct pg_statement *statement)
{
    const char *id = parameters_path_id(request);
    if (id == NULL || !parameters_check(request, (const char *const[]){NULL}) || !members_none(request))
        return;
    write_send(start(request, caller, statement, id));
}

static void delete_as(struct http_request *request, const struct caller *caller)
{
    simple_as(request, caller, &statement_event_delete);
}

static void publish_as(struct http_request *request, const struct caller *caller)
{
    simple_as(request, caller, &statement_event_publish);
}

static void cancel_as(struct http_request *request, const struct caller *caller)
{
    simple_as(request, caller, &statement_event_cancel);
}

void events_delete(struct http_request *request)
{
    caller_identify(request, CALLER_USER, delete_as);
}

void events_publish(struct http_request *request)
{
    caller_identify(request, CALLER_USER, publish_as);
}

void events_cancel(struct http_request *request)
{
    caller_identify(request, CALLER_USER, cancel_as);
}
