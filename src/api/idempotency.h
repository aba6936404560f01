/* idempotency: the Idempotency-Key of a write (draft-ietf-httpapi-idempotency-key-header-07), read and judged; what a
 * key means stands in SQL (take_keys). Worker process; pure functions over the request. */
#ifndef API_IDEMPOTENCY_H
#define API_IDEMPOTENCY_H

#include <stdbool.h>

#include "base/object.h"
#include "http/request.h"

#define IDEMPOTENCY_NAME_SIZE 33

/* Reads the header: a string in double quotes (RFC 8941, 3.3.3), or the same characters bare where none of them is a
 * space, quote, backslash, comma or semicolon. `*key` is the text itself in arena memory, NULL where there is no
 * header. false: it is none, or stands twice; the request has been answered with 400. */
bool idempotency_read(struct http_request *request, const char **key) MUST_CHECK;

/* What is asked, as PostgreSQL's text of a bytea: the SHA-256 of method, route, path, preconditions and body. Two
 * requests that mean something else differ; two that mean the same may differ, too (white space in JSON). */
const char *idempotency_hash(const struct http_request *request);

/* A name for the key of the request's user, short enough for a lane. */
void idempotency_name(const struct http_request *request, const char *key, char name[IDEMPOTENCY_NAME_SIZE]);

#endif
