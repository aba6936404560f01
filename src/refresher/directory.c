/* directory: three hash tables over the same items: keys, ids on list pages, and shelves (category and status) of list
 * pages. Refresher; heap memory.
 *
 * Which changes show on a page: a page covers (after, last], or all behind `after` where there is no next page. An
 * event that appears, moves or goes within that shows. So does one that goes behind `last` when it was the only one
 * there, as the page then has no next one any more: of the pages that end before it, only the one that ends last can be
 * that one (the ends of the others are followed by that end), and it is taken without looking further. */
#include "refresher/directory.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/uuid.h"

/* Powers of two, for a few ten thousand entries in chains of one or two. */
#define KEY_CHAINS 65536
#define ID_CHAINS 65536
#define SHELF_CHAINS 1024

LIST_HEAD(items, item);
LIST_HEAD(holdings, holding);
LIST_HEAD(shelves, shelf);

/* Boot lifetime. */
static struct {
    struct items keys[KEY_CHAINS];
    struct holdings ids[ID_CHAINS];
    struct shelves shelves[SHELF_CHAINS];
    size_t count;
    struct item **found;
    size_t found_count;
    size_t found_size;
} directory;

int place_compare(const struct place *left, const struct place *right)
{
    if (left->start != right->start)
        return left->start < right->start ? -1 : 1;
    return memcmp(left->id, right->id, sizeof left->id);
}

static struct items *chain_of_key(const char *key, size_t length)
{
    return &directory.keys[XXH3_64bits(key, length) % KEY_CHAINS];
}

static struct holdings *chain_of_id(const unsigned char *id)
{
    return &directory.ids[XXH3_64bits(id, DIRECTORY_ID_SIZE) % ID_CHAINS];
}

static struct shelves *chain_of_shelf(const char *category, const char *status)
{
    return &directory.shelves[(XXH3_64bits(category, strlen(category)) ^ XXH3_64bits(status, strlen(status))) %
                              SHELF_CHAINS];
}

static struct shelf *find_shelf(const char *category, const char *status)
{
    struct shelf *shelf;
    LIST_FOREACH (shelf, chain_of_shelf(category, status), link) {
        if (strcmp(shelf->category, category) == 0 && strcmp(shelf->status, status) == 0)
            return shelf;
    }
    return NULL;
}

static void put_on_shelf(struct item *item, const struct hot_key *key)
{
    struct shelf *shelf = find_shelf(key->category, key->status);
    if (shelf == NULL) {
        shelf = calloc(1, sizeof *shelf);
        INVARIANT(shelf != NULL);
        memcpy(shelf->category, key->category, sizeof shelf->category);
        memcpy(shelf->status, key->status, sizeof shelf->status);
        LIST_INSERT_HEAD(chain_of_shelf(key->category, key->status), shelf, link);
    }
    struct page *page = calloc(1, sizeof *page);
    INVARIANT(page != NULL);
    page->shelf = shelf;
    page->first = key->first_page;
    if (!key->first_page) {
        page->after.start = key->after_place;
        uuid_to_bytes(key->after_id, page->after.id);
    }
    item->page = page;
    LIST_INSERT_HEAD(&shelf->pages, item, page_link);
}

struct item *directory_find(const char *key, size_t length)
{
    struct item *item;
    LIST_FOREACH (item, chain_of_key(key, length), link) {
        if (item->length == length && memcmp(item->key, key, length) == 0)
            return item;
    }
    return NULL;
}

struct item *directory_add(const struct hot_key *key)
{
    struct item *item = directory_find(key->text, key->length);
    if (item != NULL)
        return item;
    item = calloc(1, sizeof *item + key->length + 1);
    INVARIANT(item != NULL);
    item->magic = ITEM_MAGIC;
    item->pattern = key->pattern;
    item->state = ITEM_RESTING;
    item->heap_index = SIZE_MAX;
    STAILQ_INIT(&item->waiters);
    item->length = key->length;
    memcpy(item->key, key->text, key->length);
    LIST_INSERT_HEAD(chain_of_key(key->text, key->length), item, link);
    if (key->pattern == HOT_PATTERN_LIST)
        put_on_shelf(item, key);
    directory.count++;
    return item;
}

static void clear_page(struct page *page)
{
    for (size_t i = 0; i < page->count; i++)
        LIST_REMOVE(&page->holdings[i], link);
    free(page->holdings);
    page->holdings = NULL;
    page->count = 0;
    page->known = false;
}

void directory_remove(struct item *item)
{
    OBJECT_CHECK(item, ITEM_MAGIC);
    INVARIANT(STAILQ_EMPTY(&item->waiters) && item->heap_index == SIZE_MAX && item->held == 0 &&
              item->held_under_way == 0);
    if (item->page != NULL) {
        struct shelf *shelf = item->page->shelf;
        clear_page(item->page);
        LIST_REMOVE(item, page_link);
        if (LIST_EMPTY(&shelf->pages)) {
            LIST_REMOVE(shelf, link);
            free(shelf);
        }
        free(item->page);
    }
    LIST_REMOVE(item, link);
    directory.count--;
    OBJECT_BURY(item);
    free(item);
}

