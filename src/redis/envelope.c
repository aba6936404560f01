/* envelope: writes an entry as msgpack, and reads it without believing a byte of it. Refresher. */
#include "redis/envelope.h"

#include <inttypes.h>
#include <msgpack.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "base/packed.h"

/* In this order. The two bytes before the version (str 8 and its length) make its place a fixed one. */
enum { FORMAT, VERSION, RENDERED, EXPIRES, ETAG, LINES, META, BODY, CHECKSUM, MEMBER_COUNT };
/* A 64-bit number with its first byte, whatever its value. */
#define CHECKSUM_LENGTH 9
#define NUMBER_64 0xcf
_Static_assert(STORE_FORMAT < 128 && MEMBER_COUNT < 16, "the array's head and the format take a byte each");
#define NUMBER_DIGITS 20
_Static_assert(ENVELOPE_VERSION_LENGTH == 3 * NUMBER_DIGITS, "three numbers");

static uint64_t checksum(const char *bytes, size_t length, const char *key, size_t key_length);
static bool has_checksum(const char *bytes, size_t length, const char *key, size_t key_length);
static bool read_version(const msgpack_object *object, struct store_version *version);
static bool read_time(const msgpack_object *object, int64_t *time);
static bool read_part(const msgpack_object *object, struct store_bytes *part);

static int append(void *context, const char *bytes, size_t length)
{
    buffer_append(context, bytes, length);
    return 0;
}

static void pack_part(msgpack_packer *packer, struct store_bytes part)
{
    msgpack_pack_bin(packer, part.length);
    if (part.length > 0)
        msgpack_pack_bin_body(packer, part.bytes, part.length);
}

void envelope_write(struct buffer *out, const char *key, size_t key_length, const struct store_entry *entry)
{
    const struct store_version *version = &entry->version;
    size_t start = buffer_length(out);
    char digits[ENVELOPE_VERSION_LENGTH + 1];
    msgpack_packer packer;
    snprintf(digits, sizeof digits, "%020" PRIu64 "%020" PRIu64 "%020" PRIu64, version->epoch, version->xmax,
             UINT64_MAX - version->in_progress);
    msgpack_packer_init(&packer, out, append);
    msgpack_pack_array(&packer, MEMBER_COUNT);
    msgpack_pack_int(&packer, STORE_FORMAT);
    msgpack_pack_str_with_body(&packer, digits, ENVELOPE_VERSION_LENGTH);
    msgpack_pack_int64(&packer, entry->rendered_at);
    msgpack_pack_int64(&packer, entry->expires_at);
    pack_part(&packer, entry->etag);
    pack_part(&packer, entry->lines);
    pack_part(&packer, entry->meta);
    pack_part(&packer, entry->body);
    msgpack_pack_fix_uint64(&packer, checksum(buffer_bytes(out) + start, buffer_length(out) - start, key, key_length));
}

enum envelope_result envelope_read(const char *bytes, size_t length, const char *key, size_t key_length, int64_t now,
                                   struct store_entry *entry)
{
    enum envelope_result result = ENVELOPE_MALFORMED;
    if (length > STORE_VALUE_MAX || !has_checksum(bytes, length, key, key_length) || !packed_is_whole(bytes, length))
        return result;
    msgpack_unpacked unpacked;
    size_t offset = 0;
    msgpack_unpacked_init(&unpacked);
    if (msgpack_unpack_next(&unpacked, bytes, length, &offset) == MSGPACK_UNPACK_SUCCESS &&
        unpacked.data.type == MSGPACK_OBJECT_ARRAY && unpacked.data.via.array.size == MEMBER_COUNT) {
        const msgpack_object *members = unpacked.data.via.array.ptr;
        if (members[CHECKSUM].type == MSGPACK_OBJECT_POSITIVE_INTEGER &&
            members[FORMAT].type == MSGPACK_OBJECT_POSITIVE_INTEGER && members[FORMAT].via.u64 == STORE_FORMAT &&
            read_version(&members[VERSION], &entry->version) && read_time(&members[RENDERED], &entry->rendered_at) &&
            read_time(&members[EXPIRES], &entry->expires_at) && read_part(&members[ETAG], &entry->etag) &&
            read_part(&members[LINES], &entry->lines) && read_part(&members[META], &entry->meta) &&
            read_part(&members[BODY], &entry->body))
            result = entry->expires_at > now ? ENVELOPE_OK : ENVELOPE_EXPIRED;
    }
    msgpack_unpacked_destroy(&unpacked); /* what it holds of bin and str points into `bytes` */
    return result;
}

/* Looked at before all else: what has the right one is ours, unless somebody means to deceive. */
static bool has_checksum(const char *bytes, size_t length, const char *key, size_t key_length)
{
    if (length <= CHECKSUM_LENGTH)
        return false;
    const unsigned char *at = (const unsigned char *)bytes + length - CHECKSUM_LENGTH;
    uint64_t there = 0;
    for (int i = 1; i < CHECKSUM_LENGTH; i++) /* the highest byte first */
        there = there << 8 | at[i];
    return at[0] == NUMBER_64 && there == checksum(bytes, length - CHECKSUM_LENGTH, key, key_length);
}

/* The key is in it: a value that was copied to another key is none there. Without a seed, as hosts must agree. */
static uint64_t checksum(const char *bytes, size_t length, const char *key, size_t key_length)
{
    return XXH3_64bits_withSeed(bytes, length, XXH3_64bits(key, key_length));
}

static bool read_version(const msgpack_object *object, struct store_version *version)
{
    uint64_t *const numbers[] = {&version->epoch, &version->xmax, &version->in_progress};
    if (object->type != MSGPACK_OBJECT_STR || object->via.str.size != ENVELOPE_VERSION_LENGTH)
        return false;
    for (int i = 0; i < ENVELOPE_VERSION_LENGTH; i++) {
        uint64_t *number = numbers[i / NUMBER_DIGITS];
        char digit = object->via.str.ptr[i];
        if (i % NUMBER_DIGITS == 0)
            *number = 0;
        if (digit < '0' || digit > '9' || __builtin_mul_overflow(*number, UINT64_C(10), number) ||
            __builtin_add_overflow(*number, (uint64_t)(digit - '0'), number))
            return false;
    }
    version->in_progress = UINT64_MAX - version->in_progress;
    return true;
}

static bool read_time(const msgpack_object *object, int64_t *time)
{
    if (object->type != MSGPACK_OBJECT_POSITIVE_INTEGER || object->via.u64 > INT64_MAX)
        return false;
    *time = (int64_t)object->via.u64;
    return true;
}

static bool read_part(const msgpack_object *object, struct store_bytes *part)
{
    if (object->type != MSGPACK_OBJECT_BIN)
        return false;
    *part = (struct store_bytes){.bytes = object->via.bin.ptr, .length = object->via.bin.size};
    return true;
}
