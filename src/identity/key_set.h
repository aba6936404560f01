/* key_set: keys from a JWK Set file (RFC 7517): kid, alg, use and key_ops honoured. Worker, turnoutctl; the master
 * checks it at start. */
#ifndef IDENTITY_KEY_SET_H
#define IDENTITY_KEY_SET_H

#include <stddef.h>

#include "base/object.h"

struct key_set;

/* NULL: `error` says what is wrong with the text. A key without a usable alg (HS256, RS256, ES256), with another use
 * than sig, or key_ops without verify is left out; a set without a usable key is an error. */
struct key_set *key_set_parse(const char *text, size_t length, char *error, size_t error_size) MUST_CHECK;
struct key_set *key_set_read(const char *path, char *error, size_t error_size) MUST_CHECK;
void key_set_free(struct key_set *keys);

#endif
