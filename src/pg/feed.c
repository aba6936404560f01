/* feed: what has changed in the database. Refresher; owns one connection and nothing else.
 *
 * The connection is a fleet of one, so that it is opened, timed out and backed off as those of a pool are. To the fleet
 * it counts as connecting until its first read has been answered: a server that can be reached but does not do (a
 * standby, a schema that is not migrated) is an attempt in vain, and not a loss after which the next attempt would be
 * due at once.
 *
 * One statement is in flight at most. A bell that comes meanwhile may be for a commit that the statement did not see,
 * so it is followed by another read. */
#include "pg/feed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "pg/changes.h"
#include "pg/connection.h"
#include "pg/entry.h"
#include "pg/fleet.h"
#include "pg/position.h"
#include "pg/probe.h"
#include "pg/verdict.h"

#define FEED_MAGIC 0x70676664u

/* Microseconds, all.
 * From one read to the next: at 1,000 commits a second 100 reads take them all, and one that comes alone waits for
 * nothing. */
#define READ_GAP ((int64_t)10 * 1000)
/* How long a notification may be on its way before it counts as lost. */
#define PROBE_TIME ((int64_t)5 * 1000 * 1000)
/* From read to read where notifications do not arrive. */
#define POLL_DEAF ((int64_t)250 * 1000)

enum feed_state {
    FEED_AWAY,    /* no connection that could be asked */
    FEED_OPENING, /* LISTEN is in flight */
    FEED_BEGINS,  /* cache_begin is in flight */
    FEED_READS,   /* changes_since is in flight */
    FEED_IDLE,    /* nothing is in flight; the next read is due at `read_at` */
};

struct pg_feed {
    OBJECT_HEADER;
    struct pg_feed_options options;       /* its texts are owned */
    struct pg_pool_options fleet_options; /* the fleet's; texts are those of `options` */
    struct pg_fleet fleet;
    struct event *timer;
    int64_t timer_at;
    struct event *kick;
    struct pg_connection *connection; /* FEED_AWAY: NULL */
    enum feed_state state;
    bool serves; /* a read of this connection was answered */
    bool alone;  /* prepared statements do not last here: statements go with their text */
    struct pg_position position;
    const char *gap; /* why the next read is one; NULL: it is none */
    bool rang;       /* since the read in flight was sent */
    int64_t sent_at, read_at;
    struct pg_probe probe;
    int64_t connects, lost, timeouts;
    bool reachable;
    char last_error[256];
};

static void on_timer(evutil_socket_t descriptor, short what, void *argument);
static void on_kick(evutil_socket_t descriptor, short what, void *argument);
static void on_ready(void *context, struct pg_connection *connection);
static void on_answered(void *context, struct pg_connection *connection, struct pg_entry *entry, PGresult *rows,
                        PGresult *error);
static void on_closed(void *context, struct pg_connection *connection, const char *reason);
static void on_notified(void *context, struct pg_connection *connection, const char *channel, const char *payload);
static void pump(struct pg_feed *feed);
static void arm(struct pg_feed *feed, int64_t now);
static void ask(struct pg_feed *feed, const struct pg_statement *statement, const char *const parameters[],
                pg_done *done);
static void on_listening(void *context, const struct pg_answer *answer);
static void on_listening_for_probes(void *context, const struct pg_answer *answer);
static void begin(struct pg_feed *feed);
static void on_begun(void *context, const struct pg_answer *answer);
static void read_changes(struct pg_feed *feed);
static void on_changes(void *context, const struct pg_answer *answer);
static void deliver(struct pg_feed *feed, const PGresult *rows);
static void schedule(struct pg_feed *feed);
static void on_heard(void *context, bool arrive);
static void tell(const struct pg_feed *feed, enum pg_occurrence what, int64_t microseconds);

static const struct pg_connection_owner owner = {
    .ready = on_ready, .answered = on_answered, .closed = on_closed, .notified = on_notified};
static const struct pg_statement listen_changes = {"", "listen turnout_changes", 0};
static const struct pg_statement listen_probe = {"", "listen " PG_PROBE_CHANNEL, 0};

static char *copy(const char *text)
{
    char *made = text == NULL ? NULL : strdup(text);
    INVARIANT(made != NULL || text == NULL);
    return made;
}

static const char *message_of(const PGresult *error)
{
    const char *primary = PQresultErrorField(error, PG_DIAG_MESSAGE_PRIMARY);
    return primary != NULL ? primary : PQresultErrorMessage(error);
}

static void set_fleet_options(struct pg_feed *feed)
{
    const struct pg_feed_options *options = &feed->options;
    feed->fleet_options = (struct pg_pool_options){.base = options->base,
                                                   .role = options->role,
                                                   .name = "feed",
                                                   .dsn = options->dsn,
                                                   .password_file = options->password_file,
                                                   .connections_min = 1,
                                                   .connections_max = 1,
                                                   .connect_timeout = options->connect_timeout,
                                                   .statement_timeout = options->statement_timeout};
}

