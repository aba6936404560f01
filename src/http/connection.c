/* connection: the state machine of one client connection. Worker process; touches only its own descriptor, and the
 * server's scratch buffer while a read is on the stack. */
#include "http/connection.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "http/intake.h"
#include "http/relief.h"
#include "http/turn.h"

#define NEVER INT64_MAX
/* While a request is being worked on, this much of what follows it is read ahead; then the client waits. */
#define READ_AHEAD 4096
/* A client that sends a body which was refused gets this long and this much to notice. */
#define LINGER_TIME INT64_C(2000000)
#define LINGER_BYTES (1 << 20)

static void settle(struct http_connection *connection);

static const char *state_name(enum connection_state state)
{
    static const char *const names[] = {
        [CONNECTION_CLOSED] = "closed",       [CONNECTION_IDLE] = "idle",         [CONNECTION_HEADERS] = "headers",
        [CONNECTION_BODY] = "body",           [CONNECTION_HANDLING] = "handling", [CONNECTION_WRITING] = "writing",
        [CONNECTION_LINGERING] = "lingering",
    };
    return names[state];
}

/* How long the state may last by the configuration; NEVER: as long as it takes. */
static int64_t time_limit(const struct http_connection *connection)
{
    const struct configuration *configuration = connection->server->options.configuration;
    switch (connection->state) {
    case CONNECTION_IDLE:
        return connection->served ? configuration->idle_timeout : configuration->header_timeout;
    case CONNECTION_HEADERS:
        return configuration->header_timeout;
    case CONNECTION_BODY:
        return configuration->body_timeout;
    case CONNECTION_WRITING:
        return configuration->write_timeout;
    case CONNECTION_LINGERING:
        return LINGER_TIME;
    case CONNECTION_HANDLING:
    case CONNECTION_CLOSED:
        break;
    }
    return NEVER;
}

/* Each state brings its deadline, counted from `since`; the timer follows in settle(). */
static void enter_at(struct http_connection *connection, enum connection_state state, int64_t since)
{
    log_debug("connection", log_int("descriptor", connection->descriptor),
              log_text("from", state_name(connection->state)), log_text("to", state_name(state)));
    relief_note_state(connection, state);
    connection->state = state;
    connection->time_limit = time_limit(connection);
    connection->deadline = NEVER;
    if (connection->time_limit == NEVER)
        return;
    /* a first request has been due since the accept: that deadline stands */
    if (!connection->served && (state == CONNECTION_IDLE || state == CONNECTION_HEADERS))
        since = connection->accepted_at;
    if (state == CONNECTION_IDLE)
        connection->idle_at = since;
    connection->deadline = since + connection->time_limit;
}

void connection_enter(struct http_connection *connection, enum connection_state state)
{
    bool timed = state != CONNECTION_HANDLING && state != CONNECTION_CLOSED;
    enter_at(connection, state, timed ? clock_monotonic() : 0);
}

/* An earlier timer is left as it is and finds out when it fires, so that a busy connection never touches the heap. */
static void arm_timer(struct http_connection *connection)
{
    if (connection->deadline >= connection->timer_until)
        return;
    struct timeval delay = clock_timeval(connection->deadline - clock_monotonic());
    event_add(&connection->timer, &delay);
    connection->timer_until = connection->deadline;
}

void connection_retime(struct http_connection *connection)
{
    int64_t limit = time_limit(connection);
    if (limit == connection->time_limit)
        return;
    connection->deadline += limit - connection->time_limit;
    connection->time_limit = limit;
    arm_timer(connection);
}

/* ---- the end of a request, and of the connection ---- */

static void linger(struct http_connection *connection)
{
    connection_enter(connection, CONNECTION_LINGERING);
    connection->linger_left = LINGER_BYTES;
    if (connection->peer_closed || shutdown(connection->descriptor, SHUT_WR) < 0)
        connection_close(connection);
}

/* The kernel has the whole answer. */
static void answered(struct http_connection *connection, int64_t now)
{
    exchange_finish(connection->exchange, NULL);
    connection->exchange = NULL;
    connection->served = true;
    connection->skipped_line = false;
    if (connection->close) {
        connection_because(connection, connection->server->draining ? HTTP_CLOSED_SHUTDOWN : HTTP_CLOSED_ANSWERED);
        if (connection->linger || buffer_length(&connection->input) > 0)
            linger(connection);
        else
            connection_close(connection);
        return;
    }
    enter_at(connection, CONNECTION_IDLE, now);
    /* what waits is worked off from the loop, not from the stack of whoever answered */
    connection->resume = !connection->processing && buffer_length(&connection->input) > 0;
}

