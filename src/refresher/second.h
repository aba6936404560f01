/* second: the second level of the cache, in Redis, shared with other hosts. Refresher. Redis is believed to be slow, to
 * be away and to hold anything; what comes from it is measured by its version before it is published. */
#ifndef REFRESHER_SECOND_H
#define REFRESHER_SECOND_H

#include <event2/event.h>
#include <stdbool.h>

#include "base/configuration.h"
#include "pg/feed.h"
#include "refresher/directory.h"
#include "refresher/rendering.h"

/* Nothing happens where the configuration names no Redis. */
void second_create(struct event_base *base, const struct configuration *configuration);
void second_reload(const struct configuration *configuration);
/* Which database is cached; until then nothing is asked. */
void second_name(const struct pg_feed_database *database);
/* The key of page cursors: pages of hosts with another one are not taken. */
void second_set_seal(uint64_t seal);
/* Is it worth asking now? */
bool second_is_there(void);
/* Asks for an item in ITEM_ASKING; render_second is called once, not from within this call. */
void second_ask(struct item *item);
/* Keeps a body that was rendered here, and gives the lease back. */
void second_store(struct item *item, const struct hot_key *key, const struct rendering *rendering);
/* Gives the lease back: there is nothing to keep. */
void second_release(struct item *item);
void second_destroy(void);

#endif
