/* jwk: reads one JSON Web Key into a struct key: pins its algorithm, checks its strength and that its parts belong
 * together, prepares the contexts. Worker and turnoutctl at start and on reload; touches nothing else. */
#include "identity/jwk.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

#include "identity/base64url.h"

#define KID_SIZE_MAX 255
#define SECRET_SIZE_MIN 32 /* RFC 7518, 3.2: at least the size of the hash */
#define SECRET_SIZE_MAX 1024
#define RSA_BITS_MIN 2048 /* RFC 7518, 3.3 */
#define RSA_BITS_MAX 8192 /* a verification grows with the square; KEY_SIGNATURE_SIZE_MAX goes with it */
#define EC_COORDINATE_SIZE 32

#define RSA_NUMBERS 8

static const char *pin_algorithm(json_t *jwk, enum key_algorithm *algorithm);
static const char *check_purpose(json_t *jwk, bool *may_sign);
static bool has_operation(json_t *operations, const char *wanted);
static const char *read_oct(json_t *jwk, struct key *key);
static const char *read_rsa(json_t *jwk, struct key *key);
static const char *read_ec(json_t *jwk, struct key *key);
static const char *build_pair(struct key *key, const char *type, OSSL_PARAM_BLD *builder, bool has_private);
static bool prepare_contexts(struct key *key, bool has_private);
static bool parts_belong_together(const struct key *key);
static EVP_MAC_CTX *keyed_mac(const unsigned char *secret, size_t size);
static ssize_t read_member(json_t *jwk, const char *name, unsigned char *bytes, size_t room);

/* What each key type is called, needs and becomes. The one without a curve condition is NULL there. */
static const struct {
    const char *type;
    const char *curve;
    enum key_algorithm algorithm;
    const char *(*read)(json_t *jwk, struct key *key);
} key_types[] = {
    {"oct", NULL, KEY_HS256, read_oct},
    {"RSA", NULL, KEY_RS256, read_rsa},
    {"EC", "P-256", KEY_ES256, read_ec},
};

/* Public numbers first, then the private ones. */
static const struct {
    const char *member;
    const char *parameter;
} rsa_numbers[RSA_NUMBERS] = {
    {"n", OSSL_PKEY_PARAM_RSA_N},          {"e", OSSL_PKEY_PARAM_RSA_E},
    {"d", OSSL_PKEY_PARAM_RSA_D},          {"p", OSSL_PKEY_PARAM_RSA_FACTOR1},
    {"q", OSSL_PKEY_PARAM_RSA_FACTOR2},    {"dp", OSSL_PKEY_PARAM_RSA_EXPONENT1},
    {"dq", OSSL_PKEY_PARAM_RSA_EXPONENT2}, {"qi", OSSL_PKEY_PARAM_RSA_COEFFICIENT1},
};

static const char *const secret_members[] = {"k", "d", "p", "q", "dp", "dq", "qi", "oth"};

const char *jwk_read(json_t *jwk, struct key *key)
{
    json_t *kid = json_object_get(jwk, "kid");
    bool may_sign = false;
    const char *reason;

    memset(key, 0, sizeof *key);
    if (kid != NULL && (!json_is_string(kid) || json_string_length(kid) == 0 || json_string_length(kid) > KID_SIZE_MAX))
        return "kid is not a text of 1 to 255 bytes";
    reason = check_purpose(jwk, &may_sign);
    if (reason == NULL)
        reason = pin_algorithm(jwk, &key->algorithm);
    if (reason == NULL)
        reason = key_types[key->algorithm].read(jwk, key);
    if (reason == NULL && kid != NULL) {
        key->kid = strdup(json_string_value(kid));
        INVARIANT(key->kid != NULL);
    }
    key->can_sign = key->can_sign && may_sign;
    if (reason != NULL)
        jwk_drop(key);
    ERR_clear_error();
    return reason;
}

bool jwk_has_secret(json_t *jwk)
{
    for (size_t i = 0; i < sizeof secret_members / sizeof secret_members[0]; i++) {
        if (json_object_get(jwk, secret_members[i]) != NULL)
            return true;
    }
    return false;
}

void jwk_drop(struct key *key)
{
    EVP_MAC_CTX_free(key->mac);
    EVP_PKEY_CTX_free(key->verifier);
    EVP_PKEY_CTX_free(key->signer);
    EVP_PKEY_free(key->pair);
    free(key->kid);
    memset(key, 0, sizeof *key);
}

/* RFC 8725, 3.1: one key, one algorithm. Sets of well-known providers leave alg out; the pin then comes from the key's
 * type, which is ours to decide and never the token's. */
