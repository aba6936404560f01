/* fuzz_cursor: signed places in lists.
 *
 * The input is "SCOPE\nCURSOR". What must hold: what is accepted carries the mac that OpenSSL's own HMAC gives, and
 * signing what it says gives the same text; a place that is made of the input and signed is read back as it was, in its
 * own scope only, and not with one character changed. */
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/uuid.h"
#include "identity/cursor.h"
#include "target.h"

static const unsigned char key[CURSOR_KEY_SIZE_MIN] = "a key of thirty-two bytes, fixed";

static int value_of(char letter)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const char *at = letter == '\0' ? NULL : strchr(alphabet, letter);
    return at == NULL ? -1 : (int)(at - alphabet);
}

/* 55 characters are 41 bytes and two bits that are zero. */
static void must_carry_our_mac(const char *text, const char *scope)
{
    unsigned char bytes[42] = {0};
    unsigned char signed_bytes[15 + 25 + 4096];
    unsigned char mac[32];
    unsigned int size = sizeof mac;
    MUST(strlen(text) == 55 && strlen(scope) < 4096);
    for (size_t i = 0; i < 55; i++) {
        int value = value_of(text[i]);
        MUST(value >= 0);
        for (size_t bit = 0; bit < 6; bit++) {
            size_t at = 6 * i + bit;
            bytes[at / 8] = (unsigned char)(bytes[at / 8] | (value >> (5 - bit) & 1) << (7 - at % 8));
        }
    }
    MUST(bytes[41] == 0);
    memcpy(signed_bytes, "turnout cursor", 15);
    memcpy(signed_bytes + 15, bytes, 25);
    memcpy(signed_bytes + 40, scope, strlen(scope));
    HMAC(EVP_sha256(), key, sizeof key, signed_bytes, 40 + strlen(scope), mac, &size);
    MUST(memcmp(mac, bytes + 25, 16) == 0);
}

static void must_come_back(const uint8_t *bytes, size_t size, const char *scope)
{
    struct cursor made = {0};
    struct cursor found = {0};
    char text[CURSOR_TEXT_MAX];
    uint64_t choice = choice_of(bytes, size);
    unsigned char id[16];
    for (size_t i = 0; i < sizeof id; i++)
        id[i] = (unsigned char)(choice_of(bytes, size / 2 + i % (size / 2 + 1)) >> i);
    made.place = (int64_t)choice;
    snprintf(made.id, sizeof made.id, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", id[0],
             id[1], id[2], id[3], id[4], id[5], id[6], id[7], id[8], id[9], id[10], id[11], id[12], id[13], id[14],
             id[15]);
    cursor_sign(&made, scope, text);
    MUST(cursor_verify(text, scope, &found) && found.place == made.place && strcmp(found.id, made.id) == 0);
    must_carry_our_mac(text, scope);

    struct cursor untouched = {.place = 7};
    char other_scope[4100];
    snprintf(other_scope, sizeof other_scope, "%s%c", scope, 'a' + (int)(choice % 26));
    MUST(!cursor_verify(text, other_scope, &untouched) && untouched.place == 7);
    char *changed = text + choice % 55;
    *changed = *changed == 'A' ? 'B' : 'A';
    MUST(!cursor_verify(text, scope, &untouched) && untouched.place == 7);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size > 4000)
        return 0;
    static int ready;
    if (!ready)
        cursor_set_key(key, sizeof key);
    ready = 1;
    char *scope = exact_copy(bytes, size, 1);
    char *text = strchr(scope, '\n');
    struct cursor cursor = {.place = 7};
    if (text != NULL) {
        *text++ = '\0';
        if (cursor_verify(text, scope, &cursor)) {
            char again[CURSOR_TEXT_MAX];
            cursor_sign(&cursor, scope, again);
            MUST(strcmp(again, text) == 0);
            must_carry_our_mac(text, scope);
        } else {
            MUST(cursor.place == 7);
        }
    }
    must_come_back(bytes, size, scope);
    free(scope);
    return 0;
}
