/* hot: from a key to an answer. Worker process. A hit costs one look at the header lines, one hash and one system call;
 * nothing here takes memory or a lock. Everything that a hit does not need is in parked.c. */
#include "api/hot.h"

#include <string.h>

#include "api/answer.h"
#include "api/api.h"
#include "api/encodings.h"
#include "api/parked.h"
#include "base/clock.h"
#include "shm/statistics.h"

#define SECOND 1000000
/* Room for Age beside the longest of the other lines. */
#define LINES_SIZE (CALLER_LINES_SIZE + 32)

static bool is_on;

void hot_start(struct event_base *base, int fill)
{
    is_on = fill >= 0;
    if (is_on)
        parked_start(base, fill);
}

bool hot_is_on(void)
{
    return is_on;
}

void hot_stop(void)
{
    if (is_on)
        parked_stop();
}

static size_t put_age(char *to, int64_t seconds)
{
    static const char name[] = "Age: ";
    char digits[20];
    size_t count = 0;
    do {
        digits[sizeof digits - ++count] = (char)('0' + seconds % 10);
        seconds /= 10;
    } while (seconds > 0);
    memcpy(to, name, sizeof name - 1);
    memcpy(to + sizeof name - 1, digits + sizeof digits - count, count);
    memcpy(to + sizeof name - 1 + count, "\r\n", 2);
    return sizeof name - 1 + count + 2;
}

static enum hot_encoding choose(const struct http_request *request, const struct hot_view *view)
{
    const bool offered[HOT_ENCODING_COUNT] = {[HOT_IDENTITY] = true,
                                              [HOT_GZIP] = view->bodies[HOT_GZIP].bytes != NULL,
                                              [HOT_BROTLI] = view->bodies[HOT_BROTLI].bytes != NULL};
    if (!offered[HOT_GZIP] && !offered[HOT_BROTLI])
        return HOT_IDENTITY;
    return encodings_choose(http_request_header(request, "accept-encoding"), offered);
}

/* Without a copy, but for the lines of this caller where Age joins them. */
static void answer(struct http_request *request, const struct hot_view *view, const struct hot_resource *resource,
                   int64_t stale_for)
{
    const struct hot_body *body = &view->bodies[choose(request, view)];
    struct http_shared shared = {.status = 200,
                                 .lines = body->lines,
                                 .lines_length = body->lines_length,
                                 .body = body->bytes,
                                 .body_length = body->length};
    char lines[LINES_SIZE];
    if (resource->lines == NULL) {
        const struct caller_lines *own = caller_lines(request);
        shared.more = own->text;
        shared.more_length = own->length;
    } else {
        shared.more = resource->lines;
        shared.more_length = strlen(resource->lines);
    }
    if (stale_for >= 0) {
        INVARIANT(shared.more_length <= CALLER_LINES_SIZE);
        memcpy(lines, shared.more, shared.more_length);
        shared.more_length += put_age(lines + shared.more_length, stale_for / SECOND);
        shared.more = lines;
    }
    const char *tags = http_request_header(request, "if-none-match");
    if (tags != NULL && answer_matches(tags, body->etag, body->etag_length)) {
        shared.status = 304;
        shared.lines_length = body->lines_of_304;
    }
    http_respond_shared(request, &shared);
}

/* Counts before it answers: no client knows of an answer that is not counted. */
static enum hot_found serve(struct http_request *request, const struct hot_key *key,
                            const struct hot_resource *resource, bool is_hit)
{
    struct hot_view view;
    int64_t now = clock_monotonic();
    enum hot_found found = hot_find(key->text, key->length, now, api_get()->configuration->stale_max, &view);
    if (found != HOT_FRESH && found != HOT_STALE)
        return found;
    if (is_hit)
        statistics_count(STATISTICS_CACHE_HITS, key->pattern);
    if (found == HOT_STALE)
        statistics_count(STATISTICS_CACHE_STALE, key->pattern);
    answer(request, &view, resource, found == HOT_STALE ? now - view.coherent_at : -1);
    hot_release();
    return found;
}

enum hot_found hot_try(struct http_request *request, const struct hot_key *key, const struct hot_resource *resource)
{
    return serve(request, key, resource, false);
}

void hot_serve(struct http_request *request, const struct caller *caller, const struct hot_key *key,
               const struct hot_resource *resource)
{
    enum hot_found found = serve(request, key, resource, true);
    if (found == HOT_FRESH || found == HOT_STALE)
        return;
    statistics_count(STATISTICS_CACHE_MISSES, key->pattern);
    parked_add(request, caller, key, resource, found);
}

void hot_query(const struct hot_key *key, const struct hot_resource *resource, const struct pg_query *query)
{
    if (is_on)
        parked_query(key, resource, query);
    else
        pg_pool_submit(api_get()->read, query);
}
