/* store: calls from the time they are made until they are answered, each once: sent, refused, late or lost. Refresher.
 *
 * A call that was sent is held by the connection until its reply comes or the connection ends, and stands in `waiting`
 * until it is answered. One that is late leaves `waiting` and is held on: its reply, when it comes, belongs to nobody.
 * All have the same time-out, so `waiting` is in order of deadlines, and one timer is enough. */
#include "redis/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/log.h"
#include "redis/call.h"
#include "redis/connection.h"
#include "redis/envelope.h"
#include "redis/place.h"

#define STORE_MAGIC 0x73746f72u
#define CALL_MAGIC 0x63616c6cu
/* Sent and not replied to, late ones too: past either a call is not sent. */
#define IN_FLIGHT_MAX 256
#define IN_FLIGHT_BYTES ((size_t)16 << 20)
#define OUTAGE_LINES ((int64_t)60 * 1000 * 1000) /* µs between lines of an outage that goes on */
#define FLAP_LINES ((int64_t)1000 * 1000)        /* µs between lines of outages that come one after the other */
#define TOKEN_DIGITS 32

/* By which a reply to SCRIPT LOAD finds its place. */
struct script_place {
    struct store *store;
    enum call_script script;
};

struct store {
    OBJECT_HEADER;
    struct event_base *base;
    char *socket, *host, *password_file;
    int64_t timeout;
    const struct store_observer *observer;
    struct redis_connection *connection;
    struct circuit circuit;
    struct call_script_names scripts;
    struct script_place places[CALL_SCRIPT_COUNT];
    struct buffer prefix; /* empty: not named yet */
    unsigned int name;    /* how often it was named */
    struct call_list waiting;
    struct call_list unsent; /* to be answered at the next turn of the loop */
    struct event *late, *probe, *answer_unsent;
    int in_flight;
    size_t in_flight_bytes;
    char token[TOKEN_DIGITS + 1]; /* of leases: nobody else's */
    uint64_t leases;
    int64_t connects;
    int64_t since;     /* without Redis, for the log; 0: with it */
    int64_t logged_at; /* of the last line that said so */
    char last_error[256];
};

static void on_changed(void *context, const char *reason);
static void on_probe(evutil_socket_t descriptor, short what, void *argument);
static void on_late(evutil_socket_t descriptor, short what, void *argument);
static void on_answer_unsent(evutil_socket_t descriptor, short what, void *argument);

static char *copy_text(const char *text)
{
    char *copy = text == NULL ? NULL : strdup(text);
    INVARIANT(text == NULL || copy != NULL);
    return copy;
}

/* ---- life ---- */

static struct event *make_event(struct store *store, event_callback_fn called)
{
    struct event *event = evtimer_new(store->base, called, store);
    INVARIANT(event != NULL);
    return event;
}

static void set_timer(struct event *timer, int64_t at)
{
    int64_t left = at - clock_monotonic();
    struct timeval interval = clock_timeval(left < 0 ? 0 : left);
    INVARIANT(event_add(timer, &interval) == 0);
}

struct store *store_create(const struct store_options *options)
{
    struct store *store = calloc(1, sizeof *store);
    INVARIANT(store != NULL);
    store->magic = STORE_MAGIC;
    store->base = options->base;
    store->socket = copy_text(options->socket);
    store->password_file = copy_text(options->password_file);
    store->timeout = options->timeout;
    store->observer = options->observer;
    TAILQ_INIT(&store->waiting);
    TAILQ_INIT(&store->unsent);
    store->late = make_event(store, on_late);
    store->probe = make_event(store, on_probe);
    store->answer_unsent = make_event(store, on_answer_unsent);
    uint64_t random[2];
    INVARIANT(getrandom(random, sizeof random, 0) == sizeof random);
    snprintf(store->token, sizeof store->token, "%016" PRIx64 "%016" PRIx64, random[0], random[1]);

    struct redis_connection_options connection = {
        .base = options->base, .socket = store->socket, .changed = on_changed, .context = store};
    if (store->socket == NULL) {
        char name[256];
        INVARIANT(options->host != NULL && place_split(options->host, name, sizeof name, &connection.port));
        store->host = copy_text(name);
        connection.name = store->host;
    }
    store->connection = redis_connection_create(&connection);
    circuit_begin(&store->circuit, clock_monotonic());
    return store;
}

