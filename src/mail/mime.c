/* mime: headers are folded at the places where encoded words meet and nowhere else: what is not encoded is short. */
#include "mail/mime.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/text.h"

/* RFC 5322, 2.1.1, and RFC 2047, 2: a line with an encoded word, and one word. */
#define LINE_MAX_LENGTH 78
#define WORD_LINE_MAX 76
#define WORD_MAX 75
#define WORD_OPEN "=?utf-8?B?"
#define WORD_CLOSE "?="
/* RFC 2045, 6.7 and 6.8. */
#define BODY_LINE_MAX 76

static const char hexadecimal[] = "0123456789ABCDEF";

/* ---- addresses ---- */

/* A character of an atom (RFC 5322, 3.2.3); those beyond ASCII as RFC 6532 has them. */
static bool is_atom(char character)
{
    return isalnum((unsigned char)character) || (unsigned char)character >= 0x80 ||
           (character != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", character) != NULL);
}

static bool is_dot_atom(const char *text, size_t length)
{
    bool after_dot = true;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '.' ? after_dot : !is_atom(text[i]))
            return false;
        after_dot = text[i] == '.';
    }
    return !after_dot;
}

static bool is_domain(const char *text)
{
    size_t length = strlen(text);
    if (length > 2 && text[0] == '[' && text[length - 1] == ']')
        return strspn(text + 1, "0123456789abcdefABCDEF.:IPv") == length - 2;
    for (size_t i = 0; i < length; i++)
        if (!isalnum((unsigned char)text[i]) && strchr(".-", text[i]) == NULL && (unsigned char)text[i] < 0x80)
            return false;
    return is_dot_atom(text, length);
}

static bool has_control(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            return true;
    return false;
}

bool mime_write_address(const char *text, char address[MIME_ADDRESS_SIZE])
{
    const char *at = strrchr(text, '@');
    size_t length = strlen(text);
    if (at == NULL || at == text || has_control(text) || !text_is_utf8(text, length) || !is_domain(at + 1))
        return false;
    size_t local = (size_t)(at - text);
    if (is_dot_atom(text, local))
        return snprintf(address, MIME_ADDRESS_SIZE, "%s", text) < MIME_ADDRESS_SIZE;
    size_t used = 0;
    address[used++] = '"';
    for (size_t i = 0; i < local; i++) {
        if (used + 4 > MIME_ADDRESS_SIZE)
            return false;
        if (text[i] == '"' || text[i] == '\\')
            address[used++] = '\\';
        address[used++] = text[i];
    }
    return snprintf(address + used, MIME_ADDRESS_SIZE - used, "\"%s", at) < (int)(MIME_ADDRESS_SIZE - used);
}

const char *mime_domain(const char *address)
{
    const char *at = strrchr(address, '@');
    INVARIANT(at != NULL);
    return at + 1;
}

/* Without blanks around it, and where it stands in quotation marks without those and their backslashes. */
static void append_name(const char *text, size_t length, struct buffer *name)
{
    while (length > 0 && isspace((unsigned char)text[0])) {
        text++;
        length--;
    }
    while (length > 0 && isspace((unsigned char)text[length - 1]))
        length--;
    bool is_quoted = length > 1 && text[0] == '"' && text[length - 1] == '"';
    if (is_quoted) {
        text++;
        length -= 2;
    }
    for (size_t i = 0; i < length; i++) {
        if (is_quoted && text[i] == '\\' && i + 1 < length)
            i++;
        buffer_append(name, &text[i], 1);
    }
}

bool mime_read_mailbox(const char *text, char address[MIME_ADDRESS_SIZE], struct buffer *name, char *error,
                       size_t error_size)
{
    const char *open = strrchr(text, '<');
    size_t length = strlen(text);
    char bare[MIME_ADDRESS_SIZE];
    if (has_control(text) || !text_is_utf8(text, length)) {
        snprintf(error, error_size, "expected an address, found a character that is none");
        return false;
    }
    if (open != NULL && text[length - 1] != '>') {
        snprintf(error, error_size, "expected > at the end of: %s", text);
        return false;
    }
    size_t size = open == NULL ? length : (size_t)(text + length - 1 - open - 1);
    const char *start = open == NULL ? text : open + 1;
    /* what an operator writes is one address as it stands: no comma, no blank, no second '@' */
    if (snprintf(bare, sizeof bare, "%.*s", (int)(size < sizeof bare ? size : sizeof bare), start) >=
            (int)sizeof bare ||
        strcspn(bare, " ,;<>\"\\") != size || strchr(bare, '@') != strrchr(bare, '@') ||
        !mime_write_address(bare, address)) {
        snprintf(error, error_size, "expected name@domain or Name <name@domain>, found: %s", text);
        return false;
    }
    if (open != NULL)
        append_name(text, (size_t)(open - text), name);
    return true;
}