size_t directory_count(void)
{
    return directory.count;
}

void directory_each(void (*visit)(void *context, struct item *item), void *context)
{
    for (size_t i = 0; i < KEY_CHAINS; i++) {
        struct item *next;
        for (struct item *item = LIST_FIRST(&directory.keys[i]); item != NULL; item = next) {
            next = LIST_NEXT(item, link);
            visit(context, item);
        }
    }
}

void directory_set_page(struct item *item, bool endless, const struct place *last, const unsigned char *ids,
                        size_t count)
{
    struct page *page = item->page;
    INVARIANT(page != NULL && count <= DIRECTORY_IDS_MAX);
    clear_page(page);
    page->known = true;
    page->endless = endless;
    if (!endless)
        page->last = *last;
    if (count == 0)
        return;
    page->holdings = calloc(count, sizeof *page->holdings);
    INVARIANT(page->holdings != NULL);
    page->count = count;
    for (size_t i = 0; i < count; i++) {
        struct holding *holding = &page->holdings[i];
        holding->item = item;
        memcpy(holding->id, ids + i * DIRECTORY_ID_SIZE, DIRECTORY_ID_SIZE);
        LIST_INSERT_HEAD(chain_of_id(holding->id), holding, link);
    }
}

static void find_another(struct item *item)
{
    if (directory.found_count == directory.found_size) {
        directory.found_size = directory.found_size == 0 ? 256 : directory.found_size * 2;
        directory.found = realloc(directory.found, directory.found_size * sizeof(struct item *));
        INVARIANT(directory.found != NULL);
    }
    directory.found[directory.found_count++] = item;
}

static void find_showing(const unsigned char id[DIRECTORY_ID_SIZE])
{
    const struct holding *holding;
    LIST_FOREACH (holding, chain_of_id(id), link) {
        if (memcmp(holding->id, id, DIRECTORY_ID_SIZE) == 0)
            find_another(holding->item);
    }
}

size_t directory_pages_showing(const unsigned char id[DIRECTORY_ID_SIZE], struct item ***found)
{
    directory.found_count = 0;
    find_showing(id);
    *found = directory.found;
    return directory.found_count;
}

static bool covers(const struct page *page, const struct place *place)
{
    return page->known && (page->first || place_compare(&page->after, place) < 0) &&
           (page->endless || place_compare(place, &page->last) <= 0);
}

static bool ends_before(const struct page *page, const struct place *place)
{
    return page->known && !page->endless && place_compare(&page->last, place) < 0;
}

static void find_on_shelf(const char *category, const char *status, const struct place *place, bool gone)
{
    const struct shelf *shelf = find_shelf(category, status);
    const struct place *end = NULL;
    struct item *item;
    if (shelf == NULL)
        return;
    LIST_FOREACH (item, &shelf->pages, page_link) {
        if (covers(item->page, place))
            find_another(item);
        else if (gone && ends_before(item->page, place) && (end == NULL || place_compare(end, &item->page->last) < 0))
            end = &item->page->last;
    }
    if (end == NULL)
        return;
    LIST_FOREACH (item, &shelf->pages, page_link) {
        if (item->page->known && !item->page->endless && place_compare(end, &item->page->last) == 0)
            find_another(item);
    }
}

static struct place place_of(const struct event_change *change, bool before)
{
    struct place place = {.start = before ? change->start_before : change->start_after};
    memcpy(place.id, change->id, sizeof place.id);
    return place;
}

size_t directory_pages_touched(const struct event_change *change, struct item ***found)
{
    struct place before = place_of(change, true);
    struct place after = place_of(change, false);
    directory.found_count = 0;
    find_showing(change->id);
    if (change->status_before != NULL) {
        find_on_shelf(change->category_before, change->status_before, &before, true);
        find_on_shelf("", change->status_before, &before, true);
    }
    if (change->status_after != NULL) {
        find_on_shelf(change->category_after, change->status_after, &after, false);
        find_on_shelf("", change->status_after, &after, false);
    }
    *found = directory.found;
    return directory.found_count;
}

bool directory_page_shows(const struct item *item, const unsigned char id[DIRECTORY_ID_SIZE])
{
    for (size_t i = 0; i < item->page->count; i++) {
        if (memcmp(item->page->holdings[i].id, id, DIRECTORY_ID_SIZE) == 0)
            return true;
    }
    return false;
}

static bool is_on(const struct shelf *shelf, const char *category, const char *status)
{
    return status != NULL && strcmp(shelf->status, status) == 0 &&
           (shelf->category[0] == '\0' || strcmp(shelf->category, category) == 0);
}

bool directory_page_touched(const struct item *item, const struct event_change *change)
{
    const struct page *page = item->page;
    struct place before = place_of(change, true);
    struct place after = place_of(change, false);
    if (directory_page_shows(item, change->id))
        return true;
    if (is_on(page->shelf, change->category_before, change->status_before) &&
        (covers(page, &before) || ends_before(page, &before)))
        return true;
    return is_on(page->shelf, change->category_after, change->status_after) && covers(page, &after);
}
