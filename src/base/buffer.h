/* buffer: bytes that grow at the end and are consumed at the front. Any process. Out of memory ends the process. */
#ifndef BASE_BUFFER_H
#define BASE_BUFFER_H

#include <stddef.h>

#include "base/object.h"

/* Open: the connection reads straight into it. Bytes [start, end) are the content; `memory` is owned by the buffer. */
struct buffer {
    char *memory;
    size_t start;
    size_t end;
    size_t capacity;
};

/* A buffer of all zeros is empty and valid. */
void buffer_free(struct buffer *buffer);
/* Makes room for at least `room` bytes behind `end` (moving the content to the front first) and returns that place. */
char *buffer_reserve(struct buffer *buffer, size_t room);
void buffer_append(struct buffer *buffer, const void *bytes, size_t length);
void buffer_append_text(struct buffer *buffer, const char *text);
void buffer_printf(struct buffer *buffer, const char *format, ...) PRINTF_LIKE(2, 3);
/* Drops `length` bytes at the front. */
void buffer_consume(struct buffer *buffer, size_t length);
/* Empty again; memory beyond `keep` bytes goes back to the system. */
void buffer_clear(struct buffer *buffer, size_t keep);

static inline size_t buffer_length(const struct buffer *buffer)
{
    return buffer->end - buffer->start;
}
static inline char *buffer_bytes(const struct buffer *buffer)
{
    return buffer->memory + buffer->start;
}
/* The content with a NUL behind it (the NUL is not counted). */
char *buffer_text(struct buffer *buffer);

#endif
