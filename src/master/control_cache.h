/* control_cache: what turnoutctl is told of the hot cache. Master; it reads the pages of the statistics, and nothing of
 * the cache itself. */
#ifndef MASTER_CONTROL_CACHE_H
#define MASTER_CONTROL_CACHE_H

#include "base/buffer.h"
#include "ctl/protocol.h"

/* Fills the answer of "show cache". */
void control_cache_show(struct protocol_reply *reply);
/* The same of "show cache KEY" from what the refresher answered: lines "name: value", an empty one, the body. */
void control_cache_entry(struct protocol_reply *reply, const char *text, size_t length);

#endif
