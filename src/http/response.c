/* response: the header block of an answer, and how it leaves. Worker process. */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "http/connection.h"
#include "http/exchange.h"
#include "http/request.h"

/* More than the fixed lines need: status line, Server, Date, Content-Length, Connection. */
#define FIXED_LINES_SIZE 320

static const struct reason {
    int status;
    const char *text;
} reasons[] = {
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {304, "Not Modified"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {417, "Expectation Failed"},
    {422, "Unprocessable Content"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {503, "Service Unavailable"},
    {505, "HTTP Version Not Supported"},
};

static const char *reason_of(int status)
{
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        if (reasons[i].status == status)
            return reasons[i].text;
    }
    return ""; /* RFC 9112, 4: the phrase may be empty */
}

static char *put(char *to, const char *text, size_t length)
{
    memcpy(to, text, length);
    return to + length;
}

static char *put_text(char *to, const char *text)
{
    return put(to, text, strlen(text));
}

static char *put_number(char *to, uint64_t number)
{
    char digits[20];
    size_t count = 0;
    do {
        digits[sizeof digits - ++count] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    return put(to, digits + sizeof digits - count, count);
}

/* 204 and 304 have no body and say no length (RFC 9110, 8.6: 304 may, but then it must be right for the 200). */
static bool has_length(int status)
{
    return status != 204 && status != 304;
}

/* A header block under construction, in the request's arena. */
struct head {
    char *start;
    char *to;
};

/* What every answer begins with, up to the Connection line; the last line has no CRLF yet. `room` for what follows. */
static struct head begin_head(const struct http_exchange *exchange, size_t room)
{
    const struct http_request *request = &exchange->request;
    size_t id = strlen(request->request_id);
    char *start = arena_alloc(request->arena, FIXED_LINES_SIZE + id + room);
    char *to = put_text(start, "HTTP/1.1 ");
    to = put_number(to, (uint64_t)exchange->status);
    *to++ = ' ';
    to = put_text(to, reason_of(exchange->status));
    to = put_text(to, "\r\nServer: turnout\r\nDate: ");
    to = put_text(to, clock_http_date());
    to = put_text(to, "\r\nX-Content-Type-Options: nosniff\r\nX-Request-Id: ");
    to = put(to, request->request_id, id);
    if (request->connection->close)
        to = put_text(to, "\r\nConnection: close");
    else if (exchange->facts.minor == 0 && exchange->facts.keep_alive)
        to = put_text(to, "\r\nConnection: keep-alive");
    return (struct head){.start = start, .to = to};
}

static struct head make_head(const struct http_exchange *exchange, const struct http_response *response)
{
    size_t further = response->headers == NULL ? 0 : strlen(response->headers);
    INVARIANT(further == 0 || (further > 2 && memcmp(response->headers + further - 2, "\r\n", 2) == 0));
    size_t type = response->content_type == NULL ? 0 : strlen(response->content_type);
    struct head head = begin_head(exchange, further + type);
    char *to = head.to;
    if (type > 0) {
        to = put_text(to, "\r\nContent-Type: ");
        to = put(to, response->content_type, type);
    }
    if (has_length(response->status)) {
        to = put_text(to, "\r\nContent-Length: ");
        to = put_number(to, response->body_length);
    }
    to = put_text(to, "\r\n");
    if (further > 0)
        to = put(to, response->headers, further);
    head.to = put_text(to, "\r\n");
    return head;
}

static struct head make_shared_head(const struct http_exchange *exchange, const struct http_shared *shared)
{
    struct head head = begin_head(exchange, shared->lines_length + shared->more_length);
    char *to = put_text(head.to, "\r\n");
    if (shared->lines_length > 0)
        to = put(to, shared->lines, shared->lines_length);
    if (shared->more_length > 0)
        to = put(to, shared->more, shared->more_length);
    head.to = put_text(to, "\r\n");
    return head;
}

/* false: nobody is there any more, and the exchange is gone. */
static bool begin_answer(struct http_exchange *exchange, int status)
{
    INVARIANT(!exchange->answered && status >= 200 && status <= 599);
    exchange->answered = true;
    exchange->status = status;
    if (exchange->dispatched)
        exchange->server->counters.in_flight--;

    struct http_connection *connection = exchange->request.connection;
    if (connection == NULL) {
        exchange_observe(exchange, clock_monotonic());
        exchange_finish(exchange, "client gone");
        return false;
    }
    OBJECT_CHECK(connection, CONNECTION_MAGIC);
    INVARIANT(connection->exchange == exchange && connection->state == CONNECTION_HANDLING);
    if (exchange->server->draining) {
        connection->close = true;
        connection->linger = true; /* it may have sent a next request that nobody will read */
    }
    return true;
}

static bool has_body(const struct http_exchange *exchange)
{
    return exchange->request.method != HTTP_METHOD_HEAD && has_length(exchange->status);
}

void http_respond(struct http_request *request, const struct http_response *response)
{
    struct http_exchange *exchange = exchange_of(request);
    exchange->release = response->release;
    exchange->owner = response->owner;
    if (!begin_answer(exchange, response->status))
        return;
    struct head head = make_head(exchange, response);
    connection_send(request->connection, head.start, (size_t)(head.to - head.start), response->body,
                    has_body(exchange) ? response->body_length : 0);
}

void http_respond_shared(struct http_request *request, const struct http_shared *shared)
{
    struct http_exchange *exchange = exchange_of(request);
    if (!begin_answer(exchange, shared->status))
        return;
    struct head head = make_shared_head(exchange, shared);
    connection_send_borrowed(request->connection, head.start, (size_t)(head.to - head.start), shared->body,
                             has_body(exchange) ? shared->body_length : 0);
}
