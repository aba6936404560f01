/* fuzz_token: the token verifier with fixed keys.
 *
 * The input is a token, or "sign HEADER\nPAYLOAD": then a token of these very texts is made with the secret key first.
 * What must hold: a token that is accepted is signed by one of the keys with that key's algorithm, is in time, comes
 * from the issuer and is meant for us, as OpenSSL and jansson alone say; and no token that was accepted is accepted
 * with one character changed. */
#include <jansson.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <stdbool.h>

#include "base/arena.h"
#include "identity/token.h"
#include "target.h"

#define NOW INT64_C(1795442400) /* 2026-11-23T14:00:00Z */
#define LEEWAY 60
#define ISSUER "https://id.example.com/"
#define AUDIENCE "turnout"

/* Bytes 0 to 31; the private parts of the two others were thrown away when the tokens of the corpus had been made. */
static const char keys_text[] =
    "{\"keys\":[{\"kty\":\"oct\",\"kid\":\"secret\",\"alg\":\"HS256\",\"k\":"
    "\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\"},"
    "{\"kty\":\"RSA\",\"kid\":\"rsa\",\"alg\":\"RS256\",\"e\":\"AQAB\",\"n\":\""
    "uWRjs-5PFLlkZe_VSo7LvCVtPfrVDGwj5QTA5yGUWb3rwW5LkMH39IOEd4yZH-i0HmmhlOIBiAUaftafZmfSb_UPAmjwiA9aaY6B"
    "WEj2LOvB712YbMKtbUy_RYRvapIQHC2qJpoMWyl-hOIuGbVNFGlcKp6gaiR7k762TvBKsKX_NQxI21nFyl3TNJYoS0WpDSKlxpsw"
    "2p4qRJNGOUJ8H1q2sbMLTSzMfU9QfngSmh8x2h6A6ThxP9UT3iGrMmZcfLrMM8RQxORNNY13pMl4Q1U39MLgnJ3fecVzmiN3BhHL"
    "eEh-sz1733Civ3BwLB3FzMlZAAswqObR784e9mJbMQ\"},"
    "{\"kty\":\"EC\",\"kid\":\"ec\",\"crv\":\"P-256\",\"x\":\"35z9XC6JkTAmXNxonSUMgo3CX7P4cPfBVWAoCVWVAWM\",\"y\":"
    "\"DZwhYY1IpAHAupkW-b37_UlU-X20bxP9wZlX6P9eCwk\"}]}";
static const char rsa_text[] = "-----BEGIN PUBLIC KEY-----\n"
                               "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAuWRjs+5PFLlkZe/VSo7L\n"
                               "vCVtPfrVDGwj5QTA5yGUWb3rwW5LkMH39IOEd4yZH+i0HmmhlOIBiAUaftafZmfS\n"
                               "b/UPAmjwiA9aaY6BWEj2LOvB712YbMKtbUy/RYRvapIQHC2qJpoMWyl+hOIuGbVN\n"
                               "FGlcKp6gaiR7k762TvBKsKX/NQxI21nFyl3TNJYoS0WpDSKlxpsw2p4qRJNGOUJ8\n"
                               "H1q2sbMLTSzMfU9QfngSmh8x2h6A6ThxP9UT3iGrMmZcfLrMM8RQxORNNY13pMl4\n"
                               "Q1U39MLgnJ3fecVzmiN3BhHLeEh+sz1733Civ3BwLB3FzMlZAAswqObR784e9mJb\n"
                               "MQIDAQAB\n"
                               "-----END PUBLIC KEY-----\n";
static const char ec_text[] = "-----BEGIN PUBLIC KEY-----\n"
                              "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE35z9XC6JkTAmXNxonSUMgo3CX7P4\n"
                              "cPfBVWAoCVWVAWMNnCFhjUikAcC6mRb5vfv9SVT5fbRvE/3BmVfo/14LCQ==\n"
                              "-----END PUBLIC KEY-----\n";

static const struct token_policy policy = {.issuer = ISSUER, .audience = AUDIENCE, .leeway = LEEWAY * INT64_C(1000000)};

static struct key_set *keys;
static EVP_PKEY *rsa;
static EVP_PKEY *ec;
static unsigned char secret[32];

