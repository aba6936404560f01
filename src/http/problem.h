/* problem: every refusal is application/problem+json (RFC 9457). One table (problem.c) holds each type with its
 * status, title and what the caller can do. Worker process. */
#ifndef HTTP_PROBLEM_H
#define HTTP_PROBLEM_H

#include "base/buffer.h"
#include "http/request.h"

/* PROBLEM(symbol, slug): the list of section 5 of the design; status, title and detail stand in problem.c. */
#define PROBLEM_LIST(PROBLEM)                                 \
    PROBLEM(BAD_REQUEST, "bad-request")                       \
    PROBLEM(OUTCOME_UNKNOWN, "outcome-unknown")               \
    PROBLEM(NOT_PUBLISHED, "not-published")                   \
    PROBLEM(INVALID_JSON, "invalid-json")                     \
    PROBLEM(INVALID_FIELDS, "invalid-fields")                 \
    PROBLEM(UNAUTHORIZED, "unauthorized")                     \
    PROBLEM(FORBIDDEN, "forbidden")                           \
    PROBLEM(NOT_FOUND, "not-found")                           \
    PROBLEM(METHOD_NOT_ALLOWED, "method-not-allowed")         \
    PROBLEM(TOO_LARGE, "too-large")                           \
    PROBLEM(UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type") \
    PROBLEM(EVENT_FULL, "event-full")                         \
    PROBLEM(EVENT_CLOSED, "event-closed")                     \
    PROBLEM(NOT_OPEN_YET, "not-open-yet")                     \
    PROBLEM(REGISTRATION_CLOSED, "registration-closed")       \
    PROBLEM(NOT_ELIGIBLE, "not-eligible")                     \
    PROBLEM(NOT_REGISTERED, "not-registered")                 \
    PROBLEM(ALREADY_REGISTERED, "already-registered")         \
    PROBLEM(CAPACITY_BELOW_COUNT, "capacity-below-count")     \
    PROBLEM(WRONG_STATUS, "wrong-status")                     \
    PROBLEM(PRECONDITION_REQUIRED, "precondition-required")   \
    PROBLEM(VERSION_CONFLICT, "version-conflict")             \
    PROBLEM(KEY_REUSED, "key-reused")                         \
    PROBLEM(KEY_IN_USE, "key-in-use")                         \
    PROBLEM(RATE_LIMITED, "rate-limited")                     \
    PROBLEM(OVERLOADED, "overloaded")                         \
    PROBLEM(DATABASE_UNAVAILABLE, "database-unavailable")     \
    PROBLEM(INTERNAL, "internal")

enum problem {
#define PROBLEM_ENUM(symbol, slug) PROBLEM_##symbol,
    PROBLEM_LIST(PROBLEM_ENUM)
#undef PROBLEM_ENUM
        PROBLEM_COUNT
};

/* What a refusal says beyond its type. All may be zero or NULL. */
struct problem_details {
    int status;          /* instead of the table's (414, 431, 408, 501, 505 share bad-request or too-large) */
    const char *detail;  /* instead of the table's */
    const char *members; /* a JSON object; its members are added (a "detail" in it wins over the table's) */
    size_t members_length;
    int retry_after;     /* seconds for Retry-After; 0: none, but 1 for 429 and 503, where it is also spread upwards */
    const char *headers; /* further header lines, each ended by CRLF */
};

/* The members that every problem has, as JSON without the closing brace: type, title, status and detail (NULL: the
 * table's). For a problem that is part of an answer. */
void problem_write(struct buffer *body, enum problem problem, int status, const char *detail);

/* The last part of the type, and the status that goes with it unless the details name another. */
const char *problem_slug(enum problem problem);
int problem_status(enum problem problem);

/* Answers the request with the problem; carries type, title, status, detail, instance (the request's path) and
 * request_id. */
void problem_respond(struct http_request *request, enum problem problem, const struct problem_details *details);

#endif
