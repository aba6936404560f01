/* cursor: opaque, signed places in a list: base64url of (form, place, id, text where the list is ordered by one,
 * truncated HMAC-SHA-256 over these and the filter they belong to), with a key that hosts share. Worker. */
#ifndef IDENTITY_CURSOR_H
#define IDENTITY_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/object.h"
#include "base/uuid.h"
#include "identity/seal.h"

#define CURSOR_TEXT_MAX 240
/* Bytes of the text that a list is ordered by, with the NUL: 32 characters of UTF-8. */
#define CURSOR_NAME_SIZE 129
#define CURSOR_KEY_SIZE_MIN SEAL_KEY_SIZE_MIN

struct cursor {
    int64_t place; /* microseconds since 1970, or another number that the list is ordered by */
    char id[UUID_TEXT_SIZE];
    char name[CURSOR_NAME_SIZE]; /* "" where the list is ordered by numbers */
};

/* As seal_set_key: it is that key. */
void cursor_set_key(const void *key, size_t length);
/* Wipes and frees the key. */
void cursor_forget_key(void);
/* `scope` names the list and its filter: a cursor of one list is refused by another. */
void cursor_sign(const struct cursor *cursor, const char *scope, char text[CURSOR_TEXT_MAX]);
/* false, and `cursor` untouched, for anything that cursor_sign did not make with this key and scope. */
bool cursor_verify(const char *text, const char *scope, struct cursor *cursor) MUST_CHECK;

#endif
