/* rendering: what became of a key: the statement that renders it, its row, and its publication. Refresher;
 * it keeps nothing but scratch memory. */
#ifndef REFRESHER_RENDERING_H
#define REFRESHER_RENDERING_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "pg/pool.h"
#include "refresher/page.h"

/* A body that may be published. */
struct rendering {
    const char *body;
    size_t length;
    const char *etag; /* NULL: a hash of the body */
    struct hot_version version;
    struct page_content page; /* HOT_PATTERN_LIST */
};

enum rendering_outcome {
    RENDERING_OK,
    RENDERING_ABSENT,  /* there is no such public thing */
    RENDERING_REFUSED, /* by the rules, or the row is not what we know */
};

/* Fills in the statement of a key and its parameters, which stand in `scratch`. */
struct rendering_scratch {
    char numbers[2][24];
};
void rendering_query(const struct hot_key *key, struct rendering_scratch *scratch, struct pg_query *query);

/* Reads the row of that statement. The version is there whatever the outcome, but for REFUSED. What `rendering` holds
 * is valid until the row is cleared and until the next call. */
enum rendering_outcome rendering_read(const struct hot_key *key, const PGresult *row,
                                      struct rendering *rendering) MUST_CHECK;

/* Tries to publish; the entry expires at `expires_at`. */
enum hot_publish rendering_publish(const struct hot_key *key, const struct rendering *rendering, enum hot_source source,
                                   struct hot_ticket ticket, int64_t rendered_at, int64_t expires_at) MUST_CHECK;

#endif
