/* parser: llhttp, in its strict mode, on the bytes that the guards have let through. Worker process, src/http only. */
#ifndef HTTP_PARSER_H
#define HTTP_PARSER_H

#include "http/exchange.h"
#include "http/guard.h"

/* Parses the header block and compares what llhttp understood with the guards' facts (exchange->facts): GUARD_OK only
 * where both readers agree and the body may be that long. */
enum guard_verdict parser_read_headers(struct http_exchange *exchange, const char *block, size_t length) MUST_CHECK;

/* Feeds bytes of the body; `used` of them belonged to it. GUARD_OK: the body is complete. GUARD_MORE: it goes on. */
enum guard_verdict parser_read_body(struct http_exchange *exchange, const char *bytes, size_t length,
                                    size_t *used) MUST_CHECK;

#endif
