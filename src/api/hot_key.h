/* hot_key: the keys of the hot cache, made by workers from requests and read by the refresher: one grammar, both ways.
 *
 *   events:list:{category}:{status}:{limit}:{cursor}   category "" = all; cursor "" = first page, else PLACE.ID
 *   events:{id}      stats:{id}      users:{id}      users:{id}:{role}, where a claim decides the role
 *   calendars:{id}, of an event
 *
 * Worker and refresher; pure functions. */
#ifndef API_HOT_KEY_H
#define API_HOT_KEY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/object.h"
#include "base/uuid.h"
#include "shm/hot_read.h"

/* What a list is asked for where nothing is said; its rule is in sql/rules/events_list.sql. Asking for the default and
 * not asking are one key, one page, one cursor. */
#define LIST_STATUS_DEFAULT "published"
#define PAGE_LIMIT_DEFAULT 50
#define PAGE_LIMIT_MOST 100

struct hot_key {
    enum hot_pattern pattern;
    size_t length;
    char text[HOT_KEY_MAX + 1];
    /* What it is made of; "" where it has none. */
    char id[UUID_TEXT_SIZE];
    char role[16];
    char category[51];
    char status[16];
    int64_t limit;
    bool first_page;
    int64_t after_place;
    char after_id[UUID_TEXT_SIZE];
};

/* false: such a page is never cached (drafts, a category that no event can have). `category` and `status` may be NULL,
 * `after_id` NULL: the first page. */
bool hot_key_list(struct hot_key *key, const char *category, const char *status, int64_t limit, int64_t after_place,
                  const char *after_id) MUST_CHECK;
/* `id` in lower case; `role` of HOT_PATTERN_USER or NULL. */
void hot_key_of(struct hot_key *key, enum hot_pattern pattern, const char *id, const char *role);
/* Reads a text; false: it is no key. */
bool hot_key_parse(struct hot_key *key, const char *text, size_t length) MUST_CHECK;

#endif
