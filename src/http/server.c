/* server: the shared listeners and what the connections have in common: limits, spare memory, counters, the drain.
 * Worker process; the listening sockets are inherited from the master and shared with the other workers. */
#include "http/server.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "http/connection.h"
#include "http/relief.h"
#include "http/repeat.h"
#include "http/server_internal.h"
#include "http/turn.h"

/* Per wake-up: the other workers get their share. */
#define ACCEPTS_MAX 16
/* In a drain nobody else may be left to take them; more than any listen queue holds. */
#define DRAIN_ACCEPTS_MAX 65536
/* In a drain that leaves the queue to others: between two looks for connections that nobody uses. */
#define DRAIN_LOOK_INTERVAL INT64_C(500000)
/* Of the limit of open files, for what a worker opens beside its clients: database, listeners, log, loop. */
#define DESCRIPTORS_KEPT 64
/* Full, or out of descriptors: the next try. */
#define ACCEPT_RETRY_TIME INT64_C(100000)
#define COMPLAINT_INTERVAL INT64_C(1000000)

static void on_acceptable(evutil_socket_t descriptor, short what, void *argument);
static void on_accept_retry(evutil_socket_t descriptor, short what, void *argument);
static void on_reap(evutil_socket_t descriptor, short what, void *argument);
static void on_idle_end(evutil_socket_t descriptor, short what, void *argument);

static struct http_server *server_of(void *argument)
{
    struct http_server *server = argument;
    OBJECT_CHECK(server, SERVER_MAGIC);
    return server;
}

static void start_accepting(struct http_server *server)
{
    for (size_t i = 0; i < server->options.listener_count && !server->accepting; i++)
        event_add(server->listeners[i].event, NULL);
    server->accepting = true;
}

static void stop_accepting(struct http_server *server)
{
    for (size_t i = 0; i < server->options.listener_count && server->accepting; i++)
        event_del(server->listeners[i].event);
    server->accepting = false;
}

/* By the limit of open files, which may be below what max_connections needs (the master has said so then): a client is
 * better kept waiting than the database connection that serves it. */
static int64_t connections_allowed(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > INT64_MAX)
        return INT64_MAX;
    int64_t descriptors = (int64_t)limit.rlim_cur;
    return descriptors > 2 * DESCRIPTORS_KEPT ? descriptors - DESCRIPTORS_KEPT : (descriptors + 1) / 2;
}

static void take_limits(struct http_server *server)
{
    const struct configuration *configuration = server->options.configuration;
    struct guard_limits *limits = &server->limits;
    limits->block_size = (size_t)configuration->header_size;
    limits->line_size = (size_t)configuration->request_line_size;
    if (limits->line_size > limits->block_size - 4)
        limits->line_size = limits->block_size - 4;
    limits->header_count = (size_t)configuration->header_count;
    repeat_forget(server);
    if (limits->header_count <= server->header_room)
        return;
    free(server->headers);
    server->headers = calloc(limits->header_count, sizeof *server->headers);
    INVARIANT(server->headers != NULL);
    server->header_room = limits->header_count;
}

struct http_server *http_server_create(const struct http_server_options *options)
{
    struct http_server *server = calloc(1, sizeof *server);
    INVARIANT(server != NULL);
    server->magic = SERVER_MAGIC;
    server->options = *options;
    take_limits(server);
    server->connections_max = connections_allowed();
    TAILQ_INIT(&server->silent);
    TAILQ_INIT(&server->kept);
    TAILQ_INIT(&server->slow);
    turn_start(server);
    server->router = router_create(options->routes);
    buffer_reserve(&server->scratch, READ_SIZE);
    server->reaper = evtimer_new(options->base, on_reap, server);
    server->accept_retry = evtimer_new(options->base, on_accept_retry, server);
    server->idle_end = event_new(options->base, -1, EV_PERSIST, on_idle_end, server);
    server->listeners = calloc(options->listener_count + 1, sizeof *server->listeners);
    INVARIANT(server->reaper != NULL && server->accept_retry != NULL && server->idle_end != NULL &&
              server->listeners != NULL);
    server->options.listeners = NULL; /* the caller's; ours are below */
    for (size_t i = 0; i < options->listener_count; i++) {
        struct http_listener *listener = &server->listeners[i];
        listener->magic = LISTENER_MAGIC;
        listener->server = server;
        listener->descriptor = options->listeners[i];
        listener->event = event_new(options->base, listener->descriptor, EV_READ | EV_PERSIST, on_acceptable, listener);
        INVARIANT(listener->event != NULL);
    }
    start_accepting(server);
    return server;
}

