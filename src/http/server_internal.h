/* server_internal: what the connections of one server share. Worker process, src/http only. */
#ifndef HTTP_SERVER_INTERNAL_H
#define HTTP_SERVER_INTERNAL_H

#include <event2/event.h>
#include <sys/queue.h>

#include "base/buffer.h"
#include "http/guard.h"
#include "http/router.h"
#include "http/server.h"

/* One read; a request and its headers fit in nearly always. */
#define READ_SIZE 16384
/* First block of a request's arena: request, headers and the header block of an answer fit for an ordinary browser. */
#define ARENA_SIZE 4096
/* Kept for reuse; what a burst made beyond goes back to the system. AddressSanitizer finds a handler that touches its
 * request after the answer only where nothing is reused. */
#if defined(__SANITIZE_ADDRESS__)
#define REUSES_MEMORY false
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define REUSES_MEMORY false
#endif
#endif
#ifndef REUSES_MEMORY
#define REUSES_MEMORY true
#endif
#define SPARE_ARENAS_MAX 64
#define SPARE_CONNECTIONS_MAX 64
/* Header blocks that are kept (repeat.h): as many kinds of client as ask at a time, and a little. */
#define REPEATS 64

struct http_listener {
    OBJECT_HEADER; /* LISTENER_MAGIC */
    struct http_server *server;
    struct event *event;
    int descriptor; /* -1 after a drain */
};
#define LISTENER_MAGIC 0x4c49534eU

TAILQ_HEAD(connection_queue, http_connection);

/* turn.c */
struct http_turn {
    TAILQ_HEAD(, http_exchange) queue; /* that wait, in order of arrival */
    struct event *timer;
    bool armed;
    int64_t spent;                 /* microseconds of this turn */
    struct http_exchange *at_work; /* whose work is on the stack, or NULL */
};

/* Boot lifetime, but for the lists. */
struct http_server {
    OBJECT_HEADER; /* SERVER_MAGIC */
    struct http_server_options options;
    struct guard_limits limits;
    struct router *router;
    struct http_listener *listeners;
    int64_t connections_max;          /* that the limit of open files allows */
    bool accepting;                   /* the events of the listeners are added */
    bool exhausted;                   /* the system gave no descriptor: only time helps */
    struct event *accept_retry;       /* after that, or when the server is full */
    struct event *idle_end;           /* in a drain that leaves the queue */
    int64_t complained_at;            /* about that, in the log */
    int64_t complained_of_address[2]; /* in the log: untrusted, unusable (forwarded.c) */
    int64_t failure_told_at;          /* a connection that failed, in the log */
    bool draining;
    bool leave_queue; /* of the listeners, in a drain */
    bool drained;     /* options.drained has been called */

    /* The read buffer lent to whichever connection reads just now; its memory is NULL meanwhile. */
    struct buffer scratch;
    struct guard_header *headers; /* of the block that is being looked at */
    size_t header_room;           /* never shrinks: a block that has been scanned by an earlier limit has to fit */

    struct repeat *repeats[REPEATS]; /* by their hash; NULL: not used yet */
    struct arena *spare_arenas[SPARE_ARENAS_MAX];
    size_t spare_arena_count;
    LIST_HEAD(, http_connection) open;
    LIST_HEAD(, http_connection) dying; /* closed; freed one loop turn later */
    LIST_HEAD(, http_connection) spare;
    size_t spare_connection_count;
    struct event *reaper;
    /* relief.c: oldest first */
    struct connection_queue silent; /* that never sent anything */
    struct connection_queue kept;   /* between requests */
    struct connection_queue slow;   /* that wait for the client's headers, body, or for it to read */
    size_t slow_memory;             /* of these */
    int64_t relieved_at;            /* complained about that */
    bool relieving;
    LIST_HEAD(, http_exchange) exchanges;
    struct http_turn turn;
    struct http_statistics counters; /* `memory` is added up when asked for */
};
#define SERVER_MAGIC 0x53525652U

/* Tells the observer, where there is one. */
static inline void server_happened(const struct http_server *server, enum http_occurrence what, int64_t n)
{
    const struct http_observer *observer = server->options.observer;
    if (observer != NULL)
        observer->happened(observer->context, what, n);
}

/* A connection has closed: accepts again where the server was full, frees it in the next turn, notices the end of a
 * drain. */
void server_connection_closed(struct http_server *server);
/* Reading from a connection or writing to it has failed (errno): says so in the log, unless the client or the network
 * brought it about, at most once a second. */
void server_connection_failed(struct http_server *server, const char *call);

#endif
