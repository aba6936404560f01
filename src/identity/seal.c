/* seal: HMAC with the hosts' key. Worker, refresher and mailer. */
#include "identity/seal.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdio.h>
#include <string.h>

#include "base/secret.h"

static EVP_MAC_CTX *keyed;

void seal_set_key(const void *key, size_t length)
{
    char digest[] = "SHA256";
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string("digest", digest, 0),
        OSSL_PARAM_construct_end(),
    };
    EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);

    INVARIANT(length >= SEAL_KEY_SIZE_MIN);
    seal_forget_key();
    keyed = EVP_MAC_CTX_new(hmac);
    INVARIANT(keyed != NULL && EVP_MAC_init(keyed, key, length, parameters) == 1);
    EVP_MAC_free(hmac);
}

bool seal_read_key(const char *path, char *error, size_t error_size)
{
    size_t length;
    char *secret = secret_read(path, &length, error, error_size);
    if (secret == NULL)
        return false;
    bool good = length >= SEAL_KEY_SIZE_MIN;
    if (good)
        seal_set_key(secret, length);
    else
        snprintf(error, error_size, "cursor_key_file: expected at least %d bytes, found %zu", SEAL_KEY_SIZE_MIN,
                 length);
    secret_free(secret, length);
    return good;
}

void seal_forget_key(void)
{
    EVP_MAC_CTX_free(keyed);
    keyed = NULL;
}

void seal_make(const char *purpose, const unsigned char *bytes, size_t length, const char *scope,
               unsigned char seal[SEAL_SIZE])
{
    unsigned char whole[32];
    size_t size = 0;

    INVARIANT(keyed != NULL);
    INVARIANT(EVP_MAC_init(keyed, NULL, 0, NULL) == 1 &&
              EVP_MAC_update(keyed, (const unsigned char *)purpose, strlen(purpose) + 1) == 1 &&
              EVP_MAC_update(keyed, bytes, length) == 1 &&
              (scope == NULL || EVP_MAC_update(keyed, (const unsigned char *)scope, strlen(scope)) == 1) &&
              EVP_MAC_final(keyed, whole, &size, sizeof whole) == 1 && size == sizeof whole);
    memcpy(seal, whole, SEAL_SIZE);
    OPENSSL_cleanse(whole, sizeof whole);
}

bool seal_fits(const char *purpose, const unsigned char *bytes, size_t length, const char *scope,
               const unsigned char seal[SEAL_SIZE])
{
    unsigned char right[SEAL_SIZE];
    seal_make(purpose, bytes, length, scope, right);
    bool fits = CRYPTO_memcmp(right, seal, SEAL_SIZE) == 0;
    /* What the right one would have been stays nowhere. */
    OPENSSL_cleanse(right, sizeof right);
    return fits;
}
