/* connection: one client connection, from accept to close: reads, cuts requests out of the bytes, has them judged,
 * parsed and routed one at a time, writes the answers. Worker process, src/http only; servers see it through server.h.
 */
#ifndef HTTP_CONNECTION_H
#define HTTP_CONNECTION_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/uio.h>

#include "base/buffer.h"
#include "base/network.h"
#include "http/exchange.h"
#include "http/guard.h"
#include "http/server_internal.h"

enum connection_state {
    CONNECTION_CLOSED,    /* no descriptor, no events; on the dying or the spare list */
    CONNECTION_IDLE,      /* no byte of a request has come, or a whole header block that is being judged at this moment;
                             deadline: idle_timeout, for the first request header_timeout */
    CONNECTION_HEADERS,   /* a request has begun, its header block is not complete; no exchange yet; deadline:
                             header_timeout */
    CONNECTION_BODY,      /* the exchange exists, its body is not complete; deadline: body_timeout */
    CONNECTION_HANDLING,  /* a handler owes the answer; no deadline of ours; further requests wait in `input` */
    CONNECTION_WRITING,   /* the kernel has not taken the whole answer; deadline: write_timeout */
    CONNECTION_LINGERING, /* our side is shut, what comes is dropped until the client has seen the answer; deadline: 2 s
                           */
};

/* Connection lifetime: kept for reuse, freed one loop turn late because a caller up the stack may still hold it. */
struct http_connection {
    OBJECT_HEADER; /* CONNECTION_MAGIC */
    enum connection_state state;
    struct http_server *server;
    LIST_ENTRY(http_connection) entry;  /* of the server's open, dying or spare list */
    TAILQ_ENTRY(http_connection) place; /* in `queue` */
    struct connection_queue *queue;     /* one of the server's, or NULL */
    size_t slow_memory;                 /* counted in the server's */
    int descriptor;
    bool served;                 /* an answer has been sent */
    bool skipped_line;           /* the one empty line that may stand before a request has been skipped */
    enum http_occurrence reason; /* why it will be closed; by the client, until something else is known */
    bool close;                  /* after the answer */
    bool linger;                 /* when closing: the client may still be sending */
    bool peer_closed;            /* the client will send no more */
    bool processing;             /* process() is on the stack */
    bool resume;                 /* the read event was made active to go on with `input` */
    bool lent;                   /* `input` is the server's scratch */
    bool reading_stopped;        /* the read event is not added: `input` holds enough */
    int64_t accepted_at;
    int64_t idle_at;     /* since when, where it is */
    int64_t started_at;  /* first byte of the request */
    int64_t deadline;    /* clock_monotonic */
    int64_t time_limit;  /* the time-out of the configuration that the deadline comes from */
    int64_t timer_until; /* when the timer will fire; NEVER: it is not added. Later than `deadline` only within a
                            callback */
    size_t linger_left;  /* bytes that are still dropped before it ends anyway */
    struct guard_scan scan;
    struct repeat *repeat; /* the block that it sent last, where that one is kept; it may hold another by now */
    uint64_t last_block;   /* hash of the block that it sent last and that was read */
    struct buffer input;
    struct http_exchange *exchange;
    struct iovec output[3]; /* what the kernel has not taken: interim answer, header block, body */
    int output_count;
    struct event read_event;
    struct event write_event;
    struct event timer;
    struct network_peer peer;
    char address[NETWORK_TEXT_SIZE]; /* of the peer */
};
#define CONNECTION_MAGIC 0x434f4e4eU

/* Takes over an accepted descriptor. */
void connection_open(struct http_server *server, int descriptor, const struct network_peer *peer);
/* Says why it is going to be closed; the first reason stays. */
static inline void connection_because(struct http_connection *connection, enum http_occurrence reason)
{
    if (connection->reason == HTTP_CLOSED_CLIENT)
        connection->reason = reason;
}
/* Ends it now; a request that a handler still works on outlives it. */
void connection_close(struct http_connection *connection);
/* Its time is over: says so where a request has begun, else ends it without a word. */
void connection_expire(struct http_connection *connection);
/* Sends the answer of the current exchange; both parts stay valid until exchange_finish. */
void connection_send(struct http_connection *connection, const char *head, size_t head_length, const char *body,
                     size_t body_length);
/* The same, but the body is valid during the call only: what the kernel does not take is copied to the exchange. */
void connection_send_borrowed(struct http_connection *connection, const char *head, size_t head_length,
                              const char *body, size_t body_length);
/* Sends the answer that has waited for its turn. */
void connection_send_waiting(struct http_connection *connection);
/* Writes what the kernel takes of the output; the rest follows from the loop. */
void connection_flush(struct http_connection *connection);
/* The only place that changes the state. */
void connection_enter(struct http_connection *connection, enum connection_state state);
/* Moves the deadline after the configuration's time-outs have changed. */
void connection_retime(struct http_connection *connection);
/* Frees what `dying` holds, keeping some for reuse; server.c, once a loop turn. */
void connection_reap(struct http_server *server);
void connection_free_spare(struct http_server *server);
size_t connection_memory(const struct http_connection *connection);

#endif
