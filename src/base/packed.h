/* packed: looks at msgpack bytes before msgpack-c does, which allocates what a header announces: five bytes that
 * promise an array of 2^32 elements would have it ask for 100 GB. Any process; pure functions over bytes. */
#ifndef BASE_PACKED_H
#define BASE_PACKED_H

#include <stdbool.h>
#include <stddef.h>

#include "base/object.h"

/* The bytes are one whole msgpack object and nothing behind it: everything that its headers announce is there. */
bool packed_is_whole(const char *bytes, size_t length) MUST_CHECK;

#endif
