/* fills: one socket per worker slot. Refresher. An answer that does not fit is left out: who does not read has stopped,
 * and its requests are given up by time anyway. */
#include "refresher/fills.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/message.h"
#include "refresher/render.h"

#define SLOT_MAGIC 0x534c4f54U
/* Messages of one worker in one turn of the loop. */
#define MESSAGES_MAX 64

struct slot {
    OBJECT_HEADER;
    int number;
    int socket;
    struct event *event;
};

/* Boot lifetime. */
static struct slot *slots;

static void tell(const struct slot *slot, int64_t number, enum fill_result result)
{
    struct message_writer *writer = message_begin(FILL_ANSWER);
    message_put_int(writer, number);
    message_put_int(writer, result);
    if (!message_send(writer, slot->socket))
        log_debug("a worker does not read its answers", log_int("slot", slot->number));
}

void fills_answer(struct item *item, enum fill_result result, int64_t asked_before)
{
    STAILQ_HEAD(, waiter) left = STAILQ_HEAD_INITIALIZER(left);
    struct waiter *waiter;
    while ((waiter = STAILQ_FIRST(&item->waiters)) != NULL) {
        STAILQ_REMOVE_HEAD(&item->waiters, link);
        if (waiter->asked_at > asked_before) {
            STAILQ_INSERT_TAIL(&left, waiter, link);
            continue;
        }
        tell(&slots[waiter->slot], waiter->number, result);
        free(waiter);
    }
    while ((waiter = STAILQ_FIRST(&left)) != NULL) {
        STAILQ_REMOVE_HEAD(&left, link);
        STAILQ_INSERT_TAIL(&item->waiters, waiter, link);
    }
}

static void take_question(const struct slot *slot, struct message_reader *reader)
{
    struct hot_key key;
    const char *text;
    size_t length;
    int64_t number;
    if (message_kind(reader) != FILL_ASK || !message_get_int(reader, &number) ||
        !message_get_text(reader, &text, &length))
        return;
    if (!hot_key_parse(&key, text, length)) {
        tell(slot, number, FILL_OWN);
        return;
    }
    struct item *item = directory_add(&key);
    struct waiter *waiter = calloc(1, sizeof *waiter);
    INVARIANT(waiter != NULL);
    waiter->slot = slot->number;
    waiter->number = number;
    waiter->asked_at = clock_monotonic();
    STAILQ_INSERT_TAIL(&item->waiters, waiter, link);
    render_want(item);
}

static void on_readable(evutil_socket_t socket, short events, void *context)
{
    struct slot *slot = context;
    (void)events;
    OBJECT_CHECK(slot, SLOT_MAGIC);
    for (int i = 0; i < MESSAGES_MAX; i++) {
        struct message_reader *reader;
        switch (message_receive(socket, &reader)) {
        case MESSAGE_OK:
            take_question(slot, reader);
            break;
        case MESSAGE_NONE:
            return;
        case MESSAGE_CLOSED:
            event_del(slot->event); /* the master, who holds the other end, is gone */
            return;
        case MESSAGE_BROKEN:
            log_warning("unreadable question of a worker", log_int("slot", slot->number));
            break;
        }
    }
}

void fills_create(struct event_base *base, const int *sockets, size_t count)
{
    slots = calloc(count == 0 ? 1 : count, sizeof *slots);
    INVARIANT(slots != NULL);
    for (size_t i = 0; i < count; i++) {
        struct slot *slot = &slots[i];
        slot->magic = SLOT_MAGIC;
        slot->number = (int)i;
        slot->socket = sockets[i];
        slot->event = event_new(base, slot->socket, EV_READ | EV_PERSIST, on_readable, slot);
        INVARIANT(slot->event != NULL && event_add(slot->event, NULL) == 0);
        if (!message_send(message_begin(FILL_BEGUN), slot->socket))
            log_debug("a worker was not told that the refresher has begun", log_int("slot", slot->number));
    }
}
