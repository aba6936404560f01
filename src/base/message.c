/* message: one msgpack array per SOCK_SEQPACKET packet between the master and its children. Any process. */
#include "base/message.h"

#include <errno.h>
#include <msgpack.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/packed.h"

/* The array's length is not known when it begins: values are packed behind this room and counted. */
#define ARRAY_HEADER 5

struct message_writer {
    msgpack_sbuffer values;
    msgpack_packer packer;
    uint32_t count;
};

struct message_reader {
    msgpack_unpacked unpacked;
    uint32_t next;
};

struct message_writer *message_begin(int kind)
{
    static struct message_writer writer;
    static bool ready;
    if (!ready) {
        msgpack_sbuffer_init(&writer.values);
        msgpack_packer_init(&writer.packer, &writer.values, msgpack_sbuffer_write);
        ready = true;
    }
    msgpack_sbuffer_clear(&writer.values);
    writer.count = 0;
    message_put_int(&writer, kind);
    return &writer;
}

void message_put_int(struct message_writer *writer, int64_t value)
{
    INVARIANT(msgpack_pack_int64(&writer->packer, value) == 0);
    writer->count++;
}

void message_put_text(struct message_writer *writer, const char *value)
{
    message_put_bytes(writer, value, strlen(value));
}

void message_put_bytes(struct message_writer *writer, const char *value, size_t length)
{
    INVARIANT(msgpack_pack_str_with_body(&writer->packer, value, length) == 0);
    writer->count++;
}

bool message_send(struct message_writer *writer, int descriptor)
{
    INVARIANT(writer->values.size + ARRAY_HEADER <= MESSAGE_SIZE_MAX);
    msgpack_sbuffer header;
    msgpack_sbuffer_init(&header);
    msgpack_packer packer;
    msgpack_packer_init(&packer, &header, msgpack_sbuffer_write);
    INVARIANT(msgpack_pack_array(&packer, writer->count) == 0);

    struct iovec parts[2] = {{.iov_base = header.data, .iov_len = header.size},
                             {.iov_base = writer->values.data, .iov_len = writer->values.size}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t sent;
    do {
        sent = sendmsg(descriptor, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    int saved = errno;
    msgpack_sbuffer_destroy(&header);
    errno = saved;
    return sent >= 0;
}

/* Only these say that the peer is gone. What else a read may meet (no memory for a moment) passes, and the packet is
 * still there; a process that took it for the end of its master would end, too. */
static bool is_closed(int error)
{
    static int64_t told_at;
    if (error == ECONNRESET || error == ENOTCONN || error == EBADF || error == ENOTSOCK)
        return true;
    if (error != EAGAIN && (told_at == 0 || clock_monotonic() - told_at > 1000000)) {
        told_at = clock_monotonic();
        log_warning("cannot receive a message", log_text("error", strerror(error)));
    }
    return false;
}

enum message_result message_receive(int descriptor, struct message_reader **result)
{
    static struct message_reader reader;
    static char packet[MESSAGE_SIZE_MAX];
    static bool ready;
    if (!ready) {
        msgpack_unpacked_init(&reader.unpacked);
        ready = true;
    }
    struct iovec room = {.iov_base = packet, .iov_len = sizeof packet};
    struct msghdr message = {.msg_iov = &room, .msg_iovlen = 1};
    ssize_t length;
    do {
        length = recvmsg(descriptor, &message, MSG_DONTWAIT);
    } while (length < 0 && errno == EINTR);
    if (length < 0)
        return is_closed(errno) ? MESSAGE_CLOSED : MESSAGE_NONE;
    if (length == 0)
        return MESSAGE_CLOSED;
    if ((message.msg_flags & MSG_TRUNC) != 0 || !packed_is_whole(packet, (size_t)length))
        return MESSAGE_BROKEN;

    size_t offset = 0;
    msgpack_unpack_return unpacked = msgpack_unpack_next(&reader.unpacked, packet, (size_t)length, &offset);
    const msgpack_object *object = &reader.unpacked.data;
    if (unpacked != MSGPACK_UNPACK_SUCCESS || object->type != MSGPACK_OBJECT_ARRAY || object->via.array.size == 0 ||
        object->via.array.ptr[0].type != MSGPACK_OBJECT_POSITIVE_INTEGER)
        return MESSAGE_BROKEN;
    reader.next = 1;
    *result = &reader;
    return MESSAGE_OK;
}

int message_kind(const struct message_reader *reader)
{
    return (int)reader->unpacked.data.via.array.ptr[0].via.u64;
}

static const msgpack_object *next_value(struct message_reader *reader)
{
    const msgpack_object_array *array = &reader->unpacked.data.via.array;
    return reader->next < array->size ? &array->ptr[reader->next] : NULL;
}

bool message_get_int(struct message_reader *reader, int64_t *value)
{
    const msgpack_object *object = next_value(reader);
    if (object == NULL)
        return false;
    if (object->type == MSGPACK_OBJECT_POSITIVE_INTEGER && object->via.u64 <= INT64_MAX)
        *value = (int64_t)object->via.u64;
    else if (object->type == MSGPACK_OBJECT_NEGATIVE_INTEGER)
        *value = object->via.i64;
    else
        return false;
    reader->next++;
    return true;
}

bool message_get_text(struct message_reader *reader, const char **value, size_t *length)
{
    const msgpack_object *object = next_value(reader);
    if (object == NULL || object->type != MSGPACK_OBJECT_STR)
        return false;
    *value = object->via.str.size == 0 ? "" : object->via.str.ptr; /* msgpack-c has no place for an empty one */
    *length = object->via.str.size;
    reader->next++;
    return true;
}
