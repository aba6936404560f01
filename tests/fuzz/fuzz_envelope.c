/* fuzz_envelope: what somebody has put into Redis where our entries stand.
 *
 * What must hold: whatever it is, reading it ends, and what it takes for an entry lies within the bytes; with a
 * checksum that is right (made here, so that more than the checksum is looked at) an entry that is read is one that,
 * written again, reads the same. And any parts and numbers that are written are read as they were, but not by another
 * key. */
#include <xxhash.h>

#include "redis/envelope.h"
#include "target.h"

#define CHECKSUM_LENGTH 9

static void check_part(const struct store_bytes *part, const char *bytes, size_t size)
{
    MUST(part->length == 0 || (part->bytes >= bytes && part->bytes + part->length <= bytes + size));
}

static void check_same_part(const struct store_bytes *left, const struct store_bytes *right)
{
    MUST(left->length == right->length);
    MUST(left->length == 0 || memcmp(left->bytes, right->bytes, left->length) == 0);
}

static void check_same(const struct store_entry *left, const struct store_entry *right)
{
    MUST(left->version.epoch == right->version.epoch && left->version.xmax == right->version.xmax &&
         left->version.in_progress == right->version.in_progress);
    MUST(left->rendered_at == right->rendered_at && left->expires_at == right->expires_at);
    check_same_part(&left->body, &right->body);
    check_same_part(&left->etag, &right->etag);
    check_same_part(&left->lines, &right->lines);
    check_same_part(&left->meta, &right->meta);
}

static void write_and_read(const struct store_entry *entry, const char *key, size_t key_length)
{
    struct buffer written = {.memory = NULL};
    struct store_entry again;
    envelope_write(&written, key, key_length, entry);
    if (buffer_length(&written) <= STORE_VALUE_MAX) {
        char *copy = exact_copy((const uint8_t *)buffer_bytes(&written), buffer_length(&written), 0);
        MUST(envelope_read(copy, buffer_length(&written), key, key_length, entry->expires_at - 1, &again) ==
             ENVELOPE_OK);
        check_same(entry, &again);
        MUST(envelope_read(copy, buffer_length(&written), key, key_length, entry->expires_at, &again) ==
             ENVELOPE_EXPIRED);
        MUST(envelope_read(copy, buffer_length(&written), "another", 7, 0, &again) == ENVELOPE_MALFORMED);
        free(copy);
    }
    buffer_free(&written);
}

static void read_as_it_is(char *bytes, size_t size)
{
    struct store_entry entry;
    if (envelope_read(bytes, size, "key", 3, 0, &entry) != ENVELOPE_OK)
        return;
    check_part(&entry.body, bytes, size);
    check_part(&entry.etag, bytes, size);
    check_part(&entry.lines, bytes, size);
    check_part(&entry.meta, bytes, size);
    write_and_read(&entry, "key", 3);
}

static void read_with_checksum(char *bytes, size_t size)
{
    if (size <= CHECKSUM_LENGTH)
        return;
    uint64_t sum = XXH3_64bits_withSeed(bytes, size - CHECKSUM_LENGTH, XXH3_64bits("key", 3));
    bytes[size - CHECKSUM_LENGTH] = (char)0xcf; /* a 64-bit number, the highest byte first */
    for (int i = 1; i < CHECKSUM_LENGTH; i++)
        bytes[size - CHECKSUM_LENGTH + (size_t)i] = (char)(sum >> (64 - 8 * i));
    read_as_it_is(bytes, size);
}

static void write_parts(char *bytes, size_t size)
{
    struct store_entry entry = {.rendered_at = (int64_t)size};
    uint64_t choice = choice_of((const uint8_t *)bytes, size);
    size_t first = size == 0 ? 0 : choice % size;
    entry.version = (struct store_version){choice, choice * choice, ~choice};
    entry.expires_at = (int64_t)(choice >> 1) + 1;
    entry.etag = (struct store_bytes){bytes, first / 2};
    entry.lines = (struct store_bytes){bytes + first / 2, first - first / 2};
    entry.body = (struct store_bytes){bytes + first, size - first};
    write_and_read(&entry, "key", 3);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    char *copy = exact_copy(bytes, size, 0);
    read_as_it_is(copy, size);
    write_parts(copy, size);
    read_with_checksum(copy, size);
    free(copy);
    return 0;
}
