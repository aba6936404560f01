/* refresher: the process that keeps the hot cache true: its connections, its timers, what the master says. It may write
 * the region, Redis, and the epoch in PostgreSQL. */
#include "refresher/refresher.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "api/pool_metrics.h"
#include "api/statements.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "identity/cursor.h"
#include "pg/feed.h"
#include "pg/report.h"
#include "refresher/changes.h"
#include "refresher/coherence.h"
#include "refresher/commands.h"
#include "refresher/fills.h"
#include "refresher/render.h"
#include "refresher/second.h"
#include "refresher/warm.h"
#include "shm/hot_write.h"
#include "shm/statistics.h"
#include "shm/usage.h"

/* Microseconds between two steps of reclaiming. */
#define MAINTAIN_PAUSE 100000
/* How long PostgreSQL may be away before those who wait are told so: a connection that is replaced takes less. */
#define AWAY_GRACE 300000
/* Of the first second of a life: what is dirty from before, and not rendered by then, is dropped, so that a process
 * that lives no longer than that moves the cursor on all the same. */
#define FIRST_TIME 1000000
#define FIRST_LATE 300000
#define QUEUE_MAX 1000
/* Warming up: a share of the cache, at so many bytes an entry with its variants. */
#define WARM_ENTRY 32768
#define WARM_LEAST 50
#define WARM_MOST 1000

/* Boot lifetime. */
static struct {
    struct child *child;
    const struct configuration *configuration;
    struct pg_pool *pool;
    struct pg_feed *feed;
    struct event *maintain;
    struct event *away;
    struct event *renew;
    int64_t started_at;
    bool connected; /* the feed has read since it connected last */
    bool renewing;  /* the pool has a connection that is newer than the feed's: the epoch is raised once more */
    bool warmed;
    uint64_t seal;         /* says which key signs cursors */
    int64_t warm_question; /* of turnoutctl; 0: none */
} refresher;

static void on_warm(void)
{
    if (!refresher.warmed)
        child_warmed(refresher.child);
    refresher.warmed = true;
    if (refresher.warm_question != 0)
        child_answer(refresher.child, refresher.warm_question, 0, "", 0);
    refresher.warm_question = 0;
}

/* Something was rendered or let go of: how far is everything true? */
static void on_progress(void)
{
    struct coherence_point point;
    if (coherence_advance(&point)) {
        hot_store_cursor(point.cursor, strlen(point.cursor) + 1);
        statistics_set(STATISTICS_CACHE_COHERENT, LABEL_NONE_ONE, LABEL_NONE_ONE,
                       clock_realtime() - (clock_monotonic() - point.sent_at));
        if (!hot_extend(point.sent_at, point.sent_at + refresher.configuration->coherent_time)) {
            log_warning("workers had given the hot cache up: it begins anew");
            render_all_again(false);
            warm_begin();
        }
    }
    warm_look();
}

/* ---- the feed ---- */

static void on_read(void *context, const struct pg_feed_read *read)
{
    struct hot_version version = {
        .epoch = read->snapshot.epoch, .xmax = read->snapshot.xmax, .in_progress = read->snapshot.in_progress};
    (void)context;
    statistics_count(STATISTICS_CACHE_FEED_READS, LABEL_NONE_ONE);
    statistics_add(STATISTICS_CACHE_FEED_CHANGES, LABEL_NONE_ONE, LABEL_NONE_ONE, (int64_t)read->count);
    if (read->gap != NULL) {
        statistics_count(STATISTICS_CACHE_FEED_GAPS, LABEL_NONE_ONE);
        log_info("what has changed is not known: everything is rendered again", log_text("reason", read->gap));
        changes_gap(&version);
        coherence_reset();
        (void)coherence_add(read->sent_at, read->cursor);
    } else {
        changes_apply(read, coherence_add(read->sent_at, read->cursor));
    }
    bool is_first = !refresher.connected;
    refresher.connected = true;
    evtimer_del(refresher.away);
    second_name(read->database);
    if (!refresher.renewing)
        render_allow(read->snapshot.epoch);
    if (read->gap != NULL || (is_first && !refresher.warmed))
        warm_begin();
    on_progress();
}

static void await_connection(void)
{
    struct timeval grace = clock_timeval(AWAY_GRACE);
    evtimer_add(refresher.away, &grace);
}

static void on_lost(void *context)
{
    (void)context;
    refresher.connected = false;
    statistics_set(STATISTICS_CACHE_FEED_HEARD, LABEL_NONE_ONE, LABEL_NONE_ONE, 0);
    render_forbid(false);
    await_connection();
}

static void on_away(evutil_socket_t unused, short events, void *context)
{
    (void)unused;
    (void)events;
    (void)context;
    render_forbid(true);
}

