/* claim: what a text about a person must look like, by whichever way it comes. Worker. No state. */
#include "identity/claim.h"

#include <string.h>

#define EMAIL_SIZE_MAX 254 /* RFC 5321, 4.5.3.1.3, without the angle brackets */

/* No control characters (C0, DEL, C1, U+2028, U+2029) and at most so many characters. The text is UTF-8 and free of
 * NUL. */
static bool is_plain_text(const char *text, size_t length, size_t characters_max)
{
    const unsigned char *bytes = (const unsigned char *)text;
    size_t characters = 0;

    for (size_t i = 0; i < length; i++) {
        if (bytes[i] < 0x20 || bytes[i] == 0x7f)
            return false;
        if (bytes[i] == 0xc2 && bytes[i + 1] < 0xa0)
            return false;
        if (bytes[i] == 0xe2 && bytes[i + 1] == 0x80 && (bytes[i + 2] == 0xa8 || bytes[i + 2] == 0xa9))
            return false;
        characters += (bytes[i] & 0xc0u) != 0x80;
    }
    return characters <= characters_max;
}

bool claim_is_name(const char *text, size_t length)
{
    return is_plain_text(text, length, 255);
}

bool claim_is_short(const char *text, size_t length)
{
    return is_plain_text(text, length, 64);
}

/* White space of any script is refused because the users table does. */
bool claim_is_email(const char *text, size_t length)
{
    static const char *const spaces[] = {
        "\u00a0", "\u1680", "\u2000", "\u2001", "\u2002", "\u2003", "\u2004", "\u2005",
        "\u2006", "\u2007", "\u2008", "\u2009", "\u200a", "\u202f", "\u205f", "\u3000",
    };
    const char *at = strchr(text, '@');

    for (size_t i = 0; i < sizeof spaces / sizeof spaces[0]; i++) {
        if (strstr(text, spaces[i]) != NULL)
            return false;
    }
    return length <= EMAIL_SIZE_MAX && is_plain_text(text, length, EMAIL_SIZE_MAX) && at != NULL && at != text &&
           at[1] != '\0' && strchr(at + 1, '@') == NULL && text[strcspn(text, " <>()[]\\,;:\"")] == '\0';
}

bool claim_is_kind(const char *text, size_t length)
{
    (void)length;
    return strcmp(text, "employee") == 0 || strcmp(text, "guest") == 0;
}

bool claim_is_role(const char *text, size_t length)
{
    (void)length;
    return strcmp(text, "participant") == 0 || strcmp(text, "organizer") == 0 || strcmp(text, "admin") == 0;
}