static EVP_PKEY *read_pem(const char *text)
{
    BIO *bio = BIO_new_mem_buf(text, -1);
    EVP_PKEY *key = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
    BIO_free(bio);
    MUST(key != NULL);
    return key;
}

static void prepare(void)
{
    char error[256];
    keys = key_set_parse(keys_text, strlen(keys_text), error, sizeof error);
    MUST(keys != NULL && key_set_count(keys) == 3);
    rsa = read_pem(rsa_text);
    ec = read_pem(ec_text);
    for (size_t i = 0; i < sizeof secret; i++)
        secret[i] = (unsigned char)i;
}

/* ---- the same questions, asked without our code ---- */

/* base64url by OpenSSL's base64; -1 where the text is not exactly what these bytes are written as. */
static int decode(const char *text, size_t length, unsigned char *bytes)
{
    char padded[TOKEN_SIZE_MAX + 8];
    char again[TOKEN_SIZE_MAX + 8];
    size_t padding = (4 - length % 4) % 4;
    MUST(length <= TOKEN_SIZE_MAX);
    for (size_t i = 0; i < length; i++)
        padded[i] = text[i] == '-' ? '+' : text[i] == '_' ? '/' : text[i];
    memset(padded + length, '=', padding);
    int decoded = EVP_DecodeBlock(bytes, (const unsigned char *)padded, (int)(length + padding));
    if (decoded < 0 || padding == 3)
        return -1;
    decoded -= (int)padding;
    EVP_EncodeBlock((unsigned char *)again, bytes, decoded);
    return memcmp(again, padded, length + padding) == 0 && memchr(text, '+', length) == NULL &&
                   memchr(text, '/', length) == NULL
               ? decoded
               : -1;
}

static bool verify_pair(EVP_PKEY *key, const char *text, size_t length, const unsigned char *signature, size_t size)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool fine = EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
                EVP_DigestVerify(context, signature, size, (const unsigned char *)text, length) == 1;
    EVP_MD_CTX_free(context);
    ERR_clear_error();
    return fine;
}

static bool verify_ec(const char *text, size_t length, const unsigned char *signature, size_t size)
{
    if (size != 64)
        return false;
    ECDSA_SIG *parts = ECDSA_SIG_new();
    unsigned char *der = NULL;
    MUST(ECDSA_SIG_set0(parts, BN_bin2bn(signature, 32, NULL), BN_bin2bn(signature + 32, 32, NULL)) == 1);
    int der_size = i2d_ECDSA_SIG(parts, &der);
    bool fine = der_size > 0 && verify_pair(ec, text, length, der, (size_t)der_size);
    OPENSSL_free(der);
    ECDSA_SIG_free(parts);
    return fine;
}

static bool is_signed(const char *token, size_t length)
{
    unsigned char bytes[TOKEN_SIZE_MAX + 8];
    const char *last = memrchr(token, '.', length);
    size_t text_length = (size_t)(last - token);
    int header_size = decode(token, (size_t)((const char *)memchr(token, '.', length) - token), bytes);
    MUST(header_size > 0);
    json_t *header = json_loadb((const char *)bytes, (size_t)header_size, JSON_REJECT_DUPLICATES, NULL);
    const char *algorithm = json_string_value(json_object_get(header, "alg"));
    MUST(algorithm != NULL);
    int size = decode(last + 1, length - text_length - 1, bytes);
    MUST(size > 0);
    bool fine = false;
    if (strcmp(algorithm, "HS256") == 0) {
        unsigned char mac[32];
        unsigned int mac_size = sizeof mac;
        HMAC(EVP_sha256(), secret, sizeof secret, (const unsigned char *)token, text_length, mac, &mac_size);
        fine = size == sizeof mac && memcmp(mac, bytes, sizeof mac) == 0;
    } else if (strcmp(algorithm, "RS256") == 0) {
        fine = verify_pair(rsa, token, text_length, bytes, (size_t)size);
    } else if (strcmp(algorithm, "ES256") == 0) {
        fine = verify_ec(token, text_length, bytes, (size_t)size);
    }
    json_decref(header);
    return fine;
}

static bool is_for_us(json_t *audience)
{
    json_t *one;
    size_t i;
    if (json_is_string(audience))
        return strcmp(json_string_value(audience), AUDIENCE) == 0;
    json_array_foreach(audience, i, one)
    {
        if (json_is_string(one) && strcmp(json_string_value(one), AUDIENCE) == 0)
            return true;
    }
    return false;
}