struct pg_feed *pg_feed_create(const struct pg_feed_options *options)
{
    struct pg_feed *feed = calloc(1, sizeof *feed);
    INVARIANT(feed != NULL);
    feed->magic = FEED_MAGIC;
    feed->options = *options;
    feed->options.role = copy(options->role);
    feed->options.dsn = copy(options->dsn);
    feed->options.password_file = copy(options->password_file);
    feed->options.cursor = NULL;
    if (options->cursor != NULL && options->cursor[0] != '\0' && !pg_position_parse(&feed->position, options->cursor))
        log_warning("the place where to go on reading changes is in a form that this version does not know");
    feed->timer = event_new(options->base, -1, 0, on_timer, feed);
    feed->kick = event_new(options->base, -1, 0, on_kick, feed);
    INVARIANT(feed->timer != NULL && feed->kick != NULL);
    feed->timer_at = PG_FLEET_NEVER;
    feed->probe = (struct pg_probe){.pool = options->pool,
                                    .statement = options->probe,
                                    .time = options->probe_time > 0 ? options->probe_time : PROBE_TIME,
                                    .decided = on_heard,
                                    .context = feed};
    pg_probe_start(&feed->probe, options->base);
    set_fleet_options(feed);
    pg_fleet_start(&feed->fleet, &feed->fleet_options, &owner, feed, feed->kick);
    pump(feed);
    return feed;
}

void pg_feed_poke(struct pg_feed *feed)
{
    OBJECT_CHECK(feed, FEED_MAGIC);
    feed->rang = true;
    if (feed->state == FEED_IDLE)
        schedule(feed);
}

void pg_feed_change_settings(struct pg_feed *feed, const char *password_file, int64_t connect_timeout,
                             int64_t statement_timeout, int64_t poll)
{
    OBJECT_CHECK(feed, FEED_MAGIC);
    char *before = (char *)feed->options.password_file;
    feed->options.password_file = copy(password_file);
    feed->options.connect_timeout = connect_timeout;
    feed->options.statement_timeout = statement_timeout;
    feed->options.poll = poll;
    set_fleet_options(feed);
    pg_fleet_take_options(&feed->fleet);
    free(before);
    if (feed->state == FEED_IDLE)
        schedule(feed);
}

void pg_feed_statistics(const struct pg_feed *feed, struct pg_statistics *statistics)
{
    OBJECT_CHECK(feed, FEED_MAGIC);
    bool ready = feed->connection != NULL;
    int64_t in_flight = ready ? feed->connection->depth : 0;
    *statistics = (struct pg_statistics){.open = feed->fleet.open_count,
                                         .idle = ready && in_flight == 0,
                                         .used = ready && in_flight > 0,
                                         .in_flight = in_flight,
                                         .max = 1,
                                         .connects = feed->connects,
                                         .lost = feed->lost,
                                         .timeouts = feed->timeouts,
                                         .reachable = feed->reachable,
                                         .last_error = feed->last_error[0] == '\0' ? NULL : feed->last_error};
}

void pg_feed_destroy(struct pg_feed *feed)
{
    OBJECT_CHECK(feed, FEED_MAGIC);
    feed->state = FEED_AWAY;
    struct pg_connection *connection;
    struct pg_entry *entry;
    while ((connection = TAILQ_FIRST(&feed->fleet.open)) != NULL) {
        INVARIANT(!connection->reading);
        pg_fleet_close(&feed->fleet, connection);
        while ((entry = TAILQ_FIRST(&connection->in_flight)) != NULL) {
            TAILQ_REMOVE(&connection->in_flight, entry, link);
            pg_entry_answer(entry, PG_STATUS_LOST, NULL, NULL, NULL);
        }
    }
    pg_fleet_sweep(&feed->fleet);
    pg_probe_stop(&feed->probe);
    pg_position_clear(&feed->position);
    event_free(feed->timer);
    event_free(feed->kick);
    free((char *)feed->options.role);
    free((char *)feed->options.dsn);
    free((char *)feed->options.password_file);
    OBJECT_BURY(feed);
    free(feed);
}

/* ---- the connection ---- */

static void on_timer(evutil_socket_t descriptor, short what, void *argument)
{
    (void)descriptor;
    (void)what;
    struct pg_feed *feed = argument;
    OBJECT_CHECK(feed, FEED_MAGIC);
    int64_t now = clock_monotonic();
    feed->timer_at = PG_FLEET_NEVER;
    pg_fleet_check(&feed->fleet, now);
    if (feed->state == FEED_IDLE && feed->read_at <= now)
        read_changes(feed);
    pump(feed);
}

