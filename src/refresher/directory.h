/* directory: what the refresher knows of each key: where its rendering stands, and which changes it would show. Found
 * by key, by the id of an event that a list page shows, and by the part of a list that a page covers. Refresher; heap
 * memory, made again from the region at each start. */
#ifndef REFRESHER_DIRECTORY_H
#define REFRESHER_DIRECTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "api/hot_key.h"
#include "base/object.h"
#include "shm/hot_write.h"

#define ITEM_MAGIC 0x4954454dU
#define DIRECTORY_ID_SIZE 16
/* Events on one page. */
#define DIRECTORY_IDS_MAX 100

struct item;

/* A place in the order of lists: by start, then id. */
struct place {
    int64_t start; /* microseconds since 1970 */
    unsigned char id[DIRECTORY_ID_SIZE];
};
int place_compare(const struct place *left, const struct place *right);

/* The pages of one category ("": all) and status. */
struct shelf {
    LIST_ENTRY(shelf) link;
    LIST_HEAD(, item) pages;
    char category[51];
    char status[16];
};

/* One event on one page. */
struct holding {
    LIST_ENTRY(holding) link;
    struct item *item;
    unsigned char id[DIRECTORY_ID_SIZE];
};

/* What a list page showed when it was rendered last: everything after `after`, up to `last` (endless: without end). */
struct page {
    struct shelf *shelf;
    bool first; /* nothing stands before it */
    bool known; /* it was rendered: what follows holds */
    bool endless;
    struct place after;
    struct place last;
    size_t count;
    struct holding *holdings;
};

/* Where the rendering of a key stands; render.c changes it. */
enum item_state {
    ITEM_RESTING,   /* what is published shows every change that was read; due when it is about to expire */
    ITEM_WAITING,   /* to be rendered when due */
    ITEM_ASKING,    /* Redis was asked for it, or another host is rendering it */
    ITEM_RENDERING, /* its statement is under way, or its result waits to be looked at */
};

struct asking;

/* Somebody who waits for a key. */
struct waiter {
    STAILQ_ENTRY(waiter) link;
    int slot;
    int64_t number;
    int64_t asked_at;
};

/* From the first question or publication until the entry is gone and nobody waits. */
struct item {
    OBJECT_HEADER;
    LIST_ENTRY(item) link; /* in the directory */
    enum hot_pattern pattern;
    struct page *page;            /* HOT_PATTERN_LIST, else NULL */
    LIST_ENTRY(item) page_link;   /* on the page's shelf */
    LIST_ENTRY(item) flight_link; /* render.c: pages in ITEM_ASKING or ITEM_RENDERING */

    enum item_state state;
    bool published;    /* there is an entry of the present generation */
    bool wanted;       /* to be rendered though nobody has read it */
    bool discard;      /* what is under way began before a gap: not to be taken */
    bool second_asked; /* Redis had nothing for it */
    int tries;         /* renderings in a row that could not be published */
    int64_t sent_at;   /* of the last statement; 0: none yet */
    int64_t dirty_at;  /* when the oldest change was read that is not rendered; 0: none */
    int64_t expires_at;
    int64_t published_at;
    struct hot_ticket ticket;
    uint64_t log_position; /* changes.c: what was read after the statement was sent begins here */
    struct asking *asking; /* second.c, ITEM_ASKING */
    uint64_t lease;        /* second.c: ours in Redis; 0: none */
    /* The oldest reads of the feed that are not rendered yet: by what is under way, and by nothing so far. 0: none. */
    uint64_t held_under_way;
    uint64_t held;
    struct hot_version dirty; /* the snapshot in which the newest change was read */
    STAILQ_HEAD(, waiter) waiters;

    /* schedule.c */
    int64_t due;
    size_t heap_index; /* SIZE_MAX: not in it */

    size_t length;
    char key[];
};

/* NULL: not known. */
struct item *directory_find(const char *key, size_t length);
/* The item of the key, new where there is none: ITEM_RESTING, not published. */
struct item *directory_add(const struct hot_key *key);
/* Forgets and frees an item that nobody waits for, that holds no read and is not in the schedule. */
void directory_remove(struct item *item);
size_t directory_count(void);
/* Calls for each item, which may be removed by it. */
void directory_each(void (*visit)(void *context, struct item *item), void *context);

/* What a page shows from now on. `last` is looked at unless `endless`. */
void directory_set_page(struct item *item, bool endless, const struct place *last, const unsigned char *ids,
                        size_t count);

/* A change of an event, as list pages feel it: where it was and where it is (category and status NULL: nowhere). */
struct event_change {
    unsigned char id[DIRECTORY_ID_SIZE];
    const char *category_before, *status_before;
    const char *category_after, *status_after;
    int64_t start_before, start_after;
};

/* Pages that show an event. Like the next one: the answer is valid until the next call, the same page may stand in it
 * twice. */
size_t directory_pages_showing(const unsigned char id[DIRECTORY_ID_SIZE], struct item ***found);
/* Pages on which an event was, is, or would leave a trace. */
size_t directory_pages_touched(const struct event_change *change, struct item ***found);
/* The same for one page. */
bool directory_page_shows(const struct item *item, const unsigned char id[DIRECTORY_ID_SIZE]) MUST_CHECK;
bool directory_page_touched(const struct item *item, const struct event_change *change) MUST_CHECK;

#endif
