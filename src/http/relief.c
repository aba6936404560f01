/* relief: queues of connections, oldest first. The idle ones make room for newcomers in a full server; of those
 * that hold memory while the client takes its time (slow headers, slow bodies, slow readers) the oldest are ended while
 * all of them together hold more than connection_memory. Without an attack nobody comes near either limit, and a client
 * that is quick is never the oldest. Worker process. */
#include "http/relief.h"

#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "http/intake.h"

/* Whoever has been accepted gets this long to send something, however many stand behind; who has been served before may
 * be idle for longer, and goes only where nobody else does. */
#define SILENT_LEAST INT64_C(1000000)
#define KEPT_LEAST INT64_C(10000000)
/* Where a process ends and everybody else waits for that. */
#define UNUSED_LEAST INT64_C(1000000)
/* Idle connections with something to read are passed over, but not all of them at each accept. */
#define LOOKS_MAX 16
#define COMPLAINT_INTERVAL INT64_C(1000000)

void relief_note_state(struct http_connection *connection, enum connection_state next)
{
    struct http_server *server = connection->server;
    struct connection_queue *queue = NULL;
    if (next == CONNECTION_IDLE)
        queue = connection->served ? &server->kept : &server->silent;
    else if (next == CONNECTION_HEADERS || next == CONNECTION_BODY || next == CONNECTION_WRITING)
        queue = &server->slow;
    if (connection->queue == queue) /* headers, then body: it keeps its place */
        return;
    if (connection->queue != NULL)
        TAILQ_REMOVE(connection->queue, connection, place);
    if (queue != NULL)
        TAILQ_INSERT_TAIL(queue, connection, place);
    connection->queue = queue;
}

/* Idle, as far as can be seen: what has come but was not read yet may be a request. */
static bool is_silent(const struct http_connection *connection)
{
    char byte;
    return !connection->resume && buffer_length(&connection->input) == 0 &&
           recv(connection->descriptor, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0;
}

static struct http_connection *find_silent(const struct connection_queue *queue, int64_t since)
{
    int looks = 0;
    struct http_connection *connection;
    TAILQ_FOREACH (connection, queue, place) {
        if (connection->idle_at > since || looks++ == LOOKS_MAX)
            return NULL;
        if (is_silent(connection))
            return connection;
    }
    return NULL;
}

static struct http_connection *find_idle(struct http_server *server, int64_t kept_least)
{
    int64_t now = clock_monotonic();
    struct http_connection *silent = find_silent(&server->silent, now - SILENT_LEAST);
    return silent != NULL ? silent : find_silent(&server->kept, now - kept_least);
}

struct http_connection *relief_find_idle(struct http_server *server)
{
    return find_idle(server, KEPT_LEAST);
}

struct http_connection *relief_find_unused(struct http_server *server)
{
    return find_idle(server, UNUSED_LEAST);
}

/* What it holds for as long as its client likes. A body without an owner is nobody's, or lies in the arena. */
static size_t slow_memory(const struct http_connection *connection)
{
    if (connection->queue != &connection->server->slow)
        return 0;
    size_t memory = connection->input.capacity;
    const struct http_exchange *exchange = connection->exchange;
    if (exchange != NULL)
        memory += exchange_memory(exchange) + (exchange->release != NULL ? exchange->bytes : 0);
    return memory;
}

static void update(struct http_connection *connection)
{
    size_t memory = slow_memory(connection);
    connection->server->slow_memory += memory - connection->slow_memory;
    connection->slow_memory = memory;
}

static void complain(struct http_server *server)
{
    int64_t now = clock_monotonic();
    if (server->relieved_at != 0 && now - server->relieved_at < COMPLAINT_INTERVAL)
        return;
    server->relieved_at = now;
    log_warning("slow clients are cut off: they hold connection_memory", log_int("bytes", (int64_t)server->slow_memory),
                log_int("connections", server->counters.connections));
}

void relief_note_memory(struct http_connection *connection)
{
    struct http_server *server = connection->server;
    update(connection);
    size_t limit = (size_t)server->options.configuration->connection_memory;
    if (server->slow_memory <= limit || server->relieving)
        return;
    server->relieving = true;
    complain(server);
    struct http_connection *oldest;
    while (server->slow_memory > limit && (oldest = TAILQ_FIRST(&server->slow)) != NULL) {
        server_happened(server, HTTP_CUT_OFF, 1);
        connection_expire(oldest);
        update(oldest);
    }
    server->relieving = false;
}
