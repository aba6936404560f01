/* asks: a worker's questions to the refresher about keys that are missing (api/fill.h). Worker process; the worker's
 * end of the pair of sockets. */
#ifndef API_ASKS_H
#define API_ASKS_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "api/fill.h"
#include "api/hot_key.h"

/* A question under way; lies in whatever waits for its answer. All zero: none. */
struct ask {
    LIST_ENTRY(ask) link; /* of those under way */
    TAILQ_ENTRY(ask) backlog;
    const struct hot_key *key;
    int64_t number; /* 0: not under way */
    int64_t asked_at;
    bool waits_to_be_sent;
};

/* An answer. The question is no longer under way. */
typedef void asks_answered(struct ask *ask, enum fill_result result);

/* Once, before the others. `answered` is called from the loop. */
void asks_start(struct event_base *base, int socket, asks_answered *answered);
/* Asks, as soon as the socket takes it. `key` stays until the answer or asks_drop. */
void asks_put(struct ask *ask, const struct hot_key *key);
/* Whatever is answered, nobody wants to know. `in_vain`: its time is over. */
void asks_drop(struct ask *ask, bool in_vain);
/* The last time that waiting was in vain the refresher had not said anything at all meanwhile, and has not since: it is
 * not worth waiting for. Asks it after `key` now and then, to hear whether it is back. */
bool asks_is_silent(const struct hot_key *key) MUST_CHECK;

#endif
