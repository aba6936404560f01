/* item: the states of one key, and the reads of the feed that it holds. Refresher; render.c decides, and nobody else
 * calls what is here. */
#ifndef REFRESHER_ITEM_H
#define REFRESHER_ITEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "refresher/directory.h"

LIST_HEAD(pages, item);

/* How many of all items are where. */
struct item_tally {
    size_t under_way; /* ITEM_RENDERING */
    size_t wanted;
    struct pages pages_under_way; /* list pages in ITEM_ASKING or ITEM_RENDERING */
    bool released;                /* a read was let go of since whoever looks last cleared this */
};
extern struct item_tally item_tally;

/* Once; `wake` makes the loop look at what is due at this moment at the latest. */
void item_create(void (*wake)(int64_t moment));

static inline bool item_is_idle(const struct item *item)
{
    return item->state == ITEM_RESTING || item->state == ITEM_WAITING;
}
/* Does somebody wait for it, or is it to be warm? */
bool item_is_asked_for(const struct item *item);
/* When it is to be rendered, for a change or for who waits. */
int64_t item_due(const struct item *item, int64_t now);

/* The only place that changes the state. */
void item_set_state(struct item *item, enum item_state state);
void item_set_wanted(struct item *item, bool wanted);
/* ITEM_WAITING until `due`. */
void item_wait_until(struct item *item, int64_t due);
/* ITEM_RESTING until it is about to expire; forgotten where nothing is published and nobody waits. */
void item_rest(struct item *item);
/* Nothing of it is left; it is idle and not published. */
void item_forget(struct item *item);
void item_delete_entry(struct item *item);

/* Lets go of one hold. */
void item_release(uint64_t *number);
void item_release_all(struct item *item);
/* What was under way has shown nothing: its read is the oldest that is not rendered again. */
void item_take_back(struct item *item);

#endif
