/* repeat: the blocks that are kept, a small table per server. Worker process; touches the connection's two notes of
 * what it sent last.
 *
 * Nothing is kept that says who somebody is (Authorization, Cookie): secrets live no longer than their request. */
#include "http/repeat.h"

#include <stdlib.h>
#include <string.h>

#include "http/router.h"

/* Of the model's arena. Pairs and decoded parameters beside the copy of the block. */
#define MODEL_SIZE 2048

struct repeat *repeat_find(const struct http_connection *connection, const char *bytes, size_t length)
{
    struct repeat *repeat = connection->repeat;
    bool same = repeat != NULL && repeat->length > 0 && repeat->length <= length &&
                memcmp(repeat->block, bytes, repeat->length) == 0;
    return same ? repeat : NULL;
}

void repeat_use(struct repeat *repeat, struct http_exchange *exchange)
{
    const struct http_exchange *model = &repeat->model;
    struct http_request *request = &exchange->request;
    request->method = model->request.method;
    request->method_name = model->request.method_name;
    request->target = model->request.target;
    request->route = model->request.route;
    memcpy(request->parameters, model->request.parameters, sizeof request->parameters);
    request->query = model->request.query;
    request->query_count = model->request.query_count;
    request->headers = model->request.headers;
    request->header_count = model->request.header_count;
    request->request_id = model->request.request_id;
    request->traceparent = model->request.traceparent;
    exchange->facts = model->facts;
    exchange->routing = model->routing;
    exchange->allow = model->allow;
    exchange->headers_done = true;
    exchange->message_done = true;
    exchange->repeat = repeat;
    repeat->asked = true;
    repeat->users++;
}

void repeat_release(struct repeat *repeat)
{
    INVARIANT(repeat->users > 0);
    repeat->users--;
}

/* Need not be strong: a block counts as the same only byte by byte. */
static uint64_t hash_of(const char *bytes, size_t length)
{
    uint64_t hash = length;
    for (; length >= sizeof hash; bytes += sizeof hash, length -= sizeof hash) {
        uint64_t word;
        memcpy(&word, bytes, sizeof word);
        hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 32;
    }
    uint64_t rest = 0;
    memcpy(&rest, bytes, length);
    hash = (hash ^ rest) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ hash >> 32;
}

/* Reads the block once more, into the model. false: it is none to be kept. */
static bool read_again(struct repeat *repeat, const struct http_exchange *exchange, const struct guard_header *headers)
{
    struct http_exchange *model = &repeat->model;
    struct arena *arena = model->request.arena;
    arena_reset(arena);
    *model = (struct http_exchange){.server = exchange->server, .facts = exchange->facts, .request.arena = arena};
    struct http_request *request = &model->request;
    exchange_fill(model, repeat->block, repeat->length, headers);
    if (http_request_header(request, "authorization") != NULL || http_request_header(request, "cookie") != NULL)
        return false;
    model->routing =
        router_find(exchange->server->router, request, request->target, strcspn(request->target, "?"), &model->allow);
    return model->routing == ROUTER_FOUND && exchange_read_query(model);
}

/* Another client may have brought it here. */
static bool holds(const struct repeat *repeat, const char *block, size_t length)
{
    return repeat != NULL && repeat->length == length && memcmp(repeat->block, block, length) == 0;
}

void repeat_note(struct http_connection *connection, const char *block, size_t length,
                 const struct guard_header *headers)
{
    struct http_server *server = connection->server;
    const struct http_exchange *exchange = connection->exchange;
    if (length > REPEAT_SIZE || !exchange->message_done)
        return;
    uint64_t hash = hash_of(block, length);
    struct repeat **place = &server->repeats[hash % REPEATS];
    if (holds(*place, block, length)) {
        connection->repeat = *place;
        return;
    }
    bool again = connection->last_block == hash;
    connection->last_block = hash;
    if (!again)
        return;
    if (*place == NULL) {
        *place = calloc(1, sizeof **place);
        INVARIANT(*place != NULL);
        (*place)->model.request.arena = arena_create(MODEL_SIZE);
    }
    struct repeat *repeat = *place;
    bool taken = repeat->users > 0 || (repeat->length > 0 && repeat->asked);
    repeat->asked = false; /* who is asked for often keeps its place, or two of a place would take turns */
    if (taken)
        return;
    memcpy(repeat->block, block, length);
    repeat->length = length;
    if (read_again(repeat, exchange, headers))
        connection->repeat = repeat;
    else
        repeat->length = 0;
}

void repeat_forget(struct http_server *server)
{
    for (size_t i = 0; i < REPEATS; i++) {
        if (server->repeats[i] != NULL)
            server->repeats[i]->length = 0;
    }
}

void repeat_free(struct http_server *server)
{
    for (size_t i = 0; i < REPEATS; i++) {
        struct repeat *repeat = server->repeats[i];
        if (repeat == NULL)
            continue;
        INVARIANT(repeat->users == 0);
        arena_destroy(repeat->model.request.arena);
        free(repeat);
        server->repeats[i] = NULL;
    }
}

size_t repeat_memory(const struct http_server *server)
{
    size_t memory = 0;
    for (size_t i = 0; i < REPEATS; i++) {
        const struct repeat *repeat = server->repeats[i];
        if (repeat != NULL)
            memory += sizeof *repeat + arena_size(repeat->model.request.arena);
    }
    return memory;
}
