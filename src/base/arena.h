/* arena: memory that is dropped whole, for everything that lives as long as one request. Any process.
 * Out of memory is a broken invariant: the process dies and the master restarts it. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stdarg.h>
#include <stddef.h>

#include "base/object.h"

struct arena;

/* First block of `size` bytes; grows by further blocks. */
struct arena *arena_create(size_t size);
void arena_destroy(struct arena *arena);

/* Frees all but the first block; everything handed out is gone. */
void arena_reset(struct arena *arena);

/* Aligned for any type, not cleared. Never NULL. */
void *arena_alloc(struct arena *arena, size_t size);
void *arena_zalloc(struct arena *arena, size_t size);
/* Copies with a NUL behind them. */
char *arena_strdup(struct arena *arena, const char *text);
char *arena_memdup(struct arena *arena, const void *bytes, size_t length);
char *arena_printf(struct arena *arena, const char *format, ...) PRINTF_LIKE(2, 3);
char *arena_vprintf(struct arena *arena, const char *format, va_list arguments) PRINTF_LIKE(2, 0);

/* Bytes held from the system, for `show memory`. */
size_t arena_size(const struct arena *arena);

#endif
