/* connection: one connection to Redis, asynchronous, by hiredis on the libevent loop. Refresher. It has no time-outs
 * for commands; who sends them (store.c) knows what is late. */
#ifndef REDIS_CONNECTION_H
#define REDIS_CONNECTION_H

#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/object.h"

struct redis_connection;

enum redis_connection_state {
    REDIS_CLOSED,
    REDIS_RESOLVING,  /* the host's name is looked up; nothing is open */
    REDIS_CONNECTING, /* connect, AUTH and PING are on their way */
    REDIS_READY,      /* commands may be sent */
    REDIS_STATE_COUNT
};

struct redis_connection_options {
    struct event_base *base;
    const char *socket; /* path, or NULL */
    const char *name;   /* host name or address, where there is no path */
    int port;
    /* The end of each redis_connection_open: `reason` NULL: ready. Else it is closed, or was lost after it was ready;
     * the text is valid during the call. From the loop. */
    void (*changed)(void *context, const char *reason);
    void *context;
};

/* `reply` NULL: the connection is gone, and what became of the command is not known. Valid during the call. */
typedef void redis_replied(void *context, const redisReply *reply);

/* Boot lifetime; keeps the texts of the options. */
struct redis_connection *redis_connection_create(const struct redis_connection_options *options);
/* From REDIS_CLOSED. `timeout` (microseconds) is for everything but the lookup of a name, which has a time-out of its
 * own. The password file (NULL: none) is read here: one line, the password; or two, a user and the password. */
void redis_connection_open(struct redis_connection *connection, const char *password_file, int64_t timeout);
/* Whatever its state; `changed` is not called, each command that is open is answered NULL from within. */
void redis_connection_close(struct redis_connection *connection);
enum redis_connection_state redis_connection_state(const struct redis_connection *connection);
/* Only when ready. false: it was not sent; it will be lost presently. */
bool redis_connection_send(struct redis_connection *connection, int count, const char *words[], const size_t lengths[],
                           redis_replied *replied, void *context) MUST_CHECK;
/* Closes it first. */
void redis_connection_destroy(struct redis_connection *connection);

#endif