/* Of an exchange whose client has gone: the handler that works on it goes on, and finds out when it answers. */
static void let_go(struct http_connection *connection)
{
    struct http_exchange *exchange = connection->exchange;
    if (exchange == NULL)
        return;
    connection->exchange = NULL;
    exchange->request.connection = NULL;
    for (int i = 0; i < connection->output_count && exchange->answered; i++)
        exchange->bytes -= connection->output[i].iov_len;
    bool untouched = exchange->waits == EXCHANGE_WAITS_TO_WORK;
    if (untouched)
        connection->server->counters.in_flight--;
    if (exchange->answered || untouched || connection->state == CONNECTION_BODY)
        exchange_finish(exchange, "client gone");
}

void connection_close(struct http_connection *connection)
{
    INVARIANT(connection->state != CONNECTION_CLOSED);
    struct http_server *server = connection->server;
    event_del(&connection->read_event);
    event_del(&connection->write_event);
    event_del(&connection->timer);
    server_happened(server, connection->reason, 1);
    close(connection->descriptor);
    let_go(connection);
    connection_enter(connection, CONNECTION_CLOSED);
    settle(connection);
    LIST_REMOVE(connection, entry);
    LIST_INSERT_HEAD(&server->dying, connection, entry);
    server_connection_closed(server);
}

/* ---- writing ---- */

static void drop_sent(struct http_connection *connection, size_t sent)
{
    int whole = 0;
    while (whole < connection->output_count && sent >= connection->output[whole].iov_len)
        sent -= connection->output[whole++].iov_len;
    connection->output_count -= whole;
    memmove(connection->output, connection->output + whole,
            (size_t)connection->output_count * sizeof connection->output[0]);
    if (connection->output_count > 0) {
        connection->output[0].iov_base = (char *)connection->output[0].iov_base + sent;
        connection->output[0].iov_len -= sent;
    }
}

/* writev, but without SIGPIPE; for what lies in one piece the call that costs less. */
static ssize_t send_output(const struct http_connection *connection)
{
    const struct iovec *output = connection->output;
    if (connection->output_count == 1)
        return send(connection->descriptor, output->iov_base, output->iov_len, MSG_NOSIGNAL);
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)output,
                             .msg_iovlen = (size_t)connection->output_count};
    return sendmsg(connection->descriptor, &message, MSG_NOSIGNAL);
}

/* The rest waits for the kernel and stays where it lies. true: nothing is left. */
static bool write_output(struct http_connection *connection)
{
    while (connection->output_count > 0) {
        ssize_t sent = send_output(connection);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            event_add(&connection->write_event, NULL);
            return false;
        }
        if (sent < 0) {
            server_connection_failed(connection->server, "send");
            connection_close(connection);
            return false;
        }
        drop_sent(connection, (size_t)sent);
    }
    return true;
}

/* Gives the answer to the kernel. An answer that it takes whole, as nearly all are, is never in the state of being
 * written: no deadline, no queue, and no second look at the clock. */
static void write_answer(struct http_connection *connection, int64_t now)
{
    if (write_output(connection))
        answered(connection, now);
    else if (connection->state != CONNECTION_CLOSED)
        enter_at(connection, CONNECTION_WRITING, now);
}

/* The answer to a write may have to wait for its turn: the connection stays in its state until then. */
static void begin_writing(struct http_connection *connection, const char *head, size_t head_length, const char *body,
                          size_t body_length)
{
    struct iovec *output = connection->output;
    output[connection->output_count++] = (struct iovec){.iov_base = (void *)(uintptr_t)head, .iov_len = head_length};
    if (body_length > 0)
        output[connection->output_count++] =
            (struct iovec){.iov_base = (void *)(uintptr_t)body, .iov_len = body_length};
    struct http_exchange *exchange = connection->exchange;
    exchange->bytes = head_length + body_length;
    int64_t now = clock_monotonic();
    exchange_observe(exchange, now);
    if (!exchange->takes_turns) {
        write_answer(connection, now);
    } else if (turn_may_send(exchange)) {
        struct http_server *server = connection->server;
        write_answer(connection, now);
        turn_spend(server, now);
    }
}

void connection_send_waiting(struct http_connection *connection)
{
    OBJECT_CHECK(connection, CONNECTION_MAGIC);
    write_answer(connection, clock_monotonic());
    settle(connection);
}

