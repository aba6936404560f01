/* hot_write: the writer's side of the hot cache. Refresher process, and nobody else. Whatever is published here may be
 * in the middle of being sent by any worker, and this process may be killed between any two instructions. */
#ifndef SHM_HOT_WRITE_H
#define SHM_HOT_WRITE_H

#include <stdbool.h>

#include "shm/hot_read.h"

/* Told of an entry that had to go for room; called from within hot_publish. Must not call anything here. */
typedef void hot_evicted(void *context, const char *key, size_t length);

/* Once, after region_attach_writer. `distrust`: the predecessor crashed, so that nothing is kept. Otherwise everything
 * is kept if all of it verifies (form, checksum), else nothing, as after distrust: no floors, no cursor, coherent_until
 * as if it had never been said. Returns the number of entries that were kept. */
size_t hot_open(bool distrust, hot_evicted *evicted, void *context);

/* ---- publishing ---- */

/* Taken before the statement of a render is sent, and given back with its result: whether a worker has served a body of
 * its own since. */
struct hot_ticket {
    uint64_t served; /* by workers themselves, keys of this hash */
};
struct hot_ticket hot_ticket(const char *key, size_t length);

enum hot_source {
    HOT_FROM_DATABASE, /* rendered by a statement that was sent after the ticket was taken */
    HOT_FROM_STORE,    /* from Redis: its snapshot may be of any time. Refused (HOT_OLDER) until the first
                        * hot_raise_pattern_floor of its pattern: floors of before the start are unknown */
};

/* An entry to be; nothing of it is kept, all of it is copied. As hot_view says; offsets are made here. */
struct hot_entry {
    const char *key;
    size_t key_length;
    enum hot_pattern pattern;
    enum hot_source source;
    struct hot_ticket ticket;
    struct hot_version version;
    int64_t rendered_at;
    int64_t expires_at;
    const void *meta;
    size_t meta_length;
    struct hot_body bodies[HOT_ENCODING_COUNT];
};

enum hot_publish {
    HOT_PUBLISHED,
    HOT_OLDER,     /* below what is there, or below the floor: ask PostgreSQL again */
    HOT_OVERTAKEN, /* a worker has served a body of its own since the ticket: render again */
    HOT_TOO_LARGE, /* for a segment, or there is no room that nobody pins: workers serve it themselves */
};
/* Publishes, replaces. Fills memory first; what others see is one store. */
enum hot_publish hot_publish(const struct hot_entry *entry) MUST_CHECK;
/* true: it was there. */
bool hot_delete(const char *key, size_t length);
/* The entry whatever its age, without a pin (nothing moves while the writer looks). false: there is none. */
bool hot_peek(const char *key, size_t length, struct hot_view *view) MUST_CHECK;
/* Has a worker served it since it was published? */
bool hot_was_read(const char *key, size_t length) MUST_CHECK;
/* Calls for each entry; nothing may be published or deleted meanwhile. */
void hot_each(void (*entry)(void *context, const char *key, size_t length, enum hot_pattern pattern,
                            const struct hot_view *view),
              void *context);

/* ---- floors: nothing below is published ----
 *
 * Each publish raises the floor of its key for every source. A change that was read raises another one, by which only
 * HOT_FROM_STORE is measured: a render that was under way meanwhile may still be published, as nobody has been served
 * anything newer, and its writer knows that it is dirty and renders it again; under changes without end nothing would
 * ever be published otherwise. */

/* A change was read in this snapshot that shows in this key. */
void hot_raise_store_floor(const char *key, size_t length, const struct hot_version *version);
/* That may show in any key of the pattern, also in those that are not here. */
void hot_raise_store_pattern_floor(enum hot_pattern pattern, const struct hot_version *version);
/* For all keys of the pattern and every source: at a resync. */
void hot_raise_pattern_floor(enum hot_pattern pattern, const struct hot_version *version);

/* ---- what holds for all entries ---- */

/* Entries of before count as missing from now on. */
void hot_new_generation(void);
/* All entries show every commit as of `coherent_at`, and workers may take that for true until `coherent_until`. Where a
 * worker had given up waiting, begins a new generation first; returns false then, and what was published before is
 * gone. So after a start and at a resync: floors, then this, then the first publish. */
bool hot_extend(int64_t coherent_at, int64_t coherent_until) MUST_CHECK;

/* Where the successor goes on: bytes of the refresher's own (a snapshot), replaced as a whole. At most
 * HOT_CURSOR_MAX. */
#define HOT_CURSOR_MAX 16384
void hot_store_cursor(const void *cursor, size_t length);
/* Returns the length, 0: none; `cursor` has room for HOT_CURSOR_MAX. */
size_t hot_load_cursor(void *cursor);

/* ---- room ---- */

struct hot_statistics {
    int64_t entries[HOT_PATTERN_COUNT];
    int64_t bytes[HOT_PATTERN_COUNT];     /* of living entries */
    int64_t evictions[HOT_PATTERN_COUNT]; /* since hot_open */
    int64_t oldest[HOT_PATTERN_COUNT];    /* rendered_at, 0: none */
    int64_t segments_free, segments_open, segments_sealed;
    int64_t pins; /* workers that hold one just now */
    int64_t generation;
    int64_t coherent_at, coherent_until;
};
/* `oldest` as of the last turn of hot_maintain through the index. */
void hot_statistics(struct hot_statistics *statistics);
/* Takes back segments that workers have let go of, and looks on for the oldest entries. Call every 100 ms; a fraction
 * of a millisecond. (Reclaiming itself is part of hot_publish: at most a millisecond for each MiB published.) */
void hot_maintain(void);

#endif
