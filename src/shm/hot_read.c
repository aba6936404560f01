/* hot_read: looking up and pinning. Worker process; it stores to the worker's own pages and to nothing else. */
#define XXH_INLINE_ALL
#include "shm/hot_read.h"

#include <stdbool.h>
#include <string.h>
#include <xxhash.h>

#include "shm/hot_layout.h"

static const struct hot_header *header_of_reader(void)
{
    return (const struct hot_header *)hot_region.shared;
}

/* Has any worker of the host served a body of its own because of this very lapse? Then nobody may go on with what lies
 * here, also who has a longer `stale_max` (a reload reaches one worker after the other). Only asked when stale. */
static bool somebody_gave_up(int64_t until)
{
    for (uint32_t worker = 0; worker < hot_region.workers_max; worker++) {
        const struct hot_worker_line *line = hot_worker_line(hot_region.shared, worker);
        if (atomic_load_explicit(&line->lapsed, memory_order_acquire) == until + 1)
            return true;
    }
    return false;
}

/* HOT_FRESH, HOT_STALE or HOT_LAPSED: what may be done now with entries that are there. */
static enum hot_found state_of(const struct hot_header *header, int64_t now, int64_t stale_max, int64_t *until)
{
    *until = atomic_load_explicit(&header->coherent_until, memory_order_acquire);
    if (now <= *until)
        return HOT_FRESH;
    if (*until == 0 || now - *until > stale_max || somebody_gave_up(*until))
        return HOT_LAPSED;
    return HOT_STALE;
}

static void unpin(void)
{
    /* Release: what was read of the segment was read before the writer may reuse it. */
    atomic_store_explicit(&hot_region.own->pin, 0, memory_order_release);
}

/* Pins the segment that a slot leads to. Returns the reference that stood there under the pin; 0, without a pin: by
 * then it was none for this hash. */
static uint64_t pin(const hot_slot *slot, uint64_t reference, uint64_t hash)
{
    for (;;) {
        atomic_store_explicit(&hot_region.own->pin, (uint64_t)hot_reference_segment(reference) + 1,
                              memory_order_relaxed);
        /* The pin is seen before the reference is looked at again, and the writer takes the reference away before it
         * looks for pins: one of us sees the other. */
        atomic_thread_fence(memory_order_seq_cst);
        uint64_t again = atomic_load_explicit(slot, memory_order_acquire);
        if (again == reference)
            return reference;
        if (!hot_reference_may_be(again, hash)) {
            unpin();
            return 0;
        }
        reference = again;
    }
}

/* Looks in one bucket; pinned where something is found. */
static inline const struct hot_entry_header *find_in(uint32_t bucket, uint64_t hash, const char *key, size_t length,
                                                     uint32_t *slot, uint64_t *reference)
{
    const hot_slot *slots = (const hot_slot *)(hot_region.shared + hot_region.index) + (size_t)bucket * HOT_BUCKET;
    for (uint32_t i = 0; i < HOT_BUCKET; i++) {
        uint64_t seen = atomic_load_explicit(&slots[i], memory_order_relaxed);
        if (!hot_reference_may_be(seen, hash))
            continue;
        seen = pin(&slots[i], seen, hash);
        if (seen == 0)
            continue;
        uint32_t segment = hot_reference_segment(seen);
        const struct hot_entry_header *entry =
            (const struct hot_entry_header *)(hot_region.shared + hot_region.segments + (size_t)segment * HOT_SEGMENT +
                                              hot_reference_offset(seen));
        /* A reference beyond the end was not written by our writer; its crash handler will say so in a moment. */
        if (segment < hot_region.segment_count && entry->key_length == length && memcmp(entry->key, key, length) == 0) {
            *slot = bucket * HOT_BUCKET + i;
            *reference = seen;
            return entry;
        }
        unpin();
    }
    return NULL;
}

/* Finds what may be served, given that nothing has lapsed; pinned. */
static inline const struct hot_entry_header *find(const struct hot_header *header, uint64_t hash, const char *key,
                                                  size_t length, int64_t now, uint32_t *slot, uint64_t *reference)
{
    uint32_t first = hot_bucket_first(hash), second = hot_bucket_second(hash);
    const hot_slot *slots = (const hot_slot *)(hot_region.shared + hot_region.index);
    __builtin_prefetch(slots + (size_t)second * HOT_BUCKET);
    const struct hot_entry_header *entry = find_in(first, hash, key, length, slot, reference);
    if (entry == NULL)
        entry = find_in(second, hash, key, length, slot, reference);
    if (entry == NULL)
        return NULL;
    if (entry->generation == atomic_load_explicit(&header->generation, memory_order_acquire) &&
        now <= entry->expires_at && atomic_load_explicit(&header->distrust, memory_order_acquire) == 0)
        return entry;
    unpin();
    return NULL;
}

enum hot_found hot_find(const char *key, size_t length, int64_t now, int64_t stale_max, struct hot_view *view)
{
    const struct hot_header *header = header_of_reader();
    INVARIANT(atomic_load_explicit(&hot_region.own->pin, memory_order_relaxed) == 0);
    int64_t until;
    enum hot_found state = state_of(header, now, stale_max, &until);
    if (state == HOT_LAPSED)
        return HOT_LAPSED;
    uint32_t slot;
    uint64_t reference;
    uint64_t hash = XXH3_64bits_withSeed(key, length, hot_region.seed);
    const struct hot_entry_header *entry = find(header, hash, key, length, now, &slot, &reference);
    if (entry == NULL)
        return HOT_MISSING;
    /* A hot entry is marked already: its line stays clean in every cache. */
    _Atomic uint8_t *mark = &hot_worker_marks(hot_region.own)[slot];
    uint8_t round = hot_reference_round(reference);
    if (atomic_load_explicit(mark, memory_order_relaxed) != round)
        atomic_store_explicit(mark, round, memory_order_relaxed);
    hot_view_fill(view, entry, atomic_load_explicit(&header->coherent_at, memory_order_relaxed));
    return state;
}

void hot_release(void)
{
    unpin();
}

enum hot_own hot_serve_own(const char *key, size_t length, int64_t now, int64_t stale_max)
{
    const struct hot_header *header = header_of_reader();
    uint64_t hash = XXH3_64bits_withSeed(key, length, hot_region.seed);
    _Atomic uint32_t *served = &hot_worker_served(hot_region.own)[hot_floor_of(hash)];
    atomic_store_explicit(served, atomic_load_explicit(served, memory_order_relaxed) + 1, memory_order_relaxed);
    int64_t gave_up, until;
    bool lapsed = state_of(header, now, stale_max, &gave_up) == HOT_LAPSED;
    if (lapsed)
        atomic_store_explicit(&hot_region.own->lapsed, gave_up + 1, memory_order_relaxed);
    /* Both are seen before the intent is looked at, and the writer says what it intends before it looks at them: one of
     * us sees the other. */
    atomic_thread_fence(memory_order_seq_cst);
    uint32_t intent = atomic_load_explicit(&header->intent, memory_order_acquire);
    if (intent == HOT_INTENT_ALL || intent == hot_floor_of(hash) + 1)
        return HOT_OWN_WAIT;
    if (state_of(header, now, stale_max, &until) == HOT_LAPSED)
        /* Another lapse than the one that was marked, if one was: once more, with a mark. */
        return lapsed && until == gave_up ? HOT_OWN_SERVE : HOT_OWN_WAIT;
    uint32_t slot;
    uint64_t reference;
    if (find(header, hash, key, length, now, &slot, &reference) == NULL)
        return HOT_OWN_SERVE;
    unpin();
    return HOT_OWN_LOOK_AGAIN;
}
