/* proxied: who a trusted proxy says is signed in. Worker process. */
#ifndef API_PROXIED_H
#define API_PROXIED_H

#include <stdbool.h>
#include <stddef.h>

#include "http/request.h"
#include "identity/token.h"

enum proxied {
    PROXIED_NOBODY,   /* proxies sign nobody in here, or this one says that nobody is */
    PROXIED_SOMEBODY, /* `claims` says who */
    PROXIED_TWICE,    /* a header of identity stands twice: nobody can tell whose word it is */
    PROXIED_UNUSABLE, /* what decides who it is or what they may do cannot be used */
};

/* Reads the headers of identity. Those of a peer that is not believed are dropped and counted. */
enum proxied proxied_read(const struct http_request *request, struct token_claims *claims) MUST_CHECK;
/* Bytes by which the memo knows this very identity, in every respect; no token is spelled so. Arena memory. */
const char *proxied_spelling(const struct http_request *request, const struct token_claims *claims, size_t *length);
/* Did another site make the person's browser send this write? The proxy knows people by a cookie, and that comes along
 * with what other sites' pages send. */
bool proxied_is_forged(const struct http_request *request);

#endif
