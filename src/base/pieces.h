/* pieces: long texts over a channel that takes short messages: cut up, and what the channel does not take at once is
 * sent when it does. Any child of the master. */
#ifndef BASE_PIECES_H
#define BASE_PIECES_H

#include <event2/event.h>
#include <stddef.h>
#include <stdint.h>

#include "base/object.h"

struct pieces;

/* Boot lifetime. */
struct pieces *pieces_create(struct event_base *base, int channel) MUST_CHECK;
/* Sends messages of `kind`: number, 1 where more of it follows, status, a piece of the text. The text is copied. */
void pieces_send(struct pieces *pieces, int kind, int64_t number, int64_t status, const char *text, size_t length);

#endif
