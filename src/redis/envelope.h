/* envelope: an entry as the bytes that stand in Redis: a msgpack array of format, version, times, parts and a checksum
 * over all of it and the key. Refresher; pure functions over bytes. */
#ifndef REDIS_ENVELOPE_H
#define REDIS_ENVELOPE_H

#include "base/buffer.h"
#include "redis/store.h"

/* The version as text, at a fixed place, so that a script can compare it: 20 digits each of epoch, xmax, and of what is
 * left of 2^64 - 1 without in_progress. Of two, the text that sorts later is the later version. */
#define ENVELOPE_VERSION_AT 4
#define ENVELOPE_VERSION_LENGTH 60

enum envelope_result {
    ENVELOPE_OK,
    ENVELOPE_EXPIRED,
    ENVELOPE_MALFORMED, /* cut off, changed, of another key, or something else altogether */
};

/* Appends the bytes. */
void envelope_write(struct buffer *out, const char *key, size_t key_length, const struct store_entry *entry);
/* The parts of `entry` point into `bytes`. `now`: clock_realtime. */
enum envelope_result envelope_read(const char *bytes, size_t length, const char *key, size_t key_length, int64_t now,
                                   struct store_entry *entry) MUST_CHECK;

#endif
