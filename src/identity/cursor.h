/* cursor: opaque, signed places in a list: base64url of (form, place, id, truncated HMAC-SHA-256 over these and the
 * filter they belong to), with a key that hosts share. Worker. */
#ifndef IDENTITY_CURSOR_H
#define IDENTITY_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/object.h"
#include "base/uuid.h"

#define CURSOR_TEXT_MAX 96

struct cursor {
    int64_t place; /* microseconds since 1970 */
    char id[UUID_TEXT_SIZE];
};

/* Once per process, before the others. */
void cursor_set_key(const void *key, size_t length);
/* `scope` names the list and its filter: a cursor of one list is refused by another. */
void cursor_sign(const struct cursor *cursor, const char *scope, char text[CURSOR_TEXT_MAX]);
bool cursor_verify(const char *text, const char *scope, struct cursor *cursor) MUST_CHECK;

#endif
