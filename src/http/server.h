/* server: accepts connections of the shared listeners and speaks HTTP/1.1 on them. Worker process. */
#ifndef HTTP_SERVER_H
#define HTTP_SERVER_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/configuration.h"
#include "http/guard.h"
#include "http/request.h"

struct http_server;

/* What an observer hears of connections. */
enum http_occurrence {
    HTTP_CLOSED_CLIENT, /* by the client, or it broke */
    HTTP_CLOSED_ANSWERED,
    HTTP_CLOSED_REFUSED, /* after bytes that no request can be */
    HTTP_CLOSED_IDLE_TIME,
    HTTP_CLOSED_HEADER_TIME,
    HTTP_CLOSED_BODY_TIME,
    HTTP_CLOSED_WRITE_TIME,
    HTTP_CLOSED_ROOM, /* idle, and somebody else wanted to come in */
    HTTP_CLOSED_SHUTDOWN,
    HTTP_ACCEPTED,
    HTTP_RECEIVED,          /* `n` bytes */
    HTTP_FULL,              /* max_connections are open: accepting has stopped */
    HTTP_EXHAUSTED,         /* the system gives no descriptor or memory: the same */
    HTTP_CUT_OFF,           /* slow clients hold connection_memory: one of them is ended before its time */
    HTTP_ADDRESS_UNTRUSTED, /* client_address_header came from a peer that is none of trusted_proxies */
    HTTP_ADDRESS_UNUSABLE,  /* it came from one, and holds no address */
    HTTP_PUT_OFF,           /* a write, or the answer to one, waits for another turn of the loop */
    HTTP_OCCURRENCE_COUNT
};

/* Whoever counts, told while it happens; what it is called with may be gone after the call. */
struct http_observer {
    /* A request is about to be answered: before the first byte of it leaves, so that no client knows of an answer that
     * is not counted. Status 0: the client went before it had sent the whole request, or before anybody had looked at
     * it. `microseconds` are from its first byte on. */
    void (*answered)(void *context, const struct http_request *request, int status, size_t bytes, int64_t microseconds);
    /* A request is refused for its bytes alone; `answered` follows. */
    void (*refused)(void *context, enum guard_verdict verdict);
    void (*happened)(void *context, enum http_occurrence what, int64_t n);
    void *context;
};

/* Everything a server needs; limits and time-outs come from the configuration. Boot memory. */
struct http_server_options {
    struct event_base *base;
    const struct configuration *configuration;
    const struct http_route *routes; /* ended by a path of NULL */
    const int
        *listeners; /* non-blocking listening sockets, inherited; not closed by the server before http_server_drain */
    size_t listener_count;
    bool behind_proxies;                  /* trusted_proxies counts here; else no peer is believed */
    const struct http_observer *observer; /* NULL: nobody counts; boot lifetime */
    bool listeners_stay; /* others have them open and go on: a drain leaves them who waits in their queues */
    /* Called when the last connection has gone after http_server_drain. */
    void (*drained)(void *context);
    void *context;
};

/* Counters of this process since its start. */
struct http_statistics {
    int64_t connections; /* open now */
    int64_t accepted;
    int64_t requests;
    int64_t in_flight; /* requests being worked on now */
    int64_t memory;    /* bytes of buffers and arenas of connections */
};

/* Accepts from the next turn of the loop on. */
struct http_server *http_server_create(const struct http_server_options *options);
/* Walks the connections to add up their memory: for reports, not for each request. */
void http_server_statistics(const struct http_server *server, struct http_statistics *statistics);

/* Takes over the limits and time-outs of the configuration, which has changed. Deadlines that run move with them. */
void http_server_reload(struct http_server *server);

/* Accepts until nothing waits (not where the listeners stay, or `leave_queue`), closes the listeners, answers what
 * comes on kept connections once more with Connection: close; `drained` is called when none is left. */
void http_server_drain(struct http_server *server, bool leave_queue);
/* Ends every connection now. Requests that handlers still work on are answered to nobody. */
void http_server_close_all(struct http_server *server);
/* For tests and the end of the process: also drops requests that have not been answered, so no handler may be left that
 * would answer. Does not close the listeners. */
void http_server_destroy(struct http_server *server);

#endif
