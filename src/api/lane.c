/* lane: a table of queues, one per event that is being written to. Worker process; a lane exists while somebody is in
 * it. */
#include "api/lane.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/uuid.h"

#define BUCKETS 1024

struct lane {
    LIST_ENTRY(lane) link;
    size_t bucket;
    char key[UUID_TEXT_SIZE];
    TAILQ_HEAD(, lane_place) places;
};

static LIST_HEAD(, lane) table[BUCKETS];

static struct lane *find_or_make(const char *key)
{
    size_t bucket = XXH3_64bits(key, strlen(key)) % BUCKETS;
    struct lane *lane;
    LIST_FOREACH (lane, &table[bucket], link) {
        if (strcmp(lane->key, key) == 0)
            return lane;
    }
    lane = calloc(1, sizeof *lane);
    INVARIANT(lane != NULL && strlen(key) < sizeof lane->key);
    memcpy(lane->key, key, strlen(key) + 1);
    lane->bucket = bucket;
    TAILQ_INIT(&lane->places);
    LIST_INSERT_HEAD(&table[bucket], lane, link);
    return lane;
}

bool lane_enter(struct lane_place *place, const char *key, void *owner)
{
    INVARIANT(place->lane == NULL);
    place->lane = find_or_make(key);
    place->owner = owner;
    TAILQ_INSERT_TAIL(&place->lane->places, place, link);
    return TAILQ_FIRST(&place->lane->places) == place;
}

void *lane_leave(struct lane_place *place)
{
    struct lane *lane = place->lane;
    INVARIANT(lane != NULL && TAILQ_FIRST(&lane->places) == place);
    TAILQ_REMOVE(&lane->places, place, link);
    place->lane = NULL;
    struct lane_place *next = TAILQ_FIRST(&lane->places);
    if (next != NULL)
        return next->owner;
    LIST_REMOVE(lane, link);
    free(lane);
    return NULL;
}
