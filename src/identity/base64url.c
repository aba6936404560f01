/* base64url: strict in both directions, because a token or cursor with two spellings is a token that a block list or a
 * cache by text can be made to miss. Any process, no state. */
#include "identity/base64url.h"

#include <stdint.h>

#define NOT_A_DIGIT 0xff

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static unsigned digit_value(unsigned char character);

size_t base64url_encode(const void *bytes, size_t length, char *text)
{
    const unsigned char *from = bytes;
    char *to = text;

    for (; length >= 3; length -= 3, from += 3) {
        *to++ = alphabet[from[0] >> 2];
        *to++ = alphabet[(from[0] & 0x03u) << 4 | from[1] >> 4];
        *to++ = alphabet[(from[1] & 0x0fu) << 2 | from[2] >> 6];
        *to++ = alphabet[from[2] & 0x3fu];
    }
    if (length > 0) {
        unsigned second = length == 2 ? from[1] : 0;

        *to++ = alphabet[from[0] >> 2];
        *to++ = alphabet[(from[0] & 0x03u) << 4 | second >> 4];
        if (length == 2)
            *to++ = alphabet[(second & 0x0fu) << 2];
    }
    *to = '\0';
    return (size_t)(to - text);
}

ssize_t base64url_decode(const char *text, size_t length, void *bytes, size_t room)
{
    unsigned char *to = bytes;
    uint32_t bits = 0; /* digits read and not yet written, in the low `bit_count` bits */
    unsigned bit_count = 0;
    size_t written = 0;

    /* One digit behind a group of four carries six bits, which is no byte. */
    if (length % 4 == 1 || length / 4 * 3 + (length % 4 == 0 ? 0 : length % 4 - 1) > room)
        return -1;
    for (size_t i = 0; i < length; i++) {
        unsigned digit = digit_value((unsigned char)text[i]);

        if (digit == NOT_A_DIGIT)
            return -1;
        bits = bits << 6 | digit;
        bit_count += 6;
        if (bit_count >= 8) {
            bit_count -= 8;
            to[written++] = (unsigned char)(bits >> bit_count & 0xffu);
        }
    }
    if ((bits & ((1u << bit_count) - 1)) != 0)
        return -1;
    return (ssize_t)written;
}

static unsigned digit_value(unsigned char character)
{
    if (character >= 'A' && character <= 'Z')
        return character - (unsigned)'A';
    if (character >= 'a' && character <= 'z')
        return character - (unsigned)'a' + 26;
    if (character >= '0' && character <= '9')
        return character - (unsigned)'0' + 52;
    if (character == '-')
        return 62;
    if (character == '_')
        return 63;
    return NOT_A_DIGIT;
}
