/* key_set: keys from a JWK Set file (RFC 7517): kid, alg, use and key_ops honoured. Worker, turnoutctl; the master
 * checks it at start. */
#ifndef IDENTITY_KEY_SET_H
#define IDENTITY_KEY_SET_H

#include <stdbool.h>
#include <stddef.h>

#include "base/object.h"

struct key_set;

/* NULL: `error` says what is wrong with the text. Each key is pinned to one algorithm: its alg (HS256, RS256, ES256),
 * or without alg the one that its type has here (oct: HS256, RSA: RS256, EC on P-256: ES256). A key of another
 * algorithm, with another use than sig, key_ops without verify, or too weak (oct below 32 bytes, RSA below 2,048 bits)
 * is left out; a set without a usable key is an error, and so is one of more than 16 usable keys of one algorithm. */
struct key_set *key_set_parse(const char *text, size_t length, char *error, size_t error_size) MUST_CHECK;
/* The same from a regular file of at most 1 MiB. One that holds secrets (oct keys, private parts) must not be readable
 * for everybody. */
struct key_set *key_set_read(const char *path, char *error, size_t error_size) MUST_CHECK;
/* Wipes the secrets and frees. */
void key_set_free(struct key_set *keys);

/* Were the two made from the same text? */
bool key_set_is_same(const struct key_set *one, const struct key_set *other);
/* Usable keys of the set. */
size_t key_set_count(const struct key_set *keys);
/* Can a key of the set sign? */
bool key_set_can_sign(const struct key_set *keys);
/* Calls `row` for each key that was left out, with its kid ("" where it has none) and the reason: worth a warning at
 * start, or nobody learns why the tokens of that key are refused. */
typedef void key_set_row(void *context, const char *kid, const char *reason);
void key_set_each_left_out(const struct key_set *keys, key_set_row *row, void *context);

#endif