static void on_kick(evutil_socket_t descriptor, short what, void *argument)
{
    (void)descriptor;
    (void)what;
    struct pg_feed *feed = argument;
    OBJECT_CHECK(feed, FEED_MAGIC);
    pg_fleet_sweep(&feed->fleet);
    pump(feed);
}

static void on_ready(void *context, struct pg_connection *connection)
{
    struct pg_feed *feed = context;
    OBJECT_CHECK(feed, FEED_MAGIC);
    feed->connection = connection;
    connection->expires_at = PG_FLEET_NEVER;
    feed->alone = feed->rang = false;
    feed->state = FEED_OPENING;
    ask(feed, &listen_changes, NULL, on_listening);
    pump(feed);
}

static void on_answered(void *context, struct pg_connection *connection, struct pg_entry *entry, PGresult *rows,
                        PGresult *error)
{
    struct pg_feed *feed = context;
    OBJECT_CHECK(feed, FEED_MAGIC);
    tell(feed, PG_OCCURRED_ANSWER, connection->head_since - entry->submitted);
    enum pg_verdict verdict = error == NULL ? PG_VERDICT_ROWS : pg_verdict_of(error);
    if (verdict != PG_VERDICT_READ_ONLY && pg_verdict_repeats(verdict, entry)) {
        feed->alone = feed->alone || entry->alone;
        if (!pg_connection_send(connection, entry))
            pg_entry_answer(entry, PG_STATUS_LOST, NULL, NULL, NULL);
    } else {
        if (verdict == PG_VERDICT_TIMED_OUT) {
            feed->timeouts++;
            tell(feed, PG_OCCURRED_STATEMENT_TIMEOUT, 0);
        }
        if (error != NULL)
            pg_connection_cut(connection, message_of(error));
        pg_entry_answer(entry, pg_verdict_status(verdict), rows, error, NULL);
    }
    PQclear(error);
    pump(feed);
}

static void on_closed(void *context, struct pg_connection *connection, const char *reason)
{
    struct pg_feed *feed = context;
    OBJECT_CHECK(feed, FEED_MAGIC);
    bool served = feed->serves;
    feed->connection = NULL;
    feed->state = FEED_AWAY;
    feed->serves = feed->reachable = false;
    pg_probe_end(&feed->probe);
    snprintf(feed->last_error, sizeof feed->last_error, "%s", reason);
    feed->lost += served;
    tell(feed, served ? PG_OCCURRED_LOSS : PG_OCCURRED_CONNECT_FAILURE, 0);
    pg_fleet_on_closed(&feed->fleet, connection, clock_monotonic(), reason);
    struct pg_entry *entry;
    while ((entry = TAILQ_FIRST(&connection->in_flight)) != NULL) {
        TAILQ_REMOVE(&connection->in_flight, entry, link);
        pg_entry_answer(entry, PG_STATUS_LOST, NULL, NULL, NULL);
    }
    connection->depth = 0;
    if (served && feed->options.events->lost != NULL)
        feed->options.events->lost(feed->options.context);
    pump(feed);
}

static void on_notified(void *context, struct pg_connection *connection, const char *channel, const char *payload)
{
    (void)connection;
    struct pg_feed *feed = context;
    OBJECT_CHECK(feed, FEED_MAGIC);
    pg_probe_notified(&feed->probe, channel, payload);
    if (strcmp(channel, PG_PROBE_CHANNEL) != 0)
        pg_feed_poke(feed);
}

/* Opens what is missing, sets the timer. */
static void pump(struct pg_feed *feed)
{
    int64_t now = clock_monotonic();
    pg_fleet_open_more(&feed->fleet, now, false);
    arm(feed, now);
}

/* One that fires too early does no harm. */
static void arm(struct pg_feed *feed, int64_t now)
{
    int64_t next = pg_fleet_next_check(&feed->fleet, now);
    if (feed->state == FEED_IDLE && feed->read_at < next)
        next = feed->read_at;
    if (next >= feed->timer_at)
        return;
    struct timeval interval = clock_timeval(next > now ? next - now : 0);
    INVARIANT(event_add(feed->timer, &interval) == 0);
    feed->timer_at = next;
}

/* ---- one statement after the other ---- */

static void ask(struct pg_feed *feed, const struct pg_statement *statement, const char *const parameters[],
                pg_done *done)
{
    struct pg_query query = {.statement = statement, .retry = PG_RETRY_NEVER, .done = done, .context = feed};
    for (int i = 0; i < statement->parameter_count; i++)
        query.parameters[i] = parameters[i];
    feed->sent_at = clock_monotonic();
    struct pg_entry *entry = pg_entry_create(&query, 0, feed->sent_at);
    entry->alone = feed->alone || statement->name[0] == '\0';
    if (!pg_connection_send(feed->connection, entry))
        pg_entry_answer(entry, PG_STATUS_LOST, NULL, NULL, NULL); /* on_closed will follow */
}

