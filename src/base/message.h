/* message: what the processes say to each other: one msgpack array per SOCK_SEQPACKET packet, so that a death in
 * mid-message desyncs nobody. Any process.
 * Every message is [kind, number, ...]: the kind below, then integers and texts as the kind's line says. */
#ifndef BASE_MESSAGE_H
#define BASE_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/object.h"

#define MESSAGE_SIZE_MAX 65536

struct message_writer;
struct message_reader;

/* Starts a message in a static buffer of the process (one at a time). */
struct message_writer *message_begin(int kind);
void message_put_int(struct message_writer *writer, int64_t value);
void message_put_text(struct message_writer *writer, const char *value);
void message_put_bytes(struct message_writer *writer, const char *value, size_t length);
/* Sends without blocking. false: the peer is gone or its queue is full (errno says which). */
bool message_send(struct message_writer *writer, int descriptor) MUST_CHECK;

enum message_result { MESSAGE_OK, MESSAGE_NONE, MESSAGE_CLOSED, MESSAGE_BROKEN };
/* Receives one message without blocking into a static buffer of the process, valid until the next call. */
enum message_result message_receive(int descriptor, struct message_reader **reader) MUST_CHECK;
int message_kind(const struct message_reader *reader);
/* The next value. false: none left or of another type. */
bool message_get_int(struct message_reader *reader, int64_t *value) MUST_CHECK;
bool message_get_text(struct message_reader *reader, const char **value, size_t *length) MUST_CHECK;

#endif
