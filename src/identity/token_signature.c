/* token_signature: the signature layer of a token: compact form, header, key, signature (RFC 7515, 8725). Worker. Reads
 * the key set, writes the arena of the request. Says nothing about claims: token_verify.c does.
 *
 * What an attacker chooses here is the header. It may pick a key by kid, and nothing else: the algorithm is the key's
 * and alg must agree with it; keys and addresses of keys inside the header (jwk, jku, x5c, x5u) are not looked at; a
 * header that asks for an extension (crit) is refused, because we have none. */
#include "identity/token.h"

#include <string.h>
#include <strings.h>

#include "identity/base64url.h"
#include "identity/key.h"

/* The three parts of a compact token, still encoded. `signed_length` is what the signature covers: header, dot,
 * payload. */
struct parts {
    const char *header;
    size_t header_length;
    const char *payload;
    size_t payload_length;
    const char *signature;
    size_t signature_length;
    size_t signed_length;
};

static bool split(const char *token, size_t length, struct parts *parts);
static bool read_header(const struct parts *parts, struct arena *arena, enum key_algorithm *algorithm,
                        const char **kid);
static bool type_is_fine(json_t *type);
static enum token_result try_keys(const struct key_set *keys, enum key_algorithm algorithm, const char *kid,
                                  const struct parts *parts, struct arena *arena);
static char *decode(const char *text, size_t length, struct arena *arena, size_t *decoded);

enum token_result token_check_signature(const struct key_set *keys, const char *token, size_t length,
                                        struct arena *arena, const char **payload, size_t *payload_length)
{
    struct parts parts;
    enum key_algorithm algorithm;
    const char *kid;
    enum token_result result;

    if (length > TOKEN_SIZE_MAX || !split(token, length, &parts) || !read_header(&parts, arena, &algorithm, &kid))
        return TOKEN_MALFORMED;
    result = try_keys(keys, algorithm, kid, &parts, arena);
    if (result != TOKEN_OK)
        return result;
    *payload = decode(parts.payload, parts.payload_length, arena, payload_length);
    return *payload == NULL ? TOKEN_MALFORMED : TOKEN_OK;
}

const char *token_result_text(enum token_result result)
{
    static const char *const texts[] = {
        [TOKEN_OK] = "The token is valid.",
        [TOKEN_MALFORMED] = "The token cannot be read: a signed JSON Web Token in compact form was expected.",
        [TOKEN_UNKNOWN_KEY] = "The token is signed with a key that is not known here.",
        [TOKEN_BAD_SIGNATURE] = "The token's signature is wrong.",
        [TOKEN_EXPIRED] = "The token has expired: sign in again.",
        [TOKEN_NOT_YET_VALID] = "The token is not valid yet: the clock of its issuer may be ahead.",
        [TOKEN_WRONG_ISSUER] = "The token comes from another issuer.",
        [TOKEN_WRONG_AUDIENCE] = "The token is meant for another service.",
        [TOKEN_INCOMPLETE] = "A claim of the token is missing, of the wrong type or not usable.",
    };

    return texts[result];
}

/* Exactly three parts. The payload may be empty: whether it says enough is not this layer's question. */
static bool split(const char *token, size_t length, struct parts *parts)
{
    const char *end = token + length;
    const char *first = memchr(token, '.', length);
    const char *second = first == NULL ? NULL : memchr(first + 1, '.', (size_t)(end - first - 1));

    if (second == NULL || memchr(second + 1, '.', (size_t)(end - second - 1)) != NULL)
        return false;
    parts->header = token;
    parts->header_length = (size_t)(first - token);
    parts->payload = first + 1;
    parts->payload_length = (size_t)(second - first - 1);
    parts->signature = second + 1;
    parts->signature_length = (size_t)(end - second - 1);
    parts->signed_length = (size_t)(second - token);
    return parts->header_length > 0 && parts->signature_length > 0;
}

/* `kid` becomes arena memory, or NULL where the header has none. */
static bool read_header(const struct parts *parts, struct arena *arena, enum key_algorithm *algorithm, const char **kid)
{
    size_t length;
    char *text = decode(parts->header, parts->header_length, arena, &length);
    json_t *header = text == NULL ? NULL : json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
    json_t *name = json_object_get(header, "alg");
    json_t *id = json_object_get(header, "kid");
    bool is_fine = json_is_string(name) && key_algorithm_parse(json_string_value(name), algorithm) &&
                   json_object_get(header, "crit") == NULL && type_is_fine(json_object_get(header, "typ")) &&
                   (id == NULL || json_is_string(id));

    *kid = is_fine && id != NULL ? arena_strdup(arena, json_string_value(id)) : NULL;
    json_decref(header);
    return is_fine;
}

/* A token of another profile (a logout token, say) is not one of ours, whoever signed it (RFC 8725, 3.11). The prefix
 * may be left out (RFC 7515, 4.1.9). */
static bool type_is_fine(json_t *type)
{
    static const char prefix[] = "application/";
    const char *name = json_string_value(type);

    if (type == NULL)
        return true;
    if (name == NULL)
        return false;
    if (strncasecmp(name, prefix, sizeof prefix - 1) == 0)
        name += sizeof prefix - 1;
    return strcasecmp(name, "JWT") == 0 || strcasecmp(name, "at+jwt") == 0;
}

/* With a kid: the keys of that name. Without: all of that algorithm, of which a set holds at most KEY_TRIES_MAX. */
static enum token_result try_keys(const struct key_set *keys, enum key_algorithm algorithm, const char *kid,
                                  const struct parts *parts, struct arena *arena)
{
    size_t size;
    const unsigned char *signature = (unsigned char *)decode(parts->signature, parts->signature_length, arena, &size);
    enum token_result result = TOKEN_UNKNOWN_KEY;

    if (signature == NULL)
        return TOKEN_MALFORMED;
    for (size_t i = 0; i < keys->count; i++) {
        const struct key *key = &keys->keys[i];

        if (kid != NULL && (key->kid == NULL || strcmp(key->kid, kid) != 0))
            continue;
        if (key->algorithm == algorithm && key_verify(key, parts->header, parts->signed_length, signature, size))
            return TOKEN_OK;
        /* A named key of another algorithm is known, and did not sign this. */
        if (kid != NULL || key->algorithm == algorithm)
            result = TOKEN_BAD_SIGNATURE;
    }
    return result;
}

/* Arena memory with a NUL behind it; NULL where the text is not base64url. */
static char *decode(const char *text, size_t length, struct arena *arena, size_t *decoded)
{
    size_t room = base64url_decoded_room(length);
    char *bytes = arena_alloc(arena, room + 1);
    ssize_t written = base64url_decode(text, length, bytes, room);

    if (written < 0)
        return NULL;
    bytes[written] = '\0';
    *decoded = (size_t)written;
    return bytes;
}
