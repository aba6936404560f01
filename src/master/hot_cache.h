/* hot_cache: what the master brings to the hot cache: its memory, the sockets by which workers ask for what is missing,
 * and who of its children gets what of them. Master. */
#ifndef MASTER_HOT_CACHE_H
#define MASTER_HOT_CACHE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/configuration.h"
#include "master/process.h"

/* Once, before the first fork; does nothing where cache_size is 0. false: one line in `error`. */
bool hot_cache_create(const struct configuration *configuration, char *error, size_t error_size) MUST_CHECK;
/* Is there one? */
bool hot_cache_is_on(void) MUST_CHECK;

/* In a child, before descriptors are closed: maps what belongs to its role and unmaps the rest. Returns how many
 * descriptors of `keep`, which has room for HOT_CACHE_DESCRIPTORS, are its own. */
#define HOT_CACHE_DESCRIPTORS 256
size_t hot_cache_enter(enum process_role role, int slot, int *keep);
/* In a child of no row. */
void hot_cache_leave(void);
/* The end of a worker's pair; -1: the cache is off. */
int hot_cache_worker_end(int slot);
/* The refresher's ends, by the slots of workers. */
const int *hot_cache_refresher_ends(size_t *count);

/* A child has died. */
void hot_cache_buried(enum process_role role, int slot);

#endif
