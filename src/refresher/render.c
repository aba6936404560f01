/* render: the states of items, statements, results, publishing. Refresher.
 *
 * An item holds the reads of the feed that it has not rendered: `held` until a statement is sent, `held_under_way`
 * while it is under way. A statement that is sent after a read has come shows what that read showed; what is read while
 * it is under way is compared with the snapshot that it comes back with. */
#include "refresher/render.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/log.h"
#include "refresher/coherence.h"
#include "refresher/item.h"
#include "refresher/schedule.h"
#include "refresher/second.h"
#include "shm/statistics.h"

#define RESULT_MAGIC 0x52534c54U
/* Statements under way, with their results that have not been looked at: one backend works them off one after the
 * other, so more would only wait there, where what is wanted sooner cannot pass them. */
#define UNDER_WAY_MAX 16
/* Microseconds of results and of statements in one turn of the loop: after each turn the feed and the workers are
 * heard. */
#define TURN_TIME 2000
/* How often a body that others have overtaken is rendered again; then workers serve themselves. */
#define TRIES_MAX 6
#define TRY_PAUSE 2000
/* Microseconds until a failed statement is sent again for a change. */
#define FAILURE_PAUSE 500000
/* Microseconds in which a question about what is there is one that was asked before it was there. */
#define JUST_PUBLISHED 2000000
/* Entries that are rendered again after everything was lost, because they were read. More fill themselves. */
#define AGAIN_MAX 2000
/* One after the other, microseconds, so that changes and who waits pass between. */
#define AGAIN_PAUSE 1000

/* A result that waits for its turn. */
struct result {
    OBJECT_HEADER;
    STAILQ_ENTRY(result) link;
    struct item *item;
    struct pg_answer answer;
    char message[256];
};

/* Boot lifetime. */
static struct {
    struct render_options options;
    struct event *work;
    STAILQ_HEAD(, result) results;
    bool allowed;
    bool away; /* who waits is told so */
    uint64_t epoch;
    int64_t allowed_at;
    int64_t complained_at;
    bool looked;     /* at a result */
    int64_t work_at; /* when the timer fires; 0: it is not set */
} render = {.results = STAILQ_HEAD_INITIALIZER(render.results)};

static void on_work(evutil_socket_t unused, short events, void *context);

/* Never later than it was going to. */
static void work_at(int64_t moment)
{
    if (render.work_at != 0 && render.work_at <= moment)
        return;
    struct timeval delay = clock_timeval(moment - clock_monotonic());
    render.work_at = moment;
    evtimer_add(render.work, &delay);
}

void render_create(const struct render_options *options)
{
    render.options = *options;
    render.work = evtimer_new(options->base, on_work, NULL);
    INVARIANT(render.work != NULL);
    item_create(work_at);
}

size_t render_wanted(void)
{
    return item_tally.wanted;
}

/* ---- what is to be rendered ---- */

void render_want(struct item *item)
{
    OBJECT_CHECK(item, ITEM_MAGIC);
    if (render.away && !STAILQ_EMPTY(&item->waiters)) {
        render.options.answer(item, FILL_UNAVAILABLE, INT64_MAX);
        if (item->state == ITEM_RESTING)
            item_rest(item);
        return;
    }
    if (STAILQ_EMPTY(&item->waiters)) {
        item_set_wanted(item, true);
    } else if (item->state == ITEM_RESTING && item->published &&
               clock_monotonic() - item->published_at < JUST_PUBLISHED) {
        render.options.answer(item, FILL_PUBLISHED, INT64_MAX);
        return;
    }
    if (item_is_idle(item))
        item_wait_until(item, item_due(item, clock_monotonic()));
}

void render_dirty(struct item *item, uint64_t number, const struct hot_version *version)
{
    OBJECT_CHECK(item, ITEM_MAGIC);
    int64_t now = clock_monotonic();
    if (!item->published && item_is_idle(item))
        return; /* it will be rendered later than this read */
    item->dirty = *version;
    if (item->dirty_at == 0)
        item->dirty_at = now;
    if (item->held == 0) {
        item->held = number;
        coherence_hold(number);
    }
    if (item->state == ITEM_RESTING)
        item_wait_until(item, item_due(item, now));
}

void render_drop(struct item *item)
{
    OBJECT_CHECK(item, ITEM_MAGIC);
    item_delete_entry(item);
    if (!item_is_idle(item)) {
        /* what was read while it is under way is not held any more, so what comes back may be too old */
        item->discard = item->discard || item->held != 0;
        item_release_all(item);
        return;
    }
    item_release_all(item);
    if (item_is_asked_for(item))
        item_wait_until(item, item_due(item, clock_monotonic()));
    else
        item_forget(item);
}

