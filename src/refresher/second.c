/* second: asking Redis for what is missing here, and the lease by which only one of all hosts renders it. Refresher.
 *
 * Asked for a key: get; where it is not there, lease; who has the lease looks once more (the one who had it before may
 * have just put it there) and renders; who has not looks again every 20 ms until the lease has run out. Whatever goes
 * wrong on the way ends in rendering it here. */
#include "refresher/second.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "redis/store.h"
#include "refresher/render.h"
#include "refresher/schedule.h"
#include "shm/statistics.h"

#define ASKING_MAGIC 0x41534b49U
/* Longer than a rendering takes, not longer than a worker waits (fill_timeout). Milliseconds. */
#define LEASE_TIME 800
/* Microseconds between two looks at what another host renders. */
#define LOOK_PAUSE 20000

struct asking {
    OBJECT_HEADER;
    struct item *item;
    struct event *timer;
    int64_t until;
    uint64_t lease; /* asked for, or had */
    bool has_lease;
};

/* Boot lifetime. */
static struct {
    struct event_base *base;
    struct store *store;
    char seal[17]; /* of the cursors on pages */
} second;

static void look(struct asking *asking);

static void on_ended(void *context, enum store_call call, enum store_end how, int64_t microseconds)
{
    (void)context;
    _Static_assert((int)LABEL_REDIS_CALL_COUNT == (int)STORE_CALL_COUNT &&
                       (int)LABEL_REDIS_END_COUNT == (int)STORE_END_COUNT,
                   "a label for each call and each end");
    statistics_add(STATISTICS_REDIS_CALLS, (unsigned)call, (unsigned)how, 1);
    if (how != STORE_END_BUSY && how != STORE_END_CIRCUIT_OPEN)
        statistics_observe(STATISTICS_REDIS_TIME, (unsigned)call, microseconds);
}

static void on_circuit(void *context, enum circuit_state state)
{
    (void)context;
    statistics_set(STATISTICS_REDIS_AVAILABLE, LABEL_NONE_ONE, LABEL_NONE_ONE, state == CIRCUIT_CLOSED ? 1 : 0);
}

void second_create(struct event_base *base, const struct configuration *configuration)
{
    static const struct store_observer observer = {.ended = on_ended, .circuit = on_circuit};
    second.base = base;
    if (configuration->redis == NULL && configuration->redis_socket == NULL)
        return;
    struct store_options options = {.base = base,
                                    .socket = configuration->redis_socket,
                                    .host = configuration->redis,
                                    .password_file = configuration->redis_password_file,
                                    .timeout = configuration->redis_timeout,
                                    .observer = &observer};
    second.store = store_create(&options);
}

void second_reload(const struct configuration *configuration)
{
    if (second.store != NULL)
        store_change_settings(second.store, configuration->redis_password_file, configuration->redis_timeout);
}

void second_name(const struct pg_feed_database *database)
{
    if (second.store != NULL)
        store_name(second.store, database->system, database->oid, database->rules);
}

void second_set_seal(uint64_t seal)
{
    snprintf(second.seal, sizeof second.seal, "%016llx", (unsigned long long)seal);
}

bool second_is_there(void)
{
    struct store_statistics now;
    if (second.store == NULL)
        return false;
    store_statistics(second.store, &now);
    return now.state == CIRCUIT_CLOSED && now.connected;
}

static void end(struct asking *asking, const struct rendering *rendering, int64_t expires_at)
{
    struct item *item = asking->item;
    if (asking->has_lease)
        item->lease = asking->lease;
    item->asking = NULL;
    event_free(asking->timer);
    OBJECT_BURY(asking);
    free(asking);
    render_second(item, rendering, expires_at);
}

static bool is_ours(const struct item *item, const struct store_entry *entry)
{
    if (item->pattern != HOT_PATTERN_LIST)
        return true;
    return entry->lines.length == strlen(second.seal) &&
           memcmp(entry->lines.bytes, second.seal, entry->lines.length) == 0;
}

