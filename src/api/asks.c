/* asks: the worker's end of the socket to the refresher. Worker process. Numbers are never used twice in one slot,
 * whichever process has it: an answer to a predecessor finds no question. */
#include "api/asks.h"

#include "api/api.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/message.h"

/* Answers in one turn of the loop. */
#define MESSAGES_MAX 64
#define BUCKETS 256

LIST_HEAD(ask_list, ask);

/* Boot lifetime. */
static struct {
    int socket;
    struct event *readable;
    struct event *writable;
    asks_answered *answered;
    struct ask_list under_way[BUCKETS]; /* by number */
    TAILQ_HEAD(, ask) backlog;          /* those that the socket has not taken yet */
    int64_t last_number;
    int64_t heard_at; /* of the refresher */
    bool silent;
    int64_t probed_at;
} asks;

static struct ask_list *bucket_of(int64_t number)
{
    return &asks.under_way[(uint64_t)number % BUCKETS];
}

/* false: the socket is full. */
static bool send_question(int64_t number, const struct hot_key *key)
{
    struct message_writer *writer = message_begin(FILL_ASK);
    message_put_int(writer, number);
    message_put_bytes(writer, key->text, key->length);
    return message_send(writer, asks.socket);
}

static void send_backlog(void)
{
    struct ask *ask;
    while ((ask = TAILQ_FIRST(&asks.backlog)) != NULL) {
        if (!send_question(ask->number, ask->key)) {
            INVARIANT(event_add(asks.writable, NULL) == 0);
            return;
        }
        TAILQ_REMOVE(&asks.backlog, ask, backlog);
        ask->waits_to_be_sent = false;
    }
}

static void on_writable(evutil_socket_t socket, short events, void *context)
{
    (void)socket;
    (void)events;
    (void)context;
    send_backlog();
}

static void enqueue(struct ask *ask)
{
    if (ask->waits_to_be_sent)
        return;
    ask->waits_to_be_sent = true;
    TAILQ_INSERT_TAIL(&asks.backlog, ask, backlog);
}

void asks_put(struct ask *ask, const struct hot_key *key)
{
    INVARIANT(ask->number == 0);
    ask->number = ++asks.last_number;
    ask->key = key;
    ask->asked_at = clock_monotonic();
    LIST_INSERT_HEAD(bucket_of(ask->number), ask, link);
    enqueue(ask);
    send_backlog();
}

static void forget(struct ask *ask)
{
    LIST_REMOVE(ask, link);
    if (ask->waits_to_be_sent)
        TAILQ_REMOVE(&asks.backlog, ask, backlog);
    ask->waits_to_be_sent = false;
    ask->number = 0;
}

void asks_drop(struct ask *ask, bool in_vain)
{
    if (ask->number == 0)
        return;
    if (in_vain && asks.heard_at < ask->asked_at && !asks.silent) {
        asks.silent = true;
        asks.probed_at = clock_monotonic();
        log_warning("the refresher does not answer: what is missing in the hot cache is asked of PostgreSQL");
    }
    forget(ask);
}

bool asks_is_silent(const struct hot_key *key)
{
    if (!asks.silent)
        return false;
    int64_t now = clock_monotonic();
    if (now - asks.probed_at >= api_get()->configuration->fill_timeout) {
        asks.probed_at = now;
        (void)!send_question(++asks.last_number, key); /* full: enough of them lie there */
    }
    return true;
}

static struct ask *find(int64_t number)
{
    struct ask *ask;
    LIST_FOREACH (ask, bucket_of(number), link) {
        if (ask->number == number)
            return ask;
    }
    return NULL;
}

static void take_answer(struct message_reader *reader)
{
    int64_t number, result;
    if (!message_get_int(reader, &number) || !message_get_int(reader, &result))
        return;
    struct ask *ask = find(number);
    if (ask == NULL)
        return;
    forget(ask);
    asks.answered(ask, (enum fill_result)result);
}

/* What its predecessor was asked has died with it. */
static void ask_again(void)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        struct ask *ask;
        LIST_FOREACH (ask, &asks.under_way[i], link)
            enqueue(ask);
    }
    send_backlog();
}

static void take_message(struct message_reader *reader)
{
    asks.heard_at = clock_monotonic();
    if (asks.silent)
        log_info("the refresher answers again");
    asks.silent = false;
    if (message_kind(reader) == FILL_ANSWER)
        take_answer(reader);
    else if (message_kind(reader) == FILL_BEGUN)
        ask_again();
}

static void on_readable(evutil_socket_t socket, short events, void *context)
{
    (void)events;
    (void)context;
    for (int i = 0; i < MESSAGES_MAX; i++) {
        struct message_reader *reader;
        switch (message_receive(socket, &reader)) {
        case MESSAGE_OK:
            take_message(reader);
            break;
        case MESSAGE_NONE:
            return;
        case MESSAGE_CLOSED:
            event_del(asks.readable); /* the master, who holds the other end, is gone */
            return;
        case MESSAGE_BROKEN:
            log_warning("unreadable answer of the refresher");
            break;
        }
    }
}

void asks_start(struct event_base *base, int socket, asks_answered *answered)
{
    asks.socket = socket;
    asks.answered = answered;
    asks.last_number = clock_monotonic(); /* above all numbers of predecessors in this slot */
    asks.heard_at = asks.last_number;
    TAILQ_INIT(&asks.backlog);
    asks.readable = event_new(base, socket, EV_READ | EV_PERSIST, on_readable, NULL);
    asks.writable = event_new(base, socket, EV_WRITE, on_writable, NULL);
    INVARIANT(asks.readable != NULL && asks.writable != NULL && event_add(asks.readable, NULL) == 0);
}
