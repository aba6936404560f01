/* text: small questions about bytes. Any process, no state. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buffer.h"
#include "base/object.h"

/* Well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms, at most U+10FFFF). */
bool text_is_utf8(const char *bytes, size_t length);

/* Decodes %XX once, in `plus_is_space` also '+' (application/x-www-form-urlencoded). `to` holds `length` + 1 bytes and
 * gets a NUL. Returns the decoded length, or -1 for a bad escape, a decoded NUL, or a result that is not UTF-8. */
ssize_t text_percent_decode(const char *from, size_t length, bool plus_is_space, char *to) MUST_CHECK;

/* Decimal number of the whole text within [least, most]. */
bool text_parse_int64(const char *text, int64_t least, int64_t most, int64_t *value) MUST_CHECK;

/* Appends `text` as a JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD. */
void text_append_json(struct buffer *buffer, const char *text, size_t length);

#endif
