/* changes: from rows of the feed to floors and to items that are dirty. Refresher.
 *
 * Which page a change shows on is known of pages that are published. Of one that is under way nobody knows before it
 * comes: so what touches pages is remembered for a while, and a page that comes is compared with what was read since
 * its statement was sent and its snapshot does not show. */
#include "refresher/changes.h"

#include <stdio.h>
#include <string.h>

#include "refresher/render.h"
#include "shm/statistics.h"

/* Changes of lists that are remembered, for as long as a statement is under way: at a thousand a second, for seconds. A
 * page that took longer counts as touched. */
#define REMEMBERED 4096
/* Events that are rendered because they were published, of one read. A big import is not worth more than what is asked
 * for anyway. */
#define NEWLY_MAX 100
#define PUBLISHED "published"

static const char *const roles[] = {NULL, "participant", "organizer", "admin"};

struct remembered {
    struct hot_version version; /* of the read */
    bool counts_only;           /* shows only on pages that show the event already */
    struct event_change change; /* its texts are those below */
    char texts[4][51];
};

/* Boot lifetime. Number n stands at n % REMEMBERED. */
static struct {
    struct remembered changes[REMEMBERED];
    uint64_t next;
} memory;

static struct hot_version version_of(const struct pg_snapshot *snapshot)
{
    return (struct hot_version){.epoch = snapshot->epoch, .xmax = snapshot->xmax, .in_progress = snapshot->in_progress};
}

/* ---- floors ---- */

static void raise_floor(enum hot_pattern pattern, const char *id, const char *role, const struct hot_version *version)
{
    struct hot_key key;
    hot_key_of(&key, pattern, id, role);
    hot_raise_store_floor(key.text, key.length, version);
}

static bool raise_floors(const struct pg_change *change, const struct hot_version *version)
{
    switch (change->kind) {
    case PG_CHANGE_EVENT:
        raise_floor(HOT_PATTERN_CALENDAR, change->key, NULL, version);
        raise_floor(HOT_PATTERN_EVENT, change->key, NULL, version);
        raise_floor(HOT_PATTERN_STATS, change->key, NULL, version);
        return true;
    case PG_CHANGE_SEATS:
        raise_floor(HOT_PATTERN_EVENT, change->key, NULL, version);
        raise_floor(HOT_PATTERN_STATS, change->key, NULL, version);
        return true;
    case PG_CHANGE_ORGANIZERS:
        raise_floor(HOT_PATTERN_EVENT, change->key, NULL, version);
        return false;
    case PG_CHANGE_STATS:
        raise_floor(HOT_PATTERN_STATS, change->key, NULL, version);
        return false;
    case PG_CHANGE_USER:
        for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++)
            raise_floor(HOT_PATTERN_USER, change->key, roles[i], version);
        return false;
    case PG_CHANGE_KIND_COUNT:
        break;
    }
    INVARIANT(false);
}

/* ---- what is dirty ---- */

struct application {
    uint64_t number;
    struct hot_version version;
    bool touches_pages;
    int newly;
};

static void touch(struct item *item, const struct application *application)
{
    render_dirty(item, application->number, &application->version);
}

static void touch_key(enum hot_pattern pattern, const char *id, const char *role, const struct application *application)
{
    struct hot_key key;
    hot_key_of(&key, pattern, id, role);
    struct item *item = directory_find(key.text, key.length);
    if (item != NULL)
        touch(item, application);
}

static const char *copy_text(char to[51], const char *text)
{
    if (text == NULL)
        return NULL;
    snprintf(to, 51, "%s", text);
    return to;
}

static void remember(const struct event_change *change, bool counts_only, const struct hot_version *version)
{
    struct remembered *place = &memory.changes[memory.next++ % REMEMBERED];
    place->version = *version;
    place->counts_only = counts_only;
    place->change = *change;
    place->change.category_before = copy_text(place->texts[0], change->category_before);
    place->change.status_before = copy_text(place->texts[1], change->status_before);
    place->change.category_after = copy_text(place->texts[2], change->category_after);
    place->change.status_after = copy_text(place->texts[3], change->status_after);
}

static void touch_pages(const struct event_change *change, bool counts_only, struct application *application)
{
    struct item **found;
    size_t count = counts_only ? directory_pages_showing(change->id, &found) : directory_pages_touched(change, &found);
    remember(change, counts_only, &application->version);
    application->touches_pages = true;
    for (size_t i = 0; i < count; i++)
        touch(found[i], application);
}

