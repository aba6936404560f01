/* base64url: base64 of RFC 4648, section 5, as RFC 7515 wants it: no padding, no white space, no other characters.
 * Any process, no state. */
#ifndef IDENTITY_BASE64URL_H
#define IDENTITY_BASE64URL_H

#include <stddef.h>
#include <sys/types.h>

#include "base/object.h"

/* Characters for `length` bytes, without a NUL. */
static inline size_t base64url_encoded_length(size_t length)
{
    return length / 3 * 4 + (length % 3 == 0 ? 0 : length % 3 + 1);
}

/* Room that the bytes of `length` characters need at most. */
static inline size_t base64url_decoded_room(size_t length)
{
    return length / 4 * 3 + 3;
}

/* Writes base64url_encoded_length(length) characters and a NUL. Returns the characters written. */
size_t base64url_encode(const void *bytes, size_t length, char *text);

/* Returns the decoded length, or -1 for a character outside the alphabet, an impossible length, unused bits that are
 * not zero (each sequence of bytes has exactly one text), or a result of more than `room` bytes. */
ssize_t base64url_decode(const char *text, size_t length, void *bytes, size_t room) MUST_CHECK;

#endif
