/* parameters: query parameters and path ids of the API, and their refusals. Worker process. */
#ifndef API_PARAMETERS_H
#define API_PARAMETERS_H

#include <stdbool.h>
#include <stdint.h>

#include "api/hot_key.h"
#include "base/object.h"
#include "http/request.h"
#include "identity/cursor.h"
#include "pg/pool.h"

/* false: a parameter is unknown or stands twice; the request has been answered with 422. `known` ends with NULL. */
bool parameters_check(struct http_request *request, const char *const *known) MUST_CHECK;
/* The value, or NULL. */
const char *parameters_get(const struct http_request *request, const char *name);

/* A page: its limit, as text for PostgreSQL, too, and, where a cursor was sent, the place behind which it begins (else
 * NULL). */
struct page {
    int64_t limit_number;
    int64_t place_number;
    const char *limit;
    const char *place;
    const char *id;
    const char *name;
};
/* Reads limit and cursor; the cursor must belong to `scope`. false: answered with 422. */
bool parameters_page(struct http_request *request, const char *scope, struct page *page) MUST_CHECK;

/* Reads the limit alone: of a page that has no cursor, and goes to no statement. false: answered with 422. */
bool parameters_limit(struct http_request *request, int64_t *limit) MUST_CHECK;

/* The id in the path, in lower case. NULL: it is none, and the request has been answered with 404. */
const char *parameters_path_id(struct http_request *request) MUST_CHECK;

/* What a list is asked for, as the scope of its cursors: the list's name and its filters, ended by NULL. */
const char *parameters_scope(struct http_request *request, const char *list, const char *const *filters);
/* The same by the values of the filters, NULL where one is not given. */
const char *parameters_scope_of(struct http_request *request, const char *list, const char *const *values,
                                size_t count);

/* Reads the place of the next page from row 0. false: there is none. */
bool parameters_next(const PGresult *result, int place_column, int id_column, struct cursor *next) MUST_CHECK;

/* The page's body {"NAME":ARRAY,"next_cursor":...} in arena memory, and Link with rel="next" in `*headers` where there
 * is a next page. `next` NULL: this was the last one. */
const char *parameters_page_body(struct http_request *request, const char *name, const char *array, size_t array_length,
                                 const struct cursor *next, const char *scope, size_t *length, const char **headers);

#endif
