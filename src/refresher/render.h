/* render: from a key that is due to what is published. Refresher; the only place that changes an item's state, and that
 * publishes and deletes entries. */
#ifndef REFRESHER_RENDER_H
#define REFRESHER_RENDER_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/fill.h"
#include "pg/pool.h"
#include "refresher/directory.h"
#include "refresher/rendering.h"

struct render_options {
    struct event_base *base;
    struct pg_pool *pool;
    /* Whoever waits is to be told. `asked_before`: only those who asked before then. */
    void (*answer)(struct item *item, enum fill_result result, int64_t asked_before);
    /* Does a change that was read since a page's statement was sent, and that this snapshot does not show, show on it
     * now? */
    bool (*changed_meanwhile)(struct item *item, const struct hot_version *version);
    /* Remembers from where on changed_meanwhile has to look. */
    void (*watch)(struct item *item);
    /* After each turn in which something was published or let go. */
    void (*progress)(void);
};

/* Once, before the others. */
void render_create(const struct render_options *options);

/* Statements may be sent, and results from this epoch on are taken. */
void render_allow(uint64_t epoch);
/* No statement is sent until further notice; results under way are not taken. `answer`: who waits is told that
 * PostgreSQL is away, now and until render_allow. */
void render_forbid(bool answer);
bool render_is_allowed(void);

/* To be rendered though nobody has read it: somebody waits for it, or it is to be warm. */
void render_want(struct item *item);
/* A change was read that shows in it, in read `number` of the feed, whose snapshot is `version`. */
void render_dirty(struct item *item, uint64_t number, const struct hot_version *version);
/* The same for all list pages that are under way: nobody knows yet what they will show. */
void render_dirty_pages_under_way(uint64_t number, const struct hot_version *version);
/* The entry of the item is gone, or is to go. */
void render_drop(struct item *item);
void render_evicted(struct item *item);
/* Everything that was published is gone (another generation); what was read is rendered again. `discard`: so is what is
 * under way. Nothing is held afterwards. */
void render_all_again(bool discard);
/* Lets go of what has been dirty since before `since` and is still not rendered. */
void render_drop_late(int64_t since);

/* Entry that was there at the start. */
void render_adopt(struct item *item, int64_t rendered_at, int64_t expires_at);

/* Is there anything that was wanted and is not there yet? */
size_t render_wanted(void);

/* second.c has asked Redis for an item in ITEM_ASKING: a body from there, or NULL: there is none, or it is of no use;
 * then PostgreSQL is asked. */
void render_second(struct item *item, const struct rendering *rendering, int64_t expires_at);

#endif
