/* token: verifies and signs JSON Web Tokens in compact form (RFC 7515, 7519, 8725). Worker; turnoutctl signs.
 * The algorithm is pinned by the key, never taken from the token. */
#ifndef IDENTITY_TOKEN_H
#define IDENTITY_TOKEN_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/object.h"
#include "identity/key_set.h"

#define TOKEN_SIZE_MAX 8192

enum token_result {
    TOKEN_OK,
    TOKEN_MALFORMED,
    TOKEN_UNKNOWN_KEY,
    TOKEN_BAD_SIGNATURE,
    TOKEN_EXPIRED,
    TOKEN_NOT_YET_VALID,
    TOKEN_WRONG_ISSUER,
    TOKEN_WRONG_AUDIENCE,
    TOKEN_INCOMPLETE, /* a claim is missing, of the wrong type, too long, or no value that we know (role, kind) */
};

/* What a token must say. Durations in microseconds. */
struct token_policy {
    const char *issuer;   /* NULL: any issuer that a key vouches for, but one must be named */
    const char *audience; /* NULL: no audience is asked for */
    int64_t leeway;
};

/* Claims of a verified token; texts are arena memory; NULL where the token does not say. All zeros (and email_verified)
 * where the token was refused. */
struct token_claims {
    const char *issuer;  /* never NULL: with the subject it is who this is */
    const char *subject; /* never NULL */
    const char *email;   /* never NULL */
    const char *name;
    const char *department;
    const char *kind; /* employee or guest */
    const char *role; /* participant, organizer, admin */
    const char *locale;
    const char *zoneinfo;
    bool email_verified; /* false only where the token says so */
    int64_t expires_at;  /* seconds since 1970 */
};

/* Signature layer alone: true if `token` is signed by a key of the set; payload (owned by the arena) on success. */
enum token_result token_check_signature(const struct key_set *keys, const char *token, size_t length,
                                        struct arena *arena, const char **payload, size_t *payload_length) MUST_CHECK;

/* Everything: signature, exp, nbf, iat, iss, aud, and the claims' types. `now` in seconds since 1970. */
enum token_result token_verify(const struct key_set *keys, const struct token_policy *policy, const char *token,
                               size_t length, int64_t now, struct arena *arena, struct token_claims *claims) MUST_CHECK;

/* What to tell the caller, a sentence: "The token has expired: sign in again." */
const char *token_result_text(enum token_result result);

/* Signs with the first key of the set that can sign (an oct key, or one with a private part). New memory, free() it;
 * NULL: no key of the set can sign. */
char *token_sign(const struct key_set *keys, json_t *claims) MUST_CHECK;

#endif
