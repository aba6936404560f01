/* hot_segments: append-only segments and their reclaim. Refresher; it writes to segments that no slot leads to and no
 * worker pins, and behind the last entry of the open one. */
#include "shm/hot_segments.h"

#include <stdlib.h>
#include <string.h>

#include "shm/hot_index.h"

enum segment_state {
    SEGMENT_FREE,     /* nobody looks at it; may be opened */
    SEGMENT_OPEN,     /* entries are appended; there is one at most */
    SEGMENT_SEALED,   /* nothing is appended any more; slots lead to entries in it */
    SEGMENT_DRAINING, /* no slot leads there; workers may still pin it */
};

struct segment {
    enum segment_state state;
    uint32_t used;    /* bytes from its begin that have entries, living and dead */
    uint32_t living;  /* bytes of those that slots lead to */
    uint32_t entries; /* and their number */
    uint64_t order;   /* of sealing: the lower the older */
};

/* Sealed segments with this many living bytes at most are emptied without anything being lost: that copies three bytes
 * for one that is won. With fuller ones there is too much in the cache. */
#define WORTH_MOVING (HOT_SEGMENT / 4 * 3)
/* What reclaim leaves free in the open segment whatever is marked: so each reclaim gets somewhere. */
#define LEFT_FREE (HOT_SEGMENT / 8)
#define NO_SEGMENT UINT32_MAX

struct hot_living hot_living;

static struct segment *segments; /* boot */
static uint32_t free_count;
static uint32_t draining_count;
static uint32_t open_segment;
static uint64_t sealings;
static uint32_t pins[HOT_WORKERS_MAX]; /* segments that workers pinned when they were looked at last */
static uint32_t pin_count;
static hot_evicted *on_evicted;
static void *on_evicted_context;

void hot_segments_begin(hot_evicted *evicted, void *context)
{
    free(segments);
    segments = calloc(hot_region.segment_count, sizeof *segments);
    INVARIANT(segments != NULL);
    memset(&hot_living, 0, sizeof hot_living);
    /* What a worker of the predecessor's time still pins is found out when they are collected. */
    for (uint32_t i = 0; i < hot_region.segment_count; i++)
        segments[i].state = SEGMENT_DRAINING;
    draining_count = hot_region.segment_count;
    free_count = 0;
    open_segment = NO_SEGMENT;
    sealings = 0;
    on_evicted = evicted;
    on_evicted_context = context;
}

static void count_living(uint64_t reference, int sign)
{
    const struct hot_entry_header *entry = hot_index_entry(reference);
    struct segment *segment = &segments[hot_reference_segment(reference)];
    segment->living += sign > 0 ? entry->size : -entry->size;
    segment->entries += sign > 0 ? 1U : -1U;
    hot_living.bytes[entry->pattern] += sign * (int64_t)entry->size;
    hot_living.entries[entry->pattern] += sign;
}

void hot_segments_keep(uint64_t reference)
{
    struct segment *segment = &segments[hot_reference_segment(reference)];
    if (segment->state == SEGMENT_DRAINING) {
        segment->state = SEGMENT_SEALED;
        segment->order = sealings++;
        draining_count--;
    }
    uint32_t end = hot_reference_offset(reference) + hot_index_entry(reference)->size;
    if (end > segment->used)
        segment->used = end;
    count_living(reference, 1);
}

/* ---- pins ---- */

/* Reads all pins, once: each look takes the line of a worker's pin away from it. */
static void look_at_pins(void)
{
    pin_count = 0;
    for (uint32_t worker = 0; worker < hot_region.workers_max; worker++) {
        /* Acquire: what the worker read before it let go, it has read. */
        uint64_t pin = atomic_load_explicit(&hot_worker_line(hot_region.writable, worker)->pin, memory_order_acquire);
        if (pin != 0)
            pins[pin_count++] = (uint32_t)(pin - 1);
    }
}

static bool pinned(uint32_t segment)
{
    for (uint32_t i = 0; i < pin_count; i++)
        if (pins[i] == segment)
            return true;
    return false;
}

/* Frees what no slot leads to and nobody pins. */
static void collect(void)
{
    if (draining_count == 0)
        return;
    /* The references were taken away before pins are looked at, and a worker pins before it looks at the reference
     * again: one of us sees the other. */
    atomic_thread_fence(memory_order_seq_cst);
    look_at_pins();
    for (uint32_t i = 0; i < hot_region.segment_count; i++) {
        if (segments[i].state != SEGMENT_DRAINING || pinned(i))
            continue;
        segments[i] = (struct segment){.state = SEGMENT_FREE};
        draining_count--;
        free_count++;
    }
}

static void drain(uint32_t segment)
{
    INVARIANT(segments[segment].living == 0 && segments[segment].entries == 0);
    segments[segment].state = SEGMENT_DRAINING;
    draining_count++;
}

/* ---- reclaim ---- */

void hot_segments_dead(uint64_t reference, bool evicted)
{
    count_living(reference, -1);
    if (evicted)
        hot_living.evictions[hot_index_entry(reference)->pattern]++;
    uint32_t segment = hot_reference_segment(reference);
    if (segments[segment].state == SEGMENT_SEALED && segments[segment].living == 0)
        drain(segment);
}

