/* text: small questions about bytes. Any process, no state. */
#include "base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Length of the well-formed UTF-8 character at `at`, 0 where it is none (Unicode 15, table 3-7). */
static size_t character_length(const unsigned char *at, size_t left)
{
    if (at[0] < 0x80)
        return 1;
    if (at[0] < 0xc2 || at[0] > 0xf4)
        return 0;
    size_t length = at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
    if (left < length)
        return 0;
    unsigned char least = 0x80;
    unsigned char most = 0xbf;
    if (at[0] == 0xe0)
        least = 0xa0;
    else if (at[0] == 0xed)
        most = 0x9f;
    else if (at[0] == 0xf0)
        least = 0x90;
    else if (at[0] == 0xf4)
        most = 0x8f;
    if (at[1] < least || at[1] > most)
        return 0;
    for (size_t i = 2; i < length; i++) {
        if (at[i] < 0x80 || at[i] > 0xbf)
            return 0;
    }
    return length;
}

bool text_is_utf8(const char *bytes, size_t length)
{
    const unsigned char *at = (const unsigned char *)bytes;
    while (length > 0) {
        uint64_t word;
        if (length >= sizeof word && (memcpy(&word, at, sizeof word), (word & UINT64_C(0x8080808080808080)) == 0)) {
            at += sizeof word; /* eight of ASCII */
            length -= sizeof word;
            continue;
        }
        size_t one = character_length(at, length);
        if (one == 0)
            return false;
        at += one;
        length -= one;
    }
    return true;
}

static int hex_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F')
        return digit - 'A' + 10;
    return -1;
}

ssize_t text_percent_decode(const char *from, size_t length, bool plus_is_space, char *to)
{
    char *start = to;
    for (size_t i = 0; i < length; i++) {
        char byte = from[i];
        if (byte == '+' && plus_is_space) {
            byte = ' ';
        } else if (byte == '%') {
            if (length - i < 3)
                return -1;
            int high = hex_value(from[i + 1]);
            int low = hex_value(from[i + 2]);
            if (high < 0 || low < 0)
                return -1;
            byte = (char)(high * 16 + low);
            i += 2;
        }
        if (byte == '\0')
            return -1;
        *to++ = byte;
    }
    *to = '\0';
    if (!text_is_utf8(start, (size_t)(to - start)))
        return -1;
    return to - start;
}

bool text_parse_int64(const char *text, int64_t least, int64_t most, int64_t *value)
{
    const char *digits = text[0] == '-' ? text + 1 : text;
    if (digits[0] < '0' || digits[0] > '9')
        return false;
    char *end;
    errno = 0;
    long long parsed = strtoll(text, &end, 10);
    if (*end != '\0' || errno != 0 || parsed < least || parsed > most)
        return false;
    *value = parsed;
    return true;
}

void text_append_json(struct buffer *buffer, const char *text, size_t length)
{
    const unsigned char *at = (const unsigned char *)text;
    buffer_append(buffer, "\"", 1);
    while (length > 0) {
        size_t one = character_length(at, length);
        if (one == 0) {
            buffer_append_text(buffer, "\xef\xbf\xbd");
            one = 1;
        } else if (*at == '"' || *at == '\\') {
            buffer_append(buffer, "\\", 1);
            buffer_append(buffer, at, 1);
        } else if (*at < 0x20 || *at == 0x7f) {
            buffer_printf(buffer, "\\u%04x", *at);
        } else {
            buffer_append(buffer, at, one);
        }
        at += one;
        length -= one;
    }
    buffer_append(buffer, "\"", 1);
}
