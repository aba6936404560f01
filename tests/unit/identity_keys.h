/* identity_keys: JSON Web Keys for the tests, made anew in each run, and tokens with any header. Tests only. */
#ifndef TESTS_IDENTITY_KEYS_H
#define TESTS_IDENTITY_KEYS_H

#include <jansson.h>
#include <stddef.h>

#include "identity/key_set.h"
#include "identity/token.h"

/* The moment of all tests, in seconds since 1970, and the leeway of `sample_policy` in seconds. */
#define NOW INT64_C(1795442400)
#define LEEWAY 60
/* Wants what the sample's claims say. */
extern const struct token_policy sample_policy;

#define OCT_SECRET "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8" /* bytes 0 to 31 */

/* Each holds the private part, kid and alg; the caller's to drop. */
json_t *make_oct_key(const char *kid);
json_t *make_rsa_key(const char *kid, unsigned bits);
json_t *make_ec_key(const char *kid, const char *curve);
/* A copy without the private members. */
json_t *public_part(json_t *jwk);

/* A set of these keys, NULL at the end of the list; references are not taken over. Fails the test when it is refused.
 */
struct key_set *set_of(json_t *first, ...) __attribute__((sentinel));
/* A set of one key with one member changed: `value` as JSON text, NULL removes it. NULL: the set is refused with
 * `error`. */
struct key_set *set_with(json_t *jwk, const char *member, const char *value, char *error, size_t error_size);

/* Claims of a token that is accepted: issued now, for an hour. The caller's to drop. */
json_t *sample_claims(void);
/* token_verify, which must leave no error of OpenSSL behind and no claims of a token that it refuses. */
enum token_result verify_token(const struct key_set *keys, const struct token_policy *policy, const char *token,
                               int64_t now, struct arena *arena, struct token_claims *claims);

/* header.payload.signature of these very texts with the set's first key, whatever the header says; free() it. */
char *sign_raw(const struct key_set *keys, const char *header, const char *payload);

#endif