void store_name(struct store *store, const char *system, const char *database, const char *rules)
{
    OBJECT_CHECK(store, STORE_MAGIC);
    bool first = buffer_length(&store->prefix) == 0;
    struct buffer prefix = {.memory = NULL};
    if (system[0] != '\0' && database[0] != '\0' && rules[0] != '\0')
        buffer_printf(&prefix, "turnout:%d:%s:%s:%s:", STORE_FORMAT, system, database, rules);
    if (buffer_length(&prefix) == buffer_length(&store->prefix) && buffer_length(&prefix) > 0 &&
        memcmp(buffer_bytes(&prefix), buffer_bytes(&store->prefix), buffer_length(&prefix)) == 0) {
        buffer_free(&prefix);
        return;
    }
    buffer_free(&store->prefix);
    store->prefix = prefix;
    store->name++;
    if (first && store->circuit.state == CIRCUIT_OPEN)
        set_timer(store->probe, store->circuit.probe_at);
}

void store_change_settings(struct store *store, const char *password_file, int64_t timeout)
{
    OBJECT_CHECK(store, STORE_MAGIC);
    char *copy = copy_text(password_file);
    free(store->password_file);
    store->password_file = copy;
    store->timeout = timeout;
    /* a shorter one holds for those that wait, too: the list stays in order */
    struct call *call;
    int64_t latest = clock_monotonic() + timeout;
    TAILQ_FOREACH (call, &store->waiting, others) {
        if (call->deadline > latest)
            call->deadline = latest;
    }
    if ((call = TAILQ_FIRST(&store->waiting)) != NULL)
        set_timer(store->late, call->deadline);
}

void store_statistics(const struct store *store, struct store_statistics *statistics)
{
    *statistics = (struct store_statistics){
        .state = store->circuit.state,
        .connected = redis_connection_state(store->connection) == REDIS_READY,
        .in_flight = store->in_flight,
        .connects = store->connects,
        .last_error = store->last_error[0] == '\0' ? NULL : store->last_error,
    };
}

/* ---- answers ---- */

static void free_call(struct call *call)
{
    buffer_free(&call->key);
    buffer_free(&call->value);
    OBJECT_BURY(call);
    free(call);
}

/* In no list any more. Whoever is told may make other calls. */
static void answer(struct call *call, enum store_end end, const struct store_entry *entry)
{
    static const enum store_result results[STORE_END_COUNT] = {
        [STORE_END_OK] = STORE_DONE,           [STORE_END_MISSING] = STORE_MISSING,
        [STORE_END_MALFORMED] = STORE_MISSING, [STORE_END_REFUSED] = STORE_REFUSED,
        [STORE_END_LATE] = STORE_UNAVAILABLE,  [STORE_END_FAILED] = STORE_UNAVAILABLE,
        [STORE_END_BUSY] = STORE_UNAVAILABLE,  [STORE_END_CIRCUIT_OPEN] = STORE_UNAVAILABLE,
    };
    const struct store_observer *observer = call->store->observer;
    INVARIANT(!call->answered);
    call->answered = true;
    if (observer != NULL)
        observer->ended(observer->context, call->kind, end, clock_monotonic() - call->began_at);
    if (call->done != NULL)
        call->done(call->context, results[end], entry);
}

/* Not sent: it is told at the next turn of the loop, as no call is answered from within. */
static void answer_later(struct call *call, enum store_end end)
{
    call->end = end;
    TAILQ_INSERT_TAIL(&call->store->unsent, call, others);
    event_active(call->store->answer_unsent, EV_TIMEOUT, 0);
}

static void on_answer_unsent(evutil_socket_t descriptor, short what, void *argument)
{
    (void)descriptor;
    (void)what;
    struct store *store = argument;
    OBJECT_CHECK(store, STORE_MAGIC);
    struct call_list turn = TAILQ_HEAD_INITIALIZER(turn); /* those that come meanwhile have theirs after it */
    struct call *call;
    TAILQ_CONCAT(&turn, &store->unsent, others);
    while ((call = TAILQ_FIRST(&turn)) != NULL) {
        TAILQ_REMOVE(&turn, call, others);
        answer(call, call->end, NULL);
        free_call(call);
    }
}

/* ---- with Redis and without ---- */

static void tell_circuit(struct store *store)
{
    log_debug("Redis", log_text("circuit", circuit_state_name(store->circuit.state)));
    if (store->observer != NULL)
        store->observer->circuit(store->observer->context, store->circuit.state);
    if (store->circuit.state == CIRCUIT_OPEN)
        set_timer(store->probe, store->circuit.probe_at);
}

static void log_without(struct store *store, const char *reason)
{
    int64_t now = clock_monotonic();
    bool first = store->since == 0;
    if (first)
        store->since = now;
    snprintf(store->last_error, sizeof store->last_error, "%s", reason);
    if (store->logged_at != 0 && now - store->logged_at < (first ? FLAP_LINES : OUTAGE_LINES))
        return;
    log_warning("Redis cannot be used: going on without it", log_text("error", reason));
    store->logged_at = now;
}

