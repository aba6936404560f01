/* cursor: where a list goes on, signed so that nobody can ask for places that we did not name (a made-up place reveals
 * nothing, but a signature makes the form ours to change). Worker. The key is the process's only state here.
 *
 * Bytes: form (1) | place (8, big-endian) | id (16) | HMAC-SHA-256 of "turnout cursor" NUL, these 25 and the scope, cut
 * to 16 bytes. 41 bytes, 55 characters. With a name, form 2: its length (1) and its bytes stand behind the id. */
#include "identity/cursor.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdio.h>
#include <string.h>

#include "identity/base64url.h"

/* Changes with the layout: an older cursor is then refused, and the client starts over. */
#define FORM 1
#define FORM_WITH_NAME 2
#define ID_SIZE 16
#define BODY_SIZE (1 + 8 + ID_SIZE)
#define BODY_SIZE_MAX (BODY_SIZE + CURSOR_NAME_SIZE)
#define MAC_SIZE 16 /* RFC 2104, 5: half of the hash at least */
#define CURSOR_SIZE_MAX (BODY_SIZE_MAX + MAC_SIZE)

static size_t body_length(const unsigned char *bytes, size_t size);
static void mac_of(const unsigned char *body, size_t length, const char *scope, unsigned char *mac);
static void id_to_bytes(const char *id, unsigned char *bytes);
static void id_from_bytes(const unsigned char *bytes, char id[UUID_TEXT_SIZE]);

static EVP_MAC_CTX *keyed;

void cursor_set_key(const void *key, size_t length)
{
    char digest[] = "SHA256";
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string("digest", digest, 0),
        OSSL_PARAM_construct_end(),
    };
    EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);

    INVARIANT(length >= CURSOR_KEY_SIZE_MIN);
    cursor_forget_key();
    keyed = EVP_MAC_CTX_new(hmac);
    INVARIANT(keyed != NULL && EVP_MAC_init(keyed, key, length, parameters) == 1);
    EVP_MAC_free(hmac);
}

void cursor_forget_key(void)
{
    EVP_MAC_CTX_free(keyed);
    keyed = NULL;
}

void cursor_sign(const struct cursor *cursor, const char *scope, char text[CURSOR_TEXT_MAX])
{
    unsigned char bytes[CURSOR_SIZE_MAX] = {FORM};
    size_t name_length = strnlen(cursor->name, CURSOR_NAME_SIZE);
    size_t length = BODY_SIZE;

    _Static_assert((CURSOR_SIZE_MAX * 4 + 2) / 3 < CURSOR_TEXT_MAX, "a cursor fits its text");
    INVARIANT(name_length < CURSOR_NAME_SIZE);
    for (size_t i = 0; i < 8; i++)
        bytes[1 + i] = (unsigned char)((uint64_t)cursor->place >> (56 - 8 * i) & 0xffu);
    id_to_bytes(cursor->id, bytes + 9);
    if (name_length > 0) {
        bytes[0] = FORM_WITH_NAME;
        bytes[length++] = (unsigned char)name_length;
        memcpy(bytes + length, cursor->name, name_length);
        length += name_length;
    }
    mac_of(bytes, length, scope, bytes + length);
    INVARIANT(base64url_encode(bytes, length + MAC_SIZE, text) < CURSOR_TEXT_MAX);
}

/* The length of what is signed, 0 where the bytes have none of our forms. */
static size_t body_length(const unsigned char *bytes, size_t size)
{
    if (size == BODY_SIZE + MAC_SIZE && bytes[0] == FORM)
        return BODY_SIZE;
    if (size > BODY_SIZE + 1 + MAC_SIZE && bytes[0] == FORM_WITH_NAME &&
        size == BODY_SIZE + 1u + bytes[BODY_SIZE] + MAC_SIZE && bytes[BODY_SIZE] < CURSOR_NAME_SIZE)
        return size - MAC_SIZE;
    return 0;
}

bool cursor_verify(const char *text, const char *scope, struct cursor *cursor)
{
    unsigned char bytes[CURSOR_SIZE_MAX];
    unsigned char mac[MAC_SIZE];
    uint64_t place = 0;
    bool is_ours;

    size_t text_length = strnlen(text, CURSOR_TEXT_MAX);
    ssize_t size = base64url_decode(text, text_length, bytes, sizeof bytes);
    size_t length = size < 0 ? 0 : body_length(bytes, (size_t)size);
    if (length == 0)
        return false;
    mac_of(bytes, length, scope, mac);
    is_ours = CRYPTO_memcmp(mac, bytes + length, MAC_SIZE) == 0;
    /* What the right one would have been stays nowhere. */
    OPENSSL_cleanse(mac, sizeof mac);
    if (!is_ours)
        return false;
    for (size_t i = 0; i < 8; i++)
        place = place << 8 | bytes[1 + i];
    cursor->place = (int64_t)place;
    id_from_bytes(bytes + 9, cursor->id);
    size_t name_length = length == BODY_SIZE ? 0 : length - BODY_SIZE - 1;
    memcpy(cursor->name, bytes + BODY_SIZE + 1, name_length);
    cursor->name[name_length] = '\0';
    return true;
}

/* The scope comes last, and what is before it says how long it is: no two inputs read the same. */
static void mac_of(const unsigned char *body, size_t length, const char *scope, unsigned char *mac)
{
    static const char purpose[] = "turnout cursor";
    unsigned char whole[32];
    size_t size = 0;

    INVARIANT(keyed != NULL);
    INVARIANT(EVP_MAC_init(keyed, NULL, 0, NULL) == 1 &&
              EVP_MAC_update(keyed, (const unsigned char *)purpose, sizeof purpose) == 1 &&
              EVP_MAC_update(keyed, body, length) == 1 &&
              EVP_MAC_update(keyed, (const unsigned char *)scope, strlen(scope)) == 1 &&
              EVP_MAC_final(keyed, whole, &size, sizeof whole) == 1 && size == sizeof whole);
    memcpy(mac, whole, MAC_SIZE);
    OPENSSL_cleanse(whole, sizeof whole);
}

/* Ids reach this place from the database: one that is none is a broken invariant. */
static void id_to_bytes(const char *id, unsigned char *bytes)
{
    static const char digits[] = "0123456789abcdef";
    char canonical[UUID_TEXT_SIZE];
    size_t digit_count = 0;

    INVARIANT(uuid_parse(id, strlen(id), canonical));
    for (const char *at = canonical; *at != '\0'; at++) {
        const char *digit = *at == '-' ? NULL : strchr(digits, *at);

        if (digit == NULL)
            continue;
        if (digit_count % 2 == 0)
            bytes[digit_count / 2] = (unsigned char)((digit - digits) << 4);
        else
            bytes[digit_count / 2] = (unsigned char)(bytes[digit_count / 2] | (digit - digits));
        digit_count++;
    }
}

static void id_from_bytes(const unsigned char *bytes, char id[UUID_TEXT_SIZE])
{
    char *to = id;

    for (size_t i = 0; i < ID_SIZE; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *to++ = '-';
        snprintf(to, 3, "%02x", bytes[i]);
        to += 2;
    }
}