void connection_send(struct http_connection *connection, const char *head, size_t head_length, const char *body,
                     size_t body_length)
{
    begin_writing(connection, head, head_length, body, body_length);
    if (!connection->processing)
        settle(connection);
}

void connection_send_borrowed(struct http_connection *connection, const char *head, size_t head_length,
                              const char *body, size_t body_length)
{
    INVARIANT(!connection->exchange->takes_turns); /* it would be sent when the body is no longer valid */
    begin_writing(connection, head, head_length, body, body_length);
    if (body_length > 0 && connection->state == CONNECTION_WRITING) {
        INVARIANT(connection->output_count > 0);
        struct iovec *rest = &connection->output[connection->output_count - 1]; /* the body is always last */
        rest->iov_base = arena_memdup(connection->exchange->request.arena, rest->iov_base, rest->iov_len);
    }
    if (!connection->processing)
        settle(connection);
}

void connection_flush(struct http_connection *connection)
{
    if (write_output(connection) && connection->state == CONNECTION_WRITING)
        answered(connection, clock_monotonic());
}

static void on_writable(evutil_socket_t descriptor, short what, void *argument)
{
    (void)descriptor;
    (void)what;
    struct http_connection *connection = argument;
    OBJECT_CHECK(connection, CONNECTION_MAGIC);
    connection_flush(connection);
    settle(connection);
}

/* ---- reading ---- */

/* No more bytes will come. A client may shut only its own side and still wait for its answers; one whose socket is gone
 * in both directions waits for nothing. */
static void peer_closed(struct http_connection *connection)
{
    struct pollfd peer = {.fd = connection->descriptor};
    bool gone = poll(&peer, 1, 0) > 0 && (peer.revents & (POLLHUP | POLLERR)) != 0;
    if (gone || (connection->state != CONNECTION_HANDLING && connection->state != CONNECTION_WRITING)) {
        connection_close(connection);
        return;
    }
    connection->peer_closed = true;
    connection->reading_stopped = true;
    event_del(&connection->read_event);
}

/* Takes the scratch as its input where it has none, so that a request which is complete costs neither memory nor a
 * copy. */
static void take_bytes(struct http_connection *connection, size_t length)
{
    struct buffer *scratch = &connection->server->scratch;
    if (buffer_length(&connection->input) > 0) {
        buffer_append(&connection->input, scratch->memory, length);
        return;
    }
    buffer_free(&connection->input);
    connection->input = *scratch;
    connection->input.end = length;
    connection->lent = true;
    *scratch = (struct buffer){0};
}

static void on_readable(evutil_socket_t descriptor, short what, void *argument)
{
    (void)what;
    struct http_connection *connection = argument;
    OBJECT_CHECK(connection, CONNECTION_MAGIC);
    if (connection->resume) {
        connection->resume = false;
        intake_process(connection);
        settle(connection);
        return;
    }
    bool waits = connection->state == CONNECTION_HANDLING || connection->state == CONNECTION_WRITING;
    if (waits && buffer_length(&connection->input) >= READ_AHEAD) {
        connection->reading_stopped = true;
        event_del(&connection->read_event);
        return;
    }
    ssize_t got = read(descriptor, connection->server->scratch.memory, waits ? READ_AHEAD : READ_SIZE);
    if (got < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
            return;
        server_connection_failed(connection->server, "read");
        connection_close(connection);
        return;
    }
    if (got == 0) {
        peer_closed(connection);
        return;
    }
    server_happened(connection->server, HTTP_RECEIVED, got);
    if (connection->state == CONNECTION_LINGERING) {
        if ((size_t)got >= connection->linger_left)
            connection_close(connection);
        else
            connection->linger_left -= (size_t)got;
        return;
    }
    take_bytes(connection, (size_t)got);
    intake_process(connection);
    settle(connection);
}

/* The scratch goes back; bytes that still wait move to memory of the connection's own, which is given back once empty.
 */
static void settle_input(struct http_connection *connection)
{
    struct buffer *input = &connection->input;
    if (connection->state == CONNECTION_CLOSED || connection->state == CONNECTION_LINGERING)
        buffer_consume(input, buffer_length(input));
    if (connection->lent) {
        struct buffer *scratch = &connection->server->scratch;
        *scratch = *input;
        *input = (struct buffer){0};
        buffer_append(input, buffer_bytes(scratch), buffer_length(scratch));
        buffer_clear(scratch, READ_SIZE);
        connection->lent = false;
    } else if (buffer_length(input) == 0) {
        buffer_free(input);
    }
}

/* What every callback leaves in order: the input, whether reading goes on, and a timer that is not later than the
 * deadline. */
