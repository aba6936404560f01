/* problem: the table of refusals, and how one becomes an answer (RFC 9457). Worker process. docs/problems.md has a
 * section for each type; a test holds the two together. */
#include "http/problem.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"

static const char *const slugs[PROBLEM_COUNT] = {
#define PROBLEM_SLUG(symbol, slug) [PROBLEM_##symbol] = slug,
    PROBLEM_LIST(PROBLEM_SLUG)
#undef PROBLEM_SLUG
};

static const struct {
    int status;
    const char *title;
    const char *detail; /* what the caller can do */
} table[PROBLEM_COUNT] = {
    [PROBLEM_BAD_REQUEST] = {400, "The request cannot be read", "Send a well-formed HTTP/1.1 request."},
    [PROBLEM_OUTCOME_UNKNOWN] =
        {503, "The outcome is not known",
         "The write may or may not have taken place. Read the resource back, or send the same request again."},
    [PROBLEM_NOT_PUBLISHED] = {409, "The event is not published", "Publish the event, then register."},
    [PROBLEM_INVALID_JSON] = {400, "The body is not acceptable JSON",
                              "Send one JSON object in UTF-8 without duplicate keys."},
    [PROBLEM_INVALID_FIELDS] = {422, "Fields or parameters are invalid",
                                "Correct what `errors` names and send the request again; nothing was written."},
    [PROBLEM_UNAUTHORIZED] = {401, "A valid token is needed",
                              "Send Authorization: Bearer with a token that is valid for this server."},
    [PROBLEM_FORBIDDEN] = {403, "This is not allowed to the caller", "Ask somebody who has the role that this needs."},
    [PROBLEM_NOT_FOUND] = {404, "There is no such resource",
                           "Check the address, and that the caller may see the resource."},
    [PROBLEM_METHOD_NOT_ALLOWED] = {405, "The method is not allowed here",
                                    "Use one of the methods in the Allow header."},
    [PROBLEM_TOO_LARGE] = {413, "The request is too large", "Send a smaller request."},
    [PROBLEM_UNSUPPORTED_MEDIA_TYPE] = {415, "The media type is not supported",
                                        "Send the body as application/json in UTF-8."},
    [PROBLEM_EVENT_FULL] = {409, "The event is full",
                            "Try again when somebody has cancelled, or choose another event."},
    [PROBLEM_EVENT_CLOSED] = {409, "The event is cancelled or over", "Choose another event."},
    [PROBLEM_NOT_OPEN_YET] = {409, "Registration is not open yet",
                              "Send the request again when registration has opened."},
    [PROBLEM_REGISTRATION_CLOSED] = {409, "Registration is closed", "Ask the event's organizer."},
    [PROBLEM_NOT_ELIGIBLE] = {403, "The person may not register for this event",
                              "See `rule` for what keeps the person out, or ask the event's organizer."},
    [PROBLEM_NOT_REGISTERED] = {409, "The registration holds no seat",
                                "Only who is registered can hand on a place; `registration_status` says what this is."},
    [PROBLEM_ALREADY_REGISTERED] = {409, "The person holds a seat already", "Choose somebody who has none."},
    [PROBLEM_CAPACITY_BELOW_COUNT] = {409, "The capacity is below the number of registered people",
                                      "Choose a capacity of at least `count`, or cancel registrations first."},
    [PROBLEM_WRONG_STATUS] = {409, "The event's status does not allow this",
                              "Read the event again and choose what its status allows."},
    [PROBLEM_PRECONDITION_REQUIRED] = {428, "An If-Match header is needed",
                                       "Read the resource, then send its ETag in If-Match."},
    [PROBLEM_VERSION_CONFLICT] =
        {412, "The resource has changed meanwhile",
         "Read the resource again, repeat the change on it, and send its new ETag in If-Match."},
    [PROBLEM_KEY_REUSED] = {422, "The Idempotency-Key was used for another request",
                            "Use a new key for each new request."},
    [PROBLEM_KEY_IN_USE] = {409, "A request with this Idempotency-Key is still being worked on",
                            "Wait, then send the same request again."},
    [PROBLEM_RATE_LIMITED] = {429, "Too many requests", "Wait as long as Retry-After says."},
    [PROBLEM_OVERLOADED] = {503, "The server has too much to do",
                            "Nothing was written. Send the request again after as long as Retry-After says."},
    [PROBLEM_DATABASE_UNAVAILABLE] = {503, "The database cannot be reached",
                                      "Nothing was written. Send the request again after as long as Retry-After says."},
    [PROBLEM_INTERNAL] = {500, "Something went wrong on the server",
                          "Send the request again; if it happens again, tell the operator the request_id."},
};