static void must_say_what_we_read(const char *token, size_t length, const struct token_claims *claims)
{
    unsigned char bytes[TOKEN_SIZE_MAX + 8];
    const char *first = memchr(token, '.', length);
    const char *last = memrchr(token, '.', length);
    MUST(last > first && memchr(first + 1, '.', (size_t)(last - first - 1)) == NULL);
    int size = decode(first + 1, (size_t)(last - first - 1), bytes);
    MUST(size > 0);
    json_t *payload = json_loadb((const char *)bytes, (size_t)size, JSON_REJECT_DUPLICATES, NULL);
    MUST(json_is_object(payload));
    MUST(json_number_value(json_object_get(payload, "exp")) > (double)(NOW - LEEWAY));
    MUST(json_number_value(json_object_get(payload, "nbf")) <= (double)(NOW + LEEWAY));
    MUST(json_number_value(json_object_get(payload, "iat")) <= (double)(NOW + LEEWAY));
    MUST(strcmp(json_string_value(json_object_get(payload, "iss")), ISSUER) == 0);
    MUST(is_for_us(json_object_get(payload, "aud")));
    MUST(strcmp(json_string_value(json_object_get(payload, "sub")), claims->subject) == 0);
    MUST(strcmp(json_string_value(json_object_get(payload, "email")), claims->email) == 0);
    const char *role = json_string_value(json_object_get(payload, "role"));
    MUST(claims->role == NULL ? role == NULL || *role == '\0' : strcmp(role, claims->role) == 0);
    json_decref(payload);
}

/* ---- */

static size_t encode(const char *bytes, size_t length, char *text)
{
    int written = EVP_EncodeBlock((unsigned char *)text, (const unsigned char *)bytes, (int)length);
    for (int i = 0; i < written; i++)
        text[i] = text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i];
    while (written > 0 && text[written - 1] == '=')
        written--;
    text[written] = '\0';
    return (size_t)written;
}

static size_t sign(const char *header, size_t header_length, const char *payload, size_t payload_length, char *token)
{
    unsigned char mac[32];
    unsigned int size = sizeof mac;
    size_t length = encode(header, header_length, token);
    token[length++] = '.';
    length += encode(payload, payload_length, token + length);
    HMAC(EVP_sha256(), secret, sizeof secret, (const unsigned char *)token, length, mac, &size);
    token[length++] = '.';
    return length + encode((const char *)mac, sizeof mac, token + length);
}

static enum token_result verify(const char *token, size_t length, struct arena *arena, struct token_claims *claims)
{
    char *exact = exact_copy((const uint8_t *)token, length, 0);
    enum token_result result = token_verify(keys, &policy, exact, length, NOW, arena, claims);
    free(exact);
    MUST(ERR_peek_error() == 0);
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const char order[] = "sign ";
    char token[2 * TOKEN_SIZE_MAX];
    size_t length = size;
    struct token_claims claims;
    if (keys == NULL)
        prepare();
    if (size > TOKEN_SIZE_MAX + 1)
        return 0;
    const char *text = (const char *)bytes;
    const char *line_end = size > 5 && memcmp(text, order, 5) == 0 ? memchr(text, '\n', size) : NULL;
    if (line_end != NULL)
        length =
            sign(text + 5, (size_t)(line_end - text - 5), line_end + 1, (size_t)(text + size - line_end - 1), token);
    else if (size > 0)
        memcpy(token, text, size);

    struct arena *arena = arena_create(1024);
    enum token_result result = verify(token, length, arena, &claims);
    if (result == TOKEN_OK) {
        MUST(is_signed(token, length));
        must_say_what_we_read(token, length, &claims);
        uint64_t choice = choice_of(bytes, size);
        size_t at = choice % length;
        char other = "AQgw_-.0"[choice >> 40 & 7];
        if (token[at] != other) {
            token[at] = other;
            MUST(verify(token, length, arena, &claims) != TOKEN_OK);
        }
    }
    if (result != TOKEN_OK)
        MUST(claims.subject == NULL && claims.email == NULL && claims.role == NULL &&
             token_result_text(result) != NULL);
    arena_destroy(arena);
    return 0;
}
