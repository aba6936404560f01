/* memory: out of memory is a broken invariant for libraries, too. turnoutd only, all its processes.
 *
 * Our own code looks at what malloc gives and dies (INVARIANT). libevent, libpq, jansson and OpenSSL report the
 * failure, each in its own way, and a callback that was not added, a body that reads as no JSON, or a connection
 * without a timer are worse than a process that ends, says why, and is started again. So the functions of the C library
 * that hand out memory are ours, for every library of the process, and never give NULL; the memory is jemalloc's, which
 * also takes it back. AddressSanitizer brings its own functions, which die as well. */
#include <errno.h>
#include <jemalloc/jemalloc.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/object.h"

#if defined(__SANITIZE_ADDRESS__)
#define HAS_ITS_OWN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ITS_OWN 1
#endif
#endif

#ifndef HAS_ITS_OWN
/* The line is made on the stack. What the process was doing follows in the line of its death (child.c). */
_Noreturn static void out_of_memory(size_t size)
{
    log_record(LOG_LEVEL_ERROR, "out of memory", (const struct log_field[]){log_int("bytes", size), {.key = NULL}});
    abort();
}

static void *got(void *memory, size_t size)
{
    if (memory == NULL)
        out_of_memory(size);
    return memory;
}

/* jemalloc's own functions take no size of 0. */
static size_t at_least_one(size_t size)
{
    return size > 0 ? size : 1;
}

void *malloc(size_t size)
{
    return got(mallocx(at_least_one(size), 0), size);
}

void *calloc(size_t count, size_t size)
{
    size_t whole;
    if (__builtin_mul_overflow(count, size, &whole))
        out_of_memory(SIZE_MAX);
    return got(mallocx(at_least_one(whole), MALLOCX_ZERO), whole);
}

void *realloc(void *memory, size_t size)
{
    if (memory == NULL)
        return malloc(size);
    return got(rallocx(memory, at_least_one(size), 0), size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return got(mallocx(at_least_one(size), MALLOCX_ALIGN(alignment)), size);
}

int posix_memalign(void **memory, size_t alignment, size_t size)
{
    if (alignment < sizeof(void *) || (alignment & (alignment - 1)) != 0)
        return EINVAL;
    *memory = aligned_alloc(alignment, size);
    return 0;
}
#endif