const char *problem_slug(enum problem problem)
{
    return slugs[problem];
}

int problem_status(enum problem problem)
{
    return table[problem].status;
}

static void add_text(struct buffer *body, const char *name, const char *value, size_t length)
{
    buffer_append(body, ",\"", 2);
    buffer_append_text(body, name);
    buffer_append(body, "\":", 2);
    text_append_json(body, value, length);
}

void problem_write(struct buffer *body, enum problem problem, int status, const char *detail)
{
    if (detail == NULL)
        detail = table[problem].detail;
    buffer_printf(body, "{\"type\":\"/problems/%s\"", slugs[problem]);
    add_text(body, "title", table[problem].title, strlen(table[problem].title));
    buffer_printf(body, ",\"status\":%d", status);
    add_text(body, "detail", detail, strlen(detail));
}

/* The extension members, but for those that are the server's own to say. */
static void add_members(struct buffer *body, json_t *members)
{
    static const char *const ours[] = {"type", "title", "status", "detail", "instance", "request_id"};
    const char *name;
    json_t *value;
    json_object_foreach(members, name, value)
    {
        bool taken = false;
        for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
            taken = taken || strcmp(name, ours[i]) == 0;
        if (taken)
            continue;
        char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        INVARIANT(text != NULL);
        buffer_append(body, ",", 1);
        text_append_json(body, name, strlen(name));
        buffer_append(body, ":", 1);
        buffer_append_text(body, text);
        free(text);
    }
}

static json_t *read_members(const struct http_request *request, const struct problem_details *details)
{
    if (details->members == NULL)
        return NULL;
    json_t *members = json_loadb(details->members, details->members_length, JSON_REJECT_DUPLICATES, NULL);
    if (members == NULL || !json_is_object(members)) {
        /* SQL of ours made them: the refusal itself is still right */
        log_error("members of a problem are no JSON object", log_text("request_id", request->request_id));
        json_decref(members);
        return NULL;
    }
    return members;
}

/* Whoever is told to come back later is told when. Clients that were all refused at once shall not all come back at
 * once; a moment that is known (409) is told as it is. */
static int retry_seconds(int status, int seconds)
{
    if (status != 429 && status != 503)
        return seconds;
    if (seconds < 1)
        seconds = 1;
    /* the low digits of the clock, mixed: good enough to part clients */
    uint64_t mixed = (uint64_t)clock_monotonic() * UINT64_C(0x9e3779b97f4a7c15);
    return seconds + (int)((mixed >> 33) % ((uint64_t)seconds / 2 + 2));
}

void problem_respond(struct http_request *request, enum problem problem, const struct problem_details *details)
{
    static const struct problem_details none = {0};
    if (details == NULL)
        details = &none;
    int status = details->status != 0 ? details->status : table[problem].status;
    const char *detail = details->detail != NULL ? details->detail : table[problem].detail;
    json_t *members = read_members(request, details);
    const json_t *better = json_object_get(members, "detail");
    if (json_is_string(better))
        detail = json_string_value(better);

    struct buffer body = {0};
    buffer_reserve(&body, 512);
    problem_write(&body, problem, status, detail);
    if (request->target[0] != '\0')
        add_text(&body, "instance", request->target, strcspn(request->target, "?"));
    add_text(&body, "request_id", request->request_id, strlen(request->request_id));
    add_members(&body, members);
    buffer_append(&body, "}", 1);
    json_decref(members);

    /* caches may remember a 404 or 405 of which they are told nothing (RFC 9111, 4.2.2), and the draft be published */
    const char *headers =
        arena_printf(request->arena, "%sCache-Control: no-store\r\n", details->headers == NULL ? "" : details->headers);
    int seconds = retry_seconds(status, details->retry_after);
    if (seconds > 0)
        headers = arena_printf(request->arena, "%sRetry-After: %d\r\n", headers, seconds);
    /* `memory` is what the buffer owns; an answer never outlives it */
    struct http_response response = {.status = status,
                                     .content_type = "application/problem+json",
                                     .headers = headers,
                                     .body = body.memory,
                                     .body_length = buffer_length(&body),
                                     .release = free,
                                     .owner = body.memory};
    http_respond(request, &response);
}
