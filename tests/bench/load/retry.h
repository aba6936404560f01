/* retry: requests that were refused for now (503, 429) and are sent again when their Retry-After is over. The load
 * generator. */
#ifndef LOAD_RETRY_H
#define LOAD_RETRY_H

#include <event2/event.h>
#include <stdint.h>

#include "client.h"

/* One person's request between two attempts. */
struct retry {
    struct mix_drawn drawn;
    int64_t due;        /* of the first attempt: the final answer's latency counts from there */
    struct buffer text; /* the same bytes again, keys and ids in them included */
    struct event *ripe;
    struct retry *next;
};

/* Takes what the client has asked; from when its moment has come retry_pop finds it. `seconds`: Retry-After. */
void retry_keep(struct client *client, int64_t seconds);
/* The one that has been ripe for the longest, or NULL. The caller frees it with retry_free. */
struct retry *retry_pop(void);
void retry_free(struct retry *retry);
/* Called from the loop whenever one has become ripe. */
void retry_tell(void (*told)(void));

#endif
