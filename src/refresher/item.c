/* item: from one state to the next. Refresher. */
#include "refresher/item.h"

#include "base/clock.h"
#include "refresher/coherence.h"
#include "refresher/schedule.h"

/* Whatever somebody waits for is due before all else; microseconds. What is to be warm comes after that, and before
 * changes. */
#define URGENT INT64_C(1000000000)

struct item_tally item_tally = {.pages_under_way = LIST_HEAD_INITIALIZER(item_tally.pages_under_way)};
static void (*wake_loop)(int64_t moment);

void item_create(void (*wake)(int64_t moment))
{
    wake_loop = wake;
}

bool item_is_asked_for(const struct item *item)
{
    return item->wanted || !STAILQ_EMPTY(&item->waiters);
}

int64_t item_due(const struct item *item, int64_t now)
{
    if (!STAILQ_EMPTY(&item->waiters))
        return now - URGENT;
    return item->wanted ? now - URGENT / 2 : schedule_due(item->pattern, item->sent_at, now);
}

void item_set_state(struct item *item, enum item_state state)
{
    bool was_under_way = item->state == ITEM_RENDERING;
    bool was_idle = item_is_idle(item);
    item->state = state;
    if (state == ITEM_RENDERING && !was_under_way)
        item_tally.under_way++;
    else if (state != ITEM_RENDERING && was_under_way)
        item_tally.under_way--;
    if (item->page == NULL || was_idle == item_is_idle(item))
        return;
    if (was_idle)
        LIST_INSERT_HEAD(&item_tally.pages_under_way, item, flight_link);
    else
        LIST_REMOVE(item, flight_link);
}

void item_set_wanted(struct item *item, bool wanted)
{
    if (item->wanted != wanted)
        item_tally.wanted = wanted ? item_tally.wanted + 1 : item_tally.wanted - 1;
    item->wanted = wanted;
}

void item_wait_until(struct item *item, int64_t due)
{
    item_set_state(item, ITEM_WAITING);
    schedule_put(item, due);
    wake_loop(due);
}

void item_rest(struct item *item)
{
    item_set_state(item, ITEM_RESTING);
    if (item->published)
        schedule_put(item, schedule_renewal(item->pattern, item->expires_at));
    else if (STAILQ_EMPTY(&item->waiters))
        item_forget(item);
}

void item_forget(struct item *item)
{
    INVARIANT(item_is_idle(item) && !item->published);
    item_release_all(item);
    item_set_wanted(item, false);
    schedule_drop(item);
    directory_remove(item);
}

void item_delete_entry(struct item *item)
{
    if (item->published)
        (void)hot_delete(item->key, item->length);
    item->published = false;
}

void item_release(uint64_t *number)
{
    if (*number == 0)
        return;
    coherence_release(*number);
    *number = 0;
    item_tally.released = true;
}

void item_release_all(struct item *item)
{
    item_release(&item->held_under_way);
    item_release(&item->held);
    item->dirty_at = 0;
}

void item_take_back(struct item *item)
{
    if (item->held_under_way == 0)
        return;
    item_release(&item->held);
    item->held = item->held_under_way;
    item->held_under_way = 0;
}
