/* bodies: the representations of one body: as it is, gzip and brotli where they pay, each with its header lines and
 * ETag. Refresher; it keeps only its scratch memory. */
#ifndef REFRESHER_BODIES_H
#define REFRESHER_BODIES_H

#include <stddef.h>

#include "shm/hot_read.h"

/* Makes them, in memory that is valid until the next call. `type` is the media type; `etag` without quotes, NULL: a
 * hash of the body; `link`: a header line with its CRLF, or "". `bytes` is lent until the next call. */
void bodies_make(const char *bytes, size_t length, const char *type, const char *etag, const char *link,
                 struct hot_body bodies[HOT_ENCODING_COUNT]);

#endif
