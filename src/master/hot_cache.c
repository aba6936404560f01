/* hot_cache: the hot cache as the master sees it: memory that it maps for others, and socket pairs of which it keeps
 * both ends, so that the death of a worker or of the refresher closes none and what waits in one is the successor's.
 * Master. */
#include "master/hot_cache.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "shm/region.h"

#define SEGMENT_SIZE (INT64_C(1) << 20)

static struct {
    size_t count; /* of pairs: workers_max; 0: the cache is off */
    int workers[HOT_CACHE_DESCRIPTORS];
    int refresher[HOT_CACHE_DESCRIPTORS];
} cache;

bool hot_cache_create(const struct configuration *configuration, char *error, size_t error_size)
{
    char why[384];
    size_t count = (size_t)configuration->workers_max;
    if (configuration->cache_size == 0)
        return true;
    INVARIANT(count <= HOT_CACHE_DESCRIPTORS);
    if (!region_create(configuration->cache_size / SEGMENT_SIZE * SEGMENT_SIZE, (int)count, why, sizeof why)) {
        snprintf(error, error_size, "cache_size: %s", why);
        return false;
    }
    for (; cache.count < count; cache.count++) {
        int ends[2];
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
            snprintf(error, error_size, "workers_max: a pair of sockets for each of %zu workers: %s", count,
                     strerror(errno));
            return false;
        }
        cache.workers[cache.count] = ends[0];
        cache.refresher[cache.count] = ends[1];
    }
    return true;
}

bool hot_cache_is_on(void)
{
    return cache.count > 0;
}

void hot_cache_leave(void)
{
    if (hot_cache_is_on())
        region_detach();
}

size_t hot_cache_enter(enum process_role role, int slot, int *keep)
{
    if (!hot_cache_is_on())
        return 0;
    switch (role) {
    case PROCESS_WORKER:
        region_attach_reader(slot);
        keep[0] = hot_cache_worker_end(slot);
        return 1;
    case PROCESS_REFRESHER:
        region_attach_writer();
        child_on_crash(region_distrust);
        memcpy(keep, cache.refresher, cache.count * sizeof *keep);
        return cache.count;
    default:
        region_detach();
        return 0;
    }
}

int hot_cache_worker_end(int slot)
{
    INVARIANT(!hot_cache_is_on() || (slot >= 0 && (size_t)slot < cache.count));
    return hot_cache_is_on() ? cache.workers[slot] : -1;
}

const int *hot_cache_refresher_ends(size_t *count)
{
    *count = cache.count;
    return cache.refresher;
}

void hot_cache_buried(enum process_role role, int slot)
{
    if (hot_cache_is_on() && role == PROCESS_WORKER)
        region_clear_pin(slot);
}
