/* key: signatures of one key with OpenSSL's EVP: HS256, RS256 (PKCS#1 v1.5) and ES256. Worker, turnoutctl. Touches the
 * key's prepared contexts and nothing else. */
#include "identity/key.h"

#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <string.h>

/* 0x30 len, and two integers of at most 33 bytes with two bytes before each. */
#define DER_SIGNATURE_SIZE_MAX 72

static bool mac_sign(const struct key *key, const void *bytes, size_t length, unsigned char *mac);
static bool digest_of(const void *bytes, size_t length, unsigned char *digest);
static size_t der_from_raw(const unsigned char *raw, unsigned char *der);
static bool raw_from_der(const unsigned char *der, size_t der_size, unsigned char *raw);

static const char *const algorithm_names[KEY_ALGORITHM_COUNT] = {
    [KEY_HS256] = "HS256",
    [KEY_RS256] = "RS256",
    [KEY_ES256] = "ES256",
};

const char *key_algorithm_name(enum key_algorithm algorithm)
{
    return algorithm_names[algorithm];
}

bool key_algorithm_parse(const char *name, enum key_algorithm *algorithm)
{
    for (size_t i = 0; i < KEY_ALGORITHM_COUNT; i++) {
        if (strcmp(name, algorithm_names[i]) == 0) {
            *algorithm = (enum key_algorithm)i;
            return true;
        }
    }
    return false;
}

bool key_verify(const struct key *key, const void *bytes, size_t length, const unsigned char *signature,
                size_t signature_size)
{
    unsigned char digest[KEY_DIGEST_SIZE];
    unsigned char der[DER_SIGNATURE_SIZE_MAX];
    bool verified;

    /* RSA_verify and the DER form both look at the length as well; ours is the check that the vectors ask for: an ES256
     * signature of 65 bytes has no reading. */
    if (signature_size != key->signature_size)
        return false;
    if (key->algorithm == KEY_HS256) {
        verified = mac_sign(key, bytes, length, digest) && CRYPTO_memcmp(digest, signature, sizeof digest) == 0;
        OPENSSL_cleanse(digest, sizeof digest);
        return verified;
    }
    if (!digest_of(bytes, length, digest))
        return false;
    if (key->algorithm == KEY_ES256) {
        signature_size = der_from_raw(signature, der);
        signature = der;
        if (signature_size == 0)
            return false;
    }
    verified = EVP_PKEY_verify(key->verifier, signature, signature_size, digest, sizeof digest) == 1;
    /* What a bad token leaves in the queue would be read as the failure of somebody else's TLS call. */
    ERR_clear_error();
    return verified;
}

bool key_sign(const struct key *key, const void *bytes, size_t length, unsigned char *signature)
{
    unsigned char digest[KEY_DIGEST_SIZE];
    unsigned char der[DER_SIGNATURE_SIZE_MAX];
    size_t size = key->signature_size;
    bool is_signed;

    if (key->algorithm == KEY_HS256)
        return mac_sign(key, bytes, length, signature);
    if (key->signer == NULL || !digest_of(bytes, length, digest))
        return false;
    if (key->algorithm == KEY_ES256) {
        size = sizeof der;
        is_signed =
            EVP_PKEY_sign(key->signer, der, &size, digest, sizeof digest) == 1 && raw_from_der(der, size, signature);
    } else {
        is_signed =
            EVP_PKEY_sign(key->signer, signature, &size, digest, sizeof digest) == 1 && size == key->signature_size;
    }
    ERR_clear_error();
    return is_signed;
}

static bool mac_sign(const struct key *key, const void *bytes, size_t length, unsigned char *mac)
{
    size_t size = 0;

    /* A key of NULL starts over with the one that the context has. */
    return EVP_MAC_init(key->mac, NULL, 0, NULL) == 1 && EVP_MAC_update(key->mac, bytes, length) == 1 &&
           EVP_MAC_final(key->mac, mac, &size, KEY_DIGEST_SIZE) == 1 && size == KEY_DIGEST_SIZE;
}

static bool digest_of(const void *bytes, size_t length, unsigned char *digest)
{
    return EVP_Digest(bytes, length, digest, NULL, EVP_sha256(), NULL) == 1;
}

/* r and s side by side, to the DER that EVP reads. 0 when it cannot (no memory). */
static size_t der_from_raw(const unsigned char *raw, unsigned char *der)
{
    ECDSA_SIG *parts = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(raw, ES256_SIGNATURE_SIZE / 2, NULL);
    BIGNUM *s = BN_bin2bn(raw + ES256_SIGNATURE_SIZE / 2, ES256_SIGNATURE_SIZE / 2, NULL);
    int size = 0;

    if (parts != NULL && r != NULL && s != NULL && ECDSA_SIG_set0(parts, r, s) == 1) {
        r = s = NULL; /* theirs now */
        size = i2d_ECDSA_SIG(parts, &der);
    }
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(parts);
    return size > 0 ? (size_t)size : 0;
}

static bool raw_from_der(const unsigned char *der, size_t der_size, unsigned char *raw)
{
    ECDSA_SIG *parts = d2i_ECDSA_SIG(NULL, &der, (long)der_size);
    bool done = parts != NULL &&
                BN_bn2binpad(ECDSA_SIG_get0_r(parts), raw, ES256_SIGNATURE_SIZE / 2) == ES256_SIGNATURE_SIZE / 2 &&
                BN_bn2binpad(ECDSA_SIG_get0_s(parts), raw + ES256_SIGNATURE_SIZE / 2, ES256_SIGNATURE_SIZE / 2) ==
                    ES256_SIGNATURE_SIZE / 2;

    ECDSA_SIG_free(parts);
    return done;
}
