/* object: magic numbers. Each struct that travels through a void pointer (libevent and libpq callbacks) starts with
 * a magic number; whoever gets it back checks it. Any process. */
#ifndef BASE_OBJECT_H
#define BASE_OBJECT_H

#include <stddef.h>
#include <stdint.h>

#define OBJECT_HEADER uint32_t magic

/* Logs the broken invariant with its place and aborts; the master restarts the process. */
_Noreturn void object_die(const char *what, const char *file, int line);

/* A broken invariant, checked in every build: log and die. */
#define INVARIANT(condition)                            \
    do {                                                \
        if (!(condition))                               \
            object_die(#condition, __FILE__, __LINE__); \
    } while (0)

#define OBJECT_CHECK(pointer, expected)                                            \
    do {                                                                           \
        if ((pointer) == NULL || (pointer)->magic != (expected))                   \
            object_die("magic of " #pointer " is " #expected, __FILE__, __LINE__); \
    } while (0)

/* To be called before the memory is freed: a plain store there is one that the compiler may leave out, and the next
 * check would pass. */
#define OBJECT_BURY(pointer) (*(volatile uint32_t *)&(pointer)->magic = 0)

/* Attributes used on everything they fit. */
#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(text, first) __attribute__((format(printf, text, first)))

#endif
