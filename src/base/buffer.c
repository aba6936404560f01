/* buffer: bytes that grow at the end and are consumed at the front. Any process. */
#include "base/buffer.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SMALLEST 256

void buffer_free(struct buffer *buffer)
{
    if (buffer->memory == NULL) /* most are never filled; free() would have to find that out, too */
        return;
    free(buffer->memory);
    *buffer = (struct buffer){0};
}

char *buffer_reserve(struct buffer *buffer, size_t room)
{
    if (buffer->capacity - buffer->end >= room && buffer->memory != NULL)
        return buffer->memory + buffer->end;
    size_t length = buffer_length(buffer);
    if (buffer->start > 0) {
        memmove(buffer->memory, buffer->memory + buffer->start, length);
        buffer->start = 0;
        buffer->end = length;
    }
    if (buffer->capacity - length < room || buffer->memory == NULL) {
        INVARIANT(room <= SIZE_MAX / 4 && length <= SIZE_MAX / 4);
        size_t capacity = buffer->capacity < SMALLEST ? SMALLEST : buffer->capacity;
        while (capacity - length < room)
            capacity *= 2;
        char *memory = realloc(buffer->memory, capacity);
        INVARIANT(memory != NULL);
        buffer->memory = memory;
        buffer->capacity = capacity;
    }
    return buffer->memory + buffer->end;
}

void buffer_append(struct buffer *buffer, const void *bytes, size_t length)
{
    if (length == 0)
        return;
    memcpy(buffer_reserve(buffer, length), bytes, length);
    buffer->end += length;
}

void buffer_append_text(struct buffer *buffer, const char *text)
{
    buffer_append(buffer, text, strlen(text));
}

void buffer_printf(struct buffer *buffer, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    INVARIANT(length >= 0);
    char *room = buffer_reserve(buffer, (size_t)length + 1);
    va_start(arguments, format);
    vsnprintf(room, (size_t)length + 1, format, arguments);
    va_end(arguments);
    buffer->end += (size_t)length;
}

void buffer_consume(struct buffer *buffer, size_t length)
{
    INVARIANT(length <= buffer_length(buffer));
    buffer->start += length;
    if (buffer->start == buffer->end) {
        buffer->start = 0;
        buffer->end = 0;
    }
}

void buffer_clear(struct buffer *buffer, size_t keep)
{
    buffer->start = 0;
    buffer->end = 0;
    if (buffer->capacity > keep)
        buffer_free(buffer);
}

char *buffer_text(struct buffer *buffer)
{
    *buffer_reserve(buffer, 1) = '\0';
    return buffer_bytes(buffer);
}
