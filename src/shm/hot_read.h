/* hot_read: the reader's side of the hot cache: look a key up, hold what was found while it is being sent, let go. No
 * lock, no system call, no memory. Worker process; it writes to its own page alone. The README argues why it is right.
 *
 * Times are clock_monotonic, microseconds; `now` is read for each request, after the request was: a body may stop being
 * usable between two of them. Keys are texts of at most HOT_KEY_MAX bytes, as api/hot_key.h makes them. */
#ifndef SHM_HOT_READ_H
#define SHM_HOT_READ_H

#include <stddef.h>
#include <stdint.h>

#include "base/object.h"

#define HOT_KEY_MAX 200

/* Which commits a body shows: of the snapshot that rendered it. On a running primary a total order; see
 * hot_version_compare. */
struct hot_version {
    uint64_t epoch;       /* the row of turnout.cache_epoch as that snapshot saw it */
    uint64_t xmax;        /* pg_snapshot_xmax */
    uint64_t in_progress; /* how many below xmax were under way; fewer is later */
};

/* Below 0: `left` is the older one; 0: they show the same; above 0: the newer. */
static inline int hot_version_compare(const struct hot_version *left, const struct hot_version *right)
{
    if (left->epoch != right->epoch)
        return left->epoch < right->epoch ? -1 : 1;
    if (left->xmax != right->xmax)
        return left->xmax < right->xmax ? -1 : 1;
    return left->in_progress == right->in_progress ? 0 : left->in_progress > right->in_progress ? -1 : 1;
}

/* Of the keys, for counting, and for floors that hold for all keys of one pattern. */
enum hot_pattern {
    HOT_PATTERN_LIST,
    HOT_PATTERN_EVENT,
    HOT_PATTERN_STATS,
    HOT_PATTERN_USER,
    HOT_PATTERN_CALENDAR,
    HOT_PATTERN_COUNT
};

enum hot_encoding { HOT_IDENTITY, HOT_GZIP, HOT_BROTLI, HOT_ENCODING_COUNT };

/* One representation. `lines` are header lines, each ended by CRLF: first those that a 304 has, too (ETag, Link), then
 * those of the 200 alone (Content-Type, Content-Length, Content-Encoding). Everything lies in shared memory. */
struct hot_body {
    const char *bytes;
    size_t length;
    const char *lines;
    size_t lines_length;
    size_t lines_of_304; /* length of the first part */
    const char *etag;    /* without quotes, inside of `lines` */
    size_t etag_length;
};

/* What was found; valid until hot_release. A representation that does not pay has `bytes` NULL, HOT_IDENTITY is always
 * there. */
struct hot_view {
    struct hot_version version;
    int64_t rendered_at;
    int64_t expires_at;
    int64_t coherent_at; /* as of when it is known to show every commit; Age counts from here where it is stale */
    const void *meta;    /* the refresher's own */
    size_t meta_length;
    struct hot_body bodies[HOT_ENCODING_COUNT];
};

enum hot_found {
    HOT_FRESH,   /* serve it */
    HOT_STALE,   /* the refresher has not kept up, by no more than `stale_max`: serve it, with Age */
    HOT_MISSING, /* nothing there that may be served: ask the refresher for it */
    HOT_LAPSED,  /* the refresher has been silent for longer than `stale_max`: ask PostgreSQL */
};

/* Looks up; with FRESH and STALE the segment is pinned until hot_release, which must follow before the next hot_find.
 */
enum hot_found hot_find(const char *key, size_t length, int64_t now, int64_t stale_max,
                        struct hot_view *view) MUST_CHECK;
void hot_release(void);

enum hot_own {
    HOT_OWN_SERVE,      /* nobody will publish anything older for this key */
    HOT_OWN_LOOK_AGAIN, /* meanwhile there is something that may be served: hot_find, and send that instead */
    HOT_OWN_WAIT,       /* the writer is just about to publish here: ask again in a millisecond */
};
/* Before a worker serves a body that it has had from PostgreSQL itself, although its key is a cached one: makes sure
 * that no worker of the host serves an older body of this key afterwards. Such a body answers only requests that came
 * before its statement was sent: later ones may have been answered with something newer already. */
enum hot_own hot_serve_own(const char *key, size_t length, int64_t now, int64_t stale_max) MUST_CHECK;

#endif
