/* guard: the policy of the header block, in the order in which a reader meets it: line ends and sizes (guard_scan), the
 * request line, each header, then what the headers mean together. llhttp reads the same block afterwards and has to
 * agree (connection.c). Worker process; no state. */
#include "http/guard.h"

#include <string.h>
#include <strings.h>

#include "base/object.h"

/* Classes of bytes. */
enum {
    TOKEN = 1,  /* tchar of RFC 9110, 5.6.2 */
    TARGET = 2, /* visible ASCII but '#' */
    VALUE = 4,  /* field-content of RFC 9110, 5.5: no control characters but the tab */
    HOST = 8,   /* reg-name without sub-delims, which no host of ours needs */
};

#define T TOKEN | TARGET | VALUE
#define H TOKEN | TARGET | VALUE | HOST
#define V TARGET | VALUE
/* clang-format off */
static const uint8_t classes[256] = {
    ['\t'] = VALUE, [' '] = VALUE, ['#'] = TOKEN | VALUE,
    ['!'] = T, ['"'] = V, ['$'] = T, ['%'] = H, ['&'] = T, ['\''] = T, ['('] = V, [')'] = V, ['*'] = T, ['+'] = T,
    [','] = V, ['-'] = H, ['.'] = H, ['/'] = V, ['0' ... '9'] = H, [':'] = V, [';'] = V, ['<'] = V, ['='] = V,
    ['>'] = V, ['?'] = V, ['@'] = V, ['A' ... 'Z'] = H, ['['] = V, ['\\'] = V, [']'] = V, ['^'] = T, ['_'] = H,
    ['`'] = T, ['a' ... 'z'] = H, ['{'] = V, ['|'] = T, ['}'] = V, ['~'] = H,
    [0x80 ... 0xff] = VALUE,
};
/* clang-format on */
#undef T
#undef H
#undef V

static const struct {
    int status;
    const char *detail;
} refusals[] = {
#define GUARD_ROW(symbol, status, detail) [GUARD_##symbol] = {status, detail},
    GUARD_LIST(GUARD_ROW)
#undef GUARD_ROW
};

/* Where a header is one of those that decide something here. */
struct framing {
    unsigned hosts;
    unsigned lengths;
    unsigned codings;
    bool lone_chunked; /* the last coding was exactly "chunked" */
    bool bad_host;
    bool bad_length;
    bool close;
    bool keep_alive;
    bool upgrade;
    bool expect_other;
    struct guard_span host;
};

static bool in_class(const char *bytes, size_t length, uint8_t class)
{
    for (size_t i = 0; i < length; i++) {
        if ((classes[(unsigned char)bytes[i]] & class) == 0)
            return false;
    }
    return true;
}

/* in_class(…, VALUE), eight bytes at once: values are most of a block. A word in which some byte may be below a space,
 * or may be DEL, is looked at byte by byte. */
static bool is_value(const char *bytes, size_t length)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    const uint64_t tops = ones << 7;
    while (length >= sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, bytes, sizeof word);
        uint64_t deleted = word ^ (ones * 0x7f);
        uint64_t suspects = ((word - ones * 0x20) & ~word) | ((deleted - ones) & ~deleted);
        if ((suspects & tops) != 0 && !in_class(bytes, sizeof word, VALUE))
            return false;
        bytes += sizeof word;
        length -= sizeof word;
    }
    return in_class(bytes, length, VALUE);
}

static bool equals(const char *bytes, size_t length, const char *name)
{
    return length == strlen(name) && strncasecmp(bytes, name, length) == 0;
}

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

static bool is_alphanumeric(char byte)
{
    return is_digit(byte) || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
}

int guard_status(enum guard_verdict verdict)
{
    INVARIANT(verdict > GUARD_MORE);
    return refusals[verdict].status;
}

const char *guard_detail(enum guard_verdict verdict)
{
    INVARIANT(verdict > GUARD_MORE);
    return refusals[verdict].detail;
}

/* The request line may be long only up to its limit, also while its end has not come. A CR at the very end may be that
 * of the line end and does not count yet. */
static bool line_too_long(const char *bytes, size_t length, size_t limit)
{
    if (length > 0 && bytes[length - 1] == '\r')
        length--;
    return length > limit;
}

