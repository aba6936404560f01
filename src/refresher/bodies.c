/* bodies: ETags, header lines, gzip and brotli. Refresher; heap memory for the result of the last call.
 *
 * Compressing is the longest thing that the refresher does in one turn of its loop: the levels are those that take less
 * than a millisecond for a list page. */
#include "refresher/bodies.h"

#include <brotli/encode.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>
#define ZLIB_CONST /* its input is not written to */
#include <zlib.h>

#include "base/buffer.h"
#include "base/object.h"

/* A smaller body fits a packet or two anyway. */
#define LEAST_SIZE 1024
#define GZIP_LEVEL 6
#define GZIP_WINDOW (15 + 16) /* 16: with gzip's header, not zlib's */
#define GZIP_MEMORY 8
#define BROTLI_LEVEL 5
/* What is kept of the scratch memory for the next call. */
#define KEPT_SIZE (1 << 20)

static const struct {
    const char *name;   /* of Content-Encoding */
    const char *suffix; /* of the ETag: another representation is another ETag */
} encodings[HOT_ENCODING_COUNT] = {
    [HOT_IDENTITY] = {NULL, ""},
    [HOT_GZIP] = {"gzip", "-gz"},
    [HOT_BROTLI] = {"br", "-br"},
};

/* Boot lifetime. */
static struct {
    struct buffer bytes[HOT_ENCODING_COUNT];
    struct buffer lines[HOT_ENCODING_COUNT];
    z_stream gzip;
    bool gzip_ready;
} scratch;

static bool compress_gzip(const char *bytes, size_t length, size_t most, struct buffer *to)
{
    z_stream *stream = &scratch.gzip;
    if (scratch.gzip_ready) {
        INVARIANT(deflateReset(stream) == Z_OK);
    } else {
        INVARIANT(deflateInit2(stream, GZIP_LEVEL, Z_DEFLATED, GZIP_WINDOW, GZIP_MEMORY, Z_DEFAULT_STRATEGY) == Z_OK);
        scratch.gzip_ready = true;
    }
    stream->next_in = (const Bytef *)bytes;
    stream->avail_in = (uInt)length;
    stream->next_out = (Bytef *)buffer_reserve(to, most);
    stream->avail_out = (uInt)most;
    if (deflate(stream, Z_FINISH) != Z_STREAM_END)
        return false;
    to->end += most - stream->avail_out;
    return true;
}

static bool compress_brotli(const char *bytes, size_t length, size_t most, struct buffer *to)
{
    size_t size = most;
    uint8_t *out = (uint8_t *)buffer_reserve(to, most);
    if (!BrotliEncoderCompress(BROTLI_LEVEL, BROTLI_DEFAULT_WINDOW, BROTLI_MODE_TEXT, length, (const uint8_t *)bytes,
                               &size, out))
        return false;
    to->end += size;
    return true;
}

/* false: it does not pay. */
static bool make_smaller(enum hot_encoding encoding, const char *bytes, size_t length, struct buffer *to)
{
    size_t most = length - length / 10;
    if (length < LEAST_SIZE || length > UINT32_MAX / 2)
        return false;
    return encoding == HOT_GZIP ? compress_gzip(bytes, length, most, to) : compress_brotli(bytes, length, most, to);
}

static void describe(enum hot_encoding encoding, const char *type, const char *etag, const char *link,
                     struct hot_body *body)
{
    struct buffer *lines = &scratch.lines[encoding];
    const char *suffix = encodings[encoding].suffix;
    buffer_clear(lines, KEPT_SIZE);
    buffer_append_text(lines, "ETag: \"");
    size_t etag_at = buffer_length(lines);
    buffer_printf(lines, "%s%s", etag, suffix);
    body->etag_length = buffer_length(lines) - etag_at;
    buffer_printf(lines, "\"\r\n%s", link);
    body->lines_of_304 = buffer_length(lines);
    buffer_printf(lines, "Content-Type: %s\r\nContent-Length: %zu\r\n", type, body->length);
    if (encodings[encoding].name != NULL)
        buffer_printf(lines, "Content-Encoding: %s\r\n", encodings[encoding].name);
    body->lines = buffer_bytes(lines);
    body->lines_length = buffer_length(lines);
    body->etag = body->lines + etag_at;
}

void bodies_make(const char *bytes, size_t length, const char *type, const char *etag, const char *link,
                 struct hot_body bodies[HOT_ENCODING_COUNT])
{
    char hash[17];
    if (etag == NULL) {
        snprintf(hash, sizeof hash, "%016" PRIx64, (uint64_t)XXH3_64bits(bytes, length));
        etag = hash;
    }
    memset(bodies, 0, HOT_ENCODING_COUNT * sizeof bodies[0]);
    for (enum hot_encoding encoding = HOT_IDENTITY; encoding < HOT_ENCODING_COUNT; encoding++) {
        struct hot_body *body = &bodies[encoding];
        struct buffer *to = &scratch.bytes[encoding];
        buffer_clear(to, KEPT_SIZE);
        if (encoding == HOT_IDENTITY) {
            body->bytes = bytes;
            body->length = length;
        } else if (make_smaller(encoding, bytes, length, to)) {
            body->bytes = buffer_bytes(to);
            body->length = buffer_length(to);
        } else {
            continue;
        }
        describe(encoding, type, etag, link, body);
    }
}
