/* token_sign: makes tokens, for development and tests: real ones come from the company's identity provider.
 * turnoutctl. Reads the key set. */
#include "identity/token.h"

#include <stdlib.h>
#include <string.h>

#include "identity/base64url.h"
#include "identity/key.h"

static const struct key *first_signer(const struct key_set *keys);
static char *header_of(const struct key *key);

char *token_sign(const struct key_set *keys, json_t *claims)
{
    const struct key *key = first_signer(keys);
    unsigned char signature[KEY_SIGNATURE_SIZE_MAX];
    char *header, *payload, *token;
    size_t length;

    if (key == NULL)
        return NULL;
    header = header_of(key);
    payload = json_dumps(claims, JSON_COMPACT);
    INVARIANT(header != NULL && payload != NULL);
    token = malloc(base64url_encoded_length(strlen(header)) + base64url_encoded_length(strlen(payload)) +
                   base64url_encoded_length(key->signature_size) + sizeof "..");
    INVARIANT(token != NULL);
    length = base64url_encode(header, strlen(header), token);
    token[length++] = '.';
    length += base64url_encode(payload, strlen(payload), token + length);
    free(header);
    free(payload);
    INVARIANT(key_sign(key, token, length, signature));
    token[length++] = '.';
    base64url_encode(signature, key->signature_size, token + length);
    return token;
}

static const struct key *first_signer(const struct key_set *keys)
{
    for (size_t i = 0; i < keys->count; i++) {
        if (keys->keys[i].can_sign)
            return &keys->keys[i];
    }
    return NULL;
}

static char *header_of(const struct key *key)
{
    json_t *header =
        json_pack("{s:s, s:s, s:s*}", "alg", key_algorithm_name(key->algorithm), "typ", "JWT", "kid", key->kid);
    char *text = header == NULL ? NULL : json_dumps(header, JSON_COMPACT);

    json_decref(header);
    return text;
}
