/* encodings: which representation of a body a client gets, by its Accept-Encoding (RFC 9110, 12.5.3). Worker process;
 * pure functions. */
#ifndef API_ENCODINGS_H
#define API_ENCODINGS_H

#include <stdbool.h>

#include "shm/hot_read.h"

/* `header` NULL: there is none. Of what is offered (identity always is) the one with the highest weight; at equal
 * weights brotli before gzip before identity. Where the client accepts none of them, identity: a body that can be read
 * is worth more to it than a 406, and the header may be disregarded (12.4.1). */
enum hot_encoding encodings_choose(const char *header, const bool offered[HOT_ENCODING_COUNT]);

#endif
