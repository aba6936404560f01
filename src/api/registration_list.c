/* registration_list: registering a list of people for an event, by who manages it, with an outcome for each. Worker
 * process; the decisions stand in SQL. Carries an action id of ours, so that a lost connection is resolved exactly. */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "api/caller.h"
#include "api/members.h"
#include "api/metrics.h"
#include "api/parameters.h"
#include "api/resources.h"
#include "api/statements.h"
#include "api/write.h"
#include "base/uuid.h"
#include "http/body.h"

/* People in one request: some 80 ms of the event's seats (measured on two cores), as long as any step of its work. */
#define PEOPLE_MAX 1000

static void check_people(json_t *errors, const json_t *people)
{
    size_t place;
    json_t *value;
    char id[UUID_TEXT_SIZE];
    if (!json_is_array(people) || json_array_size(people) < 1 || json_array_size(people) > PEOPLE_MAX) {
        members_wrong(errors, "user_ids", "must be a list of 1 to 1000 ids of users");
        return;
    }
    json_array_foreach(people, place, value)
    {
        if (!json_is_string(value) || !uuid_parse(json_string_value(value), json_string_length(value), id))
            members_wrong_item(errors, "user_ids", place, "must be an id (UUID)");
    }
}

/* {"user_ids": [...]} as the rule reads it. NULL: answered. */
static const char *read_list(struct http_request *request)
{
    json_t *object = body_object(request, false);
    if (object == NULL)
        return NULL;
    const char *name;
    json_t *value;
    json_t *errors = members_errors();
    json_object_foreach(object, name, value)
    {
        if (strcmp(name, "user_ids") == 0)
            check_people(errors, value);
        else
            members_wrong(errors, name, "is not known here");
    }
    if (json_object_get(object, "user_ids") == NULL)
        members_wrong(errors, "user_ids", "is required");
    char *text = json_dumps(object, JSON_COMPACT);
    json_decref(object);
    INVARIANT(text != NULL);
    const char *copy = arena_strdup(request->arena, text);
    free(text);
    return members_good(request, errors) ? copy : NULL;
}

/* A problem as the rule gives it, {"outcome": "full", ...}, becomes one as it is answered elsewhere. */
static void append_problem(struct buffer *body, json_t *problem)
{
    enum problem type = answer_problem(json_string_value(json_object_get(problem, "outcome")));
    problem_write(body, type, problem_status(type), json_string_value(json_object_get(problem, "detail")));
    json_object_del(problem, "outcome");
    json_object_del(problem, "detail");
    char *members = json_dumps(problem, JSON_COMPACT);
    INVARIANT(members != NULL);
    if (strcmp(members, "{}") == 0) {
        buffer_append(body, "}", 1);
    } else {
        buffer_append(body, ",", 1);
        buffer_append_text(body, members + 1);
    }
    free(members);
}

static json_t *parse_results(const char *body, size_t length)
{
    json_t *object = json_loadb(body, length, 0, NULL);
    INVARIANT(json_is_array(json_object_get(object, "results"))); /* SQL of ours made it */
    return object;
}

static const char *make_body(struct http_request *request, const char *row, size_t *length)
{
    json_t *object = parse_results(row, *length);
    struct buffer body = {0};
    size_t place;
    json_t *result;
    buffer_append_text(&body, "{\"results\":[");
    json_array_foreach(json_object_get(object, "results"), place, result)
    {
        json_t *problem = json_object_get(result, "problem");
        buffer_printf(&body, "%s{\"user_id\":\"%s\",\"outcome\":\"%s\",", place == 0 ? "" : ",",
                      json_string_value(json_object_get(result, "user_id")),
                      json_string_value(json_object_get(result, "outcome")));
        if (problem != NULL) {
            buffer_append_text(&body, "\"problem\":");
            append_problem(&body, problem);
        } else {
            char *registration = json_dumps(json_object_get(result, "registration"), JSON_COMPACT);
            INVARIANT(registration != NULL);
            buffer_append_text(&body, "\"registration\":");
            buffer_append_text(&body, registration);
            free(registration);
        }
        buffer_append(&body, "}", 1);
    }
    buffer_append_text(&body, "]}");
    json_decref(object);
    *length = buffer_length(&body);
    const char *copy = arena_memdup(request->arena, buffer_text(&body), *length);
    buffer_free(&body);
    return copy;
}

/* Each person of a list is a registration that was decided. */
static void count_results(const struct pg_answer *answer)
{
    enum { BODY = 1 };
    json_t *object = parse_results(PQgetvalue(answer->result, 0, BODY), (size_t)PQgetlength(answer->result, 0, BODY));
    size_t place;
    json_t *result;
    json_array_foreach(json_object_get(object, "results"), place, result)
    {
        const json_t *problem = json_object_get(result, "problem");
        metrics_registration_outcome(json_string_value(json_object_get(problem == NULL ? result : problem, "outcome")));
    }
    json_decref(object);
}

static void create_as(struct http_request *request, const struct caller *caller)
{
    enum { USER = 2, ROLE, EVENT, FIELDS, RESENT }; /* behind the request's and the action's id */
    const char *id = parameters_path_id(request);
    if (id == NULL || !parameters_check(request, (const char *const[]){NULL}))
        return;
    const char *fields = read_list(request);
    if (fields == NULL)
        return;
    struct write *write = write_start(request, &statement_register_list);
    const char **parameters = write->query.parameters;
    parameters[USER] = caller->user_id;
    parameters[ROLE] = caller->role;
    parameters[EVENT] = id;
    parameters[FIELDS] = fields;
    parameters[RESENT] = "false";
    write->event_id = id;
    write->count = count_results;
    write->query.retry = PG_RETRY_RESEND;
    write->query.resent_parameter = RESENT;
    write->style.headers = "Cache-Control: private, no-store\r\n";
    write->style.body = make_body;
    write_send(write);
}

void registration_list_create(struct http_request *request)
{
    caller_identify(request, CALLER_USER, create_as);
}