static void on_listening(void *context, const struct pg_answer *answer)
{
    struct pg_feed *feed = context;
    PQclear(answer->result);
    if (answer->status == PG_STATUS_ROWS)
        ask(feed, &listen_probe, NULL, on_listening_for_probes);
}

static void on_listening_for_probes(void *context, const struct pg_answer *answer)
{
    struct pg_feed *feed = context;
    PQclear(answer->result);
    if (answer->status == PG_STATUS_ROWS)
        begin(feed);
}

/* From now on every commit rings. */
static void begin(struct pg_feed *feed)
{
    feed->state = FEED_BEGINS;
    ask(feed, feed->options.begin, NULL, on_begun);
}

static void on_begun(void *context, const struct pg_answer *answer)
{
    struct pg_feed *feed = context;
    if (answer->status != PG_STATUS_ROWS)
        return;
    const char *gap = pg_position_begin(&feed->position, answer->result);
    PQclear(answer->result);
    if (gap != NULL && gap[0] == '\0') {
        pg_connection_cut(feed->connection, "turnout.cache_begin answered in a way that this version does not know");
        return;
    }
    if (feed->gap == NULL)
        feed->gap = gap;
    read_changes(feed);
}

static void read_changes(struct pg_feed *feed)
{
    feed->state = FEED_READS;
    feed->rang = false;
    bool gap = feed->gap != NULL;
    const char *parameters[] = {gap ? NULL : feed->position.xmax, gap ? NULL : feed->position.in_progress,
                                PG_CHANGES_MOST};
    ask(feed, feed->options.changes, parameters, on_changes);
}

static void on_changes(void *context, const struct pg_answer *answer)
{
    struct pg_feed *feed = context;
    if (answer->status != PG_STATUS_ROWS)
        return;
    const PGresult *rows = answer->result;
    if (feed->gap == NULL) {
        feed->gap = pg_changes_gap(rows);
        if (feed->gap == NULL && !pg_position_advance(&feed->position, rows))
            feed->gap = "the database has gone back in time";
        if (feed->gap == NULL)
            deliver(feed, rows);
        else
            begin(feed);
    } else {
        pg_position_clear(&feed->position);
        if (pg_position_advance(&feed->position, rows))
            deliver(feed, rows);
        else
            pg_connection_cut(feed->connection,
                              "turnout.changes_since answered in a way that this version does not know");
    }
    PQclear(answer->result);
}

static void deliver(struct pg_feed *feed, const PGresult *rows)
{
    bool first = !feed->serves;
    if (first) {
        feed->serves = feed->reachable = true;
        feed->connects++;
        tell(feed, PG_OCCURRED_CONNECT, 0);
        /* not pg_fleet_on_ready, which would replace it in a while: a feed is not to be interrupted */
        feed->fleet.connecting = NULL;
        pg_outage_connected(&feed->fleet.outage, feed->sent_at);
    }
    pg_outage_proven(&feed->fleet.outage, feed->connection->ready_at);
    struct pg_feed_read read = {.gap = feed->gap,
                                .snapshot = feed->position.snapshot,
                                .sent_at = feed->sent_at,
                                .cursor = feed->position.cursor,
                                .database = &feed->position.database,
                                .count = feed->gap == NULL ? (size_t)PQntuples(rows) - 1 : 0,
                                .rows = rows};
    feed->gap = NULL;
    feed->state = FEED_IDLE;
    feed->options.events->read(feed->options.context, &read);
    schedule(feed);
    if (first)
        pg_probe_begin(&feed->probe);
}

static void schedule(struct pg_feed *feed)
{
    int64_t poll =
        feed->probe.state == PG_PROBE_DEAF && feed->options.poll > POLL_DEAF ? POLL_DEAF : feed->options.poll;
    feed->read_at = feed->sent_at + (feed->rang ? READ_GAP : poll);
    arm(feed, clock_monotonic());
}

static void on_heard(void *context, bool arrive)
{
    struct pg_feed *feed = context;
    OBJECT_CHECK(feed, FEED_MAGIC);
    if (feed->state == FEED_IDLE)
        schedule(feed); /* at another pace */
    if (feed->options.events->heard != NULL)
        feed->options.events->heard(feed->options.context, arrive);
}

static void tell(const struct pg_feed *feed, enum pg_occurrence what, int64_t microseconds)
{
    if (feed->options.observer != NULL)
        feed->options.observer->happened(feed->options.observer->context, what, microseconds);
}