static void settle(struct http_connection *connection)
{
    settle_input(connection);
    if (connection->state == CONNECTION_CLOSED) {
        relief_note_memory(connection);
        return;
    }
    bool reads = connection->state != CONNECTION_HANDLING && connection->state != CONNECTION_WRITING;
    if (reads && connection->peer_closed && !connection->resume) {
        connection_close(connection);
        return;
    }
    if (reads && connection->reading_stopped && !connection->peer_closed) {
        connection->reading_stopped = false;
        event_add(&connection->read_event, NULL);
    }
    /* after the event_add: libevent 2.1 takes no event that is active already */
    if (connection->resume)
        event_active(&connection->read_event, EV_READ, 0);
    arm_timer(connection);
    relief_note_memory(connection); /* may close it */
}

/* ---- time, birth and death ---- */

/* The client is told by a reset, and the kernel does not go on for minutes trying to send what it has not taken. */
static void forget_unsent(const struct http_connection *connection)
{
    static const struct linger at_once = {.l_onoff = 1};
    (void)setsockopt(connection->descriptor, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

void connection_expire(struct http_connection *connection)
{
    switch (connection->state) {
    case CONNECTION_HEADERS:
        intake_refuse(connection, GUARD_HEADER_TIME);
        break;
    case CONNECTION_BODY:
        intake_refuse(connection, GUARD_BODY_TIME);
        break;
    case CONNECTION_IDLE:
        connection_because(connection, connection->served ? HTTP_CLOSED_IDLE_TIME : HTTP_CLOSED_HEADER_TIME);
        connection_close(connection);
        return;
    default:
        connection_because(connection, HTTP_CLOSED_WRITE_TIME);
        forget_unsent(connection);
        connection_close(connection);
        return;
    }
    if (connection->state != CONNECTION_CLOSED)
        settle(connection);
}

static void on_timer(evutil_socket_t descriptor, short what, void *argument)
{
    (void)descriptor;
    (void)what;
    struct http_connection *connection = argument;
    OBJECT_CHECK(connection, CONNECTION_MAGIC);
    connection->timer_until = NEVER;
    if (clock_monotonic() >= connection->deadline)
        connection_expire(connection);
    else
        settle(connection);
}

static struct http_connection *take_spare(struct http_server *server)
{
    struct http_connection *connection = LIST_FIRST(&server->spare);
    if (connection != NULL) {
        LIST_REMOVE(connection, entry);
        server->spare_connection_count--;
    } else {
        connection = malloc(sizeof *connection);
        INVARIANT(connection != NULL);
    }
    memset(connection, 0, sizeof *connection);
    return connection;
}

void connection_open(struct http_server *server, int descriptor, const struct network_peer *peer)
{
    struct http_connection *connection = take_spare(server);
    connection->magic = CONNECTION_MAGIC;
    connection->server = server;
    connection->descriptor = descriptor;
    connection->accepted_at = clock_monotonic();
    connection->timer_until = NEVER;
    connection->peer = *peer;
    network_peer_write(peer, connection->address);
    struct event_base *base = server->options.base;
    event_assign(&connection->read_event, base, descriptor, EV_READ | EV_PERSIST, on_readable, connection);
    event_assign(&connection->write_event, base, descriptor, EV_WRITE, on_writable, connection);
    evtimer_assign(&connection->timer, base, on_timer, connection);
    event_add(&connection->read_event, NULL);
    LIST_INSERT_HEAD(&server->open, connection, entry);
    server->counters.connections++;
    server->counters.accepted++;
    server_happened(server, HTTP_ACCEPTED, 1);
    connection_enter(connection, CONNECTION_IDLE);
    settle(connection);
}

void connection_reap(struct http_server *server)
{
    struct http_connection *connection;
    while ((connection = LIST_FIRST(&server->dying)) != NULL) {
        LIST_REMOVE(connection, entry);
        OBJECT_BURY(connection);
        if (REUSES_MEMORY && server->spare_connection_count < SPARE_CONNECTIONS_MAX) {
            LIST_INSERT_HEAD(&server->spare, connection, entry);
            server->spare_connection_count++;
        } else {
            free(connection);
        }
    }
}

void connection_free_spare(struct http_server *server)
{
    struct http_connection *connection;
    while ((connection = LIST_FIRST(&server->spare)) != NULL) {
        LIST_REMOVE(connection, entry);
        free(connection);
    }
    server->spare_connection_count = 0;
}

size_t connection_memory(const struct http_connection *connection)
{
    return sizeof *connection + connection->input.capacity;
}