/* ---- headers ---- */

static size_t character_length(const unsigned char *at)
{
    size_t length = 1;
    while ((at[length] & 0xc0) == 0x80)
        length++;
    return length;
}

static void append_base64(struct buffer *to, const unsigned char *bytes, size_t length)
{
    /* it ends its text with NUL, which is not counted */
    char *at = buffer_reserve(to, (length + 2) / 3 * 4 + 1);
    to->end += (size_t)EVP_EncodeBlock((unsigned char *)at, bytes, (int)length);
}

/* As encoded words, on as many lines as they need; the first goes on at `column` of its line. Returns the column. */
static size_t append_words(struct buffer *to, const char *text, size_t column)
{
    const unsigned char *at = (const unsigned char *)text;
    const size_t around = sizeof WORD_OPEN - 1 + sizeof WORD_CLOSE - 1;
    while (*at != '\0') {
        size_t room = WORD_LINE_MAX - column < WORD_MAX ? WORD_LINE_MAX - column : WORD_MAX;
        size_t bytes_max = (room - around) / 4 * 3;
        size_t length = 0;
        while (at[length] != '\0' && length + character_length(at + length) <= bytes_max)
            length += character_length(at + length);
        buffer_append_text(to, WORD_OPEN);
        append_base64(to, at, length);
        buffer_append_text(to, WORD_CLOSE);
        column += around + (length + 2) / 3 * 4;
        at += length;
        if (*at != '\0') {
            buffer_append_text(to, "\r\n ");
            column = 1;
        }
    }
    return column;
}

/* Plain ASCII that nobody reads as anything else. */
static bool is_plain(const char *text)
{
    size_t length = strlen(text);
    for (size_t i = 0; i < length; i++)
        if (text[i] < ' ' || text[i] > '~')
            return false;
    return strstr(text, "=?") == NULL && (length == 0 || (text[0] != ' ' && text[length - 1] != ' '));
}

void mime_text_header(struct buffer *to, const char *name, const char *text)
{
    size_t column = strlen(name) + 2;
    buffer_printf(to, "%s: ", name);
    if (is_plain(text) && column + strlen(text) <= LINE_MAX_LENGTH)
        buffer_append_text(to, text);
    else
        append_words(to, text, column);
    buffer_append_text(to, "\r\n");
}

/* A display name as a phrase: atoms and blanks, or a quoted string, or encoded words. */
static size_t append_phrase(struct buffer *to, const char *text, size_t column)
{
    bool is_atoms = true;
    size_t length = strlen(text);
    if (!is_plain(text) || column + 2 * length + 2 > LINE_MAX_LENGTH)
        return append_words(to, text, column);
    for (size_t i = 0; i < length; i++)
        is_atoms = is_atoms && (is_atom(text[i]) || text[i] == ' ');
    if (is_atoms) {
        buffer_append(to, text, length);
        return column + length;
    }
    buffer_append_text(to, "\"");
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '"' || text[i] == '\\')
            buffer_append_text(to, "\\");
        buffer_append(to, &text[i], 1);
    }
    buffer_append_text(to, "\"");
    return column + 2 * length + 2; /* at most */
}

void mime_mailbox_header(struct buffer *to, const char *name, const char *display, const char *address)
{
    size_t column = strlen(name) + 2;
    buffer_printf(to, "%s: ", name);
    if (display == NULL || display[0] == '\0') {
        buffer_printf(to, "%s\r\n", address);
        return;
    }
    column = append_phrase(to, display, column);
    bool fits = column + strlen(address) + 3 <= LINE_MAX_LENGTH;
    buffer_printf(to, "%s <%s>\r\n", fits ? "" : "\r\n", address);
}

