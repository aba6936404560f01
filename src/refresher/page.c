/* page: list pages as bytes. A cursor on a page is the one that a worker would have made of the same question, where
 * asking for what is the default and not asking are the same question. Refresher; pure functions, but for the key of
 * cursors. */
#include "refresher/page.h"

#include <inttypes.h>
#include <string.h>

#include "identity/cursor.h"

/* Changes with the layout: an entry of another one counts as changed. */
#define META_FORM 1

size_t page_meta_write(const struct page_content *content, unsigned char meta[PAGE_META_MAX])
{
    uint16_t count = (uint16_t)content->count;
    unsigned char *to = meta;
    *to++ = META_FORM;
    *to++ = content->endless ? 1 : 0;
    memcpy(to, &count, sizeof count);
    to += sizeof count;
    memcpy(to, &content->last.start, sizeof content->last.start);
    to += sizeof content->last.start;
    memcpy(to, content->last.id, DIRECTORY_ID_SIZE);
    to += DIRECTORY_ID_SIZE;
    memcpy(to, content->ids, content->count * DIRECTORY_ID_SIZE);
    return (size_t)(to - meta) + content->count * DIRECTORY_ID_SIZE;
}

bool page_meta_read(const void *meta, size_t length, struct page_content *content)
{
    const unsigned char *from = meta;
    const size_t head = 2 + sizeof(uint16_t) + sizeof(int64_t) + DIRECTORY_ID_SIZE;
    uint16_t count;
    if (length < head || from[0] != META_FORM || from[1] > 1)
        return false;
    content->endless = from[1] == 1;
    memcpy(&count, from + 2, sizeof count);
    content->count = count;
    if (count > DIRECTORY_IDS_MAX || length != head + count * (size_t)DIRECTORY_ID_SIZE)
        return false;
    from += 2 + sizeof count;
    memcpy(&content->last.start, from, sizeof content->last.start);
    from += sizeof content->last.start;
    memcpy(content->last.id, from, DIRECTORY_ID_SIZE);
    memcpy(content->ids, from + DIRECTORY_ID_SIZE, count * (size_t)DIRECTORY_ID_SIZE);
    return true;
}

bool page_ids_read(const char *array, struct page_content *content)
{
    const char *at = array;
    content->count = 0;
    if (*at++ != '{')
        return false;
    while (*at != '}') {
        char id[UUID_TEXT_SIZE];
        size_t length = strcspn(at, ",}");
        if (content->count == DIRECTORY_IDS_MAX || !uuid_parse(at, length, id) || at[length] == '\0')
            return false;
        uuid_to_bytes(id, content->ids[content->count++]);
        at += length;
        if (*at == ',' && *++at == '}')
            return false;
    }
    return at[1] == '\0';
}

/* As api/parameters.c writes it: the length keeps values apart whatever they contain. */
static void append_filter(struct buffer *scope, const char *value)
{
    buffer_printf(scope, "|%zu:%s", value[0] == '\0' ? 0 : strlen(value) + 1, value);
}

static bool is_default(const char *status)
{
    return strcmp(status, LIST_STATUS_DEFAULT) == 0;
}

static void sign(const struct hot_key *key, const struct page_content *content, char text[CURSOR_TEXT_MAX])
{
    struct cursor cursor = {.place = content->last.start};
    struct buffer scope = {0};
    uuid_from_bytes(content->last.id, cursor.id);
    buffer_append_text(&scope, "events");
    append_filter(&scope, key->category);
    append_filter(&scope, is_default(key->status) ? "" : key->status);
    buffer_append_text(&scope, "|0:|0:|0:"); /* from, to and q: pages that have them are not cached */
    cursor_sign(&cursor, buffer_text(&scope), text);
    buffer_free(&scope);
}

void page_body(const struct hot_key *key, const struct page_content *content, const char *array, size_t length,
               struct buffer *body)
{
    char cursor[CURSOR_TEXT_MAX];
    buffer_append_text(body, "{\"events\":");
    buffer_append(body, array, length);
    if (content->endless) {
        buffer_append_text(body, ",\"next_cursor\":null}");
        return;
    }
    sign(key, content, cursor);
    buffer_printf(body, ",\"next_cursor\":\"%s\"}", cursor);
}

/* What is the default is left out, so that one page has one name. A category is a slug: nothing to escape. */
void page_link(const struct hot_key *key, const struct page_content *content, struct buffer *lines)
{
    char cursor[CURSOR_TEXT_MAX];
    if (content->endless)
        return;
    buffer_append_text(lines, "Link: </api/events?");
    if (key->category[0] != '\0')
        buffer_printf(lines, "category=%s&", key->category);
    if (!is_default(key->status))
        buffer_printf(lines, "status=%s&", key->status);
    if (key->limit != PAGE_LIMIT_DEFAULT)
        buffer_printf(lines, "limit=%" PRId64 "&", key->limit);
    sign(key, content, cursor);
    buffer_printf(lines, "cursor=%s>; rel=\"next\"\r\n", cursor);
}
