/* protocol: frames of the control socket, made and read. Master and turnoutctl; pure functions over buffers. */
#include "ctl/protocol.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/packed.h"

#define LENGTH_BYTES 4

static void put_frame(struct buffer *out, const msgpack_sbuffer *content)
{
    unsigned char length[LENGTH_BYTES];
    for (int i = 0; i < LENGTH_BYTES; i++)
        length[i] = (unsigned char)(content->size >> (24 - 8 * i));
    buffer_append(out, length, sizeof length);
    buffer_append(out, content->data, content->size);
}

static enum protocol_result frame_length(const struct buffer *in, size_t most, size_t *length)
{
    if (buffer_length(in) < LENGTH_BYTES)
        return PROTOCOL_MORE;
    const unsigned char *bytes = (const unsigned char *)buffer_bytes(in);
    *length = (size_t)bytes[0] << 24 | (size_t)bytes[1] << 16 | (size_t)bytes[2] << 8 | (size_t)bytes[3];
    if (*length == 0 || *length > most)
        return PROTOCOL_BROKEN;
    return buffer_length(in) - LENGTH_BYTES < *length ? PROTOCOL_MORE : PROTOCOL_OK;
}

/* The frame must hold one msgpack object and nothing behind it. */
static enum protocol_result unpack_frame(const struct buffer *in, size_t length, msgpack_unpacked *unpacked)
{
    size_t offset = 0;
    if (!packed_is_whole(buffer_bytes(in) + LENGTH_BYTES, length))
        return PROTOCOL_BROKEN;
    msgpack_unpacked_init(unpacked);
    if (msgpack_unpack_next(unpacked, buffer_bytes(in) + LENGTH_BYTES, length, &offset) == MSGPACK_UNPACK_SUCCESS &&
        offset == length)
        return PROTOCOL_OK;
    msgpack_unpacked_destroy(unpacked);
    return PROTOCOL_BROKEN;
}

void protocol_put_request(struct buffer *out, char *const *words, size_t count)
{
    msgpack_sbuffer content;
    msgpack_packer packer;
    msgpack_sbuffer_init(&content);
    msgpack_packer_init(&packer, &content, msgpack_sbuffer_write);
    INVARIANT(msgpack_pack_array(&packer, count) == 0);
    for (size_t i = 0; i < count; i++)
        INVARIANT(msgpack_pack_str_with_body(&packer, words[i], strlen(words[i])) == 0);
    put_frame(out, &content);
    msgpack_sbuffer_destroy(&content);
}

static bool is_word(const msgpack_object *object)
{
    return object->type == MSGPACK_OBJECT_STR && object->via.str.size <= PROTOCOL_WORD_MAX &&
           (object->via.str.size == 0 || memchr(object->via.str.ptr, '\0', object->via.str.size) == NULL);
}

static enum protocol_result take_words(const msgpack_object *object, struct protocol_request *request)
{
    if (object->type != MSGPACK_OBJECT_ARRAY || object->via.array.size == 0 ||
        object->via.array.size > PROTOCOL_WORDS_MAX)
        return PROTOCOL_BROKEN;
    for (uint32_t i = 0; i < object->via.array.size; i++) {
        const msgpack_object *word = &object->via.array.ptr[i];
        if (!is_word(word))
            return PROTOCOL_BROKEN;
        request->words[i] = strndup(word->via.str.size == 0 ? "" : word->via.str.ptr, word->via.str.size);
        INVARIANT(request->words[i] != NULL);
        request->count++;
    }
    return PROTOCOL_OK;
}

enum protocol_result protocol_get_request(struct buffer *in, struct protocol_request *request)
{
    *request = (struct protocol_request){.count = 0};
    size_t length;
    enum protocol_result result = frame_length(in, PROTOCOL_REQUEST_MAX, &length);
    if (result != PROTOCOL_OK)
        return result;
    msgpack_unpacked unpacked;
    result = unpack_frame(in, length, &unpacked);
    if (result != PROTOCOL_OK)
        return result;
    result = take_words(&unpacked.data, request);
    msgpack_unpacked_destroy(&unpacked);
    if (result != PROTOCOL_OK)
        protocol_request_free(request);
    else
        buffer_consume(in, LENGTH_BYTES + length);
    return result;
}

void protocol_request_free(struct protocol_request *request)
{
    for (size_t i = 0; i < request->count; i++)
        free(request->words[i]);
    *request = (struct protocol_request){.count = 0};
}

void protocol_reply_begin(struct protocol_reply *reply, const char *const *columns)
{
    static const char *const none[] = {NULL};
    *reply = (struct protocol_reply){.columns = columns == NULL ? none : columns};
    msgpack_sbuffer_init(&reply->cells);
    msgpack_packer_init(&reply->packer, &reply->cells, msgpack_sbuffer_write);
    msgpack_sbuffer_init(&reply->facts);
    msgpack_packer_init(&reply->fact_packer, &reply->facts, msgpack_sbuffer_write);
}

void protocol_reply_int(struct protocol_reply *reply, int64_t value)
{
    INVARIANT(msgpack_pack_int64(&reply->packer, value) == 0);
    reply->cell_count++;
}

