/* page: a list page in bytes: its body, its Link line, and what an entry keeps of it so that a successor of this
 * process knows which changes it shows. Refresher; pure functions. */
#ifndef REFRESHER_PAGE_H
#define REFRESHER_PAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "refresher/directory.h"

/* Which events a page shows, in their order, and where it ends: `endless`, there is no next page and no `last`. */
struct page_content {
    bool endless;
    struct place last;
    size_t count;
    unsigned char ids[DIRECTORY_IDS_MAX][DIRECTORY_ID_SIZE];
};

#define PAGE_META_MAX (2 + sizeof(uint16_t) + sizeof(int64_t) + (1 + DIRECTORY_IDS_MAX) * DIRECTORY_ID_SIZE)

/* Returns the length. */
size_t page_meta_write(const struct page_content *content, unsigned char meta[PAGE_META_MAX]);
/* false: it is none. */
bool page_meta_read(const void *meta, size_t length, struct page_content *content) MUST_CHECK;

/* Reads the ids of a PostgreSQL array of them, {…,…}. false: it is none, or has too many. */
bool page_ids_read(const char *array, struct page_content *content) MUST_CHECK;

/* Appends {"events":[…],"next_cursor":…}; `array` are the events as PostgreSQL made them. Needs the key of cursors. */
void page_body(const struct hot_key *key, const struct page_content *content, const char *array, size_t length,
               struct buffer *body);
/* Appends the Link line (RFC 8288) where there is a next page. */
void page_link(const struct hot_key *key, const struct page_content *content, struct buffer *lines);

#endif
