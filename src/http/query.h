/* query: the parameters of a request's query string. Worker process. */
#ifndef HTTP_QUERY_H
#define HTTP_QUERY_H

#include "http/request.h"

/* The first parameter of that name, decoded, or NULL. */
const char *http_request_query(const struct http_request *request, const char *name);

/* Every parameter is one of `allowed` (ended by NULL) and stands there once. false: the request has been answered with
 * 422, which names each one that is not. */
bool http_request_query_check(struct http_request *request, const char *const *allowed) MUST_CHECK;

#endif
