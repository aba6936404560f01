/* coherence: the reads of the feed whose changes are not all rendered yet. From that follows up to when everything that
 * is published is known to be true, and where a successor goes on. Refresher; pure bookkeeping. */
#ifndef REFRESHER_COHERENCE_H
#define REFRESHER_COHERENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/object.h"

/* Begins: nothing is outstanding. */
void coherence_reset(void);
/* A read has come: what was committed before `sent_at` is in it or in one before. Returns its number, above 0, to hold
 * it by. It counts as done with as soon as nobody holds it or one before it; so its holders must take it before the
 * next coherence_advance. */
uint64_t coherence_add(int64_t sent_at, const char *cursor);
/* Somebody has not rendered this read's changes yet. The same read may be held often. */
void coherence_hold(uint64_t number);
void coherence_release(uint64_t number);
/* When the read was sent, for measuring. */
int64_t coherence_sent_at(uint64_t number);

struct coherence_point {
    int64_t sent_at;
    const char *cursor; /* valid until the next call of coherence_add or coherence_advance */
};
/* Goes as far as it can. true: another read, and all before it, is done with, the one in `point`. */
bool coherence_advance(struct coherence_point *point) MUST_CHECK;
/* Reads that are not done with. */
size_t coherence_outstanding(void);

#endif