/* What another host has rendered. false: it is of no use. */
static bool take(struct asking *asking, const struct store_entry *entry)
{
    struct rendering rendering = {.body = entry->body.bytes,
                                  .length = entry->body.length,
                                  .version = {.epoch = entry->version.epoch,
                                              .xmax = entry->version.xmax,
                                              .in_progress = entry->version.in_progress}};
    struct item *item = asking->item;
    char etag[128];
    int64_t now = clock_monotonic();
    int64_t left = entry->expires_at - clock_realtime();
    if (!is_ours(item, entry) || entry->body.length == 0 || entry->etag.length >= sizeof etag)
        return false;
    if (item->pattern == HOT_PATTERN_LIST && !page_meta_read(entry->meta.bytes, entry->meta.length, &rendering.page))
        return false;
    if (entry->etag.length > 0) {
        memcpy(etag, entry->etag.bytes, entry->etag.length);
        etag[entry->etag.length] = '\0';
        rendering.etag = etag;
    }
    if (left > schedule_life(item->pattern))
        left = schedule_life(item->pattern);
    end(asking, &rendering, now + left);
    return true;
}

static void on_timer(evutil_socket_t unused, short events, void *context)
{
    struct asking *asking = context;
    (void)unused;
    (void)events;
    OBJECT_CHECK(asking, ASKING_MAGIC);
    look(asking);
}

static void on_leased(void *context, enum store_result result, const struct store_entry *entry)
{
    struct asking *asking = context;
    (void)entry;
    OBJECT_CHECK(asking, ASKING_MAGIC);
    if (result == STORE_DONE) {
        asking->has_lease = true;
        look(asking);
    } else if (result == STORE_REFUSED && clock_monotonic() < asking->until) {
        struct timeval pause = clock_timeval(LOOK_PAUSE);
        evtimer_add(asking->timer, &pause);
    } else {
        end(asking, NULL, 0);
    }
}

static void on_got(void *context, enum store_result result, const struct store_entry *entry)
{
    struct asking *asking = context;
    OBJECT_CHECK(asking, ASKING_MAGIC);
    if (result == STORE_DONE && take(asking, entry))
        return;
    if (result == STORE_UNAVAILABLE || result == STORE_DONE || asking->has_lease) {
        end(asking, NULL, 0);
        return;
    }
    struct item *item = asking->item;
    asking->lease = store_lease(second.store, item->key, item->length, LEASE_TIME, on_leased, asking);
}

static void look(struct asking *asking)
{
    store_get(second.store, asking->item->key, asking->item->length, on_got, asking);
}

void second_ask(struct item *item)
{
    struct asking *asking = calloc(1, sizeof *asking);
    INVARIANT(asking != NULL && second.store != NULL && item->asking == NULL);
    asking->magic = ASKING_MAGIC;
    asking->item = item;
    asking->until = clock_monotonic() + LEASE_TIME * 1000;
    asking->timer = evtimer_new(second.base, on_timer, asking);
    INVARIANT(asking->timer != NULL);
    item->asking = asking;
    look(asking);
}

void second_store(struct item *item, const struct hot_key *key, const struct rendering *rendering)
{
    unsigned char meta[PAGE_META_MAX];
    bool is_page = key->pattern == HOT_PATTERN_LIST;
    int64_t now = clock_realtime();
    if (!second_is_there())
        return;
    struct store_entry entry = {
        .version = {.epoch = rendering->version.epoch,
                    .xmax = rendering->version.xmax,
                    .in_progress = rendering->version.in_progress},
        .rendered_at = now,
        .expires_at = now + schedule_life(key->pattern),
        .body = {.bytes = rendering->body, .length = rendering->length},
        .etag = {.bytes = rendering->etag, .length = rendering->etag == NULL ? 0 : strlen(rendering->etag)},
        .lines = {.bytes = is_page ? second.seal : NULL, .length = is_page ? strlen(second.seal) : 0},
        .meta = {.bytes = (const char *)meta, .length = is_page ? page_meta_write(&rendering->page, meta) : 0}};
    store_put(second.store, key->text, key->length, &entry, NULL, NULL);
    second_release(item);
}

void second_release(struct item *item)
{
    if (item->lease != 0 && second.store != NULL)
        store_release(second.store, item->key, item->length, item->lease);
    item->lease = 0;
}

void second_destroy(void)
{
    if (second.store != NULL)
        store_destroy(second.store);
    second.store = NULL;
}
