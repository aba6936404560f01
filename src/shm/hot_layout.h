/* hot_layout: where everything lies in the region, for src/shm alone. See the README for what holds it together.
 *
 * One file in memory: header, index, floors, segments; behind them the pages of the workers. Offsets, never pointers:
 * every process maps it somewhere else. */
#ifndef SHM_HOT_LAYOUT_H
#define SHM_HOT_LAYOUT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "shm/hot_read.h"
#include "shm/hot_write.h"

#if ATOMIC_LLONG_LOCK_FREE != 2 || ATOMIC_INT_LOCK_FREE != 2 || ATOMIC_CHAR_LOCK_FREE != 2
#error "a process that dies while it holds a lock would hold it for ever: atomics must need none"
#endif

#define HOT_MAGIC UINT64_C(0x74756e6f75746831)
/* Raised whenever a layout below changes. */
#define HOT_FORMAT 1

enum {
    HOT_LINE = 64, /* bytes of a cache line: what two processes write lies on two of them */
    HOT_SEGMENT = 1 << 20,
    HOT_SEGMENTS_MIN = 4,
    HOT_SEGMENTS_MAX = 1 << 24,
    HOT_BYTES_A_SLOT = 512, /* of the segments: smaller entries than that on average, and the index is full first */
    HOT_BUCKET = 8,         /* references in a bucket: one line */
    HOT_BUCKETS_MAX = 1 << 24,
    HOT_FLOORS = 16384,
    HOT_WORKERS_MAX = 256,
};

/* ---- a reference: 0, or where an entry lies ----
 *
 *   63..48 tag: the highest bits of the hash      46..39 round: 1..255, what a worker notes in its page when it hits
 *   38     1                                      37..14 segment        13..0 offset / 64
 */
typedef _Atomic uint64_t hot_slot;

#define HOT_PRESENT (UINT64_C(1) << 38)

static inline uint64_t hot_reference(uint64_t hash, uint8_t round, uint32_t segment, uint32_t offset)
{
    return (hash >> 48 << 48) | (uint64_t)round << 39 | HOT_PRESENT | (uint64_t)segment << 14 | offset / HOT_LINE;
}

static inline uint32_t hot_reference_segment(uint64_t reference)
{
    return (uint32_t)(reference >> 14) & (HOT_SEGMENTS_MAX - 1);
}

static inline uint32_t hot_reference_offset(uint64_t reference)
{
    return ((uint32_t)reference & 0x3fff) * HOT_LINE;
}

static inline uint8_t hot_reference_round(uint64_t reference)
{
    return (uint8_t)(reference >> 39);
}

static inline bool hot_reference_may_be(uint64_t reference, uint64_t hash)
{
    return (reference >> 48) == (hash >> 48) && (reference & HOT_PRESENT) != 0;
}

/* ---- an entry: this, the key, then what the offsets say ---- */

struct hot_entry_body {
    uint32_t bytes; /* offset in the entry; 0: there is no such representation */
    uint32_t length;
    uint32_t lines;
    uint16_t lines_length;
    uint16_t lines_of_304;
    uint16_t etag; /* offset in the lines */
    uint16_t etag_length;
};

struct hot_entry_header {
    uint64_t checksum; /* XXH3 of what follows, to the end of the entry */
    uint32_t size;     /* all of it, a multiple of HOT_LINE */
    uint16_t key_length;
    uint8_t pattern;
    uint8_t reserved;
    uint64_t hash;
    uint64_t generation;
    int64_t expires_at;
    int64_t rendered_at;
    struct hot_version version;
    uint32_t meta;
    uint32_t meta_length;
    struct hot_entry_body bodies[HOT_ENCODING_COUNT];
    char key[];
};

/* ---- the header ---- */

struct hot_floor_version {
    _Atomic uint64_t epoch;
    _Atomic uint64_t xmax;
    _Atomic uint64_t in_progress;
};

/* What is known of the keys of one hash, when none of them may be here any more. */
struct hot_floor {
    struct hot_floor_version every; /* for bodies from everywhere */
    struct hot_floor_version store; /* for those from Redis, beside it */
    _Atomic uint64_t served;        /* how many bodies workers had served themselves when `every` covered them all */
    uint64_t reserved;
} __attribute__((aligned(64)));

/* hot_header.intent: the writer is about to publish a key of floor `intent - 1`, ... */
enum { HOT_INTENT_NONE = 0, HOT_INTENT_ALL = HOT_FLOORS + 1 };

struct hot_cursor {
    uint64_t length;
    uint64_t checksum;
    char bytes[HOT_CURSOR_MAX];
};

