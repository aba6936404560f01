/* client: one connection of the load generator: sends a request, reads the answer, says what became of it. */
#ifndef LOAD_CLIENT_H
#define LOAD_CLIENT_H

#include <event2/event.h>
#include <llhttp.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/buffer.h"
#include "mix.h"

/* Why a request failed, as the report names it. */
enum client_failure {
    CLIENT_REFUSED,    /* nobody took the connection */
    CLIENT_CLOSED,     /* a kept connection was closed before a byte of the answer came */
    CLIENT_LOST,       /* a connection ended before the whole answer had come */
    CLIENT_TIMED_OUT,  /* no whole answer within --timeout */
    CLIENT_MALFORMED,  /* what came is not HTTP */
    CLIENT_UNEXPECTED, /* a status that the mix does not expect */
    CLIENT_FAILURE_COUNT
};

enum client_state {
    CLIENT_FREE,       /* asks nothing; connected or not */
    CLIENT_CONNECTING, /* its request waits for the connection */
    CLIENT_ASKING,     /* the request goes out, or the answer comes in */
};

struct client;
struct retry;

/* Whom clients tell what happened; one for all. Called from the loop. */
struct client_owner {
    struct event_base *base;
    struct mix *mix;
    const struct sockaddr *address;
    socklen_t address_length;
    int64_t timeout;  /* microseconds */
    double fresh;     /* share of requests that want their connection closed */
    int64_t connects; /* connections made */
    int64_t unasked;  /* answers to nothing; none are right */
    /* The answer is there. `body` is its beginning. */
    void (*answered)(struct client *client, int status, const char *body, size_t length);
    void (*failed)(struct client *client, enum client_failure failure, int status, const char *detail);
    /* It is to be asked again: `text` holds it until the return, client_repeat sends it. `retry_after`: seconds. */
    void (*postponed)(struct client *client, int status, int64_t retry_after, const char *body, size_t length);
};

struct client {
    struct client_owner *owner;
    enum client_state state;
    int descriptor; /* -1: not connected */
    int port;       /* its own, where it is TCP */
    struct event *readable;
    struct event *writable;
    struct event *timer;
    struct buffer out;
    struct buffer text; /* all of the request, where it may have to be asked again */
    struct buffer body; /* the first bytes of the answer's body */
    char header[16];    /* name of the header that is being read; longer ones do not matter */
    size_t header_length;
    int64_t retry_after; /* seconds, as the answer says; -1: it does not */
    llhttp_t parser;
    bool complete;
    bool kept;    /* the connection has carried a request before */
    bool heard;   /* a byte of the answer has come */
    int64_t due;  /* when the request should have been sent */
    int64_t sent; /* when it was */
    struct mix_drawn drawn;
    struct client *next; /* among the free ones; the owner's */
};

void client_create(struct client *client, struct client_owner *owner);
/* Draws a request and sends it, on a new connection where there is none. The client is CLIENT_FREE. false: there is
 * nothing more to ask. */
bool client_ask(struct client *client, int64_t due) MUST_CHECK;
/* Sends again what was postponed. The client is CLIENT_FREE; `retry` stays the caller's. */
void client_repeat(struct client *client, const struct retry *retry);
void client_close(struct client *client);
const char *client_failure_name(enum client_failure failure);

#endif
