/* relief: who has to go when a server is full, or when clients that take their time hold too much of its memory.
 * Worker process, src/http only. */
#ifndef HTTP_RELIEF_H
#define HTTP_RELIEF_H

#include "http/connection.h"

/* To be told of each change of state, before it: keeps the queues. */
void relief_note_state(struct http_connection *connection, enum connection_state next);
/* To be told whenever the memory of a connection may have changed, last of all: past connection_memory it ends others,
 * and maybe this one. */
void relief_note_memory(struct http_connection *connection);
/* The connection that may be closed for a newcomer: of which nothing waits to be read, and that has been idle for
 * longest: at least for a second among those that never sent a request, else at least for ten. NULL: none. */
struct http_connection *relief_find_idle(struct http_server *server) MUST_CHECK;
/* The same for a server that drains: one that has been idle for a second, whether it ever sent a request or not. */
struct http_connection *relief_find_unused(struct http_server *server) MUST_CHECK;

#endif