struct hot_header {
    uint64_t magic;
    uint64_t format;
    /* Read with each request, written a few times a second. */
    struct {
        _Atomic uint64_t generation;
        _Atomic int64_t coherent_at;
        _Atomic int64_t coherent_until; /* 0: never said */
        _Atomic uint32_t distrust;
    } __attribute__((aligned(64)));
    /* Read by workers that serve a body of their own. */
    struct {
        _Atomic uint32_t intent;
    } __attribute__((aligned(64)));
    struct hot_floor pattern_floors[HOT_PATTERN_COUNT];
    _Atomic uint64_t cursor; /* which of the two holds */
    struct hot_cursor cursors[2];
};

/* ---- the pages of a worker: marks of its hits and counters of what it served itself follow this line ---- */

struct hot_worker_line {
    /* Stored to with each hit, so nothing else that anybody reads often is on this line. */
    struct {
        _Atomic uint64_t pin; /* segment + 1, 0: none */
    } __attribute__((aligned(64)));
    struct {
        _Atomic int64_t lapsed;   /* coherent_until + 1 as it stood when this worker gave up; 0: it never did */
        _Atomic uint32_t present; /* a worker has had this slot: from then on its pages are looked at */
    } __attribute__((aligned(64)));
};

/* ---- where this process has it ---- */

struct hot_region {
    /* the same in all processes: known before the first fork */
    int file;
    uint64_t seed; /* of the hash of keys: drawn at each start, so that nobody can choose keys that collide */
    uint32_t segment_count;
    uint32_t bucket_mask; /* buckets - 1 */
    uint32_t slot_count;
    uint32_t workers_max;
    size_t index;    /* offsets in the file */
    size_t floors;   /**/
    size_t segments; /**/
    size_t workers;  /**/
    size_t marks;    /* offsets in a worker's pages */
    size_t served;   /**/
    size_t worker_size;
    size_t size;
    /* of this process */
    const char *shared;           /* hot_read: everything, to be read */
    struct hot_worker_line *own;  /* hot_read: the pages of this worker */
    char *writable;               /* hot_write: everything */
    char *workers_of_master;      /* region_clear_pin */
    struct hot_header *distrusts; /* region_distrust: the header, where it may be written */
};
extern struct hot_region hot_region;

static inline struct hot_worker_line *hot_worker_line(const char *memory, uint32_t worker)
{
    return (struct hot_worker_line *)(uintptr_t)(memory + hot_region.workers + worker * hot_region.worker_size);
}

static inline _Atomic uint8_t *hot_worker_marks(const struct hot_worker_line *line)
{
    return (_Atomic uint8_t *)((uintptr_t)line + hot_region.marks);
}

static inline _Atomic uint32_t *hot_worker_served(const struct hot_worker_line *line)
{
    return (_Atomic uint32_t *)((uintptr_t)line + hot_region.served);
}

static inline uint32_t hot_floor_of(uint64_t hash)
{
    return (uint32_t)(hash >> 32) & (HOT_FLOORS - 1);
}

/* The slots that may hold a key: those of two buckets, which are never the same. */
static inline uint32_t hot_bucket_first(uint64_t hash)
{
    return (uint32_t)hash & hot_region.bucket_mask;
}

static inline uint32_t hot_bucket_second(uint64_t hash)
{
    uint32_t bucket = (uint32_t)(hash >> 24) & hot_region.bucket_mask;
    return bucket == hot_bucket_first(hash) ? bucket ^ 1 : bucket;
}

/* Points a view at an entry. `coherent_at` is the header's: what was rendered later is known to be right as of then. */
static inline void hot_view_fill(struct hot_view *view, const struct hot_entry_header *entry, int64_t coherent_at)
{
    const char *at = (const char *)entry;
    view->version = entry->version;
    view->rendered_at = entry->rendered_at;
    view->expires_at = entry->expires_at;
    view->coherent_at = coherent_at > entry->rendered_at ? coherent_at : entry->rendered_at;
    view->meta = at + entry->meta;
    view->meta_length = entry->meta_length;
    for (unsigned i = 0; i < HOT_ENCODING_COUNT; i++) {
        const struct hot_entry_body *from = &entry->bodies[i];
        struct hot_body *to = &view->bodies[i];
        to->bytes = from->bytes == 0 ? NULL : at + from->bytes;
        to->length = from->length;
        to->lines = at + from->lines;
        to->lines_length = from->lines_length;
        to->lines_of_304 = from->lines_of_304;
        to->etag = at + from->lines + from->etag;
        to->etag_length = from->etag_length;
    }
}

#endif
