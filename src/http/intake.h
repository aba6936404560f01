/* intake: from the bytes of a connection to requests at their handlers. Worker process, src/http only. */
#ifndef HTTP_INTAKE_H
#define HTTP_INTAKE_H

#include "http/connection.h"
#include "http/guard.h"

/* Works off connection->input until bytes are missing or an answer is owed. The connection may be closed afterwards. */
void intake_process(struct http_connection *connection);

/* Bytes that no request can be, or that come too slowly: a problem is the answer, and the connection ends, since nobody
 * knows where a next request would begin. */
void intake_refuse(struct http_connection *connection, enum guard_verdict verdict);

#endif