void render_dirty_pages_under_way(uint64_t number, const struct hot_version *version)
{
    struct item *item;
    LIST_FOREACH (item, &item_tally.pages_under_way, flight_link)
        render_dirty(item, number, version);
}

/* Whoever evicts has deleted it already. What is under way comes back and is published anew. */
void render_evicted(struct item *item)
{
    OBJECT_CHECK(item, ITEM_MAGIC);
    item->published = false;
    if (item_is_idle(item) && !item_is_asked_for(item))
        item_forget(item);
}

struct again {
    bool discard;
    size_t count;
};

static void again(void *context, struct item *item)
{
    struct again *again = context;
    bool was_read = item->published && again->count < AGAIN_MAX && hot_was_read(item->key, item->length);
    bool held = item->held != 0;
    item->published = false;
    item_release_all(item);
    if (!item_is_idle(item)) {
        item->discard = item->discard || again->discard || held;
        return;
    }
    if (was_read && !item_is_asked_for(item)) {
        again->count++;
        item_wait_until(item, clock_monotonic() + (int64_t)again->count * AGAIN_PAUSE);
    } else if (!item_is_asked_for(item)) {
        item_forget(item);
    } else {
        item_wait_until(item, item_due(item, clock_monotonic()));
    }
}

void render_all_again(bool discard)
{
    struct again how = {.discard = discard};
    directory_each(again, &how);
}

static void drop_late(void *context, struct item *item)
{
    const int64_t *since = context;
    if (item->dirty_at != 0 && item->dirty_at < *since) {
        statistics_count(STATISTICS_CACHE_DROPPED, (unsigned)item->pattern);
        render_drop(item);
    }
}

void render_drop_late(int64_t since)
{
    if (!render.allowed || render.allowed_at >= since)
        return;
    directory_each(drop_late, &since);
    work_at(clock_monotonic());
}

void render_adopt(struct item *item, int64_t rendered_at, int64_t expires_at)
{
    item->published = true;
    item->sent_at = rendered_at;
    item->expires_at = expires_at;
    item_rest(item);
}

/* ---- what may be sent ---- */

void render_allow(uint64_t epoch)
{
    render.epoch = epoch;
    render.away = false;
    if (render.allowed)
        return;
    render.allowed = true;
    render.allowed_at = clock_monotonic();
    work_at(render.allowed_at);
}

static void tell_away(void *context, struct item *item)
{
    (void)context;
    if (STAILQ_EMPTY(&item->waiters))
        return;
    render.options.answer(item, FILL_UNAVAILABLE, INT64_MAX);
    if (item_is_idle(item) && !item->published && !item->wanted)
        item_forget(item);
}

void render_forbid(bool answer)
{
    render.allowed = false;
    render.away = answer;
    if (answer)
        directory_each(tell_away, NULL);
}

bool render_is_allowed(void)
{
    return render.allowed;
}

/* ---- results ---- */

static void published(struct item *item, const struct hot_key *key, const struct rendering *rendering,
                      int64_t expires_at)
{
    int64_t now = clock_monotonic();
    if (item->held_under_way != 0)
        statistics_observe(STATISTICS_CACHE_LAG, (unsigned)item->pattern,
                           now - coherence_sent_at(item->held_under_way));
    item->published = true;
    item->published_at = now;
    item->expires_at = expires_at;
    item->tries = 0;
    item->second_asked = false;
    item_set_wanted(item, false);
    if (key->pattern == HOT_PATTERN_LIST)
        directory_set_page(item, rendering->page.endless, &rendering->page.last,
                           (const unsigned char *)rendering->page.ids, rendering->page.count);
    item_release(&item->held_under_way);
    second_release(item);
    bool is_behind = item->held != 0 && hot_version_compare(&rendering->version, &item->dirty) < 0;
    if (key->pattern == HOT_PATTERN_LIST)
        is_behind = render.options.changed_meanwhile(item, &rendering->version) && is_behind;
    render.options.answer(item, FILL_PUBLISHED, INT64_MAX);
    if (is_behind) {
        item->dirty_at = coherence_sent_at(item->held);
        item_wait_until(item, schedule_due(item->pattern, item->sent_at, now));
        return;
    }
    item_release(&item->held);
    item->dirty_at = 0;
    item_rest(item);
}

