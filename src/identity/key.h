/* key: one key of a key_set, seen only by this folder: what the signature code needs, ready for use. Worker,
 * turnoutctl. The algorithm belongs to the key. Nothing here turns a public key into bytes for an HMAC: `mac` exists
 * for `oct` keys alone and the EVP contexts for RSA and EC alone, so that a token cannot choose how a key is read. */
#ifndef IDENTITY_KEY_H
#define IDENTITY_KEY_H

#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/object.h"
#include "identity/key_set.h"

/* Usable keys of one algorithm: the bound of what a token without kid can make us compute (16 ES256 verifications). */
#define KEY_TRIES_MAX 16
#define KEY_SET_SIZE_MAX (3 * KEY_TRIES_MAX)

#define KEY_DIGEST_SIZE 32          /* SHA-256, of all three algorithms */
#define KEY_SIGNATURE_SIZE_MAX 1024 /* RSA of 8,192 bits */
#define ES256_SIGNATURE_SIZE 64     /* r and s, 32 bytes each (RFC 7518, 3.4) */

enum key_algorithm { KEY_HS256, KEY_RS256, KEY_ES256 };
#define KEY_ALGORITHM_COUNT 3

/* Open inside this folder. Lives and dies with its set. The contexts are prepared once and used again for each token:
 * preparing one costs about as much as an HMAC. Single-threaded, as every process of ours. */
struct key {
    enum key_algorithm algorithm;
    char *kid; /* NULL: the set gives it no name */
    bool can_sign;
    size_t signature_size;  /* exact, in bytes */
    EVP_MAC_CTX *mac;       /* HS256: keyed with the secret */
    EVP_PKEY *pair;         /* RS256, ES256: with the private part where the set has it */
    EVP_PKEY_CTX *verifier; /* RS256, ES256 */
    EVP_PKEY_CTX *signer;   /* RS256, ES256; NULL where it cannot sign */
};

struct key_set {
    struct key keys[KEY_SET_SIZE_MAX];
    size_t count;
    struct key_left_out *left_out;
    size_t left_out_count;
    bool has_secret;                       /* an oct key or a private part was in the text */
    unsigned char digest[KEY_DIGEST_SIZE]; /* of the text */
};

/* A key of the text that is not used, and why. */
struct key_left_out {
    char kid[64];
    const char *reason; /* a literal */
};

/* Name in JOSE headers. */
const char *key_algorithm_name(enum key_algorithm algorithm);
bool key_algorithm_parse(const char *name, enum key_algorithm *algorithm) MUST_CHECK;

/* Is `signature` the key's over `bytes`? Leaves OpenSSL's error queue empty. */
bool key_verify(const struct key *key, const void *bytes, size_t length, const unsigned char *signature,
                size_t signature_size) MUST_CHECK;
/* Writes the key's signature over `bytes` (key->signature_size of them, at most KEY_SIGNATURE_SIZE_MAX). */
bool key_sign(const struct key *key, const void *bytes, size_t length, unsigned char *signature) MUST_CHECK;

#endif
