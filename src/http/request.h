/* request: one HTTP request as the routes see it, and the answer to it. Worker process.
 * A request lives in an arena of its own until it has been answered and its connection has let go of it; a handler
 * may keep the pointer while it waits for PostgreSQL, also when the client has gone meanwhile. */
#ifndef HTTP_REQUEST_H
#define HTTP_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/arena.h"
#include "base/network.h"
#include "base/object.h"

struct http_connection;
struct http_route;

enum http_method {
    HTTP_METHOD_GET,
    HTTP_METHOD_HEAD,
    HTTP_METHOD_POST,
    HTTP_METHOD_PUT,
    HTTP_METHOD_PATCH,
    HTTP_METHOD_DELETE,
    HTTP_METHOD_OPTIONS,
    HTTP_METHOD_OTHER
};

/* Name and value of a header or a query parameter, NUL-terminated, arena memory. Header names are lower case. */
struct http_pair {
    const char *name;
    const char *value;
    size_t value_length;
};

/* Most names differ in their first letter. */
static inline bool http_pair_is(const struct http_pair *pair, const char *name)
{
    return pair->name[0] == name[0] && strcmp(pair->name, name) == 0;
}

#define HTTP_ROUTE_PARAMETERS_MAX 3

/* Open: handlers read it. Everything in it is arena memory. */
struct http_request {
    OBJECT_HEADER; /* HTTP_REQUEST_MAGIC */
    struct arena *arena;
    enum http_method method;
    const char *method_name;        /* as sent; for the log */
    const char *target;             /* path and query, raw; "" where the bytes were refused before it was read */
    const struct http_route *route; /* NULL before routing and where none fits */
    const char *parameters[HTTP_ROUTE_PARAMETERS_MAX]; /* of the path template, in order, decoded once */
    struct http_pair *query;                           /* decoded once, in order */
    size_t query_count;
    struct http_pair *headers;
    size_t header_count;
    const char *body; /* NUL-terminated, de-chunked; never NULL */
    size_t body_length;
    const char *request_id;             /* the proxy's (a valid X-Request-Id) or made */
    const char *traceparent;            /* of W3C Trace Context where it is well formed, else NULL */
    const char *user_id;                /* set by identity; NULL without; for the log */
    const char *client_address;         /* the peer's, or what a trusted proxy names; "unix" without one */
    struct network_peer client;         /* the same */
    bool from_proxy;                    /* the peer is one of trusted_proxies: what it says of the client counts */
    const char *answer_lines;           /* header lines of whatever answer it gets, each ended by CRLF; NULL: none */
    int64_t started_at;                 /* clock_monotonic of its first byte */
    void *context;                      /* the handler's own */
    struct http_connection *connection; /* NULL once the client has gone */
};
#define HTTP_REQUEST_MAGIC 0x52515354U

typedef void http_handler(struct http_request *request);

typedef void http_work(void *context);

/* For what takes the processor for longer than an answer from memory does: done now, or, where this turn of the loop
 * has spent enough on such things, in one of the next, in order of arrival. `work` must lead to an answer as a handler
 * does; where the client goes first it is never called, and the request has ended. Handlers of other methods than GET
 * have waited for their turn already. */
void http_in_turn(struct http_request *request, http_work *work, void *context);

/* One line of the route table. Templates: "/api/events/{id}"; a {name} takes one non-empty segment. */
struct http_route {
    enum http_method method; /* GET serves HEAD too */
    const char *path;
    http_handler *handler;
    unsigned flags; /* the route table's own (src/api) */
};

/* The value of a header (name in lower case), or NULL. Repeated list headers are joined by ", ". */
const char *http_request_header(const struct http_request *request, const char *name);

/* Whether its client still waits for the answer: it is there, and has not closed its side. Costs a system call; a
 * client that closes its side only to say that it has no more to send (few do) cannot be told from one that has gone.
 */
bool http_request_is_awaited(const struct http_request *request) MUST_CHECK;

/* An answer. `headers` holds further lines, each ended by CRLF, or NULL; Date, Content-Length, Connection,
 * X-Request-Id, Server and X-Content-Type-Options are added by the connection. The body is not copied: `release(owner)`
 * is called once when it is no longer needed; with `release` NULL it must be static or arena memory of the request. */
struct http_response {
    int status;
    const char *content_type; /* NULL: none (204, 304) */
    const char *headers;
    const char *body;
    size_t body_length;
    void (*release)(void *owner);
    void *owner;
};

/* Answers the request; exactly one call per request, from its handler or later. After it the request may be gone.
 * HEAD, a gone client and 204/304 are taken care of. */
void http_respond(struct http_request *request, const struct http_response *response);

/* An answer whose parts are somebody else's for no longer than the call: the hot cache's, which is pinned meanwhile.
 * `lines` were made ready with the body and hold what only its maker knows (Content-Type, Content-Length and so on, of
 * a 304 its ETag); `more` is what the caller adds. Both are header lines, each ended by CRLF, or of length 0. */
struct http_shared {
    int status;
    const char *lines;
    size_t lines_length;
    const char *more;
    size_t more_length;
    const char *body;
    size_t body_length;
};

/* As http_respond, straight from where the parts lie: one system call, no memory. What the kernel does not take of the
 * body is copied before this returns, so that a slow client holds nothing but memory of its connection. */
void http_respond_shared(struct http_request *request, const struct http_shared *shared);

#endif
