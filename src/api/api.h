/* api: what all resources of the API share in a worker: its pools and limits. Worker process. */
#ifndef API_API_H
#define API_API_H

#include <event2/event.h>

#include "base/child.h"
#include "base/configuration.h"
#include "http/request.h"
#include "pg/pool.h"

/* Boot lifetime; one per worker. Reads and writes never share a connection: a write that waits would hold up reads
 * behind it. */
struct api {
    struct event_base *base;
    const struct configuration *configuration;
    struct pg_pool *read;
    struct pg_pool *write;
    struct pg_pool *busy;          /* of the registration engine, for events whose seats somebody else holds */
    const struct child_host *host; /* what the master last said, for /readyz */
    void (*sample)(void);          /* brings the gauges of this process up to date, for /metrics */
    int schema_expected;           /* the migration that this program needs at least */
};

/* Once per worker, before the first request. */
void api_set(const struct api *api);
const struct api *api_get(void);

/* The route tables, ended by a path of NULL: of the public and of the internal listener. */
const struct http_route *api_routes(void);
const struct http_route *api_internal_routes(void);

#endif
