/* hot: answers requests from the hot cache, and those that find nothing there through the refresher or, where that does
 * not help, through PostgreSQL. Worker process; it reads the region and writes its own page of it. */
#ifndef API_HOT_H
#define API_HOT_H

#include <event2/event.h>

#include "api/caller.h"
#include "api/hot_key.h"
#include "pg/pool.h"

/* How one kind of resource answers. Static memory. */
struct hot_resource {
    /* Cache-Control and Vary where there is no other rule than caller_lines; NULL: that. Ended by CRLF. */
    const char *lines;
    /* Answers with the row (CACHED_ROW, outcome ok) of a query of the worker's own; the row stays. */
    void (*answer)(struct http_request *request, const PGresult *row);
    /* Answers by a statement of its own for this caller: there is no such public thing, but to this caller there may
     * be. */
    caller_continue *plain;
};
/* The columns of CACHED_ROW (statements.h) that answers are made of. */
enum { HOT_ROW_OUTCOME, HOT_ROW_BODY, HOT_ROW_ETAG, HOT_ROW_NEXT_START, HOT_ROW_NEXT_ID };

/* Once, before the first request. `fill` is this worker's socket to the refresher; -1: the cache is off. */
void hot_start(struct event_base *base, int fill);
bool hot_is_on(void);
/* The process is about to end: nobody waits for the refresher any more, which may be gone already. */
void hot_stop(void);

/* Answers, now or later; `key` is copied where it is later. Only where the cache is on. */
void hot_serve(struct http_request *request, const struct caller *caller, const struct hot_key *key,
               const struct hot_resource *resource);
/* Sends a query for this caller alone, whose answer may show what others get under `key`: no worker of the host serves
 * anything older afterwards. `query.done` has the request as its context; where something came into the cache
 * meanwhile, it is not called and that is served. Also where the cache is off. */
void hot_query(const struct hot_key *key, const struct hot_resource *resource, const struct pg_query *query);

/* Of hot.c and parked.c alone: answers from the cache. HOT_FRESH, HOT_STALE: answered. */
enum hot_found hot_try(struct http_request *request, const struct hot_key *key,
                       const struct hot_resource *resource) MUST_CHECK;

#endif