static void on_heard(void *context, bool arrive)
{
    (void)context;
    statistics_set(STATISTICS_CACHE_FEED_HEARD, LABEL_NONE_ONE, LABEL_NONE_ONE, arrive ? 1 : 0);
}

/* ---- the epoch, where the pool connects while the feed's connection stands ---- */

static void on_renewed(void *context, const struct pg_answer *answer)
{
    enum { EPOCH_BEFORE, EPOCH };
    int64_t epoch;
    (void)context;
    refresher.renewing = false;
    if (answer->status == PG_STATUS_ROWS && PQntuples(answer->result) == 1 &&
        text_parse_int64(PQgetvalue(answer->result, 0, EPOCH), 0, INT64_MAX, &epoch) && refresher.connected)
        render_allow((uint64_t)epoch);
    PQclear(answer->result);
    if (!render_is_allowed() && refresher.connected) {
        struct timeval pause = clock_timeval(AWAY_GRACE);
        evtimer_add(refresher.renew, &pause);
        refresher.renewing = true;
    }
}

/* A server that crashed hands out transaction ids again, and whoever has connected since may be the first to notice. */
static void on_renew(evutil_socket_t unused, short events, void *context)
{
    (void)unused;
    (void)events;
    (void)context;
    struct pg_query query = {.statement = &statement_cache_begin, .retry = PG_RETRY_READ, .done = on_renewed};
    pg_pool_submit(refresher.pool, &query);
}

static void on_pool(void *context, enum pg_occurrence what, int64_t microseconds)
{
    const struct pg_observer *counter = context;
    counter->happened(counter->context, what, microseconds);
    if (what != PG_OCCURRED_CONNECT || !refresher.connected || refresher.renewing)
        return;
    struct timeval now = {0};
    refresher.renewing = true;
    render_forbid(false);
    evtimer_add(refresher.renew, &now);
}

/* ---- what was there ---- */

static void on_evicted(void *context, const char *key, size_t length)
{
    (void)context;
    struct item *item = directory_find(key, length);
    if (item != NULL)
        render_evicted(item);
}

/* Entries that this build cannot use; they cannot be deleted while they are walked over. */
struct unusable {
    size_t count;
    size_t size;
    struct hot_key *keys;
};

static void adopt(void *context, const char *text, size_t length, enum hot_pattern pattern, const struct hot_view *view)
{
    struct unusable *unusable = context;
    struct page_content page;
    struct hot_key key;
    (void)pattern;
    if (!hot_key_parse(&key, text, length) ||
        (key.pattern == HOT_PATTERN_LIST && !page_meta_read(view->meta, view->meta_length, &page))) {
        if (unusable->count == unusable->size) {
            unusable->size = unusable->size * 2 + 16;
            unusable->keys = realloc(unusable->keys, unusable->size * sizeof *unusable->keys);
            INVARIANT(unusable->keys != NULL);
        }
        unusable->keys[unusable->count].length = length;
        memcpy(unusable->keys[unusable->count++].text, text, length);
        return;
    }
    struct item *item = directory_add(&key);
    if (key.pattern == HOT_PATTERN_LIST)
        directory_set_page(item, page.endless, &page.last, (const unsigned char *)page.ids, page.count);
    render_adopt(item, view->rendered_at, view->expires_at);
}

static void adopt_all(bool distrust)
{
    struct unusable unusable = {0};
    int64_t began = clock_monotonic();
    size_t kept = hot_open(distrust, on_evicted, NULL);
    hot_each(adopt, &unusable);
    for (size_t i = 0; i < unusable.count; i++)
        (void)hot_delete(unusable.keys[i].text, unusable.keys[i].length);
    free(unusable.keys);
    log_info("the hot cache is open", log_int("entries", kept), log_int("microseconds", clock_monotonic() - began),
             log_text("after", distrust ? "a crash" : NULL));
}

/* ---- timers, reports, reload ---- */

static void on_maintain(evutil_socket_t unused, short events, void *context)
{
    int64_t now = clock_monotonic();
    int64_t late = refresher.configuration->coherent_time / 3;
    (void)unused;
    (void)events;
    (void)context;
    if (now - refresher.started_at < FIRST_TIME && late > FIRST_LATE)
        late = FIRST_LATE;
    hot_maintain();
    if (coherence_outstanding() > 0)
        render_drop_late(now - late);
    on_progress();
}

