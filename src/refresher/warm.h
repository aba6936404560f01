/* warm: what is asked for first is in the cache before anybody asks: the first page of each category, and the events of
 * the next weeks. Refresher. */
#ifndef REFRESHER_WARM_H
#define REFRESHER_WARM_H

#include <stdint.h>

#include "pg/pool.h"

/* `limit`: pages, and events, at most. `done`: everything of a round is there, or cannot be. */
void warm_create(struct pg_pool *pool, int64_t limit, void (*done)(void));
/* Begins a round, or lets the one that is under way begin again. */
void warm_begin(void);
/* Something was published, or given up: is the round done? */
void warm_look(void);

#endif
