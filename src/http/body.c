/* body: request bodies as JSON. Worker process; body_parse any process, without state. */
#include "http/body.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "http/problem.h"

#define MEDIA_JSON "application/json"
#define MEDIA_MERGE_PATCH "application/merge-patch+json"

/* How deep arrays and objects stand in each other at most. Brackets count as the parser will count them: not in
 * strings. Looked at beforehand, because the parser recurses and reports only its own, larger limit. */
static int depth_of(const char *bytes, size_t length)
{
    int depth = 0;
    int deepest = 0;
    bool in_string = false;
    for (size_t i = 0; i < length && deepest <= BODY_DEPTH_MAX; i++) {
        switch (bytes[i]) {
        case '"':
            in_string = !in_string;
            break;
        case '\\':
            i += in_string;
            break;
        case '[':
        case '{':
            if (!in_string && ++depth > deepest)
                deepest = depth;
            break;
        case ']':
        case '}':
            depth -= !in_string && depth > 0;
            break;
        }
    }
    return deepest;
}

enum body_result body_parse(const char *bytes, size_t length, json_t **object, char *error, size_t error_size)
{
    *object = NULL;
    const char *why = NULL;
    if (length == 0)
        why = "the body is empty";
    else if (length >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0)
        why = "the body begins with a byte order mark";
    else if (memchr(bytes, '\0', length) != NULL)
        why = "the body holds a zero byte";
    else if (!text_is_utf8(bytes, length))
        why = "the body is not UTF-8";
    if (why != NULL) {
        snprintf(error, error_size, "%s", why);
        return BODY_INVALID;
    }
    if (depth_of(bytes, length) > BODY_DEPTH_MAX) {
        snprintf(error, error_size, "arrays and objects are nested deeper than %d levels", BODY_DEPTH_MAX);
        return BODY_INVALID;
    }
    json_error_t place;
    json_t *value = json_loadb(bytes, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &place);
    if (value == NULL) {
        snprintf(error, error_size, "line %d, column %d: %s", place.line, place.column, place.text);
        return BODY_INVALID;
    }
    if (!json_is_object(value)) {
        snprintf(error, error_size, "the body is JSON, but no object");
        json_decref(value);
        return BODY_NOT_OBJECT;
    }
    *object = value;
    return BODY_OK;
}

static void skip_space(const char **at)
{
    *at += strspn(*at, " \t");
}

/* The media type, then parameters; of these only charset means something, and only UTF-8 is one (RFC 8259, 8.1). */
static bool is_media_type(const char *header, const char *type)
{
    size_t length = strlen(type);
    if (strncasecmp(header, type, length) != 0)
        return false;
    const char *at = header + length;
    for (skip_space(&at); *at == ';'; skip_space(&at)) {
        at++;
        skip_space(&at);
        size_t parameter = strcspn(at, "; \t");
        if (strncasecmp(at, "charset=", 8) == 0 && !(parameter == 13 && strncasecmp(at + 8, "utf-8", 5) == 0) &&
            !(parameter == 15 && strncasecmp(at + 8, "\"utf-8\"", 7) == 0))
            return false;
        at += parameter;
    }
    return *at == '\0';
}

json_t *body_object(struct http_request *request, bool merge_patch)
{
    const char *type = http_request_header(request, "content-type");
    bool fits =
        type != NULL && (is_media_type(type, MEDIA_JSON) || (merge_patch && is_media_type(type, MEDIA_MERGE_PATCH)));
    if (!fits) {
        struct problem_details details = {
            .detail = merge_patch ? "Send the body as " MEDIA_MERGE_PATCH " or " MEDIA_JSON " in UTF-8." : NULL,
            .headers =
                merge_patch ? "Accept-Patch: " MEDIA_MERGE_PATCH ", " MEDIA_JSON "\r\n" : "Accept: " MEDIA_JSON "\r\n"};
        problem_respond(request, PROBLEM_UNSUPPORTED_MEDIA_TYPE, &details);
        return NULL;
    }
    json_t *object;
    char error[256];
    if (body_parse(request->body, request->body_length, &object, error, sizeof error) == BODY_OK)
        return object;
    struct problem_details details = {
        .detail = arena_printf(request->arena, "Send one JSON object in UTF-8 without duplicate keys: %s.", error)};
    problem_respond(request, PROBLEM_INVALID_JSON, &details);
    return NULL;
}
