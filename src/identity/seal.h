/* seal: the key that hosts share (cursor_key_file), and short signatures with it. What is signed for one purpose is
 * worth nothing for another. Worker, refresher and mailer; the key is the process's only one. */
#ifndef IDENTITY_SEAL_H
#define IDENTITY_SEAL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/object.h"

#define SEAL_SIZE 16 /* RFC 2104, 5: half of the hash at least */
/* A shorter key is a bad start, which whoever reads the file says (32 bytes of base64 are 192 random bits). */
#define SEAL_KEY_SIZE_MIN 32

/* Once per process, before the others; again replaces the key. At least SEAL_KEY_SIZE_MIN bytes. */
void seal_set_key(const void *key, size_t length);
/* The same from its file (cursor_key_file). false: `error` names the file and says why, and the key is as before. */
bool seal_read_key(const char *path, char *error, size_t error_size) MUST_CHECK;
/* Wipes and frees the key. */
void seal_forget_key(void);

/* HMAC-SHA-256 of `purpose` with its NUL, `bytes`, and `scope` (NULL: none), cut to SEAL_SIZE. The bytes must say
 * themselves how long they are, so that no two inputs read the same. */
void seal_make(const char *purpose, const unsigned char *bytes, size_t length, const char *scope,
               unsigned char seal[SEAL_SIZE]);
/* In constant time. */
bool seal_fits(const char *purpose, const unsigned char *bytes, size_t length, const char *scope,
               const unsigned char seal[SEAL_SIZE]) MUST_CHECK;

#endif
