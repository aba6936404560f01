/* query: the parameters of a request's query string. Worker process. */
#include "http/query.h"

#include <string.h>

#include "base/buffer.h"
#include "base/text.h"
#include "http/problem.h"

const char *http_request_query(const struct http_request *request, const char *name)
{
    for (size_t i = 0; i < request->query_count; i++) {
        if (http_pair_is(&request->query[i], name))
            return request->query[i].value;
    }
    return NULL;
}

/* Whether a parameter before number `index` has the same name. */
static bool stands_before(const struct http_request *request, size_t index)
{
    for (size_t i = 0; i < index; i++) {
        if (http_pair_is(&request->query[i], request->query[index].name))
            return true;
    }
    return false;
}

static bool is_allowed(const struct http_pair *pair, const char *const *allowed)
{
    for (; *allowed != NULL; allowed++) {
        if (http_pair_is(pair, *allowed))
            return true;
    }
    return false;
}

bool http_request_query_check(struct http_request *request, const char *const *allowed)
{
    struct buffer errors = {0};
    for (size_t i = 0; i < request->query_count; i++) {
        const char *name = request->query[i].name;
        const char *detail = !is_allowed(&request->query[i], allowed) ? "There is no such parameter here."
                             : stands_before(request, i)              ? "Send the parameter once."
                                                                      : NULL;
        if (detail == NULL)
            continue;
        buffer_append_text(&errors, buffer_length(&errors) == 0 ? "{\"errors\":[{\"parameter\":" : ",{\"parameter\":");
        text_append_json(&errors, name, strlen(name));
        buffer_append_text(&errors, ",\"detail\":");
        text_append_json(&errors, detail, strlen(detail));
        buffer_append_text(&errors, "}");
    }
    if (buffer_length(&errors) == 0)
        return true;
    buffer_append_text(&errors, "]}");
    struct problem_details details = {.members = buffer_bytes(&errors), .members_length = buffer_length(&errors)};
    problem_respond(request, PROBLEM_INVALID_FIELDS, &details);
    buffer_free(&errors);
    return false;
}
