/* fills: what workers ask for, and what they are told. Refresher; its end of each worker's socket (api/fill.h). */
#ifndef REFRESHER_FILLS_H
#define REFRESHER_FILLS_H

#include <event2/event.h>
#include <stddef.h>
#include <stdint.h>

#include "api/fill.h"
#include "refresher/directory.h"

/* Begins to listen, and says so to each worker: whoever waited for the predecessor asks again. */
void fills_create(struct event_base *base, const int *sockets, size_t count);
/* Tells those who wait for the item and asked no later than `asked_before`. */
void fills_answer(struct item *item, enum fill_result result, int64_t asked_before);

#endif
