/* request: makes the request that handlers see from the header block, and ends it: access log, memory. Worker process.
 */
#include "http/request.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "base/uuid.h"
#include "http/connection.h"
#include "http/exchange.h"
#include "http/repeat.h"
#include "http/server_internal.h"
#include "http/turn.h"

#define QUERY_PARAMETERS_MAX 64

struct http_exchange *exchange_create(struct http_server *server, struct http_connection *connection)
{
    struct arena *arena =
        server->spare_arena_count > 0 ? server->spare_arenas[--server->spare_arena_count] : arena_create(ARENA_SIZE);
    struct http_exchange *exchange = arena_zalloc(arena, sizeof *exchange);
    exchange->server = server;
    struct http_request *request = &exchange->request;
    request->magic = HTTP_REQUEST_MAGIC;
    request->arena = arena;
    request->method = HTTP_METHOD_OTHER;
    request->method_name = "-";
    request->target = "";
    request->body = "";
    request->client_address = "unix";
    if (connection != NULL) {
        request->client_address = arena_strdup(arena, connection->address);
        request->client = connection->peer;
        request->started_at = connection->started_at;
        request->connection = connection;
    }
    LIST_INSERT_HEAD(&server->exchanges, exchange, entry);
    return exchange;
}

static bool is_request_id(const char *text, size_t length)
{
    if (length < 1 || length > 64)
        return false;
    for (size_t i = 0; i < length; i++) {
        char byte = text[i];
        if (!((byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
              byte == '.' || byte == '_' || byte == '-'))
            return false;
    }
    return true;
}

/* Lower-case hexadecimal digits, not all of them zero. */
static bool is_hex_id(const char *text, size_t length)
{
    bool zero = true;
    for (size_t i = 0; i < length; i++) {
        if (!((text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f')))
            return false;
        zero = zero && text[i] == '0';
    }
    return !zero;
}

/* version-trace-parent-flags; later versions may go on behind a further dash (W3C Trace Context, 3.2 and 4.3). */
static bool is_traceparent(const char *text, size_t length)
{
    if (length < 55 || text[2] != '-' || text[35] != '-' || text[52] != '-')
        return false;
    bool first = text[0] == '0' && text[1] == '0';
    if (!first && !is_hex_id(text, 2))
        return false;
    if (memcmp(text, "ff", 2) == 0 || (first && length > 55) || (length > 55 && text[55] != '-'))
        return false;
    return is_hex_id(text + 3, 32) && is_hex_id(text + 36, 16) &&
           (memcmp(text + 53, "00", 2) == 0 || is_hex_id(text + 53, 2));
}

/* The value of a header that is there exactly once: of two nobody can tell which one the proxy set. */
static const struct http_pair *only_header(const struct http_request *request, const char *name)
{
    const struct http_pair *found = NULL;
    for (size_t i = 0; i < request->header_count; i++) {
        if (!http_pair_is(&request->headers[i], name))
            continue;
        if (found != NULL)
            return NULL;
        found = &request->headers[i];
    }
    return found;
}

void exchange_give_id(struct http_exchange *exchange)
{
    struct http_request *request = &exchange->request;
    if (request->request_id != NULL)
        return;
    char *made = arena_alloc(request->arena, UUID_TEXT_SIZE);
    uuid_v7(made);
    request->request_id = made;
}

static void read_ids(struct http_request *request)
{
    const struct http_pair *id = only_header(request, "x-request-id");
    if (id != NULL && is_request_id(id->value, id->value_length))
        request->request_id = id->value;
    const struct http_pair *parent = only_header(request, "traceparent");
    if (parent != NULL && is_traceparent(parent->value, parent->value_length))
        request->traceparent = parent->value;
}

/* Spans get a NUL behind them within the copy: what stands there is a space, a colon or white space that no one reads.
 */
void exchange_fill(struct http_exchange *exchange, const char *block, size_t length, const struct guard_header *headers)
{
    struct http_request *request = &exchange->request;
    const struct guard_facts *facts = &exchange->facts;
    char *copy = arena_memdup(request->arena, block, length);
    if (facts->method_name.length > 0) {
        copy[facts->method_name.start + facts->method_name.length] = '\0';
        request->method = facts->method;
        request->method_name = copy + facts->method_name.start;
    }
    if (facts->target.length > 0) {
        char *path = copy + facts->path.start;
        copy[facts->target.start + facts->target.length] = '\0';
        request->target = *path == '/' ? path : arena_printf(request->arena, "/%s", path);
    }
    request->headers = arena_alloc(request->arena, facts->header_count * sizeof *request->headers);
    request->header_count = facts->header_count;
    for (size_t i = 0; i < facts->header_count; i++) {
        char *name = copy + headers[i].name.start;
        char *value = copy + headers[i].value.start;
        for (size_t j = 0; j < headers[i].name.length; j++)
            name[j] = (char)(name[j] >= 'A' && name[j] <= 'Z' ? name[j] | 0x20 : name[j]);
        name[headers[i].name.length] = '\0';
        value[headers[i].value.length] = '\0';
        request->headers[i] = (struct http_pair){name, value, headers[i].value.length};
    }
    read_ids(request);
}

const char *http_request_header(const struct http_request *request, const char *name)
{
    const char *value = NULL;
    for (size_t i = 0; i < request->header_count; i++) {
        if (!http_pair_is(&request->headers[i], name))
            continue;
        value = value == NULL ? request->headers[i].value
                              : arena_printf(request->arena, "%s, %s", value, request->headers[i].value);
    }
    return value;
}

static bool decode(struct arena *arena, const char *from, size_t length, const char **text, size_t *decoded_length)
{
    char *to = arena_alloc(arena, length + 1);
    ssize_t decoded = text_percent_decode(from, length, true, to);
    *text = to;
    *decoded_length = (size_t)decoded;
    return decoded >= 0;
}

bool exchange_read_query(struct http_exchange *exchange)
{
    struct http_request *request = &exchange->request;
    const char *at = strchr(request->target, '?');
    if (at == NULL)
        return true;
    size_t most = 1;
    for (const char *mark = ++at; (mark = strchr(mark, '&')) != NULL; mark++)
        most++;
    if (most > QUERY_PARAMETERS_MAX)
        return false;
    request->query = arena_alloc(request->arena, most * sizeof *request->query);
    for (const char *end; *at != '\0'; at = *end == '\0' ? end : end + 1) {
        end = at + strcspn(at, "&");
        if (end == at) /* "a=1&&b=2" */
            continue;
        const char *equals = memchr(at, '=', (size_t)(end - at));
        const char *value = equals == NULL ? end : equals + 1;
        struct http_pair *pair = &request->query[request->query_count++];
        size_t name_length;
        if (!decode(request->arena, at, (size_t)((equals == NULL ? end : equals) - at), &pair->name, &name_length) ||
            !decode(request->arena, value, (size_t)(end - value), &pair->value, &pair->value_length))
            return false;
    }
    return true;
}

static void write_access_log(const struct http_exchange *exchange, const char *note)
{
    const struct http_request *request = &exchange->request;
    log_info("request", log_text("method", request->method_name),
             log_text("route", request->route == NULL ? "-" : request->route->path),
             log_int("status", exchange->status), log_int("bytes", exchange->bytes),
             log_int("microseconds", clock_monotonic() - request->started_at),
             log_text("request_id", request->request_id), log_text("user_id", request->user_id),
             log_text("client", request->client_address), log_text("traceparent", request->traceparent),
             log_text("note", note));
}

void exchange_observe(const struct http_exchange *exchange, int64_t now)
{
    const struct http_observer *observer = exchange->server->options.observer;
    if (observer != NULL)
        observer->answered(observer->context, &exchange->request, exchange->status, exchange->bytes,
                           now - exchange->request.started_at);
}

void exchange_finish(struct http_exchange *exchange, const char *note)
{
    if (!exchange->answered)
        exchange_observe(exchange, clock_monotonic());
    if (exchange->server->options.configuration->access_log)
        write_access_log(exchange, note);
    if (exchange->release != NULL)
        exchange->release(exchange->owner);
    turn_forget(exchange);
    if (exchange->repeat != NULL)
        repeat_release(exchange->repeat);
    buffer_free(&exchange->body);
    LIST_REMOVE(exchange, entry);
    OBJECT_BURY(&exchange->request);

    struct http_server *server = exchange->server;
    struct arena *arena = exchange->request.arena;
    arena_reset(arena);
    if (REUSES_MEMORY && server->spare_arena_count < SPARE_ARENAS_MAX)
        server->spare_arenas[server->spare_arena_count++] = arena;
    else
        arena_destroy(arena);
}

void http_in_turn(struct http_request *request, http_work *work, void *context)
{
    turn_do(exchange_of(request), work, context);
}

size_t exchange_memory(const struct http_exchange *exchange)
{
    return arena_size(exchange->request.arena) + exchange->body.capacity;
}
