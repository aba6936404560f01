/* rendering: from a key to its statement, and from the row to what is published. Refresher; it writes the region only
 * through hot_publish. */
#include "refresher/rendering.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/statements.h"
#include "base/text.h"
#include "mail/calendar.h"
#include "refresher/bodies.h"

enum { OUTCOME, BODY, ETAG, NEXT_START, NEXT_ID, IDS, EPOCH, XMAX, IN_PROGRESS, COLUMNS };

/* What is kept of the scratch memory for the next call. */
#define KEPT_SIZE (1 << 20)

/* Boot lifetime. */
static struct buffer body_memory;
static struct buffer link_memory;

void rendering_query(const struct hot_key *key, struct rendering_scratch *scratch, struct pg_query *query)
{
    memset(query->parameters, 0, sizeof query->parameters);
    query->parameters[0] = key->id;
    switch (key->pattern) {
    case HOT_PATTERN_LIST:
        snprintf(scratch->numbers[0], sizeof scratch->numbers[0], "%" PRId64, key->limit);
        snprintf(scratch->numbers[1], sizeof scratch->numbers[1], "%" PRId64, key->after_place);
        query->statement = &statement_cache_events_list;
        query->parameters[0] = key->category[0] == '\0' ? NULL : key->category;
        query->parameters[1] = key->status;
        query->parameters[2] = scratch->numbers[0];
        query->parameters[3] = key->first_page ? NULL : scratch->numbers[1];
        query->parameters[4] = key->first_page ? NULL : key->after_id;
        return;
    case HOT_PATTERN_EVENT:
        query->statement = &statement_cache_event;
        return;
    case HOT_PATTERN_STATS:
        query->statement = &statement_cache_stats;
        return;
    case HOT_PATTERN_USER:
        query->statement = &statement_cache_user;
        query->parameters[1] = key->role[0] == '\0' ? NULL : key->role;
        return;
    case HOT_PATTERN_CALENDAR:
        query->statement = &statement_cache_calendar;
        return;
    case HOT_PATTERN_COUNT:
        break;
    }
    INVARIANT(false);
}

static bool read_number(const PGresult *row, int column, int64_t least, int64_t *value)
{
    return !PQgetisnull(row, 0, column) && text_parse_int64(PQgetvalue(row, 0, column), least, INT64_MAX, value);
}

/* Transaction ids fill 64 bits only in theory. */
static bool read_version(const PGresult *row, struct hot_version *version)
{
    int64_t epoch, xmax, in_progress;
    if (!read_number(row, EPOCH, 0, &epoch) || !read_number(row, XMAX, 0, &xmax) ||
        !read_number(row, IN_PROGRESS, 0, &in_progress))
        return false;
    *version =
        (struct hot_version){.epoch = (uint64_t)epoch, .xmax = (uint64_t)xmax, .in_progress = (uint64_t)in_progress};
    return true;
}

static bool read_page(const PGresult *row, struct page_content *page)
{
    char id[UUID_TEXT_SIZE];
    page->endless = PQgetisnull(row, 0, NEXT_START) || PQgetisnull(row, 0, NEXT_ID);
    if (!page->endless) {
        if (!read_number(row, NEXT_START, INT64_MIN, &page->last.start) ||
            !uuid_parse(PQgetvalue(row, 0, NEXT_ID), (size_t)PQgetlength(row, 0, NEXT_ID), id))
            return false;
        uuid_to_bytes(id, page->last.id);
    }
    return !PQgetisnull(row, 0, IDS) && page_ids_read(PQgetvalue(row, 0, IDS), page);
}

enum rendering_outcome rendering_read(const struct hot_key *key, const PGresult *row, struct rendering *rendering)
{
    memset(rendering, 0, sizeof *rendering);
    if (PQntuples(row) != 1 || PQnfields(row) != COLUMNS || !read_version(row, &rendering->version))
        return RENDERING_REFUSED;
    if (strcmp(PQgetvalue(row, 0, OUTCOME), "not_found") == 0)
        return RENDERING_ABSENT;
    if (strcmp(PQgetvalue(row, 0, OUTCOME), "ok") != 0 || PQgetisnull(row, 0, BODY))
        return RENDERING_REFUSED;
    rendering->body = PQgetvalue(row, 0, BODY);
    rendering->length = (size_t)PQgetlength(row, 0, BODY);
    rendering->etag = PQgetisnull(row, 0, ETAG) ? NULL : PQgetvalue(row, 0, ETAG);
    if (key->pattern != HOT_PATTERN_LIST && key->pattern != HOT_PATTERN_CALENDAR)
        return RENDERING_OK;
    if (key->pattern == HOT_PATTERN_LIST && !read_page(row, &rendering->page))
        return RENDERING_REFUSED;
    buffer_clear(&body_memory, KEPT_SIZE);
    if (key->pattern == HOT_PATTERN_LIST)
        page_body(key, &rendering->page, rendering->body, rendering->length, &body_memory);
    else if (!calendar_write_json(&(struct calendar){0}, rendering->body, rendering->length, &body_memory))
        return RENDERING_REFUSED;
    rendering->body = buffer_bytes(&body_memory);
    rendering->length = buffer_length(&body_memory);
    return RENDERING_OK;
}

static size_t write_meta(const struct hot_key *key, const struct rendering *rendering,
                         unsigned char meta[PAGE_META_MAX])
{
    return key->pattern == HOT_PATTERN_LIST ? page_meta_write(&rendering->page, meta) : 0;
}

enum hot_publish rendering_publish(const struct hot_key *key, const struct rendering *rendering, enum hot_source source,
                                   struct hot_ticket ticket, int64_t rendered_at, int64_t expires_at)
{
    unsigned char meta[PAGE_META_MAX];
    struct hot_entry entry = {.key = key->text,
                              .key_length = key->length,
                              .pattern = key->pattern,
                              .source = source,
                              .ticket = ticket,
                              .version = rendering->version,
                              .rendered_at = rendered_at,
                              .expires_at = expires_at,
                              .meta = meta,
                              .meta_length = write_meta(key, rendering, meta)};
    buffer_clear(&link_memory, KEPT_SIZE);
    if (key->pattern == HOT_PATTERN_LIST)
        page_link(key, &rendering->page, &link_memory);
    bodies_make(rendering->body, rendering->length,
                key->pattern == HOT_PATTERN_CALENDAR ? CALENDAR_CONTENT_TYPE : "application/json", rendering->etag,
                buffer_text(&link_memory), entry.bodies);
    return hot_publish(&entry);
}