/* Somebody is about to look at it: it has just been announced. */
static void want_newly_published(const struct pg_change *change, struct application *application)
{
    struct hot_key key;
    bool is_newly = change->after.status != NULL && strcmp(change->after.status, PUBLISHED) == 0 &&
                    (change->before.status == NULL || strcmp(change->before.status, PUBLISHED) != 0);
    if (!is_newly || application->newly++ >= NEWLY_MAX)
        return;
    hot_key_of(&key, HOT_PATTERN_EVENT, change->key, NULL);
    render_want(directory_add(&key));
    if (hot_key_list(&key, NULL, PUBLISHED, PAGE_LIMIT_DEFAULT, 0, NULL))
        render_want(directory_add(&key));
    if (hot_key_list(&key, change->after.category, PUBLISHED, PAGE_LIMIT_DEFAULT, 0, NULL))
        render_want(directory_add(&key));
}

static void apply(const struct pg_change *change, struct application *application)
{
    struct event_change event = {.category_before = change->before.category,
                                 .status_before = change->before.status,
                                 .start_before = change->before.start,
                                 .category_after = change->after.category,
                                 .status_after = change->after.status,
                                 .start_after = change->after.start};
    switch (change->kind) {
    case PG_CHANGE_EVENT:
        touch_key(HOT_PATTERN_STATS, change->key, NULL, application); /* a draft has no public ones */
        touch_key(HOT_PATTERN_CALENDAR, change->key, NULL, application);
        touch_key(HOT_PATTERN_EVENT, change->key, NULL, application);
        uuid_to_bytes(change->key, event.id);
        touch_pages(&event, false, application);
        want_newly_published(change, application);
        return;
    case PG_CHANGE_SEATS:
        touch_key(HOT_PATTERN_STATS, change->key, NULL, application);
        touch_key(HOT_PATTERN_EVENT, change->key, NULL, application);
        uuid_to_bytes(change->key, event.id);
        touch_pages(&event, true, application);
        return;
    case PG_CHANGE_ORGANIZERS:
        touch_key(HOT_PATTERN_EVENT, change->key, NULL, application);
        return;
    case PG_CHANGE_STATS:
        touch_key(HOT_PATTERN_STATS, change->key, NULL, application);
        return;
    case PG_CHANGE_USER:
        for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++)
            touch_key(HOT_PATTERN_USER, change->key, roles[i], application);
        return;
    case PG_CHANGE_KIND_COUNT:
        break;
    }
    INVARIANT(false);
}

void changes_apply(const struct pg_feed_read *read, uint64_t number)
{
    struct application application = {.number = number, .version = version_of(&read->snapshot)};
    struct pg_change change;
    bool lists = false;
    for (size_t i = 0; i < read->count; i++) {
        pg_feed_change(read, i, &change);
        lists = raise_floors(&change, &application.version) || lists;
    }
    if (lists)
        hot_raise_store_pattern_floor(HOT_PATTERN_LIST, &application.version);
    for (size_t i = 0; i < read->count; i++) {
        pg_feed_change(read, i, &change);
        apply(&change, &application);
    }
    if (application.touches_pages)
        render_dirty_pages_under_way(number, &application.version);
}

void changes_gap(const struct hot_version *version)
{
    for (enum hot_pattern pattern = HOT_PATTERN_LIST; pattern < HOT_PATTERN_COUNT; pattern++)
        hot_raise_pattern_floor(pattern, version);
    render_all_again(true); /* sees what was read: no longer after the next line */
    hot_new_generation();
}

void changes_watch(struct item *item)
{
    item->log_position = memory.next;
}

bool changes_meanwhile(struct item *item, const struct hot_version *version)
{
    if (memory.next - item->log_position > REMEMBERED)
        return true;
    for (uint64_t i = item->log_position; i < memory.next; i++) {
        const struct remembered *seen = &memory.changes[i % REMEMBERED];
        if (hot_version_compare(version, &seen->version) >= 0)
            continue;
        if (seen->counts_only ? directory_page_shows(item, seen->change.id)
                              : directory_page_touched(item, &seen->change))
            return true;
    }
    return false;
}