void http_server_destroy(struct http_server *server)
{
    if (server == NULL)
        return;
    http_server_close_all(server);
    connection_reap(server);
    connection_free_spare(server);
    struct http_exchange *exchange;
    while ((exchange = LIST_FIRST(&server->exchanges)) != NULL)
        exchange_finish(exchange, "server ended");
    turn_end(server);
    repeat_free(server);
    while (server->spare_arena_count > 0)
        arena_destroy(server->spare_arenas[--server->spare_arena_count]);
    for (size_t i = 0; i < server->options.listener_count; i++)
        event_free(server->listeners[i].event);
    event_free(server->reaper);
    event_free(server->accept_retry);
    event_free(server->idle_end);
    free(server->listeners);
    free(server->headers);
    buffer_free(&server->scratch);
    router_destroy(server->router);
    OBJECT_BURY(server);
    free(server);
}

void http_server_statistics(const struct http_server *server, struct http_statistics *statistics)
{
    OBJECT_CHECK(server, SERVER_MAGIC);
    *statistics = server->counters;
    size_t memory = server->scratch.capacity + server->spare_connection_count * sizeof(struct http_connection);
    for (size_t i = 0; i < server->spare_arena_count; i++)
        memory += arena_size(server->spare_arenas[i]);
    memory += repeat_memory(server);
    const struct http_connection *connection;
    LIST_FOREACH (connection, &server->open, entry)
        memory += connection_memory(connection);
    LIST_FOREACH (connection, &server->dying, entry)
        memory += connection_memory(connection);
    const struct http_exchange *exchange;
    LIST_FOREACH (exchange, &server->exchanges, entry)
        memory += exchange_memory(exchange);
    statistics->memory = (int64_t)memory;
}

/* ---- accepting ---- */

enum accept_result { ACCEPT_MORE, ACCEPT_NONE, ACCEPT_EXHAUSTED };

