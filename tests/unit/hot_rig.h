/* hot_rig: entries for tests of the hot cache. A body says which key and version it is of, and every byte of it follows
 * from these two, so that a wrong one is seen. */
#ifndef TESTS_UNIT_HOT_RIG_H
#define TESTS_UNIT_HOT_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shm/hot_read.h"
#include "shm/hot_write.h"
#include "shm/region.h"

enum { HOT_RIG_MISSING = -1, HOT_RIG_WRONG = -2, HOT_RIG_LAPSED = -3, HOT_RIG_STALE_FROM = 1000000 };

/* The time that tests give, in microseconds: moved by them. */
extern int64_t hot_rig_now;

/* A region of so many MiB, in which this process is the refresher and worker 0; fresh for an hour. */
void hot_rig_begin(int64_t mebibytes, int workers);

/* An entry of a key (its pattern by its first letter), its identity body `size` bytes long, with a gzip variant of half
 * of that where it is above 1000. Valid until the next call. */
struct hot_entry *hot_rig_entry(const char *key, uint64_t version, size_t size);
enum hot_publish hot_rig_publish(const char *key, uint64_t version, size_t size);

/* Is what was found the entry that hot_rig_entry made? `size` 0: whichever it says. */
bool hot_rig_is_body(const struct hot_view *view, const char *key, uint64_t version, size_t size);
/* Looks up as a worker and lets go: the version of what was found, where its bytes are right (stale: plus
 * HOT_RIG_STALE_FROM), else one of the above. */
int64_t hot_rig_find(const char *key);

#endif
