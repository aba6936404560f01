/* hot_write: publishing and deleting, what holds for all entries, the cursor. Refresher process. */
#define XXH_INLINE_ALL
#include "shm/hot_write.h"

#include <string.h>
#include <xxhash.h>

#include "shm/hot_floors.h"
#include "shm/hot_index.h"
#include "shm/hot_open.h"
#include "shm/hot_segments.h"

static struct hot_header *header(void)
{
    return (struct hot_header *)hot_region.writable;
}

/* ---- entries ---- */

static uint64_t checksum_of(const struct hot_entry_header *entry)
{
    return XXH3_64bits(&entry->size, entry->size - offsetof(struct hot_entry_header, size));
}

bool hot_entry_verifies(const struct hot_entry_header *entry)
{
    return entry->checksum == checksum_of(entry);
}

static uint64_t aligned(uint64_t size, uint64_t to)
{
    return (size + to - 1) / to * to;
}

static bool has_body(const struct hot_entry *entry, unsigned encoding)
{
    return encoding == HOT_IDENTITY || entry->bodies[encoding].bytes != NULL;
}

static uint64_t size_of(const struct hot_entry *entry)
{
    uint64_t size = offsetof(struct hot_entry_header, key) + entry->key_length;
    size = aligned(size, 8) + entry->meta_length;
    for (unsigned i = 0; i < HOT_ENCODING_COUNT; i++)
        if (has_body(entry, i))
            size += entry->bodies[i].lines_length + entry->bodies[i].length;
    return aligned(size, HOT_LINE);
}

static uint32_t put(char *to, uint32_t *at, const void *bytes, size_t length)
{
    uint32_t where = *at;
    if (length > 0)
        memcpy(to + where, bytes, length);
    *at += (uint32_t)length;
    return where;
}

static void fill(struct hot_entry_header *to, const struct hot_entry *entry, uint64_t hash, uint32_t size)
{
    *to = (struct hot_entry_header){
        .size = size,
        .key_length = (uint16_t)entry->key_length,
        .pattern = (uint8_t)entry->pattern,
        .hash = hash,
        .generation = atomic_load_explicit(&header()->generation, memory_order_relaxed),
        .expires_at = entry->expires_at,
        .rendered_at = entry->rendered_at,
        .version = entry->version,
        .meta_length = (uint32_t)entry->meta_length,
    };
    uint32_t at = offsetof(struct hot_entry_header, key);
    put((char *)to, &at, entry->key, entry->key_length);
    at = (uint32_t)aligned(at, 8);
    to->meta = put((char *)to, &at, entry->meta, entry->meta_length);
    for (unsigned i = 0; i < HOT_ENCODING_COUNT; i++) {
        if (!has_body(entry, i))
            continue;
        const struct hot_body *body = &entry->bodies[i];
        INVARIANT(body->lines_length <= UINT16_MAX && body->lines_of_304 <= body->lines_length);
        to->bodies[i] = (struct hot_entry_body){
            .length = (uint32_t)body->length,
            .lines_length = (uint16_t)body->lines_length,
            .lines_of_304 = (uint16_t)body->lines_of_304,
            .etag_length = (uint16_t)body->etag_length,
        };
        if (body->etag_length > 0) {
            INVARIANT(body->etag >= body->lines && body->etag + body->etag_length <= body->lines + body->lines_length);
            to->bodies[i].etag = (uint16_t)(body->etag - body->lines);
        }
        to->bodies[i].lines = put((char *)to, &at, body->lines, body->lines_length);
        to->bodies[i].bytes = put((char *)to, &at, body->bytes, body->length);
    }
    to->checksum = checksum_of(to);
}

/* ---- publishing ---- */

enum hot_publish hot_publish(const struct hot_entry *entry)
{
    INVARIANT(entry->key_length > 0 && entry->key_length <= HOT_KEY_MAX && entry->pattern < HOT_PATTERN_COUNT);
    uint64_t hash = hot_index_hash(entry->key, entry->key_length);
    uint32_t floor = hot_floor_of(hash);
    /* What is refused by now would be later, too, and moves nothing. */
    enum hot_publish measured = hot_floors_measure(floor, entry);
    if (measured != HOT_PUBLISHED)
        return measured;
    uint64_t size = size_of(entry);
    if (size > HOT_SEGMENT)
        return HOT_TOO_LARGE;
    uint32_t segment, offset;
    char *place = hot_segments_room((uint32_t)size, &segment, &offset);
    if (place == NULL)
        return HOT_TOO_LARGE;
    fill((struct hot_entry_header *)place, entry, hash, (uint32_t)size);
    /* Only now: making room may have moved it, or what is in its way. */
    uint32_t slot = hot_index_find(hash, entry->key, entry->key_length);
    if (slot == HOT_NO_SLOT) {
        slot = hot_index_choose(hash);
        if (hot_index_at(slot) != 0)
            hot_segments_evict(slot);
    }
    uint64_t before = hot_index_at(slot);

