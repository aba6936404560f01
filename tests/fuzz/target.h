/* target: what a fuzz target is: one function that is given bytes, and ends the process where something that must hold
 * does not. libFuzzer calls it in a build with --enable-fuzz, replay.c in every other. */
#ifndef TESTS_FUZZ_TARGET_H
#define TESTS_FUZZ_TARGET_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* libFuzzer's names. What is made once is made by the first call: static, so that it is no leak. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

_Noreturn static inline void fuzz_failed(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: this does not hold: %s\n", file, line, what);
    abort();
}

/* Holds in every build. */
#define MUST(condition)                                  \
    do {                                                 \
        if (!(condition))                                \
            fuzz_failed(__FILE__, __LINE__, #condition); \
    } while (0)

/* The input in memory of its exact size, so that AddressSanitizer sees a read behind its end; one byte more where the
 * code under test is promised one. free() it. */
static inline char *exact_copy(const uint8_t *bytes, size_t size, size_t more)
{
    char *copy = malloc(size + more > 0 ? size + more : 1);
    MUST(copy != NULL);
    if (size > 0)
        memcpy(copy, bytes, size);
    memset(copy + size, 0, more);
    return copy;
}

/* A number that every byte of the input has a say in: what a target does beside reading it is chosen by this, so that
 * the input stays what it is (FNV-1a). */
static inline uint64_t choice_of(const uint8_t *bytes, size_t size)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash ^ hash >> 29;
}

#endif
