/* schedule: which item is due next. Refresher; a heap over the items of the directory. */
#ifndef REFRESHER_SCHEDULE_H
#define REFRESHER_SCHEDULE_H

#include "refresher/directory.h"

/* Puts the item in, or moves it. `due`: clock_monotonic; less comes first, so what somebody waits for is due long ago.
 */
void schedule_put(struct item *item, int64_t due);
/* Takes it out; nothing where it is not in. */
void schedule_drop(struct item *item);
/* The item that is due first; NULL: none. It stays in. */
struct item *schedule_first(void);

/* When an item that has become dirty is to be rendered: at once, but not sooner than the least time after it was sent
 * for last, which keeps a burst of changes from being rendered one by one. Microseconds. */
int64_t schedule_due(enum hot_pattern pattern, int64_t sent_at, int64_t now);
/* How long a body may be served after it was rendered, whatever is heard of it. Microseconds. */
int64_t schedule_life(enum hot_pattern pattern);
/* When what expires at `expires_at` is rendered again, where it is still read. */
int64_t schedule_renewal(enum hot_pattern pattern, int64_t expires_at);

#endif