static void log_with(struct store *store)
{
    if (store->since != 0)
        log_info("Redis is used again", log_int("after_ms", (clock_monotonic() - store->since) / 1000));
    store->since = 0;
}

static void on_probe(evutil_socket_t descriptor, short what, void *argument)
{
    (void)descriptor;
    (void)what;
    struct store *store = argument;
    OBJECT_CHECK(store, STORE_MAGIC);
    circuit_probe(&store->circuit);
    tell_circuit(store);
    redis_connection_open(store->connection, store->password_file, store->timeout);
}

static void on_loaded(void *context, const redisReply *reply)
{
    const struct script_place *place = context;
    char *sha = place->store->scripts.sha[place->script];
    size_t size = sizeof place->store->scripts.sha[place->script];
    if (reply != NULL && reply->type == REDIS_REPLY_STRING && (size_t)reply->len == size - 1)
        memcpy(sha, reply->str, size);
}

/* Where Redis does not let us load them, they are sent in full each time. */
static void load_scripts(struct store *store)
{
    for (int i = 0; i < CALL_SCRIPT_COUNT; i++) {
        const char *words[] = {"SCRIPT", "LOAD", call_script_texts[i]};
        const size_t lengths[] = {6, 4, strlen(call_script_texts[i])};
        store->places[i] = (struct script_place){store, (enum call_script)i};
        store->scripts.sha[i][0] = '\0';
        if (!redis_connection_send(store->connection, 3, words, lengths, on_loaded, &store->places[i]))
            return;
    }
}

/* An attempt to connect has ended, or the connection. The latter before its calls are answered: what their owners send
 * in turn is not sent any more. */
static void on_changed(void *context, const char *reason)
{
    struct store *store = context;
    OBJECT_CHECK(store, STORE_MAGIC);
    int64_t now = clock_monotonic();
    if (store->circuit.state == CIRCUIT_PROBING)
        circuit_probed(&store->circuit, reason == NULL, now);
    else
        circuit_lost(&store->circuit, now);
    if (reason == NULL) {
        store->connects++;
        load_scripts(store);
        log_with(store);
    } else {
        log_without(store, reason);
    }
    tell_circuit(store);
}

/* Redis is there and does not do: the connection goes, too, as behind what is late all else would be. */
static void leave(struct store *store, const char *reason)
{
    log_without(store, reason);
    tell_circuit(store);
    redis_connection_close(store->connection);
}

static void on_late(evutil_socket_t descriptor, short what, void *argument)
{
    (void)descriptor;
    (void)what;
    struct store *store = argument;
    OBJECT_CHECK(store, STORE_MAGIC);
    struct call *call;
    int64_t now = clock_monotonic();
    bool opened = false;
    while ((call = TAILQ_FIRST(&store->waiting)) != NULL && call->deadline <= now) {
        TAILQ_REMOVE(&store->waiting, call, others);
        opened |= circuit_count(&store->circuit, true, now);
        if (call->kind == STORE_LEASE) /* it may be had all the same: nobody would use it */
            store_release(store, buffer_bytes(&call->key) + call->prefix, buffer_length(&call->key) - call->prefix,
                          call->lease);
        answer(call, STORE_END_LATE, NULL);
    }
    if (opened)
        leave(store, "calls are answered too late");
    else if (call != NULL)
        set_timer(store->late, call->deadline);
}

/* ---- calls ---- */

/* The reply to a call, or NULL: it never will have one. */
static void on_replied(void *context, const redisReply *reply)
{
    struct call *call = context;
    OBJECT_CHECK(call, CALL_MAGIC);
    struct store *store = call->store;
    bool opened = false;
    if (!call->answered) {
        /* as replies come in order, it is the first that waits, and is so again */
        TAILQ_REMOVE(&store->waiting, call, others);
        if (reply != NULL && call_is_unknown_script(reply) && !call->in_full &&
            redis_connection_state(store->connection) == REDIS_READY) {
            call->in_full = true;
            TAILQ_INSERT_HEAD(&store->waiting, call, others);
            if (call_send(call, store->connection, &store->scripts, on_replied))
                return;
            TAILQ_REMOVE(&store->waiting, call, others);
        }
    }
    store->in_flight--;
    store->in_flight_bytes -= buffer_length(&call->value);
    if (!call->answered) {
        struct store_entry entry;
        enum store_end end = STORE_END_FAILED;
        if (reply != NULL) {
            opened = circuit_count(&store->circuit, call_is_out_of_service(reply), clock_monotonic());
            if (call->name == store->name)
                end = call_end(call, reply, &entry);
        }
        if (end == STORE_END_MALFORMED)
            store_delete(store, buffer_bytes(&call->key) + call->prefix, buffer_length(&call->key) - call->prefix, NULL,
                         NULL);
        char reason[128];
        snprintf(reason, sizeof reason, "%s", opened ? reply->str : "");
        answer(call, end, end == STORE_END_OK && call->kind == STORE_GET ? &entry : NULL);
        if (opened)
            leave(store, reason);
    }
    free_call(call);
}

