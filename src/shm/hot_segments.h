/* hot_segments: room for entries, and how it is had again; for src/shm alone. Refresher. */
#ifndef SHM_HOT_SEGMENTS_H
#define SHM_HOT_SEGMENTS_H

#include "shm/hot_layout.h"

/* What lives, by pattern: kept up to date by the calls below. */
struct hot_living {
    int64_t entries[HOT_PATTERN_COUNT];
    int64_t bytes[HOT_PATTERN_COUNT];
    int64_t evictions[HOT_PATTERN_COUNT];
};
extern struct hot_living hot_living;

/* All segments free, but for those that are pinned. */
void hot_segments_begin(hot_evicted *evicted, void *context);
/* While the successor verifies: an entry that ends at `end` of its segment lives; the segment is one of before. */
void hot_segments_keep(uint64_t reference);

/* A place of `size` bytes (a multiple of HOT_LINE) in the open segment, where nothing is seen until it is published.
 * Entries may move and go for it. NULL: there is none, as everything is pinned. */
char *hot_segments_room(uint32_t size, uint32_t *segment, uint32_t *offset);
/* The place that was got last is used. */
void hot_segments_publish(uint64_t reference);
/* No slot leads there any more; `evicted`: for room. */
void hot_segments_dead(uint64_t reference, bool evicted);
/* Drops what a slot holds, for room. */
void hot_segments_evict(uint32_t slot);

/* Frees what workers have let go of. */
void hot_segments_maintain(void);
/* free, open, sealed (also those that only pins hold) */
void hot_segments_count(int64_t *free_ones, int64_t *open_ones, int64_t *sealed_ones);
/* Bytes of a segment that have entries, one after the other; 0 where it is free. */
uint32_t hot_segments_used(uint32_t segment);
uint32_t hot_segments_entries(uint32_t segment);

#endif