enum guard_verdict guard_scan(struct guard_scan *scan, const char *bytes, size_t length,
                              const struct guard_limits *limits)
{
    /* Speech of another protocol (a TLS hello) never comes to a line end: it is known by its first byte. */
    if (scan->position == 0 && length > 0 && (classes[(unsigned char)bytes[0]] & TOKEN) == 0)
        return GUARD_REQUEST_LINE;
    size_t end = length < limits->block_size ? length : limits->block_size;
    while (scan->position < end) {
        const char *feed = memchr(bytes + scan->position, '\n', end - scan->position);
        if (feed == NULL) {
            scan->position = end;
            break;
        }
        size_t at = (size_t)(feed - bytes);
        if (scan->lines == 0 && line_too_long(bytes, at, limits->line_size))
            return GUARD_REQUEST_LINE_SIZE;
        if (at == scan->line_start || bytes[at - 1] != '\r')
            return GUARD_LINE_END;
        size_t line_length = at - 1 - scan->line_start;
        if (memchr(bytes + scan->line_start, '\r', line_length) != NULL)
            return GUARD_LINE_END;
        scan->position = at + 1;
        if (line_length == 0) /* not the first line: that one begins with a token character */
            return GUARD_OK;
        scan->line_start = at + 1;
        if (scan->lines++ > limits->header_count)
            return GUARD_HEADER_COUNT;
    }
    if (scan->lines == 0 && line_too_long(bytes, end, limits->line_size))
        return GUARD_REQUEST_LINE_SIZE;
    return length >= limits->block_size ? GUARD_HEADER_SIZE : GUARD_MORE;
}

static struct guard_span span(const char *block, const char *start, const char *end)
{
    return (struct guard_span){.start = (uint32_t)(start - block), .length = (uint32_t)(end - start)};
}

static enum http_method method_of(const char *name, size_t length)
{
    static const struct {
        const char *name;
        enum http_method method;
    } known[] = {{"GET", HTTP_METHOD_GET},        {"HEAD", HTTP_METHOD_HEAD},   {"POST", HTTP_METHOD_POST},
                 {"PUT", HTTP_METHOD_PUT},        {"PATCH", HTTP_METHOD_PATCH}, {"DELETE", HTTP_METHOD_DELETE},
                 {"OPTIONS", HTTP_METHOD_OPTIONS}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strlen(known[i].name) == length && memcmp(known[i].name, name, length) == 0)
            return known[i].method;
    }
    return HTTP_METHOD_OTHER;
}

/* host [":" port] with a host name, an IPv4 address or an IPv6 address in brackets. Empty hosts and ports are refused:
 * RFC 9110, 4.2.1 wants a host in http, and an empty port means nothing. */
static bool is_host(const char *text, size_t length)
{
    const char *end = text + length;
    const char *at = text;
    if (at < end && *at == '[') {
        const char *close = memchr(at, ']', length);
        if (close == NULL || close == at + 1)
            return false;
        for (at++; at < close; at++) {
            if (!is_digit(*at) && !((*at | 0x20) >= 'a' && (*at | 0x20) <= 'f') && *at != ':' && *at != '.')
                return false;
        }
        at++;
    } else {
        while (at < end && (classes[(unsigned char)*at] & HOST) != 0)
            at++;
        if (at == text)
            return false;
    }
    if (at == end)
        return true;
    size_t digits = (size_t)(end - at) - 1;
    if (*at != ':' || digits < 1 || digits > 5)
        return false;
    while (++at < end) {
        if (!is_digit(*at))
            return false;
    }
    return true;
}

/* Absolute form (RFC 9112, 3.2.2): the path begins behind the authority, which has to be the Host header's value. */
static const char *behind_authority(const char *target, const char *end, const char **authority)
{
    size_t length = (size_t)(end - target);
    if (length > 7 && strncasecmp(target, "http://", 7) == 0)
        *authority = target + 7;
    else if (length > 8 && strncasecmp(target, "https://", 8) == 0)
        *authority = target + 8;
    else
        return NULL;
    const char *at = *authority;
    while (at < end && *at != '/' && *at != '?')
        at++;
    return is_host(*authority, (size_t)(at - *authority)) ? at : NULL;
}

/* NAME/digits[.digits]: a protocol, though none of ours. Anything else at that place is no request line. */
static bool is_protocol(const char *text, size_t length)
{
    const char *slash = memchr(text, '/', length);
    if (slash == NULL || slash == text || slash + 1 == text + length)
        return false;
    for (const char *at = text; at < slash; at++) {
        if (!is_alphanumeric(*at))
            return false;
    }
    for (const char *at = slash + 1; at < text + length; at++) {
        if (!is_digit(*at) && *at != '.')
            return false;
    }
    return true;
}

