/* hot_index: slots as the writer sees them. Refresher; it stores to the index of the region. */
#define XXH_INLINE_ALL
#include "shm/hot_index.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "shm/hot_layout.h"

/* Boot; a byte for each slot. */
static uint8_t *rounds;    /* the last round given out, also when the slot is free now */
static bool *read_earlier; /* marks that were taken back by hot_index_unmark */
static uint32_t hand;

static hot_slot *slot_at(uint32_t slot)
{
    return (hot_slot *)(hot_region.writable + hot_region.index) + slot;
}

void hot_index_begin(void)
{
    free(rounds);
    free(read_earlier);
    rounds = calloc(hot_region.slot_count, sizeof *rounds);
    read_earlier = calloc(hot_region.slot_count, sizeof *read_earlier);
    INVARIANT(rounds != NULL && read_earlier != NULL);
    for (uint32_t slot = 0; slot < hot_region.slot_count; slot++)
        rounds[slot] = hot_reference_round(hot_index_at(slot));
}

uint64_t hot_index_hash(const char *key, size_t length)
{
    return XXH3_64bits_withSeed(key, length, hot_region.seed);
}

uint64_t hot_index_at(uint32_t slot)
{
    return atomic_load_explicit(slot_at(slot), memory_order_relaxed);
}

struct hot_entry_header *hot_index_entry(uint64_t reference)
{
    return (struct hot_entry_header *)(hot_region.writable + hot_region.segments +
                                       (size_t)hot_reference_segment(reference) * HOT_SEGMENT +
                                       hot_reference_offset(reference));
}

/* Slot number `i`, from 0, of those that may hold a key. */
static uint32_t candidate(uint64_t hash, uint32_t i)
{
    return i < HOT_BUCKET ? hot_bucket_first(hash) * HOT_BUCKET + i
                          : hot_bucket_second(hash) * HOT_BUCKET + i - HOT_BUCKET;
}

uint32_t hot_index_find(uint64_t hash, const char *key, size_t length)
{
    for (uint32_t i = 0; i < 2 * HOT_BUCKET; i++) {
        uint32_t slot = candidate(hash, i);
        uint64_t reference = hot_index_at(slot);
        if (!hot_reference_may_be(reference, hash))
            continue;
        const struct hot_entry_header *entry = hot_index_entry(reference);
        if (entry->key_length == length && memcmp(entry->key, key, length) == 0)
            return slot;
    }
    return HOT_NO_SLOT;
}

uint32_t hot_index_find_place(uint64_t hash, uint32_t segment, uint32_t offset)
{
    for (uint32_t i = 0; i < 2 * HOT_BUCKET; i++) {
        uint32_t slot = candidate(hash, i);
        uint64_t reference = hot_index_at(slot);
        if (hot_reference_may_be(reference, hash) && hot_reference_segment(reference) == segment &&
            hot_reference_offset(reference) == offset)
            return slot;
    }
    return HOT_NO_SLOT;
}

uint32_t hot_index_choose(uint64_t hash)
{
    uint32_t taken[2] = {0}, free_slot[2] = {HOT_NO_SLOT, HOT_NO_SLOT};
    for (uint32_t i = 0; i < 2 * HOT_BUCKET; i++) {
        if (hot_index_at(candidate(hash, i)) != 0)
            taken[i / HOT_BUCKET]++;
        else if (free_slot[i / HOT_BUCKET] == HOT_NO_SLOT)
            free_slot[i / HOT_BUCKET] = candidate(hash, i);
    }
    /* The emptier of two: the fullest bucket of all is then far less full than with one. */
    uint32_t emptier = taken[1] < taken[0] ? 1 : 0;
    if (free_slot[emptier] != HOT_NO_SLOT)
        return free_slot[emptier];
    /* Second chance: who was hit since the hand came by last stays, once. */
    for (uint32_t turn = 0; turn <= 2 * HOT_BUCKET; turn++) {
        uint32_t slot = candidate(hash, hand++ % (2 * HOT_BUCKET));
        if (!hot_index_marked(slot))
            return slot;
        hot_index_unmark(slot);
    }
    return candidate(hash, hand % (2 * HOT_BUCKET));
}

uint64_t hot_index_reference(uint32_t slot, uint64_t hash, uint32_t segment, uint32_t offset)
{
    rounds[slot] = (uint8_t)(rounds[slot] % 255 + 1);
    read_earlier[slot] = false;
    return hot_reference(hash, rounds[slot], segment, offset);
}

void hot_index_store(uint32_t slot, uint64_t reference)
{
    /* Release: who sees the reference sees the entry. */
    atomic_store_explicit(slot_at(slot), reference, memory_order_release);
}

bool hot_index_marked(uint32_t slot)
{
    uint8_t round = hot_reference_round(hot_index_at(slot));
    for (uint32_t worker = 0; worker < hot_region.workers_max; worker++) {
        const struct hot_worker_line *line = hot_worker_line(hot_region.writable, worker);
        if (atomic_load_explicit(&line->present, memory_order_relaxed) != 0 &&
            atomic_load_explicit(&hot_worker_marks(line)[slot], memory_order_relaxed) == round)
            return true;
    }
    return false;
}

void hot_index_unmark(uint32_t slot)
{
    uint64_t reference = hot_index_at(slot);
    if (hot_index_marked(slot))
        read_earlier[slot] = true;
    rounds[slot] = (uint8_t)(rounds[slot] % 255 + 1);
    hot_index_store(slot, (reference & ~(UINT64_C(0xff) << 39)) | (uint64_t)rounds[slot] << 39);
}

bool hot_index_was_read(uint32_t slot)
{
    return read_earlier[slot] || hot_index_marked(slot);
}
