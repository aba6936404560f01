/* commands: entries as people read them, and deleting them by pattern. Refresher. */
#include "refresher/commands.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "refresher/render.h"

static const char *const encodings[HOT_ENCODING_COUNT] = {
    [HOT_IDENTITY] = "identity", [HOT_GZIP] = "gzip", [HOT_BROTLI] = "br"};
static const char *const states[] = {[ITEM_RESTING] = "resting",
                                     [ITEM_WAITING] = "waiting to be rendered",
                                     [ITEM_ASKING] = "asking redis",
                                     [ITEM_RENDERING] = "being rendered"};

static void add_moment(struct buffer *text, const char *name, int64_t monotonic)
{
    char moment[28];
    clock_rfc3339(clock_realtime() + monotonic - clock_monotonic(), moment);
    buffer_printf(text, "%s: %s\n", name, moment);
}

bool commands_show(const char *key, struct buffer *text)
{
    struct hot_view view;
    size_t length = strlen(key);
    if (length > HOT_KEY_MAX || !hot_peek(key, length, &view)) {
        buffer_printf(text, "there is no entry of this key: %.*s", HOT_KEY_MAX, key);
        return false;
    }
    const struct item *item = directory_find(key, length);
    buffer_printf(text, "key: %s\n", key);
    buffer_printf(text, "version: %" PRIu64 ".%" PRIu64 ".%" PRIu64 "\n", view.version.epoch, view.version.xmax,
                  view.version.in_progress);
    add_moment(text, "rendered", view.rendered_at);
    add_moment(text, "expires", view.expires_at);
    add_moment(text, "coherent", view.coherent_at);
    buffer_printf(text, "state: %s\n",
                  item == NULL || !item->published ? "of an earlier generation" : states[item->state]);
    buffer_printf(text, "read: %s\n",
                  hot_was_read(key, length) ? "since it was rendered" : "not since it was rendered");
    for (size_t i = 0; i < HOT_ENCODING_COUNT; i++) {
        const struct hot_body *body = &view.bodies[i];
        if (body->bytes != NULL)
            buffer_printf(text, "%s: %zu bytes, ETag \"%.*s\"\n", encodings[i], body->length, (int)body->etag_length,
                          body->etag);
    }
    if (item != NULL && item->page != NULL && item->page->known)
        buffer_printf(text, "events: %zu, %s\n", item->page->count,
                      item->page->endless ? "the last page" : "with a next page");
    buffer_append_text(text, "\n");
    buffer_append(text, view.bodies[HOT_IDENTITY].bytes, view.bodies[HOT_IDENTITY].length);
    return true;
}

struct drop {
    const char *pattern;
    size_t count;
};

static void drop(void *context, struct item *item)
{
    struct drop *how = context;
    if (!item->published || fnmatch(how->pattern, item->key, 0) != 0)
        return;
    how->count++;
    render_drop(item);
}

void commands_drop(const char *pattern, struct buffer *text)
{
    struct drop how = {.pattern = pattern};
    directory_each(drop, &how);
    buffer_printf(text, "%zu entries deleted", how.count);
}