void protocol_reply_text(struct protocol_reply *reply, const char *value)
{
    if (value == NULL)
        INVARIANT(msgpack_pack_nil(&reply->packer) == 0);
    else
        INVARIANT(msgpack_pack_str_with_body(&reply->packer, value, strlen(value)) == 0);
    reply->cell_count++;
}

static void put_name(struct protocol_reply *reply, const char *name)
{
    INVARIANT(msgpack_pack_str_with_body(&reply->fact_packer, name, strlen(name)) == 0);
    reply->fact_count += 2;
}

void protocol_reply_fact_int(struct protocol_reply *reply, const char *name, int64_t value)
{
    put_name(reply, name);
    INVARIANT(msgpack_pack_int64(&reply->fact_packer, value) == 0);
}

void protocol_reply_fact_text(struct protocol_reply *reply, const char *name, const char *value, size_t length)
{
    put_name(reply, name);
    if (value == NULL)
        INVARIANT(msgpack_pack_nil(&reply->fact_packer) == 0);
    else
        INVARIANT(msgpack_pack_str_with_body(&reply->fact_packer, value, length) == 0);
}

void protocol_reply_say(struct protocol_reply *reply, int status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    reply->status = status;
    vsnprintf(reply->text, sizeof reply->text, format, arguments);
    va_end(arguments);
}

void protocol_reply_put(struct protocol_reply *reply, struct buffer *out)
{
    msgpack_sbuffer content;
    msgpack_packer packer;
    msgpack_sbuffer_init(&content);
    msgpack_packer_init(&packer, &content, msgpack_sbuffer_write);
    size_t columns = 0;
    while (reply->columns[columns] != NULL)
        columns++;
    INVARIANT(msgpack_pack_array(&packer, 5) == 0);
    INVARIANT(msgpack_pack_int(&packer, reply->status) == 0);
    INVARIANT(msgpack_pack_str_with_body(&packer, reply->text, strlen(reply->text)) == 0);
    INVARIANT(msgpack_pack_array(&packer, columns) == 0);
    for (size_t i = 0; i < columns; i++)
        INVARIANT(msgpack_pack_str_with_body(&packer, reply->columns[i], strlen(reply->columns[i])) == 0);
    INVARIANT(msgpack_pack_array(&packer, reply->cell_count) == 0);
    INVARIANT(msgpack_sbuffer_write(&content, reply->cells.data, reply->cells.size) == 0);
    INVARIANT(msgpack_pack_array(&packer, reply->fact_count) == 0);
    INVARIANT(msgpack_sbuffer_write(&content, reply->facts.data, reply->facts.size) == 0);
    put_frame(out, &content);
    msgpack_sbuffer_destroy(&content);
    msgpack_sbuffer_destroy(&reply->cells);
    msgpack_sbuffer_destroy(&reply->facts);
}

static bool is_answer(const msgpack_object *object)
{
    if (object->type != MSGPACK_OBJECT_ARRAY || object->via.array.size != 5)
        return false;
    const msgpack_object *part = object->via.array.ptr;
    if (part[0].type != MSGPACK_OBJECT_POSITIVE_INTEGER || part[1].type != MSGPACK_OBJECT_STR ||
        part[2].type != MSGPACK_OBJECT_ARRAY || part[3].type != MSGPACK_OBJECT_ARRAY ||
        part[4].type != MSGPACK_OBJECT_ARRAY || part[4].via.array.size % 2 != 0)
        return false;
    for (uint32_t i = 0; i < part[4].via.array.size; i += 2) {
        if (part[4].via.array.ptr[i].type != MSGPACK_OBJECT_STR)
            return false;
    }
    uint32_t columns = part[2].via.array.size;
    for (uint32_t i = 0; i < columns; i++) {
        if (part[2].via.array.ptr[i].type != MSGPACK_OBJECT_STR)
            return false;
    }
    return columns == 0 ? part[3].via.array.size == 0 : part[3].via.array.size % columns == 0;
}

enum protocol_result protocol_get_answer(const struct buffer *in, struct protocol_answer *answer)
{
    size_t length;
    enum protocol_result result = frame_length(in, PROTOCOL_REPLY_MAX, &length);
    if (result != PROTOCOL_OK)
        return result;
    result = unpack_frame(in, length, &answer->unpacked);
    if (result != PROTOCOL_OK)
        return result;
    const msgpack_object *object = &answer->unpacked.data;
    if (!is_answer(object)) {
        msgpack_unpacked_destroy(&answer->unpacked);
        return PROTOCOL_BROKEN;
    }
    const msgpack_object *part = object->via.array.ptr;
    answer->status = (int64_t)part[0].via.u64;
    answer->text = &part[1].via.str;
    answer->columns = &part[2].via.array;
    answer->cells = &part[3].via.array;
    answer->facts = &part[4].via.array;
    return PROTOCOL_OK;
}

void protocol_answer_free(struct protocol_answer *answer)
{
    msgpack_unpacked_destroy(&answer->unpacked);
}
