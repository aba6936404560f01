/* parameters: query parameters and path ids of the API. Worker process; pure functions over the request. */
#include "api/parameters.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "base/uuid.h"
#include "http/problem.h"
#include "http/query.h"

static void refuse_parameter(struct http_request *request, const char *name, const char *detail)
{
    struct buffer members = {0};
    buffer_append_text(&members, "{\"errors\":[{\"parameter\":");
    text_append_json(&members, name, strlen(name));
    buffer_append_text(&members, ",\"detail\":");
    text_append_json(&members, detail, strlen(detail));
    buffer_append_text(&members, "}]}");
    struct problem_details details = {.members_length = buffer_length(&members)};
    details.members = arena_memdup(request->arena, buffer_bytes(&members), details.members_length);
    buffer_free(&members);
    problem_respond(request, PROBLEM_INVALID_FIELDS, &details);
}

bool parameters_check(struct http_request *request, const char *const *known)
{
    return http_request_query_check(request, known);
}

const char *parameters_get(const struct http_request *request, const char *name)
{
    return http_request_query(request, name);
}

bool parameters_limit(struct http_request *request, int64_t *limit)
{
    const char *text = parameters_get(request, "limit");
    *limit = PAGE_LIMIT_DEFAULT;
    if (text == NULL || text_parse_int64(text, 1, PAGE_LIMIT_MOST, limit))
        return true;
    refuse_parameter(request, "limit", "must be a number from 1 to 100");
    return false;
}

bool parameters_page(struct http_request *request, const char *scope, struct page *page)
{
    int64_t number;
    if (!parameters_limit(request, &number))
        return false;
    *page = (struct page){.limit_number = number, .limit = arena_printf(request->arena, "%" PRId64, number)};
    const char *text = parameters_get(request, "cursor");
    if (text == NULL)
        return true;
    struct cursor cursor;
    if (!cursor_verify(text, scope, &cursor)) {
        refuse_parameter(request, "cursor", "is not a cursor of this list with these filters; begin again without it");
        return false;
    }
    page->place_number = cursor.place;
    page->place = arena_printf(request->arena, "%" PRId64, cursor.place);
    page->id = arena_strdup(request->arena, cursor.id);
    page->name = arena_strdup(request->arena, cursor.name);
    return true;
}

/* The length keeps values apart whatever they contain. */
static const char *scope_with(struct http_request *request, const char *scope, const char *value)
{
    static const char nothing[] = "|0:";
    if (value == NULL) { /* as most are */
        size_t length = strlen(scope);
        char *longer = arena_alloc(request->arena, length + sizeof nothing);
        memcpy(longer, scope, length);
        memcpy(longer + length, nothing, sizeof nothing);
        return longer;
    }
    return arena_printf(request->arena, "%s|%zu:%s", scope, strlen(value) + 1, value);
}

const char *parameters_scope(struct http_request *request, const char *list, const char *const *filters)
{
    const char *scope = list;
    for (; *filters != NULL; filters++)
        scope = scope_with(request, scope, parameters_get(request, *filters));
    return scope;
}

const char *parameters_scope_of(struct http_request *request, const char *list, const char *const *values, size_t count)
{
    const char *scope = list;
    for (size_t i = 0; i < count; i++)
        scope = scope_with(request, scope, values[i]);
    return scope;
}

const char *parameters_path_id(struct http_request *request)
{
    char id[UUID_TEXT_SIZE];
    const char *text = request->parameters[0];
    if (uuid_parse(text, strlen(text), id))
        return arena_strdup(request->arena, id);
    problem_respond(request, PROBLEM_NOT_FOUND, NULL);
    return NULL;
}

static void append_encoded(struct buffer *to, const char *text)
{
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++) {
        bool plain = (*at >= '0' && *at <= '9') || (*at >= 'A' && *at <= 'Z') || (*at >= 'a' && *at <= 'z') ||
                     strchr("-._~", *at) != NULL;
        if (plain)
            buffer_append(to, at, 1);
        else
            buffer_printf(to, "%%%02X", *at);
    }
}

/* The path that was asked for: its template, with what stood in it. */
static void append_path(struct buffer *to, const struct http_request *request)
{
    size_t parameter = 0;
    for (const char *at = request->route->path; *at != '\0';) {
        if (*at == '{') {
            append_encoded(to, request->parameters[parameter++]);
            at += strcspn(at, "}") + 1;
        } else {
            buffer_append(to, at++, 1);
        }
    }
}

/* RFC 8288: the same list with its filters, from the cursor on. */
static const char *link_header(struct http_request *request, const char *cursor)
{
    struct buffer link = {0};
    buffer_append_text(&link, "Link: <");
    append_path(&link, request);
    char separator = '?';
    for (size_t i = 0; i < request->query_count; i++) {
        if (strcmp(request->query[i].name, "cursor") == 0)
            continue;
        buffer_printf(&link, "%c%s=", separator, request->query[i].name);
        append_encoded(&link, request->query[i].value);
        separator = '&';
    }
    buffer_printf(&link, "%ccursor=%s>; rel=\"next\"\r\n", separator, cursor);
    const char *line = arena_strdup(request->arena, buffer_text(&link));
    buffer_free(&link);
    return line;
}

bool parameters_next(const PGresult *result, int place_column, int id_column, struct cursor *next)
{
    if (PQgetisnull(result, 0, place_column) || PQgetisnull(result, 0, id_column))
        return false;
    next->name[0] = '\0';
    return text_parse_int64(PQgetvalue(result, 0, place_column), INT64_MIN, INT64_MAX, &next->place) &&
           uuid_parse(PQgetvalue(result, 0, id_column), (size_t)PQgetlength(result, 0, id_column), next->id);
}

const char *parameters_page_body(struct http_request *request, const char *name, const char *array, size_t array_length,
                                 const struct cursor *next, const char *scope, size_t *length, const char **headers)
{
    char cursor[CURSOR_TEXT_MAX];
    char head[64];
    char tail[CURSOR_TEXT_MAX + 32];
    if (next != NULL)
        cursor_sign(next, scope, cursor);
    int head_length = snprintf(head, sizeof head, "{\"%s\":", name);
    int tail_length = next == NULL ? snprintf(tail, sizeof tail, ",\"next_cursor\":null}")
                                   : snprintf(tail, sizeof tail, ",\"next_cursor\":\"%s\"}", cursor);
    *length = (size_t)head_length + array_length + (size_t)tail_length;
    char *body = arena_alloc(request->arena, *length);
    memcpy(body, head, (size_t)head_length);
    memcpy(body + head_length, array, array_length);
    memcpy(body + head_length + array_length, tail, (size_t)tail_length);
    *headers = next == NULL ? "" : link_header(request, cursor);
    return body;
}
