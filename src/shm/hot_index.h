/* hot_index: the writer's side of the index, for src/shm alone: which slot a key has, which one it gets, and whether
 * workers have hit it. Refresher. */
#ifndef SHM_HOT_INDEX_H
#define SHM_HOT_INDEX_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/hot_layout.h"

#define HOT_NO_SLOT UINT32_MAX

/* Once, with what is in memory only; again where a test plays the successor. */
void hot_index_begin(void);

/* Of keys, seeded. */
uint64_t hot_index_hash(const char *key, size_t length);
/* What a slot holds; 0: nothing. */
uint64_t hot_index_at(uint32_t slot);
struct hot_entry_header *hot_index_entry(uint64_t reference);
/* HOT_NO_SLOT: the key has none. */
uint32_t hot_index_find(uint64_t hash, const char *key, size_t length);
/* The slot whose reference leads there. */
uint32_t hot_index_find_place(uint64_t hash, uint32_t segment, uint32_t offset);
/* Where a key that has no slot goes: a free slot, or that of the entry which has to go for it. */
uint32_t hot_index_choose(uint64_t hash);
/* The reference under which an entry is published anew in this slot: marks of its predecessor do not count for it. */
uint64_t hot_index_reference(uint32_t slot, uint64_t hash, uint32_t segment, uint32_t offset);
/* The one store by which something is published, replaced, moved or deleted (0). */
void hot_index_store(uint32_t slot, uint64_t reference);

/* Has a worker hit it since it was published or hot_index_unmark? */
bool hot_index_marked(uint32_t slot);
/* From now on the marks that it has do not count. */
void hot_index_unmark(uint32_t slot);
/* Has a worker hit it since it was published? */
bool hot_index_was_read(uint32_t slot);

#endif
