/* changes: what a read of the feed means for the keys that there are. Refresher. */
#ifndef REFRESHER_CHANGES_H
#define REFRESHER_CHANGES_H

#include <stdbool.h>
#include <stdint.h>

#include "pg/feed.h"
#include "refresher/directory.h"

/* A read without a gap: raises the floors of all that it touches, then has it rendered, as read `number`. */
void changes_apply(const struct pg_feed_read *read, uint64_t number);
/* A read with a gap: everything that is published may be wrong. */
void changes_gap(const struct hot_version *version);

/* See render.h: pages are compared with what was read while they were under way. */
void changes_watch(struct item *item);
bool changes_meanwhile(struct item *item, const struct hot_version *version) MUST_CHECK;

#endif
