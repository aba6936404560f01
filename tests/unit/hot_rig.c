/* hot_rig: see the header. Unit tests and the torture of the hot cache. */
#include "hot_rig.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shm/hot_layout.h"

#define BODY_MAX (2 << 20)

int64_t hot_rig_now = INT64_C(1000000000);

void hot_rig_begin(int64_t mebibytes, int workers)
{
    char error[200];
    bool made = region_create(mebibytes << 20, workers, error, sizeof error);
    INVARIANT(made);
    hot_region.seed = 1; /* the same keys share floors in each run */
    region_attach_writer();
    region_attach_reader(0);
    size_t kept = hot_open(false, NULL, NULL);
    INVARIANT(kept == 0);
    bool extended = hot_extend(hot_rig_now, hot_rig_now + INT64_C(3600000000));
    INVARIANT(extended);
}

/* Byte `at` of a body. */
static char letter(uint64_t seed, size_t at)
{
    return (char)((seed + at * 2654435761U) >> 3);
}

static uint64_t seed_of(const char *key, uint64_t version)
{
    uint64_t seed = version * UINT64_C(0x9e3779b97f4a7c15);
    for (; *key != '\0'; key++)
        seed = (seed ^ (uint8_t)*key) * UINT64_C(0x100000001b3);
    return seed;
}

static size_t make_lines(char *lines, size_t size, uint64_t version, unsigned encoding, size_t length)
{
    return (size_t)snprintf(lines, size, "ETag: \"%" PRIu64 "%s\"\r\nContent-Length: %zu\r\n", version,
                            encoding == HOT_GZIP ? "-gz" : "", length);
}

struct hot_entry *hot_rig_entry(const char *key, uint64_t version, size_t size)
{
    static char bytes[2][BODY_MAX];
    static char lines[2][200];
    static struct hot_entry entry;
    entry = (struct hot_entry){
        .key = key,
        .key_length = strlen(key),
        .pattern = key[0] == 's'   ? HOT_PATTERN_STATS
                   : key[0] == 'u' ? HOT_PATTERN_USER
                   : key[0] == 'l' ? HOT_PATTERN_LIST
                                   : HOT_PATTERN_EVENT,
        .ticket = hot_ticket(key, strlen(key)),
        .version = {.epoch = 1, .xmax = version},
        .rendered_at = hot_rig_now,
        .expires_at = hot_rig_now + INT64_C(7200000000),
        .meta = key,
        .meta_length = strlen(key),
    };
    for (unsigned encoding = HOT_IDENTITY; encoding <= HOT_GZIP; encoding++) {
        size_t length = encoding == HOT_GZIP ? size / 2 : size;
        if (encoding == HOT_GZIP && size <= 1000)
            break;
        uint64_t seed = seed_of(key, version) + encoding;
        for (size_t i = 0; i < length; i++)
            bytes[encoding][i] = letter(seed, i);
        struct hot_body *body = &entry.bodies[encoding];
        body->bytes = bytes[encoding];
        body->length = length;
        body->lines = lines[encoding];
        body->lines_length = make_lines(lines[encoding], sizeof lines[encoding], version, encoding, length);
        body->lines_of_304 = (size_t)(strstr(lines[encoding], "Content") - lines[encoding]);
        body->etag = strchr(lines[encoding], '"') + 1;
        body->etag_length = (size_t)(strchr(body->etag, '"') - body->etag);
    }
    return &entry;
}

enum hot_publish hot_rig_publish(const char *key, uint64_t version, size_t size)
{
    return hot_publish(hot_rig_entry(key, version, size));
}

bool hot_rig_is_body(const struct hot_view *view, const char *key, uint64_t version, size_t size)
{
    if (size == 0)
        size = view->bodies[HOT_IDENTITY].length;
    if (view->version.xmax != version || view->meta_length != strlen(key) ||
        memcmp(view->meta, key, view->meta_length) != 0 || view->bodies[HOT_BROTLI].bytes != NULL)
        return false;
    for (unsigned encoding = HOT_IDENTITY; encoding <= HOT_GZIP; encoding++) {
        const struct hot_body *body = &view->bodies[encoding];
        size_t length = encoding == HOT_GZIP ? size / 2 : size;
        if (encoding == HOT_GZIP && size <= 1000)
            return body->bytes == NULL;
        char lines[200];
        size_t lines_length = make_lines(lines, sizeof lines, version, encoding, length);
        if (body->bytes == NULL || body->length != length || body->lines_length != lines_length ||
            memcmp(body->lines, lines, lines_length) != 0 ||
            memcmp(body->lines + body->lines_of_304, "Content", 7) != 0 || body->etag != body->lines + 7)
            return false;
        uint64_t seed = seed_of(key, version) + encoding;
        for (size_t i = 0; i < length; i++)
            if (body->bytes[i] != letter(seed, i))
                return false;
    }
    return true;
}

int64_t hot_rig_find(const char *key)
{
    struct hot_view view;
    enum hot_found found = hot_find(key, strlen(key), hot_rig_now, 0, &view);
    if (found == HOT_MISSING)
        return HOT_RIG_MISSING;
    if (found == HOT_LAPSED)
        return HOT_RIG_LAPSED;
    int64_t version = hot_rig_is_body(&view, key, view.version.xmax, 0) ? (int64_t)view.version.xmax : HOT_RIG_WRONG;
    hot_release();
    return version >= 0 && found == HOT_STALE ? version + HOT_RIG_STALE_FROM : version;
}
