/* parked: requests whose body is not in the hot cache, until it is there or has come from PostgreSQL. Worker process.
 */
#ifndef API_PARKED_H
#define API_PARKED_H

#include "api/hot.h"

/* Once. `fill` is the socket to the refresher. */
void parked_start(struct event_base *base, int fill);
/* Nobody waits for the refresher any more. */
void parked_stop(void);

/* What hot_serve and hot_query do where the cache alone does not do. `found` is HOT_MISSING or HOT_LAPSED. */
void parked_add(struct http_request *request, const struct caller *caller, const struct hot_key *key,
                const struct hot_resource *resource, enum hot_found found);
void parked_query(const struct hot_key *key, const struct hot_resource *resource, const struct pg_query *query);

#endif