static enum guard_verdict check_request_line(const char *block, const char *end, struct guard_facts *facts,
                                             struct guard_span *authority)
{
    const char *space = memchr(block, ' ', (size_t)(end - block));
    if (space == NULL || space == block || !in_class(block, (size_t)(space - block), TOKEN))
        return GUARD_REQUEST_LINE;
    facts->method_name = span(block, block, space);
    facts->method = method_of(block, (size_t)(space - block));

    const char *target = space + 1;
    const char *version = memchr(target, ' ', (size_t)(end - target));
    if (version == NULL || version == target)
        return GUARD_REQUEST_LINE;
    size_t target_length = (size_t)(version - target);
    version++;
    size_t version_length = (size_t)(end - version);
    if (version_length != 8 || memcmp(version, "HTTP/1.", 7) != 0 || (version[7] != '0' && version[7] != '1'))
        return is_protocol(version, version_length) ? GUARD_VERSION : GUARD_REQUEST_LINE;
    facts->minor = version[7] - '0';

    if (equals(block, facts->method_name.length, "CONNECT"))
        return GUARD_CONNECT;
    if (!in_class(target, target_length, TARGET))
        return memchr(target, '#', target_length) != NULL ? GUARD_FRAGMENT : GUARD_TARGET;
    const char *path = target;
    if (*target != '/') {
        const char *host;
        path = behind_authority(target, target + target_length, &host);
        if (path == NULL)
            return GUARD_TARGET;
        *authority = span(block, host, path);
    }
    facts->target = span(block, target, target + target_length);
    facts->path = span(block, path, target + target_length);
    return GUARD_OK;
}

/* Some proxies take Transfer_Encoding, Content--Length and the like for the real ones: names that are theirs once
 * everything but letters and digits is dropped. */
static bool is_look_alike(const char *name, size_t length)
{
    static const char coding[] = "transferencoding";
    static const char size[] = "contentlength";
    size_t kept = 0;
    bool like_coding = true;
    bool like_size = true;
    for (size_t i = 0; i < length && (like_coding || like_size); i++) {
        if (!is_alphanumeric(name[i]))
            continue;
        char lower = (char)(name[i] | 0x20);
        like_coding = like_coding && kept < sizeof coding - 1 && coding[kept] == lower;
        like_size = like_size && kept < sizeof size - 1 && size[kept] == lower;
        kept++;
    }
    return (like_coding && kept == sizeof coding - 1) || (like_size && kept == sizeof size - 1);
}

static bool read_length(const char *text, size_t length, uint64_t *value)
{
    if (length < 1 || length > 18) /* 18 digits fit 64 bits whatever they are */
        return false;
    *value = 0;
    for (size_t i = 0; i < length; i++) {
        if (!is_digit(text[i]))
            return false;
        *value = *value * 10 + (uint64_t)(text[i] - '0');
    }
    return true;
}

static void read_connection(const char *text, size_t length, struct framing *framing)
{
    const char *end = text + length;
    while (text < end) {
        const char *comma = memchr(text, ',', (size_t)(end - text));
        const char *stop = comma == NULL ? end : comma;
        const char *last = stop;
        while (text < last && (*text == ' ' || *text == '\t'))
            text++;
        while (last > text && (last[-1] == ' ' || last[-1] == '\t'))
            last--;
        size_t token = (size_t)(last - text);
        if (equals(text, token, "close"))
            framing->close = true;
        else if (equals(text, token, "keep-alive"))
            framing->keep_alive = true;
        else if (equals(text, token, "upgrade"))
            framing->upgrade = true;
        text = stop + 1;
    }
}

