/* hot_open: what a refresher does with what its predecessor left: all of it verifies and stays, or nothing does. And
 * what there is, in numbers. Refresher process. */
#include "shm/hot_open.h"

#include <string.h>

#include "base/log.h"
#include "shm/hot_floors.h"
#include "shm/hot_index.h"
#include "shm/hot_segments.h"

/* Slots that the hand looks at in one step: some 200 µs where each entry is a miss in every cache. */
#define SLOTS_A_STEP 2048

static struct {
    uint32_t slot;
    int64_t found[HOT_PATTERN_COUNT]; /* in this turn, so far */
    int64_t last[HOT_PATTERN_COUNT];  /* in the last whole one */
    bool whole;
} hand; /* boot */

static struct hot_header *header(void)
{
    return (struct hot_header *)hot_region.writable;
}

static bool inside(uint32_t size, uint32_t offset, uint32_t length)
{
    return offset <= size && length <= size - offset;
}

/* Does what a slot leads to look like an entry that was published there? */
static bool well_formed(uint32_t slot, uint64_t reference)
{
    uint32_t segment = hot_reference_segment(reference), offset = hot_reference_offset(reference);
    if ((reference & HOT_PRESENT) == 0 || segment >= hot_region.segment_count ||
        HOT_SEGMENT - offset < sizeof(struct hot_entry_header))
        return false;
    const struct hot_entry_header *entry = hot_index_entry(reference);
    if (entry->size < sizeof *entry || entry->size % HOT_LINE != 0 || entry->size > HOT_SEGMENT - offset)
        return false;
    if (!hot_entry_verifies(entry))
        return false;
    if (entry->pattern >= HOT_PATTERN_COUNT || entry->key_length == 0 || entry->key_length > HOT_KEY_MAX ||
        !inside(entry->size, offsetof(struct hot_entry_header, key), entry->key_length) ||
        !inside(entry->size, entry->meta, entry->meta_length))
        return false;
    for (unsigned i = 0; i < HOT_ENCODING_COUNT; i++) {
        const struct hot_entry_body *body = &entry->bodies[i];
        if (!inside(entry->size, body->bytes, body->length) || !inside(entry->size, body->lines, body->lines_length) ||
            body->lines_of_304 > body->lines_length || body->etag + body->etag_length > body->lines_length)
            return false;
    }
    /* There, and nowhere else before it. */
    uint64_t hash = hot_index_hash(entry->key, entry->key_length);
    return hash == entry->hash && hot_reference_may_be(reference, hash) &&
           hot_index_find(hash, entry->key, entry->key_length) == slot;
}

/* Reclaim goes from entry to entry, also over dead ones: does that meet all that live? */
static bool walkable(uint32_t segment)
{
    uint32_t used = hot_segments_used(segment), met = 0, offset = 0;
    while (offset < used) {
        const struct hot_entry_header *entry = hot_index_entry(hot_reference(0, 0, segment, offset));
        if (entry->size < sizeof *entry || entry->size % HOT_LINE != 0 || entry->size > used - offset)
            return false;
        if (hot_index_find_place(entry->hash, segment, offset) != HOT_NO_SLOT)
            met++;
        offset += entry->size;
    }
    return met == hot_segments_entries(segment);
}

static bool verify(size_t *kept)
{
    uint64_t generation = atomic_load_explicit(&header()->generation, memory_order_relaxed);
    for (uint32_t slot = 0; slot < hot_region.slot_count; slot++) {
        uint64_t reference = hot_index_at(slot);
        if (reference == 0)
            continue;
        if (!well_formed(slot, reference))
            return false;
        hot_segments_keep(reference);
        if (hot_index_entry(reference)->generation == generation) {
            ++*kept;
            continue;
        }
        /* The predecessor was killed while it put an old generation away. */
        hot_index_store(slot, 0);
        hot_segments_dead(reference, false);
    }
    for (uint32_t segment = 0; segment < hot_region.segment_count; segment++)
        if (!walkable(segment))
            return false;
    return true;
}

/* Puts everything back to how the master made it, but for what workers have in their hands: segments that they pin are
 * left as they are until they let go. */
static void wipe(void)
{
    header()->magic = HOT_MAGIC;
    header()->format = HOT_FORMAT;
    for (uint32_t slot = 0; slot < hot_region.slot_count; slot++)
        hot_index_store(slot, 0);
    hot_floors_wipe();
    hot_store_cursor(NULL, 0);
    atomic_fetch_add_explicit(&header()->generation, 1, memory_order_release);
    atomic_store_explicit(&header()->coherent_at, 0, memory_order_release);
    atomic_store_explicit(&header()->coherent_until, 0, memory_order_release);
}

size_t hot_open(bool distrust, hot_evicted *evicted, void *context)
{
    size_t kept = 0;
    bool whole = !distrust && atomic_load_explicit(&header()->distrust, memory_order_acquire) == 0;
    /* Whatever the predecessor intended, it has done or will never do. */
    hot_floors_done();
    hot_segments_begin(evicted, context);
    if (whole && !verify(&kept)) {
        log_error("the cache that the last refresher left does not verify; beginning with an empty one");
        whole = false;
    }
    if (!whole) {
        atomic_store_explicit(&header()->distrust, 1, memory_order_release);
        wipe();
        hot_segments_begin(evicted, context);
        kept = 0;
        atomic_store_explicit(&header()->distrust, 0, memory_order_release);
    }
    hot_index_begin();
    hot_segments_maintain();
    memset(&hand, 0, sizeof hand);
    return kept;
}

/* ---- numbers ---- */

/* The oldest entry of each pattern is found by going round, as a look at every entry takes a while in a large cache. */
static void turn(uint32_t steps)
{
    for (; steps > 0; steps--) {
        uint64_t reference = hot_index_at(hand.slot);
        if (reference != 0) {
            const struct hot_entry_header *entry = hot_index_entry(reference);
            int64_t *found = &hand.found[entry->pattern];
            if (*found == 0 || entry->rendered_at < *found)
                *found = entry->rendered_at;
        }
        if (++hand.slot < hot_region.slot_count)
            continue;
        memcpy(hand.last, hand.found, sizeof hand.last);
        memset(hand.found, 0, sizeof hand.found);
        hand.slot = 0;
        hand.whole = true;
    }
}

void hot_maintain(void)
{
    hot_segments_maintain();
    turn(SLOTS_A_STEP);
}

void hot_statistics(struct hot_statistics *statistics)
{
    *statistics = (struct hot_statistics){
        .generation = (int64_t)atomic_load_explicit(&header()->generation, memory_order_relaxed),
        .coherent_at = atomic_load_explicit(&header()->coherent_at, memory_order_relaxed),
        .coherent_until = atomic_load_explicit(&header()->coherent_until, memory_order_relaxed),
    };
    if (!hand.whole)
        turn(hot_region.slot_count - hand.slot);
    memcpy(statistics->entries, hot_living.entries, sizeof statistics->entries);
    memcpy(statistics->bytes, hot_living.bytes, sizeof statistics->bytes);
    memcpy(statistics->evictions, hot_living.evictions, sizeof statistics->evictions);
    memcpy(statistics->oldest, hand.last, sizeof statistics->oldest);
    hot_segments_count(&statistics->segments_free, &statistics->segments_open, &statistics->segments_sealed);
    for (uint32_t worker = 0; worker < hot_region.workers_max; worker++)
        statistics->pins +=
            atomic_load_explicit(&hot_worker_line(hot_region.writable, worker)->pin, memory_order_relaxed) != 0;
}
