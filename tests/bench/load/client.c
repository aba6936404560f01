/* client: see the header. The load generator. */
#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "retry.h"

#define BODY_KEPT 4096

/* A Unix socket whose queue is full refuses a connection that will not wait: it is tried again. Microseconds. */
#define QUEUE_FULL_PAUSE 2000

static void on_readable(evutil_socket_t descriptor, short what, void *context);
static void on_writable(evutil_socket_t descriptor, short what, void *context);
static void on_timer(evutil_socket_t descriptor, short what, void *context);

static int on_body(llhttp_t *parser, const char *bytes, size_t length)
{
    struct client *client = parser->data;
    size_t room = BODY_KEPT - buffer_length(&client->body);
    buffer_append(&client->body, bytes, length < room ? length : room);
    return 0;
}

static int on_header_name(llhttp_t *parser, const char *bytes, size_t length)
{
    struct client *client = parser->data;
    size_t room = sizeof client->header - client->header_length;
    memcpy(client->header + client->header_length, bytes, length < room ? length : room);
    client->header_length += length < room ? length : room;
    return 0;
}

static int on_header_value(llhttp_t *parser, const char *bytes, size_t length)
{
    static const char name[] = "Retry-After";
    struct client *client = parser->data;
    if (client->header_length != sizeof name - 1 || strncasecmp(client->header, name, sizeof name - 1) != 0)
        return 0;
    if (client->retry_after < 0)
        client->retry_after = 0;
    for (size_t i = 0; i < length && bytes[i] >= '0' && bytes[i] <= '9' && client->retry_after < 100000; i++)
        client->retry_after = 10 * client->retry_after + (bytes[i] - '0');
    return 0;
}

static int on_header_end(llhttp_t *parser)
{
    struct client *client = parser->data;
    client->header_length = 0;
    return 0;
}

static int on_complete(llhttp_t *parser)
{
    struct client *client = parser->data;
    /* 100 Continue and its like come before the answer */
    if (parser->status_code >= 200)
        client->complete = true;
    return client->complete ? HPE_PAUSED : 0;
}

const char *client_failure_name(enum client_failure failure)
{
    static const char *const names[CLIENT_FAILURE_COUNT] = {
        [CLIENT_REFUSED] = "refused",     [CLIENT_CLOSED] = "closed",       [CLIENT_LOST] = "lost",
        [CLIENT_TIMED_OUT] = "timed-out", [CLIENT_MALFORMED] = "malformed", [CLIENT_UNEXPECTED] = "unexpected-status",
    };
    return names[failure];
}

void client_create(struct client *client, struct client_owner *owner)
{
    *client = (struct client){.owner = owner, .state = CLIENT_FREE, .descriptor = -1};
    client->timer = evtimer_new(owner->base, on_timer, client);
    INVARIANT(client->timer != NULL);
}

void client_close(struct client *client)
{
    if (client->descriptor < 0)
        return;
    event_free(client->readable);
    event_free(client->writable);
    close(client->descriptor);
    client->descriptor = -1;
    client->kept = false;
}

static void fail(struct client *client, enum client_failure failure, int status, const char *detail)
{
    evtimer_del(client->timer);
    client_close(client);
    client->state = CLIENT_FREE;
    client->owner->failed(client, failure, status, detail);
}

static void fail_by_errno(struct client *client)
{
    bool refused = client->state == CLIENT_CONNECTING;
    fail(client,
         refused                          ? CLIENT_REFUSED
         : client->kept && !client->heard ? CLIENT_CLOSED
                                          : CLIENT_LOST,
         0, strerror(errno));
}

static void send_out(struct client *client)
{
    while (buffer_length(&client->out) > 0) {
        ssize_t sent = send(client->descriptor, buffer_bytes(&client->out), buffer_length(&client->out), MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno == EAGAIN) {
            event_add(client->writable, NULL);
            return;
        }
        if (sent < 0) {
            /* a refusal (413) may have come before the reset: what can be read decides */
            if (errno == EPIPE || errno == ECONNRESET) {
                buffer_clear(&client->out, BODY_KEPT);
                return;
            }
            fail_by_errno(client);
            return;
        }
        buffer_consume(&client->out, (size_t)sent);
    }
}

static void start_asking(struct client *client)
{
    static llhttp_settings_t settings;
    if (settings.on_body == NULL) {
        llhttp_settings_init(&settings);
        settings.on_header_field = on_header_name;
        settings.on_header_value = on_header_value;
        settings.on_header_value_complete = on_header_end;
        settings.on_body = on_body;
        settings.on_message_complete = on_complete;
    }
    client->state = CLIENT_ASKING;
    llhttp_init(&client->parser, HTTP_RESPONSE, &settings);
    client->parser.data = client;
    client->complete = client->heard = false;
    client->header_length = 0;
    client->retry_after = -1;
    buffer_clear(&client->body, BODY_KEPT);
    client->sent = clock_monotonic();
    send_out(client);
}

static void note_port(struct client *client)
{
    struct sockaddr_in6 own;
    socklen_t length = sizeof own;
    client->port = 0;
    if (getsockname(client->descriptor, (struct sockaddr *)&own, &length) == 0 &&
        (own.sin6_family == AF_INET || own.sin6_family == AF_INET6))
        client->port = ntohs(own.sin6_port); /* at the same place in sockaddr_in */
}