static void sample(void)
{
    struct hot_statistics now;
    int64_t moment = clock_monotonic();
    static int64_t evictions[HOT_PATTERN_COUNT];
    hot_statistics(&now);
    for (unsigned i = 0; i < HOT_PATTERN_COUNT; i++) {
        int64_t oldest = now.oldest[i] == 0 ? 0 : clock_realtime() + now.oldest[i] - moment;
        statistics_set(STATISTICS_CACHE_ENTRIES, i, LABEL_NONE_ONE, now.entries[i]);
        statistics_set(STATISTICS_CACHE_BYTES, i, LABEL_NONE_ONE, now.bytes[i]);
        statistics_set(STATISTICS_CACHE_OLDEST, i, LABEL_NONE_ONE, oldest);
        statistics_add(STATISTICS_CACHE_EVICTIONS, i, LABEL_NONE_ONE, now.evictions[i] - evictions[i]);
        evictions[i] = now.evictions[i];
    }
    statistics_set(STATISTICS_CACHE_SEGMENTS, LABEL_SEGMENT_FREE, LABEL_NONE_ONE, now.segments_free);
    statistics_set(STATISTICS_CACHE_SEGMENTS, LABEL_SEGMENT_OPEN, LABEL_NONE_ONE, now.segments_open);
    statistics_set(STATISTICS_CACHE_SEGMENTS, LABEL_SEGMENT_SEALED, LABEL_NONE_ONE, now.segments_sealed);
    statistics_set(STATISTICS_CACHE_PINS, LABEL_NONE_ONE, LABEL_NONE_ONE, now.pins);
    statistics_set(STATISTICS_CACHE_GENERATION, LABEL_NONE_ONE, LABEL_NONE_ONE, now.generation);
    pool_metrics_sample_feed(LABEL_POOL_REFRESHER_FEED, refresher.feed);
    pool_metrics_sample(LABEL_POOL_REFRESHER_RENDER, refresher.pool);
    usage_sample();
}

static void on_report(void *context, struct child_report *report)
{
    (void)context;
    pg_feed_report(refresher.feed, "feed", report);
    pg_pool_report(refresher.pool, "render", report);
    sample();
}

/* Its two connections are not part of the workers' share. */
static void on_db_share(void *context, int64_t share)
{
    (void)context;
    (void)share;
}

static void on_lag(void *context, int64_t microseconds)
{
    (void)context;
    statistics_observe(STATISTICS_LOOP_LAG, LABEL_ROLE_REFRESHER, microseconds);
}

/* The key signs the cursors on pages. Returns a number that another key would not have, 0: `error` says why. */
static uint64_t read_cursor_key(char *error, size_t error_size)
{
    static const struct cursor sample_cursor = {.id = "00000000-0000-0000-0000-000000000000"};
    char text[CURSOR_TEXT_MAX];
    if (!seal_read_key(refresher.configuration->cursor_key_file, error, error_size))
        return 0;
    cursor_sign(&sample_cursor, "seal", text);
    return XXH3_64bits(text, strlen(text)) | 1;
}

static void on_stop(void *context, enum child_stop how)
{
    (void)context;
    (void)how;
    child_exit(refresher.child, EXIT_STATUS_DONE);
}

static void drop_page(void *context, struct item *item)
{
    (void)context;
    if (item->page != NULL)
        render_drop(item);
}

static bool on_reload(void *context, char *error, size_t error_size)
{
    const struct configuration *configuration = refresher.configuration;
    struct pg_pool_settings settings = {.password_file = configuration->database_password_file,
                                        .connections_min = 1,
                                        .connect_timeout = configuration->db_connect_timeout,
                                        .acquire_timeout = configuration->db_acquire_timeout,
                                        .statement_timeout = configuration->db_statement_timeout,
                                        .idle_time = configuration->db_idle_time,
                                        .lifetime = configuration->db_lifetime};
    (void)context;
    pg_pool_change(refresher.pool, &settings);
    pg_feed_change_settings(refresher.feed, configuration->database_password_file, configuration->db_connect_timeout,
                            configuration->db_statement_timeout, configuration->changes_poll);
    second_reload(configuration);
    uint64_t read = read_cursor_key(error, error_size);
    if (read == 0)
        return false;
    if (read != refresher.seal) {
        directory_each(drop_page, NULL);
        second_set_seal(read);
    }
    refresher.seal = read;
    return true;
}

static void on_ask(void *context, int64_t number, enum child_question what, const char *argument)
{
    struct buffer text = {0};
    int status = 0;
    (void)context;
    switch (what) {
    case CHILD_QUESTION_CACHE_KEY:
        status = commands_show(argument, &text) ? 0 : 1;
        break;
    case CHILD_QUESTION_CACHE_DROP:
        commands_drop(argument, &text);
        break;
    case CHILD_QUESTION_CACHE_WARM:
        if (render_is_allowed()) {
            if (refresher.warm_question != 0)
                child_answer(refresher.child, refresher.warm_question, 0, "", 0);
            refresher.warm_question = number;
            warm_begin();
            return;
        }
        status = 1;
        buffer_append_text(&text, "PostgreSQL is away");
        break;
    case CHILD_QUESTION_MAIL_SHOW:
    case CHILD_QUESTION_MAIL_TEST:
        object_die("the refresher is not asked about mail", __FILE__, __LINE__);
    }
    child_answer(refresher.child, number, status, buffer_bytes(&text), buffer_length(&text));
    buffer_free(&text);
}

