/* schedule: a binary heap of items by when they are due; each item knows its place, so that it can be moved. Refresher;
 * heap memory. */
#include "refresher/schedule.h"

#include <stdlib.h>

#define SECONDS INT64_C(1000000)

/* By pattern, microseconds. An entry is rendered again in the last tenth of its life. */
static const struct {
    int64_t pause; /* between two renderings */
    int64_t life;
} times[HOT_PATTERN_COUNT] = {
    [HOT_PATTERN_LIST] = {50000, 300 * SECONDS},      [HOT_PATTERN_EVENT] = {50000, 600 * SECONDS},
    [HOT_PATTERN_STATS] = {250000, 1800 * SECONDS},   [HOT_PATTERN_USER] = {50000, 3600 * SECONDS},
    [HOT_PATTERN_CALENDAR] = {50000, 1800 * SECONDS},
};

/* Boot lifetime. */
static struct {
    struct item **items;
    size_t count;
    size_t size;
} heap;

static void set(size_t index, struct item *item)
{
    heap.items[index] = item;
    item->heap_index = index;
}

static void sift_up(size_t index, struct item *item)
{
    while (index > 0 && heap.items[(index - 1) / 2]->due > item->due) {
        set(index, heap.items[(index - 1) / 2]);
        index = (index - 1) / 2;
    }
    set(index, item);
}

static void sift_down(size_t index, struct item *item)
{
    for (;;) {
        size_t child = 2 * index + 1;
        if (child >= heap.count)
            break;
        if (child + 1 < heap.count && heap.items[child + 1]->due < heap.items[child]->due)
            child++;
        if (heap.items[child]->due >= item->due)
            break;
        set(index, heap.items[child]);
        index = child;
    }
    set(index, item);
}

void schedule_put(struct item *item, int64_t due)
{
    int64_t before = item->due;
    item->due = due;
    if (item->heap_index != SIZE_MAX) {
        if (due < before)
            sift_up(item->heap_index, item);
        else
            sift_down(item->heap_index, item);
        return;
    }
    if (heap.count == heap.size) {
        heap.size = heap.size == 0 ? 1024 : heap.size * 2;
        heap.items = realloc(heap.items, heap.size * sizeof(struct item *));
        INVARIANT(heap.items != NULL);
    }
    sift_up(heap.count++, item);
}

void schedule_drop(struct item *item)
{
    size_t index = item->heap_index;
    if (index == SIZE_MAX)
        return;
    INVARIANT(index < heap.count && heap.items[index] == item);
    item->heap_index = SIZE_MAX;
    struct item *last = heap.items[--heap.count];
    if (last == item)
        return;
    if (index > 0 && heap.items[(index - 1) / 2]->due > last->due)
        sift_up(index, last);
    else
        sift_down(index, last);
}

struct item *schedule_first(void)
{
    return heap.count == 0 ? NULL : heap.items[0];
}

int64_t schedule_due(enum hot_pattern pattern, int64_t sent_at, int64_t now)
{
    int64_t soonest = sent_at == 0 ? now : sent_at + times[pattern].pause;
    return soonest > now ? soonest : now;
}

int64_t schedule_life(enum hot_pattern pattern)
{
    return times[pattern].life;
}

int64_t schedule_renewal(enum hot_pattern pattern, int64_t expires_at)
{
    return expires_at - times[pattern].life / 10;
}
