/* pieces: long texts over a channel of messages. Any child of the master. */
#include "base/pieces.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/log.h"
#include "base/message.h"

#define PIECES_MAGIC 0x50494543U
/* Bytes of one piece: what stands before it in its message is far less than the rest. */
#define PIECE_MAX (MESSAGE_SIZE_MAX - 1024)

struct text {
    STAILQ_ENTRY(text) link;
    int kind;
    int64_t number;
    int64_t status;
    size_t sent;
    size_t length;
    char bytes[];
};

struct pieces {
    OBJECT_HEADER;
    int channel;
    struct event *writable;
    STAILQ_HEAD(, text) texts;
};

/* false: the channel takes no more just now. */
static bool send_piece(const struct pieces *pieces, struct text *text)
{
    size_t left = text->length - text->sent;
    size_t length = left < PIECE_MAX ? left : PIECE_MAX;
    struct message_writer *writer = message_begin(text->kind);
    message_put_int(writer, text->number);
    message_put_int(writer, left > length);
    message_put_int(writer, text->status);
    message_put_bytes(writer, text->bytes + text->sent, length);
    if (message_send(writer, pieces->channel)) {
        text->sent += length;
        return true;
    }
    if (errno == EAGAIN || errno == ENOBUFS)
        return false;
    text->sent = text->length; /* nobody is there to read it */
    return true;
}

static void send_all(struct pieces *pieces)
{
    while (!STAILQ_EMPTY(&pieces->texts)) {
        struct text *text = STAILQ_FIRST(&pieces->texts);
        do {
            if (!send_piece(pieces, text)) {
                event_add(pieces->writable, NULL);
                return;
            }
        } while (text->sent < text->length);
        STAILQ_REMOVE_HEAD(&pieces->texts, link);
        free(text);
    }
}

static void on_writable(evutil_socket_t descriptor, short events, void *context)
{
    struct pieces *pieces = context;
    (void)descriptor;
    (void)events;
    OBJECT_CHECK(pieces, PIECES_MAGIC);
    send_all(pieces);
}

struct pieces *pieces_create(struct event_base *base, int channel)
{
    struct pieces *pieces = calloc(1, sizeof *pieces);
    INVARIANT(pieces != NULL);
    pieces->magic = PIECES_MAGIC;
    pieces->channel = channel;
    pieces->writable = event_new(base, channel, EV_WRITE, on_writable, pieces);
    INVARIANT(pieces->writable != NULL);
    STAILQ_INIT(&pieces->texts);
    return pieces;
}

void pieces_send(struct pieces *pieces, int kind, int64_t number, int64_t status, const char *text, size_t length)
{
    struct text *copy = malloc(sizeof *copy + length);
    INVARIANT(copy != NULL);
    *copy = (struct text){.kind = kind, .number = number, .status = status, .length = length};
    if (length > 0)
        memcpy(copy->bytes, text, length);
    bool waits = !STAILQ_EMPTY(&pieces->texts);
    STAILQ_INSERT_TAIL(&pieces->texts, copy, link);
    if (!waits)
        send_all(pieces);
}
