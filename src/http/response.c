/* response: the header block of an answer, and how it leaves. Worker process. */
#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "http/connection.h"
#include "http/exchange.h"
#include "http/request.h"

/* A body up to this size is copied behind its header block: one piece costs the kernel less than two. Bytes; from there
 * on the difference is lost in the rest. */
#define COPIED_MOST 2048
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
    {0, ""}, /* RFC 9112, 4: the phrase may be empty */
};

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

/* The lines that all answers of one status share for a second. */
struct opening {
    int status;
    char date[HTTP_DATE_SIZE];
    char text[FIXED_LINES_SIZE];
    size_t length;
};

static const struct opening *opening_of(int status)
{
    static struct opening openings[sizeof reasons / sizeof reasons[0]];
    size_t i = 0;
    while (reasons[i].status != status && reasons[i].status != 0)
        i++;
    struct opening *opening = &openings[i];
    const char *date = clock_http_date();
    if (opening->status == status && memcmp(opening->date, date, HTTP_DATE_SIZE) == 0)
        return opening;
    opening->status = status;
    memcpy(opening->date, date, HTTP_DATE_SIZE);
    char *to = put_text(opening->text, "HTTP/1.1 ");
    to = put_number(to, (uint64_t)status);
    *to++ = ' ';
    to = put_text(to, reasons[i].text);
    to = put_text(to, "\r\nServer: turnout\r\nDate: ");
    to = put_text(to, date);
    to = put_text(to, "\r\nX-Content-Type-Options: nosniff\r\nX-Request-Id: ");
    opening->length = (size_t)(to - opening->text);
    return opening;
}

/* What every answer begins with, up to the Connection line; the last line has no CRLF yet. `room` for what follows. */
static struct head begin_head(const struct http_exchange *exchange, size_t room)
{
    const struct http_request *request = &exchange->request;
    size_t id = strlen(request->request_id);
    const struct opening *opening = opening_of(exchange->status);
    char *start = arena_alloc(request->arena, FIXED_LINES_SIZE + id + room);
    char *to = put(start, opening->text, opening->length);
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
    const char *own = exchange->request.answer_lines;
    size_t own_length = own == NULL ? 0 : strlen(own);
    struct head head = begin_head(exchange, further + type + own_length);
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
    if (own_length > 0)
        to = put(to, own, own_length);
    if (further > 0)
        to = put(to, response->headers, further);
    head.to = put_text(to, "\r\n");
    return head;
}

/* `room` for a body behind it. */
static struct head make_shared_head(const struct http_exchange *exchange, const struct http_shared *shared, size_t room)
{
    const char *own = exchange->request.answer_lines;
    size_t own_length = own == NULL ? 0 : strlen(own);
    struct head head = begin_head(exchange, own_length + shared->lines_length + shared->more_length + room);
    char *to = put_text(head.to, "\r\n");
    if (own_length > 0)
        to = put(to, own, own_length);
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
    size_t length = has_body(exchange) ? shared->body_length : 0;
    bool whole = length <= COPIED_MOST;
    struct head head = make_shared_head(exchange, shared, whole ? length : 0);
    if (whole && length > 0)
        head.to = put(head.to, shared->body, length);
    size_t head_length = (size_t)(head.to - head.start);
    if (whole)
        connection_send(request->connection, head.start, head_length, NULL, 0);
    else
        connection_send_borrowed(request->connection, head.start, head_length, shared->body, length);
}

bool http_request_is_awaited(const struct http_request *request)
{
    OBJECT_CHECK(request, HTTP_REQUEST_MAGIC);
    if (request->connection == NULL)
        return false;
    struct pollfd client = {.fd = request->connection->descriptor, .events = POLLRDHUP};
    return poll(&client, 1, 0) == 0;
}