/* Something newer was served, or is about to be. */
static void refused(struct item *item)
{
    int64_t now = clock_monotonic();
    item_take_back(item);
    if (++item->tries <= TRIES_MAX) {
        item_wait_until(item, now + (TRY_PAUSE << item->tries));
        return;
    }
    item->tries = 0;
    render.options.answer(item, FILL_OWN, INT64_MAX);
    item_set_wanted(item, false);
    item_set_state(item, ITEM_RESTING);
    render_drop(item);
}

static void own(struct item *item)
{
    render.options.answer(item, FILL_OWN, INT64_MAX);
    item_set_wanted(item, false);
    item_set_state(item, ITEM_RESTING);
    render_drop(item);
}

static unsigned label_of_refusal(enum hot_publish result)
{
    return result == HOT_OLDER       ? LABEL_UNPUBLISHED_OLDER
           : result == HOT_OVERTAKEN ? LABEL_UNPUBLISHED_OVERTAKEN
                                     : LABEL_UNPUBLISHED_LARGE;
}

static bool publish(struct item *item, const struct hot_key *key, const struct rendering *rendering,
                    enum hot_source source, int64_t expires_at)
{
    enum hot_publish result = rendering_publish(key, rendering, source, item->ticket, item->sent_at, expires_at);
    if (result == HOT_PUBLISHED) {
        if (!item->published)
            statistics_add(STATISTICS_CACHE_FILLS, (unsigned)item->pattern,
                           source == HOT_FROM_STORE ? LABEL_SOURCE_REDIS : LABEL_SOURCE_POSTGRESQL, 1);
        published(item, key, rendering, expires_at);
        return true;
    }
    statistics_add(STATISTICS_CACHE_UNPUBLISHED, (unsigned)item->pattern, label_of_refusal(result), 1);
    if (source == HOT_FROM_STORE)
        return false;
    if (result == HOT_TOO_LARGE)
        own(item);
    else
        refused(item);
    return true;
}

/* Whoever asked after the statement was sent may know of something that it did not see. */
static void absent(struct item *item)
{
    item_delete_entry(item);
    render.options.answer(item, FILL_ABSENT, item->sent_at);
    item_set_wanted(item, false);
    item_set_state(item, ITEM_RESTING);
    render_drop(item);
}

static void complain(const struct item *item, const struct pg_answer *answer)
{
    int64_t now = clock_monotonic();
    if (render.complained_at != 0 && now - render.complained_at < INT64_C(60000000))
        return;
    render.complained_at = now;
    log_error("a body could not be rendered", log_text("key", item->key), log_text("sqlstate", answer->sqlstate),
              log_text("error", answer->message));
}

/* What is published stays, and is tried again if it is dirty. */
static void failed(struct item *item, const struct pg_answer *answer)
{
    bool away = answer->status != PG_STATUS_FAILED || strcmp(answer->sqlstate, "25006") == 0;
    if (!away)
        complain(item, answer);
    second_release(item);
    render.options.answer(item, away ? FILL_UNAVAILABLE : FILL_OWN, INT64_MAX);
    item_take_back(item);
    item_set_wanted(item, item->wanted && away);
    if (item->published || item->wanted)
        item_wait_until(item, clock_monotonic() + FAILURE_PAUSE);
    else
        own(item);
}

static void look_at_row(struct item *item, const PGresult *row)
{
    struct hot_key key;
    struct rendering rendering;
    INVARIANT(hot_key_parse(&key, item->key, item->length));
    enum rendering_outcome outcome = rendering_read(&key, row, &rendering);
    if (outcome != RENDERING_REFUSED && rendering.version.epoch < render.epoch) {
        item_take_back(item);
        item_wait_until(item, item_due(item, clock_monotonic()));
        return;
    }
    statistics_count(STATISTICS_CACHE_RENDERS, (unsigned)item->pattern);
    if (outcome != RENDERING_OK)
        second_release(item);
    if (outcome == RENDERING_ABSENT) {
        absent(item);
        return;
    }
    if (outcome == RENDERING_REFUSED) {
        own(item);
        return;
    }
    int64_t expires_at = item->sent_at + schedule_life(item->pattern);
    second_store(item, &key, &rendering);
    (void)publish(item, &key, &rendering, HOT_FROM_DATABASE, expires_at);
}

static void look_at(struct item *item, const struct pg_answer *answer)
{
    OBJECT_CHECK(item, ITEM_MAGIC);
    INVARIANT(item->state == ITEM_RENDERING);
    if (item->discard || (!render.allowed && answer->status == PG_STATUS_ROWS)) {
        item->discard = false;
        item_take_back(item);
        item_set_state(item, ITEM_RESTING);
        if (item_is_asked_for(item) || item->held != 0)
            item_wait_until(item, item_due(item, clock_monotonic()));
        else
            item_rest(item);
    } else if (answer->status == PG_STATUS_ROWS) {
        look_at_row(item, answer->result);
    } else {
        failed(item, answer);
    }
}

