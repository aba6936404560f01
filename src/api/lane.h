/* lane: writes to one event go one after another within a worker. Only the first of a lane is with PostgreSQL; the
 * others would only find the seats row taken by it, and each such find costs a statement. Worker process. */
#ifndef API_LANE_H
#define API_LANE_H

#include <stdbool.h>
#include <sys/queue.h>

#include "base/object.h"

struct lane;

/* A place in a lane; lies in whatever waits there, and stays until it has left. */
struct lane_place {
    TAILQ_ENTRY(lane_place) link;
    struct lane *lane; /* NULL: in none */
    void *owner;
};

/* Puts the place behind the others of the lane `key`. true: it is the first, its owner goes on; else lane_leave of the
 * one before names it. */
bool lane_enter(struct lane_place *place, const char *key, void *owner) MUST_CHECK;
/* Whether anybody is in the lane `key`. */
bool lane_is_taken(const char *key) MUST_CHECK;
/* The first leaves. Returns the owner of the new first one, who goes on, or NULL. */
void *lane_leave(struct lane_place *place) MUST_CHECK;

#endif