/* Notes what a header says about framing. By length first: most headers are none of these. */
static enum guard_verdict note_header(const char *block, const struct guard_header *header, struct framing *framing,
                                      struct guard_facts *facts)
{
    const char *name = block + header->name.start;
    const char *value = block + header->value.start;
    size_t length = header->value.length;
    switch (header->name.length) {
    case 4:
        if (equals(name, 4, "host")) {
            framing->hosts++;
            framing->host = header->value;
            framing->bad_host = framing->bad_host || !is_host(value, length);
        }
        return GUARD_OK;
    case 6:
        if (equals(name, 6, "expect")) {
            if (equals(value, length, "100-continue"))
                facts->expects_continue = true;
            else
                framing->expect_other = true;
        }
        return GUARD_OK;
    case 7:
        if (equals(name, 7, "upgrade"))
            framing->upgrade = true;
        return GUARD_OK;
    case 10:
        if (equals(name, 10, "connection"))
            read_connection(value, length, framing);
        return GUARD_OK;
    case 14:
        if (equals(name, 14, "content-length")) {
            framing->lengths++;
            framing->bad_length = framing->bad_length || !read_length(value, length, &facts->content_length);
            return GUARD_OK;
        }
        break;
    case 17:
        if (equals(name, 17, "transfer-encoding")) {
            framing->codings++;
            framing->lone_chunked = equals(value, length, "chunked");
            return GUARD_OK;
        }
        break;
    }
    return header->name.length > 12 && is_look_alike(name, header->name.length) ? GUARD_LOOK_ALIKE : GUARD_OK;
}

static enum guard_verdict check_header(const char *block, const char *line, const char *end,
                                       struct guard_header *header)
{
    if (*line == ' ' || *line == '\t')
        return GUARD_HEADER_FOLDED;
    const char *colon = line;
    while (colon < end && (classes[(unsigned char)*colon] & TOKEN) != 0)
        colon++;
    if (colon == line || colon == end || *colon != ':')
        return GUARD_HEADER_NAME;
    const char *value = colon + 1;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    if (!is_value(value, (size_t)(end - value)))
        return GUARD_HEADER_VALUE;
    header->name = span(block, line, colon);
    header->value = span(block, value, end);
    return GUARD_OK;
}

/* What the headers mean together. */
static enum guard_verdict check_framing(const char *block, const struct framing *framing, struct guard_span authority,
                                        struct guard_facts *facts)
{
    if (framing->bad_host || framing->hosts > 1 || (framing->hosts == 0 && facts->minor == 1))
        return GUARD_HOST;
    if (authority.length > 0 &&
        (authority.length != framing->host.length ||
         strncasecmp(block + authority.start, block + framing->host.start, authority.length) != 0))
        return GUARD_AUTHORITY;
    if (framing->bad_length || framing->lengths > 1)
        return GUARD_CONTENT_LENGTH;
    if (framing->codings > 0 && framing->lengths > 0)
        return GUARD_TWO_LENGTHS;
    if (framing->codings > 0 && facts->minor == 0)
        return GUARD_OLD_CHUNKED;
    if (framing->codings > 1 || (framing->codings > 0 && !framing->lone_chunked))
        return GUARD_TRANSFER_ENCODING;
    facts->chunked = framing->codings > 0;
    if ((facts->chunked || facts->content_length > 0) &&
        (facts->method == HTTP_METHOD_GET || facts->method == HTTP_METHOD_HEAD))
        return GUARD_UNWANTED_BODY;
    if (framing->upgrade)
        return GUARD_UPGRADE;
    /* RFC 9110, 10.1.1: HTTP/1.0 knows no Expect, it is to be ignored there. */
    if (facts->minor == 0)
        facts->expects_continue = false;
    else if (framing->expect_other)
        return GUARD_EXPECT;
    facts->keep_alive = !framing->close && (facts->minor == 1 || framing->keep_alive);
    return GUARD_OK;
}

enum guard_verdict guard_check(const char *block, size_t length, struct guard_header *headers,
                               struct guard_facts *facts)
{
    *facts = (struct guard_facts){.method = HTTP_METHOD_OTHER};
    INVARIANT(length > 4 && memcmp(block + length - 4, "\r\n\r\n", 4) == 0);
    struct framing framing = {0};
    struct guard_span authority = {0};

    const char *end = memchr(block, '\r', length);
    enum guard_verdict verdict = end[1] == '\n' ? check_request_line(block, end, facts, &authority) : GUARD_LINE_END;
    for (const char *line = end + 2; verdict == GUARD_OK && *line != '\r'; line = end + 2) {
        end = memchr(line, '\r', length - (size_t)(line - block));
        if (end[1] != '\n')
            return GUARD_LINE_END;
        struct guard_header *header = &headers[facts->header_count];
        verdict = check_header(block, line, end, header);
        if (verdict != GUARD_OK)
            break;
        facts->header_count++;
        verdict = note_header(block, header, &framing, facts);
    }
    return verdict == GUARD_OK ? check_framing(block, &framing, authority, facts) : verdict;
}
