/* transfer: handing the seat of a registration to a colleague. Worker process; who may hand what to whom stands in SQL.
 * Carries an action id of ours, so that a lost connection is resolved exactly, as registering and cancelling. */
#include <string.h>

#include "api/caller.h"
#include "api/members.h"
#include "api/parameters.h"
#include "api/resources.h"
#include "api/statements.h"
#include "api/write.h"
#include "base/uuid.h"
#include "http/body.h"

/* Characters of an e-mail address; the users table takes none that is longer. */
#define EMAIL_MAX 254

static bool is_user(const json_t *value)
{
    if (!json_is_string(value))
        return false;
    const char *text = json_string_value(value);
    size_t length = json_string_length(value);
    char id[UUID_TEXT_SIZE];
    return uuid_parse(text, length, id) || (length <= 4 * EMAIL_MAX && strchr(text, '@') != NULL);
}

/* {"user": id or e-mail address}. false: answered. */
static bool read_receiver(struct http_request *request, const char **user)
{
    json_t *object = body_object(request, false);
    if (object == NULL)
        return false;
    const char *name;
    json_t *value;
    json_t *errors = members_errors();
    *user = NULL;
    json_object_foreach(object, name, value)
    {
        if (strcmp(name, "user") != 0)
            members_wrong(errors, name, "is not a field of a transfer");
        else if (!is_user(value))
            members_wrong(errors, name, "must be the id (UUID) or the e-mail address of a user");
        else
            *user = arena_strdup(request->arena, json_string_value(value));
    }
    if (json_object_get(object, "user") == NULL)
        members_wrong(errors, "user", "is required");
    json_decref(object);
    return members_good(request, errors);
}

static void transfer_as(struct http_request *request, const struct caller *caller)
{
    enum { USER = 2, ROLE, REGISTRATION, RECEIVER, RESENT }; /* behind the request's and the action's id */
    const char *receiver;
    const char *id = parameters_path_id(request);
    if (id == NULL || !parameters_check(request, (const char *const[]){NULL}) || !read_receiver(request, &receiver))
        return;
    struct write *write = write_start(request, &statement_registration_transfer);
    const char **parameters = write->query.parameters;
    parameters[USER] = caller->user_id;
    parameters[ROLE] = caller->role;
    parameters[REGISTRATION] = id;
    parameters[RECEIVER] = receiver;
    parameters[RESENT] = "false";
    write->query.retry = PG_RETRY_RESEND;
    write->query.resent_parameter = RESENT;
    write->style.headers = "Cache-Control: private, no-store\r\n";
    write_send(write);
}

void transfer_create(struct http_request *request)
{
    caller_identify(request, CALLER_USER, transfer_as);
}