/* Looked at in its turn: several may come at once, and each may take a millisecond. */
static void on_answer(void *context, const struct pg_answer *answer)
{
    struct result *result = calloc(1, sizeof *result);
    INVARIANT(result != NULL);
    result->magic = RESULT_MAGIC;
    result->item = context;
    result->answer = *answer;
    if (answer->message != NULL)
        snprintf(result->message, sizeof result->message, "%s", answer->message);
    result->answer.message = result->message;
    STAILQ_INSERT_TAIL(&render.results, result, link);
    work_at(clock_monotonic());
}

void render_second(struct item *item, const struct rendering *rendering, int64_t expires_at)
{
    OBJECT_CHECK(item, ITEM_MAGIC);
    INVARIANT(item->state == ITEM_ASKING);
    item->second_asked = true;
    struct hot_key key;
    INVARIANT(hot_key_parse(&key, item->key, item->length));
    /* its epoch may be an earlier one: whether anything has changed since, the floors know */
    if (rendering != NULL && !item->discard && publish(item, &key, rendering, HOT_FROM_STORE, expires_at)) {
        render.options.progress();
        return;
    }
    item->discard = false;
    item_take_back(item);
    item_wait_until(item, item_due(item, clock_monotonic()));
}

/* ---- statements ---- */

static void submit(struct item *item)
{
    struct hot_key key;
    struct rendering_scratch scratch;
    struct pg_query query = {.retry = PG_RETRY_READ, .done = on_answer, .context = item};
    INVARIANT(hot_key_parse(&key, item->key, item->length));
    rendering_query(&key, &scratch, &query);
    item_set_state(item, ITEM_RENDERING);
    pg_pool_submit(render.options.pool, &query);
}

static void begin(struct item *item, int64_t now)
{
    schedule_drop(item);
    INVARIANT(item->held_under_way == 0);
    item->held_under_way = item->held;
    item->held = 0;
    item->ticket = hot_ticket(item->key, item->length);
    item->sent_at = now;
    item->discard = false;
    if (item->pattern == HOT_PATTERN_LIST)
        render.options.watch(item);
    if (!item->published && !item->second_asked && item->held_under_way == 0 && second_is_there()) {
        item_set_state(item, ITEM_ASKING);
        second_ask(item);
        return;
    }
    submit(item);
}

/* An item is due. What nobody has read since it was rendered is not rendered again. */
static void take(struct item *item, int64_t now)
{
    if (item_is_asked_for(item) || (item->published && hot_was_read(item->key, item->length)) ||
        (!item->published && item->state == ITEM_WAITING)) {
        begin(item, now);
        return;
    }
    if (item->state == ITEM_WAITING)
        statistics_count(STATISTICS_CACHE_DROPPED, (unsigned)item->pattern);
    render_drop(item);
}

/* The first that may be begun; NULL: none just now, `*wait` says until when (INT64_MAX: until something happens). */
static struct item *next_due(int64_t now, int64_t *wait)
{
    struct item *item = schedule_first();
    *wait = INT64_MAX;
    if (item == NULL || !render.allowed || item_tally.under_way >= UNDER_WAY_MAX)
        return NULL;
    if (item->due <= now)
        return item;
    *wait = item->due;
    return NULL;
}

static void on_work(evutil_socket_t unused, short events, void *context)
{
    int64_t began = clock_monotonic();
    int64_t now = began;
    int64_t wait = now;
    struct item *item;
    (void)unused;
    (void)events;
    (void)context;
    render.work_at = 0;
    while (now - began < TURN_TIME) {
        struct result *result = STAILQ_FIRST(&render.results);
        if (result != NULL) {
            OBJECT_CHECK(result, RESULT_MAGIC);
            STAILQ_REMOVE_HEAD(&render.results, link);
            render.looked = true;
            look_at(result->item, &result->answer);
            PQclear(result->answer.result);
            OBJECT_BURY(result);
            free(result);
        } else if ((item = next_due(now, &wait)) != NULL) {
            take(item, now);
        } else {
            break;
        }
        now = clock_monotonic();
    }
    if (item_tally.released || render.looked) {
        item_tally.released = false;
        render.looked = false;
        render.options.progress();
    }
    if (!STAILQ_EMPTY(&render.results) || next_due(now, &wait) != NULL)
        wait = now;
    if (wait != INT64_MAX)
        work_at(wait);
}
