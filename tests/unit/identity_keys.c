/* identity_keys: keys made by OpenSSL and written as JWK here, so that the reading side is tested against another
 * implementation's numbers. Tests only. */
#include "identity_keys.h"

#include <check.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "identity/base64url.h"
#include "identity/key.h"

const struct token_policy sample_policy = {
    .issuer = "https://id.example.com/", .audience = "turnout", .leeway = LEEWAY * INT64_C(1000000)};

static void put_number(json_t *jwk, const char *member, EVP_PKEY *pair, const char *parameter, int size)
{
    BIGNUM *number = NULL;
    unsigned char bytes[1024];
    char text[1400];

    ck_assert_int_eq(EVP_PKEY_get_bn_param(pair, parameter, &number), 1);
    if (size == 0)
        size = BN_num_bytes(number);
    ck_assert_int_eq(BN_bn2binpad(number, bytes, size), size);
    BN_free(number);
    base64url_encode(bytes, (size_t)size, text);
    json_object_set_new(jwk, member, json_string(text));
}

json_t *make_oct_key(const char *kid)
{
    return json_pack("{s:s, s:s, s:s, s:s}", "kty", "oct", "kid", kid, "alg", "HS256", "k", OCT_SECRET);
}

json_t *make_rsa_key(const char *kid, unsigned bits)
{
    EVP_PKEY *pair = EVP_RSA_gen(bits);
    json_t *jwk = json_pack("{s:s, s:s, s:s}", "kty", "RSA", "kid", kid, "alg", "RS256");

    ck_assert_ptr_nonnull(pair);
    put_number(jwk, "n", pair, OSSL_PKEY_PARAM_RSA_N, 0);
    put_number(jwk, "e", pair, OSSL_PKEY_PARAM_RSA_E, 0);
    put_number(jwk, "d", pair, OSSL_PKEY_PARAM_RSA_D, 0);
    put_number(jwk, "p", pair, OSSL_PKEY_PARAM_RSA_FACTOR1, 0);
    put_number(jwk, "q", pair, OSSL_PKEY_PARAM_RSA_FACTOR2, 0);
    put_number(jwk, "dp", pair, OSSL_PKEY_PARAM_RSA_EXPONENT1, 0);
    put_number(jwk, "dq", pair, OSSL_PKEY_PARAM_RSA_EXPONENT2, 0);
    put_number(jwk, "qi", pair, OSSL_PKEY_PARAM_RSA_COEFFICIENT1, 0);
    EVP_PKEY_free(pair);
    return jwk;
}

json_t *make_ec_key(const char *kid, const char *curve)
{
    EVP_PKEY *pair = EVP_EC_gen(curve);
    json_t *jwk = json_pack("{s:s, s:s, s:s, s:s}", "kty", "EC", "kid", kid, "crv", curve, "alg", "ES256");
    int size;

    ck_assert_ptr_nonnull(pair);
    size = (EVP_PKEY_get_bits(pair) + 7) / 8;
    put_number(jwk, "x", pair, OSSL_PKEY_PARAM_EC_PUB_X, size);
    put_number(jwk, "y", pair, OSSL_PKEY_PARAM_EC_PUB_Y, size);
    put_number(jwk, "d", pair, OSSL_PKEY_PARAM_PRIV_KEY, size);
    EVP_PKEY_free(pair);
    return jwk;
}

json_t *public_part(json_t *jwk)
{
    static const char *const members[] = {"d", "p", "q", "dp", "dq", "qi"};
    json_t *copy = json_deep_copy(jwk);

    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        json_object_del(copy, members[i]);
    return copy;
}

static struct key_set *parse_list(json_t *list, char *error, size_t error_size)
{
    json_t *set = json_pack("{s:o}", "keys", list);
    char *text = json_dumps(set, 0);
    struct key_set *keys = key_set_parse(text, strlen(text), error, error_size);

    free(text);
    json_decref(set);
    return keys;
}

struct key_set *set_of(json_t *first, ...)
{
    json_t *list = json_array();
    char error[256] = "";
    struct key_set *keys;
    va_list arguments;

    va_start(arguments, first);
    for (json_t *jwk = first; jwk != NULL; jwk = va_arg(arguments, json_t *))
        json_array_append(list, jwk);
    va_end(arguments);
    keys = parse_list(list, error, sizeof error);
    ck_assert_msg(keys != NULL, "the set was refused: %s", error);
    return keys;
}

struct key_set *set_with(json_t *jwk, const char *member, const char *value, char *error, size_t error_size)
{
    json_t *list = json_array();
    json_t *copy = json_deep_copy(jwk);

    if (value == NULL) {
        json_object_del(copy, member);
    } else {
        json_t *json = json_loads(value, JSON_DECODE_ANY, NULL);

        ck_assert_msg(json != NULL, "not JSON: %s", value);
        json_object_set_new(copy, member, json);
    }
    json_array_append_new(list, copy);
    return parse_list(list, error, error_size);
}

json_t *sample_claims(void)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I}", "iss", "https://id.example.com/", "aud", "turnout", "sub", "42",
                     "email", "erika@example.com", "iat", (json_int_t)NOW, "exp", (json_int_t)(NOW + 3600));
}

enum token_result verify_token(const struct key_set *keys, const struct token_policy *policy, const char *token,
                               int64_t now, struct arena *arena, struct token_claims *claims)
{
    enum token_result result = token_verify(keys, policy, token, strlen(token), now, arena, claims);

    ck_assert_uint_eq(ERR_peek_error(), 0);
    if (result != TOKEN_OK) {
        ck_assert_ptr_null(claims->subject);
        ck_assert_ptr_null(claims->email);
        ck_assert_ptr_null(claims->role);
        ck_assert_int_eq(claims->expires_at, 0);
    }
    return result;
}

char *sign_raw(const struct key_set *keys, const char *header, const char *payload)
{
    unsigned char signature[KEY_SIGNATURE_SIZE_MAX];
    const struct key *key = &keys->keys[0];
    char *token = malloc(base64url_encoded_length(strlen(header)) + base64url_encoded_length(strlen(payload)) +
                         base64url_encoded_length(sizeof signature) + sizeof "..");
    size_t length = base64url_encode(header, strlen(header), token);

    token[length++] = '.';
    length += base64url_encode(payload, strlen(payload), token + length);
    ck_assert(key_sign(key, token, length, signature));
    token[length++] = '.';
    base64url_encode(signature, key->signature_size, token + length);
    return token;
}
