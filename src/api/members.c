/* members: the `errors` of a 422 about a body. Worker process; it may answer the request. */
#include "api/members.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/object.h"
#include "http/body.h"
#include "http/problem.h"

/* RFC 6901, 3: a name may hold what separates names. */
static void append_escaped(struct buffer *pointer, const char *name)
{
    for (; *name != '\0'; name++) {
        if (*name == '~' || *name == '/')
            buffer_append_text(pointer, *name == '~' ? "~0" : "~1");
        else
            buffer_append(pointer, name, 1);
    }
}

json_t *members_errors(void)
{
    json_t *errors = json_array();
    INVARIANT(errors != NULL);
    return errors;
}

static void add_error(json_t *errors, struct buffer *pointer, const char *detail)
{
    json_t *error = json_pack("{s:s, s:s}", "pointer", buffer_text(pointer), "detail", detail);
    buffer_free(pointer);
    INVARIANT(error != NULL && json_array_append_new(errors, error) == 0);
}

void members_wrong(json_t *errors, const char *name, const char *detail)
{
    struct buffer pointer = {0};
    buffer_append_text(&pointer, "/");
    append_escaped(&pointer, name);
    add_error(errors, &pointer, detail);
}

void members_wrong_item(json_t *errors, const char *name, size_t item, const char *detail)
{
    struct buffer pointer = {0};
    buffer_append_text(&pointer, "/");
    append_escaped(&pointer, name);
    buffer_printf(&pointer, "/%zu", item);
    add_error(errors, &pointer, detail);
}

bool members_good(struct http_request *request, json_t *errors)
{
    if (json_array_size(errors) == 0) {
        json_decref(errors);
        return true;
    }
    json_t *members = json_pack("{s:o}", "errors", errors);
    INVARIANT(members != NULL);
    char *text = json_dumps(members, JSON_COMPACT);
    json_decref(members);
    INVARIANT(text != NULL);
    struct problem_details details = {.members = text, .members_length = strlen(text)};
    problem_respond(request, PROBLEM_INVALID_FIELDS, &details);
    free(text);
    return false;
}

bool members_none(struct http_request *request)
{
    if (request->body_length == 0)
        return true;
    json_t *object = body_object(request, false);
    if (object == NULL)
        return false;
    const char *name;
    json_t *value;
    json_t *errors = members_errors();
    json_object_foreach(object, name, value)
        members_wrong(errors, name, "is not known here: this request takes no fields");
    json_decref(object);
    return members_good(request, errors);
}