static struct call *make(struct store *store, enum store_call kind, const char *key, size_t length, store_done *done,
                         void *context)
{
    OBJECT_CHECK(store, STORE_MAGIC);
    struct call *call = calloc(1, sizeof *call);
    INVARIANT(call != NULL);
    call->magic = CALL_MAGIC;
    call->store = store;
    call->kind = kind;
    call->done = done;
    call->context = context;
    call->name = store->name;
    call->began_at = clock_monotonic();
    if (buffer_length(&store->prefix) > 0)
        buffer_append(&call->key, buffer_bytes(&store->prefix), buffer_length(&store->prefix));
    buffer_append_text(&call->key, kind == STORE_LEASE || kind == STORE_RELEASE ? "lease:" : "body:");
    call->prefix = buffer_length(&call->key);
    buffer_append(&call->key, key, length);
    return call;
}

static void submit(struct call *call)
{
    struct store *store = call->store;
    size_t bytes = buffer_length(&call->value);
    if (buffer_length(&store->prefix) == 0 || store->circuit.state != CIRCUIT_CLOSED) {
        answer_later(call, STORE_END_CIRCUIT_OPEN);
        return;
    }
    if (store->in_flight >= IN_FLIGHT_MAX || store->in_flight_bytes + bytes > IN_FLIGHT_BYTES) {
        answer_later(call, STORE_END_BUSY);
        return;
    }
    if (!call_send(call, store->connection, &store->scripts, on_replied)) {
        answer_later(call, STORE_END_FAILED);
        return;
    }
    call->deadline = call->began_at + store->timeout;
    store->in_flight++;
    store->in_flight_bytes += bytes;
    TAILQ_INSERT_TAIL(&store->waiting, call, others);
    if (TAILQ_FIRST(&store->waiting) == call)
        set_timer(store->late, call->deadline);
}

void store_get(struct store *store, const char *key, size_t length, store_done *done, void *context)
{
    submit(make(store, STORE_GET, key, length, done, context));
}

void store_put(struct store *store, const char *key, size_t length, const struct store_entry *entry, store_done *done,
               void *context)
{
    struct call *call = make(store, STORE_PUT, key, length, done, context);
    call->milliseconds = (entry->expires_at - clock_realtime()) / 1000;
    envelope_write(&call->value, key, length, entry);
    if (call->milliseconds < 1 || buffer_length(&call->value) > STORE_VALUE_MAX)
        answer_later(call, STORE_END_REFUSED);
    else
        submit(call);
}

static void write_token(struct call *call, uint64_t lease)
{
    call->lease = lease;
    buffer_printf(&call->value, "%s.%" PRIu64, call->store->token, lease);
}

uint64_t store_lease(struct store *store, const char *key, size_t length, int64_t milliseconds, store_done *done,
                     void *context)
{
    struct call *call = make(store, STORE_LEASE, key, length, done, context);
    uint64_t lease = ++store->leases;
    call->milliseconds = milliseconds < 1 ? 1 : milliseconds;
    write_token(call, lease);
    submit(call);
    return lease;
}

void store_release(struct store *store, const char *key, size_t length, uint64_t lease)
{
    struct call *call = make(store, STORE_RELEASE, key, length, NULL, NULL);
    write_token(call, lease);
    submit(call);
}

void store_delete(struct store *store, const char *key, size_t length, store_done *done, void *context)
{
    submit(make(store, STORE_DELETE, key, length, done, context));
}

void store_destroy(struct store *store)
{
    OBJECT_CHECK(store, STORE_MAGIC);
    if (store->circuit.state == CIRCUIT_CLOSED)
        circuit_lost(&store->circuit, clock_monotonic());
    redis_connection_close(store->connection); /* answers what was sent */
    while (!TAILQ_EMPTY(&store->unsent))
        on_answer_unsent(-1, 0, store);
    INVARIANT(TAILQ_EMPTY(&store->waiting) && store->in_flight == 0);
    redis_connection_destroy(store->connection);
    event_free(store->late);
    event_free(store->probe);
    event_free(store->answer_unsent);
    buffer_free(&store->prefix);
    free(store->socket);
    free(store->host);
    free(store->password_file);
    OBJECT_BURY(store);
    free(store);
}