static const char *pin_algorithm(json_t *jwk, enum key_algorithm *algorithm)
{
    const char *type = json_string_value(json_object_get(jwk, "kty"));
    const char *curve = json_string_value(json_object_get(jwk, "crv"));
    json_t *name = json_object_get(jwk, "alg");
    size_t i = 0;

    _Static_assert(sizeof key_types / sizeof key_types[0] == KEY_ALGORITHM_COUNT, "key_types is indexed by algorithm");
    if (type == NULL)
        return "kty is missing";
    while (i < KEY_ALGORITHM_COUNT && strcmp(type, key_types[i].type) != 0)
        i++;
    if (i == KEY_ALGORITHM_COUNT)
        return "kty is none of oct, RSA and EC";
    if (key_types[i].curve != NULL && (curve == NULL || strcmp(curve, key_types[i].curve) != 0))
        return "crv is not P-256";
    if (name != NULL &&
        (!json_is_string(name) || strcmp(json_string_value(name), key_algorithm_name(key_types[i].algorithm)) != 0))
        return "alg is not the one that is supported for this kty (oct: HS256, RSA: RS256, EC: ES256)";
    INVARIANT(key_types[i].algorithm == (enum key_algorithm)i);
    *algorithm = key_types[i].algorithm;
    return NULL;
}

static const char *check_purpose(json_t *jwk, bool *may_sign)
{
    json_t *use = json_object_get(jwk, "use");
    json_t *operations = json_object_get(jwk, "key_ops");

    if (use != NULL && (!json_is_string(use) || strcmp(json_string_value(use), "sig") != 0))
        return "use is not sig";
    if (operations != NULL && !has_operation(operations, "verify"))
        return "key_ops does not hold verify";
    *may_sign = operations == NULL || has_operation(operations, "sign");
    return NULL;
}

static bool has_operation(json_t *operations, const char *wanted)
{
    json_t *operation;
    size_t i;

    json_array_foreach(operations, i, operation)
    {
        if (json_is_string(operation) && strcmp(json_string_value(operation), wanted) == 0)
            return true;
    }
    return false;
}

static const char *read_oct(json_t *jwk, struct key *key)
{
    unsigned char secret[SECRET_SIZE_MAX];
    ssize_t size = read_member(jwk, "k", secret, sizeof secret);
    const char *reason = NULL;

    if (size < 0) {
        reason = "k is missing, not base64url, or longer than 1,024 bytes";
    } else if (size < SECRET_SIZE_MIN) {
        reason = "k is shorter than 32 bytes";
    } else {
        key->mac = keyed_mac(secret, (size_t)size);
        key->signature_size = KEY_DIGEST_SIZE;
        key->can_sign = true;
        if (key->mac == NULL)
            reason = "OpenSSL has no HMAC with SHA-256";
    }
    OPENSSL_cleanse(secret, sizeof secret);
    return reason;
}

static const char *read_rsa(json_t *jwk, struct key *key)
{
    unsigned char bytes[RSA_BITS_MAX / 8];
    BIGNUM *numbers[RSA_NUMBERS] = {NULL};
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    size_t present = 0;
    const char *reason = NULL;

    INVARIANT(builder != NULL);
    for (size_t i = 0; i < RSA_NUMBERS && reason == NULL; i++) {
        ssize_t size;

        if (i >= 2 && json_object_get(jwk, rsa_numbers[i].member) == NULL)
            continue;
        size = read_member(jwk, rsa_numbers[i].member, bytes, sizeof bytes);
        if (size < 0) {
            reason = "one of its numbers is missing, not base64url, or longer than 8,192 bits";
            break;
        }
        numbers[i] = BN_bin2bn(bytes, (int)size, NULL);
        INVARIANT(numbers[i] != NULL);
        INVARIANT(OSSL_PARAM_BLD_push_BN(builder, rsa_numbers[i].parameter, numbers[i]) == 1);
        present++;
    }
    if (reason == NULL) {
        if (BN_num_bits(numbers[0]) < RSA_BITS_MIN)
            reason = "n is shorter than 2,048 bits";
        else if (!BN_is_odd(numbers[1]) || BN_is_one(numbers[1]) || BN_num_bits(numbers[1]) > 64)
            reason = "e is not an odd number from 3 to 64 bits"; /* with 1 each message is its own signature */
        else if (present != 2 && !(present == 3 && numbers[2] != NULL) && present != RSA_NUMBERS)
            reason = "its private part is neither d alone nor all of d, p, q, dp, dq and qi";
        else if (json_object_get(jwk, "oth") != NULL)
            reason = "it has more than two primes";
        else
            key->signature_size = (size_t)(BN_num_bits(numbers[0]) + 7) / 8;
    }
    if (reason == NULL)
        reason = build_pair(key, "RSA", builder, present > 2);
    OSSL_PARAM_BLD_free(builder);
    for (size_t i = 0; i < RSA_NUMBERS; i++)
        BN_clear_free(numbers[i]);
    OPENSSL_cleanse(bytes, sizeof bytes);
    return reason;
}