static void connect_now(struct client *client)
{
    struct client_owner *owner = client->owner;
    client->state = CLIENT_CONNECTING;
    client->descriptor = socket(owner->address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    client->readable = event_new(owner->base, client->descriptor, EV_READ | EV_PERSIST, on_readable, client);
    client->writable = event_new(owner->base, client->descriptor, EV_WRITE, on_writable, client);
    if (client->descriptor < 0) {
        fail_by_errno(client);
        return;
    }
    int on = 1;
    if (owner->address->sa_family != AF_UNIX)
        setsockopt(client->descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    int result = connect(client->descriptor, owner->address, owner->address_length);
    if (result == 0) {
        event_add(client->readable, NULL);
        owner->connects++;
        note_port(client);
        start_asking(client);
    } else if (errno == EINPROGRESS) {
        event_add(client->writable, NULL);
    } else if (errno == EAGAIN) {
        client_close(client);
        struct timeval pause = clock_timeval(QUEUE_FULL_PAUSE);
        evtimer_add(client->timer, &pause);
    } else {
        fail_by_errno(client);
    }
}

static void send_request(struct client *client, int64_t due)
{
    client->due = due;
    client->sent = clock_monotonic();
    if (!evtimer_pending(client->timer, NULL)) { /* one of an earlier request finds out when it fires */
        struct timeval patience = clock_timeval(client->owner->timeout);
        evtimer_add(client->timer, &patience);
    }
    if (client->descriptor < 0)
        connect_now(client);
    else
        start_asking(client);
}

bool client_ask(struct client *client, int64_t due)
{
    struct client_owner *owner = client->owner;
    buffer_clear(&client->out, BODY_KEPT);
    if (!mix_draw(owner->mix, owner->fresh > 0 && drand48() < owner->fresh, &client->drawn, &client->out))
        return false;
    if (client->drawn.request->retried_count > 0) {
        buffer_clear(&client->text, BODY_KEPT);
        buffer_append(&client->text, buffer_bytes(&client->out), buffer_length(&client->out));
    }
    send_request(client, due);
    return true;
}

void client_repeat(struct client *client, const struct retry *retry)
{
    client->drawn = retry->drawn;
    buffer_clear(&client->out, BODY_KEPT);
    buffer_clear(&client->text, BODY_KEPT);
    buffer_append(&client->out, buffer_bytes(&retry->text), buffer_length(&retry->text));
    buffer_append(&client->text, buffer_bytes(&retry->text), buffer_length(&retry->text));
    send_request(client, retry->due);
}

static void on_writable(evutil_socket_t descriptor, short what, void *context)
{
    struct client *client = context;
    (void)what;
    if (client->state == CLIENT_CONNECTING) {
        int error = 0;
        socklen_t length = sizeof error;
        getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &length);
        if (error != 0) {
            errno = error;
            fail_by_errno(client);
            return;
        }
        event_add(client->readable, NULL);
        client->owner->connects++;
        note_port(client);
        start_asking(client);
        return;
    }
    send_out(client);
}

static void finish(struct client *client)
{
    int status = client->parser.status_code;
    bool keep = llhttp_should_keep_alive(&client->parser) != 0;
    client->state = CLIENT_FREE;
    client->kept = true;
    if (!keep)
        client_close(client);
    if (mix_retries(client->drawn.request, status)) {
        client->owner->postponed(client, status, client->retry_after, buffer_bytes(&client->body),
                                 buffer_length(&client->body));
        return;
    }
    if (!mix_expects(client->drawn.request, status)) {
        buffer_text(&client->body);
        client->owner->failed(client, CLIENT_UNEXPECTED, status, buffer_text(&client->body));
        return;
    }
    client->owner->answered(client, status, buffer_bytes(&client->body), buffer_length(&client->body));
}

static void on_readable(evutil_socket_t descriptor, short what, void *context)
{
    static char bytes[65536];
    struct client *client = context;
    (void)what;
    ssize_t length = recv(descriptor, bytes, sizeof bytes, 0);
    if (length < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (client->state != CLIENT_ASKING) {
        /* The server may close a connection on which nothing is asked. */
        client->owner->unasked += length > 0;
        client_close(client);
        return;
    }
    if (length < 0) {
        fail_by_errno(client);
        return;
    }
    if (length == 0) {
        if (client->heard && llhttp_finish(&client->parser) == HPE_OK && client->complete)
            finish(client);
        else
            fail(client, client->kept && !client->heard ? CLIENT_CLOSED : CLIENT_LOST, 0, "end of stream");
        return;
    }
    client->heard = true;
    enum llhttp_errno result = llhttp_execute(&client->parser, bytes, (size_t)length);
    if (client->complete)
        finish(client);
    else if (result != HPE_OK)
        fail(client, CLIENT_MALFORMED, client->parser.status_code, llhttp_errno_name(result));
}

static void on_timer(evutil_socket_t descriptor, short what, void *context)
{
    struct client *client = context;
    (void)descriptor;
    (void)what;
    if (client->state == CLIENT_FREE)
        return;
    int64_t left = client->sent + client->owner->timeout - clock_monotonic();
    if (left > 0) {
        struct timeval patience = clock_timeval(left);
        evtimer_add(client->timer, &patience);
        if (client->state == CLIENT_CONNECTING && client->descriptor < 0)
            connect_now(client);
        return;
    }
    fail(client, CLIENT_TIMED_OUT, 0, client->state == CLIENT_CONNECTING ? "not connected" : "no whole answer");
}
