/* lane: a table of queues, one per event that is being written to (and one per Idempotency-Key under way). Worker
 * process; a lane exists while somebody is in it. */
#include "api/lane.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/uuid.h"

#define BUCKETS 1024

struct lane {
    LIST_ENTRY(lane) link;
    char key[UUID_TEXT_SIZE];
    TAILQ_HEAD(, lane_place) places;
};

static LIST_HEAD(, lane) table[BUCKETS];

static size_t bucket_of(const char *key)
{
    return XXH3_64bits(key, strlen(key)) % BUCKETS;
}

static struct lane *find(const char *key)
{
    struct lane *lane;
    LIST_FOREACH (lane, &table[bucket_of(key)], link) {
        if (strcmp(lane->key, key) == 0)
            return lane;
    }
    return NULL;
}

static struct lane *make(const char *key)
{
    struct lane *lane = calloc(1, sizeof *lane);
    INVARIANT(lane != NULL && strlen(key) < sizeof lane->key);
    memcpy(lane->key, key, strlen(key) + 1);
    TAILQ_INIT(&lane->places);
    LIST_INSERT_HEAD(&table[bucket_of(key)], lane, link);
    return lane;
}

bool lane_is_taken(const char *key)
{
    return find(key) != NULL;
}

bool lane_enter(struct lane_place *place, const char *key, void *owner)
{
    INVARIANT(place->lane == NULL);
    place->lane = find(key);
    if (place->lane == NULL)
        place->lane = make(key);
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
