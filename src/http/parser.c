/* parser: llhttp, in its strict mode, on the bytes that the guards have let through. Worker process.
 * It has the last word on the header block, and it alone decides where a body ends. */
#include "http/parser.h"

#include "base/log.h"
#include "http/server_internal.h"

/* A body cut into chunks of one byte is six times its size on the wire; chunk sizes may begin with any number of zeros.
 */
#define CHUNKED_RAW_FACTOR 8

static struct http_exchange *exchange_of_parser(const llhttp_t *parser)
{
    return exchange_of(parser->data);
}

static int refuse(llhttp_t *parser, enum guard_verdict verdict)
{
    exchange_of_parser(parser)->refusal = verdict;
    return HPE_USER;
}

static size_t body_limit(const struct http_exchange *exchange)
{
    return (size_t)exchange->server->options.configuration->body_size;
}

static int on_header_field(llhttp_t *parser, const char *bytes, size_t length)
{
    (void)bytes;
    (void)length;
    /* behind the headers a field is a trailer: none is wanted here, and no two programs agree on what one may say */
    return exchange_of_parser(parser)->headers_done ? refuse(parser, GUARD_CHUNK) : 0;
}

/* Both readers saw the same request. */
static bool agree(const llhttp_t *parser, const struct guard_facts *facts)
{
    static const uint8_t methods[HTTP_METHOD_OTHER] = {
        [HTTP_METHOD_GET] = HTTP_GET,         [HTTP_METHOD_HEAD] = HTTP_HEAD,   [HTTP_METHOD_POST] = HTTP_POST,
        [HTTP_METHOD_PUT] = HTTP_PUT,         [HTTP_METHOD_PATCH] = HTTP_PATCH, [HTTP_METHOD_DELETE] = HTTP_DELETE,
        [HTTP_METHOD_OPTIONS] = HTTP_OPTIONS,
    };
    bool chunked = (parser->flags & F_CHUNKED) != 0;
    return parser->http_major == 1 && parser->http_minor == facts->minor && parser->upgrade == 0 &&
           chunked == facts->chunked && (chunked || parser->content_length == facts->content_length) &&
           (facts->method == HTTP_METHOD_OTHER || parser->method == methods[facts->method]);
}

static int on_headers_complete(llhttp_t *parser)
{
    struct http_exchange *exchange = exchange_of_parser(parser);
    exchange->headers_done = true;
    return agree(parser, &exchange->facts) ? 0 : refuse(parser, GUARD_PARSER);
}

static int on_chunk_extension(llhttp_t *parser, const char *bytes, size_t length)
{
    (void)bytes;
    (void)length;
    return refuse(parser, GUARD_CHUNK);
}

static int on_chunk_header(llhttp_t *parser)
{
    const struct http_exchange *exchange = exchange_of_parser(parser);
    bool fits = parser->content_length <= body_limit(exchange) - buffer_length(&exchange->body);
    return fits ? 0 : refuse(parser, GUARD_BODY_SIZE);
}

static int on_body(llhttp_t *parser, const char *bytes, size_t length)
{
    struct http_exchange *exchange = exchange_of_parser(parser);
    INVARIANT(length <= body_limit(exchange) - buffer_length(&exchange->body));
    buffer_append(&exchange->body, bytes, length);
    return 0;
}

/* Stops the parser behind this message: what follows is another request, which has yet to pass the guards. */
static int on_message_complete(llhttp_t *parser)
{
    exchange_of_parser(parser)->message_done = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t *settings(void)
{
    static const llhttp_settings_t callbacks = {
        .on_header_field = on_header_field,
        .on_headers_complete = on_headers_complete,
        .on_chunk_extension_name = on_chunk_extension,
        .on_chunk_header = on_chunk_header,
        .on_body = on_body,
        .on_message_complete = on_message_complete,
    };
    return &callbacks;
}

enum guard_verdict parser_read_headers(struct http_exchange *exchange, const char *block, size_t length)
{
    llhttp_t *parser = &exchange->parser;
    const struct guard_facts *facts = &exchange->facts;
    llhttp_init(parser, HTTP_REQUEST, settings());
    parser->data = &exchange->request;

    enum llhttp_errno result = llhttp_execute(parser, block, length);
    bool has_body = facts->chunked || facts->content_length > 0;
    bool stopped_at_the_end =
        has_body ? result == HPE_OK && !exchange->message_done
                 : result == HPE_PAUSED && exchange->message_done && llhttp_get_error_pos(parser) == block + length;
    if (!exchange->headers_done || !stopped_at_the_end) {
        log_debug("parser refused what the guards let through", log_text("error", llhttp_errno_name(result)),
                  log_text("reason", parser->reason), log_text("request_id", exchange->request.request_id));
        /* it knows fewer methods than there are tokens, and some only in other protocols */
        return facts->method == HTTP_METHOD_OTHER ? GUARD_METHOD : GUARD_PARSER;
    }
    if (facts->content_length > body_limit(exchange))
        return GUARD_BODY_SIZE;
    exchange->raw_left = facts->chunked ? body_limit(exchange) * CHUNKED_RAW_FACTOR : (size_t)facts->content_length;
    return GUARD_OK;
}

enum guard_verdict parser_read_body(struct http_exchange *exchange, const char *bytes, size_t length, size_t *used)
{
    llhttp_t *parser = &exchange->parser;
    size_t fed = length < exchange->raw_left ? length : exchange->raw_left;
    enum llhttp_errno result = llhttp_execute(parser, bytes, fed);
    *used = exchange->message_done ? (size_t)(llhttp_get_error_pos(parser) - bytes) : fed;
    exchange->raw_left -= *used;
    if (exchange->refusal != GUARD_OK)
        return exchange->refusal;
    if (exchange->message_done) {
        /* llhttp 8.1 takes a bare LF for the line end behind the last chunk */
        char before_last = *used > 1 ? bytes[*used - 2] : exchange->last_byte;
        return exchange->facts.chunked && before_last != '\r' ? GUARD_CHUNK : GUARD_OK;
    }
    if (result != HPE_OK)
        return GUARD_CHUNK;
    if (fed > 0)
        exchange->last_byte = bytes[fed - 1];
    return exchange->raw_left > 0 ? GUARD_MORE : GUARD_BODY_SIZE;
}