/* ---- the start ---- */

static struct pg_pool *open_pool(struct event_base *base)
{
    static struct pg_observer observer;
    const struct configuration *configuration = refresher.configuration;
    observer = (struct pg_observer){.happened = on_pool,
                                    .context = (void *)(uintptr_t)pool_metrics_observer(LABEL_POOL_REFRESHER_RENDER)};
    struct pg_pool_options options = {.base = base,
                                      .role = "refresher",
                                      .name = "render",
                                      .dsn = configuration->database,
                                      .password_file = configuration->database_password_file,
                                      .connections_min = 1,
                                      .connections_max = 1,
                                      .connect_timeout = configuration->db_connect_timeout,
                                      .acquire_timeout = configuration->db_acquire_timeout,
                                      .statement_timeout = configuration->db_statement_timeout,
                                      .idle_time = configuration->db_idle_time,
                                      .lifetime = configuration->db_lifetime,
                                      .queue_max = QUEUE_MAX,
                                      .observer = &observer};
    return pg_pool_create(&options);
}

static struct pg_feed *open_feed(struct event_base *base)
{
    static const struct pg_feed_events events = {.read = on_read, .lost = on_lost, .heard = on_heard};
    static char cursor[HOT_CURSOR_MAX + 1];
    const struct configuration *configuration = refresher.configuration;
    cursor[hot_load_cursor(cursor)] = '\0';
    struct pg_feed_options options = {.base = base,
                                      .role = "refresher",
                                      .dsn = configuration->database,
                                      .password_file = configuration->database_password_file,
                                      .connect_timeout = configuration->db_connect_timeout,
                                      .statement_timeout = configuration->db_statement_timeout,
                                      .poll = configuration->changes_poll,
                                      .begin = &statement_cache_begin,
                                      .changes = &statement_changes_since,
                                      .probe = &statement_cache_probe,
                                      .pool = refresher.pool,
                                      .cursor = cursor,
                                      .events = &events,
                                      .observer = pool_metrics_observer(LABEL_POOL_REFRESHER_FEED)};
    return pg_feed_create(&options);
}

static int64_t warm_limit(void)
{
    int64_t limit = refresher.configuration->cache_size / WARM_ENTRY;
    return limit < WARM_LEAST ? WARM_LEAST : limit > WARM_MOST ? WARM_MOST : limit;
}

static void start(struct event_base *base, const struct refresher_options *options)
{
    struct timeval pause = clock_timeval(MAINTAIN_PAUSE);
    refresher.started_at = clock_monotonic();
    refresher.maintain = event_new(base, -1, EV_PERSIST, on_maintain, NULL);
    refresher.away = evtimer_new(base, on_away, NULL);
    refresher.renew = evtimer_new(base, on_renew, NULL);
    INVARIANT(refresher.maintain != NULL && refresher.away != NULL && refresher.renew != NULL);
    event_add(refresher.maintain, &pause);
    refresher.pool = open_pool(base);
    const struct render_options rendering = {.base = base,
                                             .pool = refresher.pool,
                                             .answer = fills_answer,
                                             .changed_meanwhile = changes_meanwhile,
                                             .watch = changes_watch,
                                             .progress = on_progress};
    render_create(&rendering);
    second_create(base, refresher.configuration);
    warm_create(refresher.pool, warm_limit(), on_warm);
    adopt_all(options->distrust);
    refresher.feed = open_feed(base);
    await_connection();
    fills_create(base, options->fills, options->fill_count);
}

int refresher_main(const struct refresher_options *options)
{
    char error[512];
    refresher.child = child_create(options->start);
    refresher.configuration = options->configuration;
    refresher.seal = read_cursor_key(error, sizeof error);
    if (refresher.seal == 0) {
        log_error("the key of cursors cannot be read", log_text("error", error));
        return EXIT_STATUS_RESTART;
    }
    second_set_seal(refresher.seal);
    start(child_base(refresher.child), options);

    static const struct child_callbacks callbacks = {.stop = on_stop,
                                                     .report = on_report,
                                                     .db_share = on_db_share,
                                                     .lag = on_lag,
                                                     .reload = on_reload,
                                                     .ask = on_ask};
    child_ready(refresher.child);
    int status = child_run(refresher.child, &callbacks);
    pg_feed_destroy(refresher.feed);
    second_destroy();
    pg_pool_destroy(refresher.pool);
    return status;
}