static const char *read_ec(json_t *jwk, struct key *key)
{
    /* Uncompressed point: 4, x, y. */
    unsigned char point[1 + 2 * EC_COORDINATE_SIZE] = {4};
    unsigned char scalar[EC_COORDINATE_SIZE];
    BIGNUM *private = NULL;
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    const char *reason = NULL;

    INVARIANT(builder != NULL);
    if (read_member(jwk, "x", point + 1, EC_COORDINATE_SIZE) != EC_COORDINATE_SIZE ||
        read_member(jwk, "y", point + 1 + EC_COORDINATE_SIZE, EC_COORDINATE_SIZE) != EC_COORDINATE_SIZE)
        reason = "x or y is not the base64url of 32 bytes"; /* RFC 7518, 6.2.1.2: the full size, never trimmed */
    if (reason == NULL && json_object_get(jwk, "d") != NULL) {
        if (read_member(jwk, "d", scalar, sizeof scalar) != sizeof scalar)
            reason = "d is not the base64url of 32 bytes";
        else
        private = BN_bin2bn(scalar, sizeof scalar, NULL);
    }
    if (reason == NULL) {
        INVARIANT(OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) == 1);
        INVARIANT(OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point) == 1);
        INVARIANT(private == NULL || OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_PRIV_KEY, private) == 1);
        key->signature_size = ES256_SIGNATURE_SIZE;
        reason = build_pair(key, "EC", builder, private != NULL);
    }
    OSSL_PARAM_BLD_free(builder);
    BN_clear_free(private);
    OPENSSL_cleanse(scalar, sizeof scalar);
    return reason;
}

static const char *build_pair(struct key *key, const char *type, OSSL_PARAM_BLD *builder, bool has_private)
{
    OSSL_PARAM *parameters = OSSL_PARAM_BLD_to_param(builder);
    EVP_PKEY_CTX *maker = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    bool made;

    INVARIANT(parameters != NULL && maker != NULL);
    made = EVP_PKEY_fromdata_init(maker) == 1 &&
           EVP_PKEY_fromdata(maker, &key->pair, has_private ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY, parameters) == 1;
    EVP_PKEY_CTX_free(maker);
    /* OSSL_PARAM_free wipes only what lies in OpenSSL's secure heap, which nobody set up. */
    for (OSSL_PARAM *parameter = parameters; parameter->key != NULL; parameter++)
        OPENSSL_cleanse(parameter->data, parameter->data_size);
    OSSL_PARAM_free(parameters);
    if (!made || !prepare_contexts(key, has_private))
        return "its numbers make no key (a point off the curve, or a modulus that is no product of two primes)";
    if (has_private && !parts_belong_together(key))
        return "its private part does not belong to its public part";
    key->can_sign = has_private;
    return NULL;
}

static bool prepare_contexts(struct key *key, bool has_private)
{
    bool rsa = key->algorithm == KEY_RS256;
    bool ready;

    key->verifier = EVP_PKEY_CTX_new_from_pkey(NULL, key->pair, NULL);
    INVARIANT(key->verifier != NULL);
    ready = EVP_PKEY_public_check(key->verifier) == 1 && EVP_PKEY_verify_init(key->verifier) == 1 &&
            (!rsa || EVP_PKEY_CTX_set_rsa_padding(key->verifier, RSA_PKCS1_PADDING) == 1) &&
            EVP_PKEY_CTX_set_signature_md(key->verifier, EVP_sha256()) == 1;
    if (!ready || !has_private)
        return ready;
    key->signer = EVP_PKEY_CTX_new_from_pkey(NULL, key->pair, NULL);
    INVARIANT(key->signer != NULL);
    return EVP_PKEY_sign_init(key->signer) == 1 &&
           (!rsa || EVP_PKEY_CTX_set_rsa_padding(key->signer, RSA_PKCS1_PADDING) == 1) &&
           EVP_PKEY_CTX_set_signature_md(key->signer, EVP_sha256()) == 1;
}

/* Signs and verifies: true of any form of private part, which EVP_PKEY_pairwise_check is not (RSA with d alone). */
static bool parts_belong_together(const struct key *key)
{
    static const char sample[] = "turnout";
    unsigned char signature[KEY_SIGNATURE_SIZE_MAX];

    return key_sign(key, sample, sizeof sample, signature) &&
           key_verify(key, sample, sizeof sample, signature, key->signature_size);
}

static EVP_MAC_CTX *keyed_mac(const unsigned char *secret, size_t size)
{
    char digest[] = "SHA256";
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *context = hmac == NULL ? NULL : EVP_MAC_CTX_new(hmac);

    if (context != NULL && EVP_MAC_init(context, secret, size, parameters) != 1) {
        EVP_MAC_CTX_free(context);
        context = NULL;
    }
    EVP_MAC_free(hmac);
    return context;
}

/* The bytes of a base64url text member; -1 where it is missing, no text, not base64url, empty or too long. */
static ssize_t read_member(json_t *jwk, const char *name, unsigned char *bytes, size_t room)
{
    json_t *member = json_object_get(jwk, name);
    ssize_t size;

    if (!json_is_string(member))
        return -1;
    size = base64url_decode(json_string_value(member), json_string_length(member), bytes, room);
    return size == 0 ? -1 : size;
}
