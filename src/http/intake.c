/* intake: cuts requests out of the bytes that a connection has read, has each judged (guard), parsed (parser) and
 * routed, and hands it to its handler. Worker process; touches the connection, and the server's counters and header
 * table.
 *
 * The answer never depends on how the bytes were cut into reads: a request is judged when its last byte is there, and
 * limits are counted in bytes, never in reads. */
#include "http/intake.h"

#include <string.h>

#include "base/child.h"
#include "base/clock.h"
#include "http/forwarded.h"
#include "http/parser.h"
#include "http/problem.h"
#include "http/repeat.h"
#include "http/turn.h"

static const char continue_line[] = "HTTP/1.1 100 Continue\r\n\r\n";

static bool begin_request(struct http_connection *connection);
static bool read_headers(struct http_connection *connection);
static bool read_body(struct http_connection *connection);
static void begin_exchange(struct http_connection *connection);
static void take_repeat(struct http_connection *connection, struct repeat *repeat);

void intake_process(struct http_connection *connection)
{
    connection->processing = true;
    for (bool more = true; more;) {
        switch (connection->state) {
        case CONNECTION_IDLE:
            more = begin_request(connection);
            break;
        case CONNECTION_HEADERS:
            more = read_headers(connection);
            break;
        case CONNECTION_BODY:
            more = read_body(connection);
            break;
        default:
            more = false;
        }
    }
    connection->processing = false;
}

void intake_refuse(struct http_connection *connection, enum guard_verdict verdict)
{
    connection->close = true;
    connection->linger = true;
    connection_because(connection, verdict == GUARD_HEADER_TIME ? HTTP_CLOSED_HEADER_TIME
                                   : verdict == GUARD_BODY_TIME ? HTTP_CLOSED_BODY_TIME
                                                                : HTTP_CLOSED_REFUSED);
    const struct http_observer *observer = connection->server->options.observer;
    if (observer != NULL)
        observer->refused(observer->context, verdict);
    if (connection->exchange == NULL) {
        begin_exchange(connection);
        exchange_give_id(connection->exchange);
    }
    connection_enter(connection, CONNECTION_HANDLING);
    int status = guard_status(verdict);
    struct problem_details details = {.status = status, .detail = guard_detail(verdict)};
    bool too_large = status == 413 || status == 414 || status == 431;
    problem_respond(&connection->exchange->request, too_large ? PROBLEM_TOO_LARGE : PROBLEM_BAD_REQUEST, &details);
}

/* The next request begins. One empty line before it is skipped (RFC 9112, 2.2). */
static bool begin_request(struct http_connection *connection)
{
    struct buffer *input = &connection->input;
    const char *bytes = buffer_bytes(input);
    if (!connection->skipped_line && buffer_length(input) > 0 && bytes[0] == '\r') {
        if (buffer_length(input) == 1)
            return false;
        if (bytes[1] == '\n') {
            connection->skipped_line = true;
            buffer_consume(input, 2);
        }
    }
    if (buffer_length(input) == 0)
        return false;
    connection->scan = (struct guard_scan){0};
    connection->started_at = clock_monotonic();
    struct repeat *repeat = repeat_find(connection, buffer_bytes(input), buffer_length(input));
    if (repeat == NULL)
        return read_headers(connection);
    take_repeat(connection, repeat);
    return true;
}

static void answer_options(struct http_exchange *exchange)
{
    struct http_response response = {
        .status = 204, .headers = arena_printf(exchange->request.arena, "Allow: %s\r\n", exchange->allow)};
    http_respond(&exchange->request, &response);
}

static void handle(void *context)
{
    struct http_request *request = context;
    OBJECT_CHECK(request, HTTP_REQUEST_MAGIC);
    request->route->handler(request);
}