    hot_floors_intend(floor + 1);
    measured = hot_floors_measure(floor, entry);
    if (measured == HOT_PUBLISHED) {
        uint64_t reference = hot_index_reference(slot, hash, segment, offset);
        hot_floors_note(floor, entry);
        hot_segments_publish(reference);
        hot_index_store(slot, reference);
    }
    hot_floors_done();
    if (measured == HOT_PUBLISHED && before != 0)
        hot_segments_dead(before, false);
    return measured;
}

bool hot_delete(const char *key, size_t length)
{
    uint32_t slot = hot_index_find(hot_index_hash(key, length), key, length);
    if (slot == HOT_NO_SLOT)
        return false;
    uint64_t before = hot_index_at(slot);
    hot_index_store(slot, 0);
    hot_segments_dead(before, false);
    return true;
}

bool hot_peek(const char *key, size_t length, struct hot_view *view)
{
    uint32_t slot = hot_index_find(hot_index_hash(key, length), key, length);
    if (slot == HOT_NO_SLOT)
        return false;
    hot_view_fill(view, hot_index_entry(hot_index_at(slot)),
                  atomic_load_explicit(&header()->coherent_at, memory_order_relaxed));
    return true;
}

bool hot_was_read(const char *key, size_t length)
{
    uint32_t slot = hot_index_find(hot_index_hash(key, length), key, length);
    return slot != HOT_NO_SLOT && hot_index_was_read(slot);
}

void hot_each(void (*entry)(void *context, const char *key, size_t length, enum hot_pattern pattern,
                            const struct hot_view *view),
              void *context)
{
    int64_t coherent_at = atomic_load_explicit(&header()->coherent_at, memory_order_relaxed);
    for (uint32_t slot = 0; slot < hot_region.slot_count; slot++) {
        uint64_t reference = hot_index_at(slot);
        if (reference == 0)
            continue;
        const struct hot_entry_header *found = hot_index_entry(reference);
        struct hot_view view;
        hot_view_fill(&view, found, coherent_at);
        entry(context, found->key, found->key_length, (enum hot_pattern)found->pattern, &view);
    }
}

/* ---- what holds for all entries ---- */

void hot_new_generation(void)
{
    /* With this store all of them are gone; the rest makes room. */
    atomic_fetch_add_explicit(&header()->generation, 1, memory_order_release);
    for (uint32_t slot = 0; slot < hot_region.slot_count; slot++) {
        uint64_t reference = hot_index_at(slot);
        if (reference == 0)
            continue;
        hot_index_store(slot, 0);
        hot_segments_dead(reference, false);
    }
}

/* Has a worker given up waiting since coherent_until was said last, and served what it had from PostgreSQL? */
static bool given_up(int64_t until)
{
    for (uint32_t worker = 0; worker < hot_region.workers_max; worker++) {
        const struct hot_worker_line *line = hot_worker_line(hot_region.writable, worker);
        if (atomic_load_explicit(&line->lapsed, memory_order_acquire) == until + 1)
            return true;
    }
    return false;
}

bool hot_extend(int64_t coherent_at, int64_t coherent_until)
{
    int64_t until = atomic_load_explicit(&header()->coherent_until, memory_order_relaxed);
    int64_t at = atomic_load_explicit(&header()->coherent_at, memory_order_relaxed);
    /* A later read may come with an earlier end: coherent_time is less since a reload. */
    if (coherent_at < at || coherent_until == until || (coherent_at == at && coherent_until < until))
        return true;
    hot_floors_intend(HOT_INTENT_ALL);
    bool kept = !given_up(until);
    if (!kept)
        hot_new_generation();
    atomic_store_explicit(&header()->coherent_at, coherent_at, memory_order_release);
    atomic_store_explicit(&header()->coherent_until, coherent_until, memory_order_release);
    hot_floors_done();
    return kept;
}

/* ---- the cursor ---- */

void hot_store_cursor(const void *cursor, size_t length)
{
    INVARIANT(length <= HOT_CURSOR_MAX);
    uint64_t other = atomic_load_explicit(&header()->cursor, memory_order_relaxed) == 0 ? 1 : 0;
    struct hot_cursor *to = &header()->cursors[other];
    to->length = length;
    if (length > 0)
        memcpy(to->bytes, cursor, length);
    to->checksum = XXH3_64bits(to->bytes, length);
    /* Release: killed before this store, the one of before holds. */
    atomic_store_explicit(&header()->cursor, other, memory_order_release);
}

size_t hot_load_cursor(void *cursor)
{
    uint64_t which = atomic_load_explicit(&header()->cursor, memory_order_acquire);
    const struct hot_cursor *from = &header()->cursors[which == 0 ? 0 : 1];
    if (from->length > HOT_CURSOR_MAX || from->checksum != XXH3_64bits(from->bytes, from->length))
        return 0;
    memcpy(cursor, from->bytes, from->length);
    return from->length;
}