void hot_segments_evict(uint32_t slot)
{
    uint64_t reference = hot_index_at(slot);
    const struct hot_entry_header *entry = hot_index_entry(reference);
    hot_index_store(slot, 0);
    if (on_evicted != NULL)
        on_evicted(on_evicted_context, entry->key, entry->key_length);
    hot_segments_dead(reference, true);
}

/* Copies an entry to the end of the open segment; the slot leads there from then on. */
static void move(uint32_t slot, bool unmark)
{
    uint64_t from = hot_index_at(slot);
    const struct hot_entry_header *entry = hot_index_entry(from);
    if (unmark)
        hot_index_unmark(slot);
    uint64_t to =
        hot_reference(entry->hash, hot_reference_round(hot_index_at(slot)), open_segment, segments[open_segment].used);
    memcpy(hot_index_entry(to), entry, entry->size);
    hot_segments_publish(to);
    hot_index_store(slot, to);
    hot_segments_dead(from, false);
}

/* Empties a sealed segment. `evicting`: what nobody has hit since it was written goes. What finds no room in the open
 * segment but for `left_free` bytes goes, too. */
static void empty(uint32_t victim, bool evicting, uint32_t left_free)
{
    uint32_t used = segments[victim].used;
    for (uint32_t offset = 0; offset < used && segments[victim].state == SEGMENT_SEALED;) {
        const struct hot_entry_header *entry = hot_index_entry(hot_reference(0, 0, victim, offset));
        uint32_t size = entry->size;
        INVARIANT(size >= sizeof *entry && size % HOT_LINE == 0 && size <= used - offset);
        uint32_t slot = hot_index_find_place(entry->hash, victim, offset);
        offset += size;
        if (slot == HOT_NO_SLOT)
            continue;
        bool fits =
            open_segment != NO_SEGMENT && (uint64_t)segments[open_segment].used + size + left_free <= HOT_SEGMENT;
        if (!fits || (evicting && !hot_index_marked(slot)))
            hot_segments_evict(slot);
        else
            move(slot, evicting);
    }
    INVARIANT(segments[victim].state == SEGMENT_DRAINING);
}

/* Empties the best of the sealed segments that nobody pins: the emptiest, where that is worth it, else the oldest one,
 * from which what nobody has hit goes. false: all are pinned. */
static bool reclaim(uint32_t left_free)
{
    uint32_t emptiest = NO_SEGMENT, oldest = NO_SEGMENT;
    look_at_pins();
    for (uint32_t i = 0; i < hot_region.segment_count; i++) {
        if (segments[i].state != SEGMENT_SEALED || pinned(i))
            continue;
        if (emptiest == NO_SEGMENT || segments[i].living < segments[emptiest].living)
            emptiest = i;
        if (oldest == NO_SEGMENT || segments[i].order < segments[oldest].order)
            oldest = i;
    }
    if (emptiest == NO_SEGMENT)
        return false;
    bool evicting = segments[emptiest].living > WORTH_MOVING;
    empty(evicting ? oldest : emptiest, evicting, left_free);
    collect();
    return true;
}

/* ---- room ---- */

static bool fits_open(uint32_t size)
{
    return open_segment != NO_SEGMENT && size <= HOT_SEGMENT - segments[open_segment].used;
}

static void seal(void)
{
    if (open_segment == NO_SEGMENT)
        return;
    segments[open_segment].state = SEGMENT_SEALED;
    segments[open_segment].order = sealings++;
    if (segments[open_segment].living == 0)
        drain(open_segment);
    open_segment = NO_SEGMENT;
}

static void open_next(void)
{
    uint32_t next = 0;
    while (segments[next].state != SEGMENT_FREE)
        next++;
    segments[next] = (struct segment){.state = SEGMENT_OPEN};
    free_count--;
    open_segment = next;
}

char *hot_segments_room(uint32_t size, uint32_t *segment, uint32_t *offset)
{
    if (!fits_open(size)) {
        collect();
        /* Only where pins have kept the one back that is always left free. */
        for (uint32_t tries = 0; free_count == 0 && tries < hot_region.segment_count && reclaim(0); tries++) {
        }
        if (free_count == 0)
            return NULL;
        seal();
        open_next();
        collect();
        uint32_t left_free = size > LEFT_FREE ? size : LEFT_FREE;
        /* Twice at most, should a worker pin the victim just now: more would empty the cache for it. */
        for (uint32_t tries = 0; free_count == 0 && tries < 2 && reclaim(left_free); tries++) {
        }
    }
    *segment = open_segment;
    *offset = segments[open_segment].used;
    return (char *)hot_index_entry(hot_reference(0, 0, open_segment, segments[open_segment].used));
}

void hot_segments_publish(uint64_t reference)
{
    segments[hot_reference_segment(reference)].used += hot_index_entry(reference)->size;
    count_living(reference, 1);
}

void hot_segments_maintain(void)
{
    collect();
}

/* ---- what there is ---- */

void hot_segments_count(int64_t *free_ones, int64_t *open_ones, int64_t *sealed_ones)
{
    *free_ones = free_count;
    *open_ones = open_segment != NO_SEGMENT;
    *sealed_ones = (int64_t)hot_region.segment_count - *free_ones - *open_ones;
}

uint32_t hot_segments_used(uint32_t segment)
{
    return segments[segment].used;
}

uint32_t hot_segments_entries(uint32_t segment)
{
    return segments[segment].entries;
}