/* The request is complete: to its handler, or to the answer that stands in for one. */
static void dispatch(struct http_connection *connection)
{
    struct http_exchange *exchange = connection->exchange;
    struct http_request *request = &exchange->request;
    if (buffer_length(&exchange->body) > 0) {
        request->body = buffer_text(&exchange->body);
        request->body_length = buffer_length(&exchange->body);
    }
    connection_enter(connection, CONNECTION_HANDLING);
    struct problem_details details = {0};
    switch (exchange->routing) {
    case ROUTER_FOUND:
        if (exchange->repeat == NULL && !exchange_read_query(exchange)) {
            details.detail = "Percent-encode the query as UTF-8, and send at most 64 parameters.";
            problem_respond(request, PROBLEM_BAD_REQUEST, &details);
            return;
        }
        exchange->dispatched = true;
        connection->server->counters.in_flight++;
        exchange->takes_turns = request->method != HTTP_METHOD_GET && request->method != HTTP_METHOD_HEAD;
        if (exchange->takes_turns) {
            turn_do(exchange, handle, request);
            return;
        }
        child_set_activity(request->route->path, request->request_id);
        request->route->handler(request);
        child_set_activity(NULL, NULL);
        return;
    case ROUTER_OPTIONS:
        answer_options(exchange);
        return;
    case ROUTER_METHOD:
        details.headers = arena_printf(request->arena, "Allow: %s\r\n", exchange->allow);
        problem_respond(request, PROBLEM_METHOD_NOT_ALLOWED, &details);
        return;
    case ROUTER_UNKNOWN:
        problem_respond(request, PROBLEM_NOT_FOUND, NULL);
        return;
    case ROUTER_BAD_PATH:
        details.detail = "Percent-encode the path as UTF-8.";
        problem_respond(request, PROBLEM_BAD_REQUEST, &details);
        return;
    }
}

/* The client waits for a word before it sends the body: yes, or at once the answer that needs none. */
static void answer_expectation(struct http_connection *connection)
{
    if (connection->exchange->routing == ROUTER_FOUND) {
        connection->output[connection->output_count++] =
            (struct iovec){.iov_base = (void *)(uintptr_t)continue_line, .iov_len = sizeof continue_line - 1};
        connection_flush(connection);
        return;
    }
    connection->close = true;
    connection->linger = true;
    dispatch(connection);
}

static void begin_exchange(struct http_connection *connection)
{
    connection->exchange = exchange_create(connection->server, connection);
    connection->server->counters.requests++;
}

static enum guard_verdict judge_headers(struct http_connection *connection, const char *block, size_t length)
{
    struct http_server *server = connection->server;
    begin_exchange(connection);
    struct http_exchange *exchange = connection->exchange;
    enum guard_verdict verdict = guard_check(block, length, server->headers, &exchange->facts);
    exchange_fill(exchange, block, length, server->headers);
    exchange_give_id(exchange);
    forwarded_read(exchange, &connection->peer);
    if (verdict == GUARD_OK)
        verdict = parser_read_headers(exchange, block, length);
    return verdict;
}

/* The block is one that this connection has sent before: what it says is known. */
static void take_repeat(struct http_connection *connection, struct repeat *repeat)
{
    begin_exchange(connection);
    struct http_exchange *exchange = connection->exchange;
    repeat_use(repeat, exchange);
    exchange_give_id(exchange);
    forwarded_read(exchange, &connection->peer);
    buffer_consume(&connection->input, repeat->length);
    connection->close = !exchange->facts.keep_alive;
    dispatch(connection);
}

static bool read_headers(struct http_connection *connection)
{
    struct http_server *server = connection->server;
    struct buffer *input = &connection->input;
    enum guard_verdict verdict =
        guard_scan(&connection->scan, buffer_bytes(input), buffer_length(input), &server->limits);
    if (verdict == GUARD_MORE) {
        if (connection->state == CONNECTION_IDLE)
            connection_enter(connection, CONNECTION_HEADERS);
        return false;
    }
    if (verdict == GUARD_OK)
        verdict = judge_headers(connection, buffer_bytes(input), connection->scan.position);
    if (verdict != GUARD_OK) {
        intake_refuse(connection, verdict);
        return true;
    }
    repeat_note(connection, buffer_bytes(input), connection->scan.position, server->headers);
    buffer_consume(input, connection->scan.position);

    struct http_exchange *exchange = connection->exchange;
    struct http_request *request = &exchange->request;
    connection->close = !exchange->facts.keep_alive;
    exchange->routing =
        router_find(server->router, request, request->target, strcspn(request->target, "?"), &exchange->allow);
    if (exchange->message_done) {
        dispatch(connection);
        return true;
    }
    connection_enter(connection, CONNECTION_BODY);
    if (exchange->facts.expects_continue)
        answer_expectation(connection);
    return true;
}

static bool read_body(struct http_connection *connection)
{
    struct buffer *input = &connection->input;
    if (buffer_length(input) == 0)
        return false;
    size_t used;
    enum guard_verdict verdict =
        parser_read_body(connection->exchange, buffer_bytes(input), buffer_length(input), &used);
    buffer_consume(input, used);
    if (verdict == GUARD_MORE)
        return false;
    if (verdict == GUARD_OK)
        dispatch(connection);
    else
        intake_refuse(connection, verdict);
    return true;
}
