/* router: finds the line of the route table that a method and a path fit. Worker process; built once at the start. */
#ifndef HTTP_ROUTER_H
#define HTTP_ROUTER_H

#include <stddef.h>

#include "http/request.h"

enum router_result {
    ROUTER_FOUND,
    ROUTER_OPTIONS,  /* OPTIONS of a known path that has no route for it: answered from `allow` */
    ROUTER_METHOD,   /* the path is known, the method is not */
    ROUTER_UNKNOWN,  /* no such path */
    ROUTER_BAD_PATH, /* a percent escape that is none, or does not give UTF-8 */
};

struct router;

/* `routes` ends with a path of NULL and outlives the router. Two lines with the same method and path, or more than
 * HTTP_ROUTE_PARAMETERS_MAX parameters in a path, are broken invariants. */
struct router *router_create(const struct http_route *routes);
void router_destroy(struct router *router);

/* Splits the path at '/', then decodes each segment once. A literal segment wins over a parameter. Sets
 * `request->route` and `request->parameters` (ROUTER_FOUND) and `allow` (where the path is known): "GET, HEAD, POST".
 */
enum router_result router_find(const struct router *router, struct http_request *request, const char *path,
                               size_t length, const char **allow) MUST_CHECK;

#endif