void mime_date_header(struct buffer *to, int64_t moment)
{
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t seconds = (time_t)(moment / 1000000);
    struct tm parts;
    INVARIANT(gmtime_r(&seconds, &parts) != NULL);
    buffer_printf(to, "Date: %s, %d %s %d %02d:%02d:%02d +0000\r\n", days[parts.tm_wday], parts.tm_mday,
                  months[parts.tm_mon], parts.tm_year + 1900, parts.tm_hour, parts.tm_min, parts.tm_sec);
}

/* ---- bodies ---- */

/* Whether the line goes on behind `at`. */
static bool is_line_end(const char *at, const char *end)
{
    return at == end || *at == '\n' || (*at == '\r' && at + 1 < end && at[1] == '\n');
}

/* The bytes that stand for the one at `at`, which begins a line where `column` is 0. "From " and "--" at the start of a
 * line are what mailboxes and boundaries begin with. */
static size_t quoted(const char *at, const char *end, size_t column, char text[3])
{
    unsigned char byte = (unsigned char)*at;
    bool is_blank = byte == ' ' || byte == '\t';
    bool is_as_it_is = (byte > ' ' && byte <= '~' && byte != '=') || (is_blank && !is_line_end(at + 1, end));
    if (column == 0 && (byte == 'F' || byte == '-' || byte == '.'))
        is_as_it_is = false;
    text[0] = is_as_it_is ? (char)byte : '=';
    text[1] = hexadecimal[byte >> 4];
    text[2] = hexadecimal[byte & 15];
    return is_as_it_is ? 1 : 3;
}

/* Room for what stands for one character, so that no soft break stands within one. */
static size_t quoted_character(const char *at, const char *end, size_t column)
{
    char text[3];
    size_t size = quoted(at, end, column, text);
    for (at++; at < end && ((unsigned char)*at & 0xc0) == 0x80; at++)
        size += quoted(at, end, 1, text);
    return size;
}

static void append_quoted_printable(struct buffer *to, const char *bytes, size_t length)
{
    const char *end = bytes + length;
    size_t column = 0;
    for (const char *at = bytes; at < end; at++) {
        char text[3];
        if (is_line_end(at, end)) {
            at += *at == '\r';
            buffer_append_text(to, "\r\n");
            column = 0;
            continue;
        }
        if (((unsigned char)*at & 0xc0) != 0x80 && column + quoted_character(at, end, column) > BODY_LINE_MAX - 1) {
            buffer_append_text(to, "=\r\n");
            column = 0;
        }
        size_t size = quoted(at, end, column, text);
        buffer_append(to, text, size);
        column += size;
    }
    if (column > 0)
        buffer_append_text(to, "\r\n");
}

static void append_base64_lines(struct buffer *to, const char *bytes, size_t length)
{
    const size_t line = BODY_LINE_MAX / 4 * 3;
    struct buffer whole = {0};
    for (const char *at = bytes; at < bytes + length; at++) {
        if (*at == '\n' && (at == bytes || at[-1] != '\r'))
            buffer_append_text(&whole, "\r");
        buffer_append(&whole, at, 1);
    }
    while (buffer_length(&whole) > 0) {
        size_t size = buffer_length(&whole) < line ? buffer_length(&whole) : line;
        append_base64(to, (const unsigned char *)buffer_bytes(&whole), size);
        buffer_append_text(to, "\r\n");
        buffer_consume(&whole, size);
    }
    buffer_free(&whole);
}

void mime_body(struct buffer *to, const char *bytes, size_t length)
{
    struct buffer body = {0};
    append_quoted_printable(&body, bytes, length);
    /* 57 bytes are a line of 76 characters and its end */
    bool is_quoted = buffer_length(&body) <= (length + 2) * 78 / 57;
    if (!is_quoted) {
        buffer_clear(&body, SIZE_MAX);
        append_base64_lines(&body, bytes, length);
    }
    buffer_printf(to, "Content-Transfer-Encoding: %s\r\n\r\n", is_quoted ? "quoted-printable" : "base64");
    buffer_append(to, buffer_text(&body), buffer_length(&body));
    buffer_free(&body);
}
