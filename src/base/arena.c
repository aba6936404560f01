/* arena: memory that is dropped whole. Any process; no state of its own. */
#include "base/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct block {
    struct block *next;
    size_t size; /* bytes behind this header */
    size_t used;
    alignas(max_align_t) char bytes[];
};

struct arena {
    struct block *current; /* newest; the first block is the last of the list */
    struct block first;
};

static size_t aligned(size_t size)
{
    INVARIANT(size <= SIZE_MAX - alignof(max_align_t));
    return (size + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
}

struct arena *arena_create(size_t size)
{
    struct arena *arena = malloc(sizeof *arena + aligned(size));
    INVARIANT(arena != NULL);
    arena->current = &arena->first;
    arena->first.next = NULL;
    arena->first.size = aligned(size);
    arena->first.used = 0;
    return arena;
}

void arena_reset(struct arena *arena)
{
    while (arena->current != &arena->first) {
        struct block *old = arena->current;
        arena->current = old->next;
        free(old);
    }
    arena->first.used = 0;
}

void arena_destroy(struct arena *arena)
{
    if (arena == NULL)
        return;
    arena_reset(arena);
    free(arena);
}

static void grow(struct arena *arena, size_t size)
{
    size_t room = arena->current->size * 2;
    if (room < size)
        room = size;
    struct block *block = malloc(sizeof *block + room);
    INVARIANT(block != NULL);
    block->next = arena->current;
    block->size = room;
    block->used = 0;
    arena->current = block;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    size = aligned(size);
    if (arena->current->size - arena->current->used < size)
        grow(arena, size);
    void *memory = arena->current->bytes + arena->current->used;
    arena->current->used += size;
    return memory;
}

void *arena_zalloc(struct arena *arena, size_t size)
{
    return memset(arena_alloc(arena, size), 0, size);
}

char *arena_memdup(struct arena *arena, const void *bytes, size_t length)
{
    char *copy = arena_alloc(arena, length + 1);
    if (length > 0)
        memcpy(copy, bytes, length);
    copy[length] = '\0';
    return copy;
}

char *arena_strdup(struct arena *arena, const char *text)
{
    return arena_memdup(arena, text, strlen(text));
}

char *arena_vprintf(struct arena *arena, const char *format, va_list arguments)
{
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    INVARIANT(length >= 0);
    char *text = arena_alloc(arena, (size_t)length + 1);
    vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return text;
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *text = arena_vprintf(arena, format, arguments);
    va_end(arguments);
    return text;
}

size_t arena_size(const struct arena *arena)
{
    size_t size = sizeof *arena;
    for (const struct block *block = arena->current; block != NULL; block = block->next)
        size += block->size;
    return size;
}
