/* repeat: header blocks that clients send again and again, byte for byte, and what they were found to say: the same
 * bytes get the same judgement, so that a client that asks again and again is not read again and again. Worker process,
 * src/http only. */
#ifndef HTTP_REPEAT_H
#define HTTP_REPEAT_H

#include "http/connection.h"

/* A longer block is no everyday one. */
#define REPEAT_SIZE 1024

/* One block. Boot memory; what it holds changes only while no exchange uses it. */
struct repeat {
    size_t length;              /* 0: none */
    size_t users;               /* exchanges whose requests point in here */
    bool asked;                 /* since somebody else wanted the place */
    struct http_exchange model; /* with an arena of its own; what the block alone decides is filled in */
    char block[REPEAT_SIZE];
};

/* Finds the block that `bytes` begin with, where it is the one that this connection has repeated. */
struct repeat *repeat_find(const struct http_connection *connection, const char *bytes, size_t length);
/* Fills in everything that comes from the block, as if it had been read; given back by repeat_release. */
void repeat_use(struct repeat *repeat, struct http_exchange *exchange);
void repeat_release(struct repeat *repeat);
/* A block has been judged fine and routed: it is kept from the second time on. `headers` are those that the guards
 * found.
 */
void repeat_note(struct http_connection *connection, const char *block, size_t length,
                 const struct guard_header *headers);
/* The limits have changed: no judgement holds any longer. */
void repeat_forget(struct http_server *server);
/* For the end of the server; nobody uses one any more. */
void repeat_free(struct http_server *server);
size_t repeat_memory(const struct http_server *server);

#endif
