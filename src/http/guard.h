/* guard: our policy on the header block of a request, which is stricter than any parser's: whatever two programs could
 * read in two ways is refused. Pure functions over bytes; no memory, no input and output. Worker process. */
#ifndef HTTP_GUARD_H
#define HTTP_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http/request.h"

/* GUARD(symbol, status, detail): every reason to refuse bytes, with what the client can do about it. */
#define GUARD_LIST(GUARD)                                                                                            \
    GUARD(LINE_END, 400, "End every line of the request with CR LF; a CR or an LF alone is refused.")                \
    GUARD(REQUEST_LINE, 400, "Begin with one line: method, space, target, space, HTTP/1.1.")                         \
    GUARD(METHOD, 501, "Use one of the methods that the Allow header of an OPTIONS request names.")                  \
    GUARD(CONNECT, 400, "This server is no proxy: CONNECT is refused.")                                              \
    GUARD(VERSION, 505, "Speak HTTP/1.1 or HTTP/1.0.")                                                               \
    GUARD(TARGET, 400, "Send a target that begins with / and percent-encode what is not printable ASCII.")           \
    GUARD(FRAGMENT, 400, "Leave the fragment (# and what follows) out of the target.")                               \
    GUARD(AUTHORITY, 400, "Let the authority of the target and the Host header be the same.")                        \
    GUARD(REQUEST_LINE_SIZE, 414, "Shorten the request line.")                                                       \
    GUARD(HEADER_SIZE, 431, "Send smaller headers.")                                                                 \
    GUARD(HEADER_COUNT, 431, "Send fewer header lines.")                                                             \
    GUARD(HEADER_NAME, 400, "Let every header begin with a name of token characters, directly followed by a colon.") \
    GUARD(HEADER_FOLDED, 400, "Write each header on one line; folded lines are refused.")                            \
    GUARD(HEADER_VALUE, 400, "Leave control characters out of header values.")                                       \
    GUARD(LOOK_ALIKE, 400, "Spell Content-Length and Transfer-Encoding exactly.")                                    \
    GUARD(HOST, 400, "Send exactly one Host header that holds a host name and, if needed, a port.")                  \
    GUARD(CONTENT_LENGTH, 400, "Send at most one Content-Length, of 1 to 18 digits.")                                \
    GUARD(TRANSFER_ENCODING, 501, "Send the body with Content-Length, or with Transfer-Encoding: chunked alone.")    \
    GUARD(TWO_LENGTHS, 400, "Send either Content-Length or Transfer-Encoding, not both.")                            \
    GUARD(OLD_CHUNKED, 400, "HTTP/1.0 knows no Transfer-Encoding: send Content-Length.")                             \
    GUARD(UNWANTED_BODY, 400, "Send GET and HEAD without a body.")                                                   \
    GUARD(UPGRADE, 400, "Send no Upgrade: this server speaks HTTP/1.1 only.")                                        \
    GUARD(EXPECT, 417, "Expect nothing but 100-continue.")                                                           \
    GUARD(PARSER, 400, "Send a request that follows RFC 9112.")                                                      \
    GUARD(CHUNK, 400, "Send chunks as RFC 9112 says, without chunk extensions and trailers.")                        \
    GUARD(BODY_SIZE, 413, "Send a smaller body.")                                                                    \
    GUARD(HEADER_TIME, 408, "Send the whole header block sooner.")                                                   \
    GUARD(BODY_TIME, 408, "Send the whole body sooner.")

enum guard_verdict {
    GUARD_OK,
    GUARD_MORE, /* guard_scan only: no verdict yet */
#define GUARD_ENUM(symbol, status, detail) GUARD_##symbol,
    GUARD_LIST(GUARD_ENUM)
#undef GUARD_ENUM
};

/* Of refusals only. */
int guard_status(enum guard_verdict verdict);
const char *guard_detail(enum guard_verdict verdict);

/* What a request may be; from the configuration. line_size + 4 is at most block_size. */
struct guard_limits {
    size_t line_size;  /* request line without its line end */
    size_t block_size; /* request line, headers and the empty line */
    size_t header_count;
};

/* How far the search for the end of the block has come. All zeros at the start of a request. */
struct guard_scan {
    size_t position;   /* bytes before it have been looked at */
    size_t line_start; /* of the line that `position` is in */
    size_t lines;      /* complete ones */
};

/* Looks for the end of the header block in the bytes that have come so far, going on where the last call stopped.
 * GUARD_OK: it is complete, `scan->position` bytes long. The verdict depends on the bytes only, not on how they were
 * cut: limits are judged at the same byte, whichever call sees it. */
enum guard_verdict guard_scan(struct guard_scan *scan, const char *bytes, size_t length,
                              const struct guard_limits *limits) MUST_CHECK;

/* A run of bytes within the block. */
struct guard_span {
    uint32_t start;
    uint32_t length;
};

struct guard_header {
    struct guard_span name;
    struct guard_span value; /* without white space around it */
};

/* What the block says. Spans are empty where the block was refused before them. */
struct guard_facts {
    enum http_method method;
    struct guard_span method_name;
    struct guard_span target; /* as sent */
    struct guard_span path;   /* the target from its path on; empty in "http://host" and "http://host?query" */
    int minor;                /* of HTTP/1.x */
    bool keep_alive;
    bool chunked;
    bool expects_continue;
    uint64_t content_length; /* 0 without the header */
    size_t header_count;
};

/* Judges a complete block (guard_scan said so). `headers` has room for limits.header_count of them. GUARD_OK or why
 * not. */
enum guard_verdict guard_check(const char *block, size_t length, struct guard_header *headers,
                               struct guard_facts *facts) MUST_CHECK;

#endif
