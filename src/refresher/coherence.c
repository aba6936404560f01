/* coherence: a ring of reads in their order, each with the number of those who hold it. Refresher; heap memory.
 *
 * An item holds only the oldest read that it has not rendered: the later ones wait for that one anyway. When it has
 * rendered that one and not the later, it holds the first of those. So a read is done with when it is the oldest and
 * nobody holds it. */
#include "refresher/coherence.h"

#include <stdlib.h>
#include <string.h>

/* Reads that are kept apart; when more are outstanding, a new one is taken together with the one before it, and both
 * are done with at once. At a read every few milliseconds the oldest is then a second old: time to worry about other
 * things than where exactly a successor goes on. */
#define READS_MAX 256

struct read {
    int64_t sent_at;
    char *cursor;
    size_t holders;
};

/* Boot lifetime. Reads [first, next) are outstanding; number n stands at n % READS_MAX. */
static struct {
    struct read reads[READS_MAX];
    uint64_t first;
    uint64_t next;
    char *reached; /* the cursor that coherence_advance told last */
} coherence = {.first = 1, .next = 1};

static struct read *read_of(uint64_t number)
{
    INVARIANT(number >= coherence.first && number < coherence.next);
    return &coherence.reads[number % READS_MAX];
}

void coherence_reset(void)
{
    while (coherence.first < coherence.next) {
        struct read *read = read_of(coherence.first);
        INVARIANT(read->holders == 0);
        free(read->cursor);
        read->cursor = NULL;
        coherence.first++;
    }
}

static void take(struct read *read, int64_t sent_at, const char *cursor)
{
    read->sent_at = sent_at;
    free(read->cursor);
    read->cursor = strdup(cursor);
    INVARIANT(read->cursor != NULL);
}

uint64_t coherence_add(int64_t sent_at, const char *cursor)
{
    if (coherence.next - coherence.first == READS_MAX) {
        take(read_of(coherence.next - 1), sent_at, cursor);
        return coherence.next - 1;
    }
    coherence.next++;
    take(read_of(coherence.next - 1), sent_at, cursor);
    return coherence.next - 1;
}

void coherence_hold(uint64_t number)
{
    read_of(number)->holders++;
}

void coherence_release(uint64_t number)
{
    struct read *read = read_of(number);
    INVARIANT(read->holders > 0);
    read->holders--;
}

int64_t coherence_sent_at(uint64_t number)
{
    return read_of(number)->sent_at;
}

bool coherence_advance(struct coherence_point *point)
{
    bool moved = false;
    while (coherence.first < coherence.next && read_of(coherence.first)->holders == 0) {
        struct read *read = read_of(coherence.first);
        point->sent_at = read->sent_at;
        free(coherence.reached);
        coherence.reached = read->cursor;
        point->cursor = coherence.reached;
        read->cursor = NULL;
        coherence.first++;
        moved = true;
    }
    return moved;
}

size_t coherence_outstanding(void)
{
    return (size_t)(coherence.next - coherence.first);
}
