/* exchange: one request and its answer, as the connection sees them; the request that handlers get is its first member.
 * Request lifetime: it lies in its own arena, from the end of the header block (or the refusal of it) until the answer
 * has been handed to the kernel, or, where the client has gone, until the handler answers. Worker process, src/http
 * only. */
#ifndef HTTP_EXCHANGE_H
#define HTTP_EXCHANGE_H

#include <llhttp.h>
#include <sys/queue.h>

#include "base/buffer.h"
#include "http/guard.h"
#include "http/request.h"
#include "http/router.h"

struct http_server;
struct repeat;

/* What it waits for a turn of the loop for. */
enum exchange_wait {
    EXCHANGE_WAITS_NOT,
    EXCHANGE_WAITS_TO_WORK, /* nobody else holds it */
    EXCHANGE_WAITS_TO_SEND, /* answered; the answer is in the connection's output, which is still there */
};

struct http_exchange {
    struct http_request request; /* OBJECT_HEADER is in it */
    struct http_server *server;
    LIST_ENTRY(http_exchange) entry; /* of the server's list of living exchanges */
    struct guard_facts facts;        /* what the guards read; spans are those of the block */
    /* routing, decided before the body is read */
    enum router_result routing;
    const char *allow;
    /* parsing */
    llhttp_t parser;
    struct buffer body;
    struct repeat *repeat; /* where the request points in there; NULL: everything lies in the arena */
    size_t raw_left;       /* bytes of the body as sent, chunk lines counted, that may still come */
    char last_byte;        /* of those that have come */
    bool headers_done;
    bool message_done;
    enum guard_verdict refusal; /* found by a callback of the parser; GUARD_OK: none */
    /* its turn (turn.h) */
    TAILQ_ENTRY(http_exchange) place;
    enum exchange_wait waits;
    bool takes_turns; /* its answer, too */
    http_work *work;
    void *work_context;
    /* answer */
    bool dispatched; /* counted as in flight */
    bool answered;
    int status;
    size_t bytes; /* of the answer, header block and body */
    void (*release)(void *owner);
    void *owner;
};

/* An exchange without an id yet; `connection` NULL: of nobody (a fuzz target). */
struct http_exchange *exchange_create(struct http_server *server, struct http_connection *connection);
/* Copies the block and hangs method, target, headers and the client's ids into the request, as far as the facts go. */
void exchange_fill(struct http_exchange *exchange, const char *block, size_t length,
                   const struct guard_header *headers);
/* Makes an id where the client gave none. */
void exchange_give_id(struct http_exchange *exchange);
/* Decodes the query string. false: a bad escape, or too many parameters. */
bool exchange_read_query(struct http_exchange *exchange) MUST_CHECK;
/* Tells the observer of the answer, or that there is none. `now` is the clock. */
void exchange_observe(const struct http_exchange *exchange, int64_t now);
/* Writes the access log, releases the body of the answer, drops the arena. `note` says what went wrong, or is NULL. */
void exchange_finish(struct http_exchange *exchange, const char *note);
size_t exchange_memory(const struct http_exchange *exchange);

static inline struct http_exchange *exchange_of(struct http_request *request)
{
    OBJECT_CHECK(request, HTTP_REQUEST_MAGIC);
    return (struct http_exchange *)request;
}

#endif