static enum accept_result accept_one(struct http_server *server, int listener)
{
    struct sockaddr_storage name = {.ss_family = AF_UNSPEC};
    socklen_t size = sizeof name;
    int descriptor = accept4(listener, (struct sockaddr *)&name, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (descriptor < 0) {
        switch (errno) {
        case EMFILE:
        case ENFILE:
        case ENOBUFS:
        case ENOMEM:
            return ACCEPT_EXHAUSTED;
        case EAGAIN:
        case EINVAL: /* shut down by another process */
        case EBADF:
        case ENOTSOCK:
            return ACCEPT_NONE;
        default: /* what went wrong with a connection before it was taken (accept(2)) is told here: ECONNABORTED and
                    others */
            return ACCEPT_MORE;
        }
    }
    struct network_peer peer = network_peer_of(&name);
    if (peer.kind == NETWORK_IP) {
        int on = 1;
        (void)setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    connection_open(server, descriptor, &peer);
    return ACCEPT_MORE;
}

/* The queue stays as it is for a while: without this the level-triggered listener would keep the loop spinning. */
static void pause_accepting(struct http_server *server, enum http_occurrence why, const char *error)
{
    int64_t now = clock_monotonic();
    if (server->complained_at == 0 || now - server->complained_at >= COMPLAINT_INTERVAL) {
        server->complained_at = now;
        log_warning("cannot accept connections", log_text("error", error),
                    log_int("connections", server->counters.connections));
    }
    server_happened(server, why, 1);
    stop_accepting(server);
    server->exhausted = why == HTTP_EXHAUSTED;
    struct timeval delay = clock_timeval(ACCEPT_RETRY_TIME);
    event_add(server->accept_retry, &delay);
}

static bool is_full(const struct http_server *server)
{
    int64_t connections = server->counters.connections;
    return connections >= server->options.configuration->max_connections || connections >= server->connections_max;
}

static void make_room(struct http_connection *idle)
{
    connection_because(idle, HTTP_CLOSED_ROOM);
    connection_close(idle);
}

static bool somebody_waits(int listener)
{
    int before = errno;
    struct pollfd one = {.fd = listener, .events = POLLIN};
    bool waits = poll(&one, 1, 0) > 0;
    errno = before;
    return waits;
}

/* In a full server a newcomer takes the place of one that is idle. */
static enum accept_result accept_for(struct http_server *server, int listener)
{
    struct http_connection *idle = is_full(server) ? relief_find_idle(server) : NULL;
    int64_t accepted = server->counters.accepted;
    enum accept_result result = accept_one(server, listener);
    /* the kernel says so before it looks whether anybody waits */
    if (result == ACCEPT_EXHAUSTED && somebody_waits(listener) && (idle = relief_find_idle(server)) != NULL) {
        make_room(idle);
        return accept_one(server, listener);
    }
    if (idle != NULL && server->counters.accepted > accepted)
        make_room(idle);
    return result;
}

static bool may_accept(struct http_server *server)
{
    return !is_full(server) || relief_find_idle(server) != NULL;
}

static void on_acceptable(evutil_socket_t descriptor, short what, void *argument)
{
    (void)what;
    struct http_listener *listener = argument;
    OBJECT_CHECK(listener, LISTENER_MAGIC);
    struct http_server *server = listener->server;
    for (int i = 0; i < ACCEPTS_MAX; i++) {
        if (!may_accept(server)) {
            pause_accepting(server, HTTP_FULL, "max_connections are open");
            return;
        }
        switch (accept_for(server, descriptor)) {
        case ACCEPT_MORE:
            break;
        case ACCEPT_NONE:
            return;
        case ACCEPT_EXHAUSTED:
            pause_accepting(server, HTTP_EXHAUSTED, strerror(errno));
            return;
        }
    }
}

static void on_accept_retry(evutil_socket_t descriptor, short what, void *argument)
{
    (void)descriptor;
    (void)what;
    struct http_server *server = server_of(argument);
    server->exhausted = false;
    if (server->draining) {
        http_server_drain(server, server->leave_queue);
    } else if (may_accept(server)) {
        start_accepting(server);
    } else {
        struct timeval delay = clock_timeval(ACCEPT_RETRY_TIME);
        event_add(server->accept_retry, &delay);
    }
}

void server_connection_closed(struct http_server *server)
{
    server->counters.connections--;
    if (!server->accepting && !server->draining && !server->exhausted && !is_full(server)) {
        event_del(server->accept_retry);
        start_accepting(server);
    }
    static const struct timeval at_once = {0};
    if (!evtimer_pending(server->reaper, NULL))
        event_add(server->reaper, &at_once);
}

void server_connection_failed(struct http_server *server, const char *call)
{
    static const int everyday[] = {ECONNRESET, EPIPE, ETIMEDOUT, EHOSTUNREACH, ENETUNREACH, ENETDOWN};
    for (size_t i = 0; i < sizeof everyday / sizeof everyday[0]; i++) {
        if (errno == everyday[i])
            return;
    }
    int64_t now = clock_monotonic();
    if (server->failure_told_at != 0 && now - server->failure_told_at < COMPLAINT_INTERVAL)
        return;
    server->failure_told_at = now;
    log_warning("a connection failed", log_text("call", call), log_text("error", strerror(errno)));
}

static bool has_listeners(const struct http_server *server)
{
    for (size_t i = 0; i < server->options.listener_count; i++) {
        if (server->listeners[i].descriptor >= 0)
            return true;
    }
    return false;
}

static void on_reap(evutil_socket_t descriptor, short what, void *argument)
{
    (void)descriptor;
    (void)what;
    struct http_server *server = server_of(argument);
    connection_reap(server);
    bool accepts = !server->leave_queue && has_listeners(server);
    if (server->draining && !server->drained && server->counters.connections == 0 && !accepts) {
        server->drained = true;
        event_del(server->idle_end);
        if (server->options.drained != NULL)
            server->options.drained(server->options.context);
    }
}

void http_server_reload(struct http_server *server)
{
    OBJECT_CHECK(server, SERVER_MAGIC);
    take_limits(server);
    struct http_connection *connection;
    LIST_FOREACH (connection, &server->open, entry)
        connection_retime(connection);
}

/* ---- the end ---- */

void http_server_drain(struct http_server *server, bool leave_queue)
{
    OBJECT_CHECK(server, SERVER_MAGIC);
    stop_accepting(server);
    server->draining = true;
    server->leave_queue = leave_queue || server->options.listeners_stay;
    for (size_t i = 0; i < server->options.listener_count; i++) {
        struct http_listener *listener = &server->listeners[i];
        if (listener->descriptor < 0)
            continue;
        if (server->leave_queue) /* open until the end: should everybody end now, it is emptied after all */
            continue;
        /* max_connections does not hold here: who is in the queue has been accepted by the kernel, and would be reset
         */
        enum accept_result result = ACCEPT_MORE;
        for (int count = 0; count < DRAIN_ACCEPTS_MAX && result == ACCEPT_MORE; count++)
            result = accept_one(server, listener->descriptor);
        if (result == ACCEPT_EXHAUSTED) {
            pause_accepting(server, HTTP_EXHAUSTED, strerror(errno));
            return;
        }
        close(listener->descriptor);
        listener->descriptor = -1;
    }
    static const struct timeval at_once = {0};
    event_add(server->reaper, &at_once);
    struct timeval delay = clock_timeval(DRAIN_LOOK_INTERVAL);
    if (server->leave_queue && !evtimer_pending(server->idle_end, NULL))
        event_add(server->idle_end, &delay);
}

/* Somebody waits for this process to end, to take its place: new clients stand in the queue meanwhile. Whoever keeps a
 * connection and does not use it is not waited for as long as shutdown_timeout. */
static void on_idle_end(evutil_socket_t descriptor, short what, void *argument)
{
    (void)descriptor;
    (void)what;
    struct http_server *server = server_of(argument);
    struct http_connection *connection;
    while ((connection = relief_find_unused(server)) != NULL) {
        connection_because(connection, HTTP_CLOSED_SHUTDOWN);
        connection_close(connection);
    }
}

void http_server_close_all(struct http_server *server)
{
    OBJECT_CHECK(server, SERVER_MAGIC);
    struct http_connection *connection;
    while ((connection = LIST_FIRST(&server->open)) != NULL) {
        connection_because(connection, HTTP_CLOSED_SHUTDOWN);
        connection_close(connection);
    }
}
