/* http_rig: a server of src/http on an event loop of the test, and the client's end of its connections. Unit tests
 * only. */
#include "http_rig.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "http/connection.h"

#define PATIENCE INT64_C(10000000)

void rig_prepare(struct rig *rig)
{
    char error[256];
    *rig = (struct rig){.listener = -1};
    rig->configuration = configuration_read(NULL, error, sizeof error);
    ck_assert_msg(rig->configuration != NULL, "%s", error);
    rig->configuration->access_log = false;
}

static void note_drained(void *context)
{
    ((struct rig *)context)->drained = true;
}

static void listen_on_loopback(struct rig *rig)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    rig->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(rig->listener, 0);
    ck_assert_int_eq(bind(rig->listener, (struct sockaddr *)&address, size), 0);
    ck_assert_int_eq(listen(rig->listener, 128), 0);
    ck_assert_int_eq(getsockname(rig->listener, (struct sockaddr *)&address, &size), 0);
    rig->listener_port = ntohs(address.sin_port);
}

void rig_start(struct rig *rig, const struct http_route *routes, bool listen_on_tcp)
{
    rig->base = event_base_new();
    ck_assert_ptr_nonnull(rig->base);
    if (listen_on_tcp)
        listen_on_loopback(rig);
    struct http_server_options options = {.base = rig->base,
                                          .configuration = rig->configuration,
                                          .routes = routes,
                                          .listeners = &rig->listener,
                                          .listener_count = listen_on_tcp,
                                          .drained = note_drained,
                                          .context = rig};
    rig->server = http_server_create(&options);
}

void rig_stop(struct rig *rig)
{
    http_server_destroy(rig->server);
    event_base_free(rig->base);
    configuration_free(rig->configuration);
    if (rig->listener >= 0)
        close(rig->listener);
}

int rig_connect(struct rig *rig)
{
    int ends[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    connection_open(rig->server, ends[0], &(struct network_peer){.kind = NETWORK_UNIX});
    return ends[1];
}

int rig_connect_tcp(struct rig *rig)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)rig->listener_port)};
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(client, 0);
    ck_assert_int_eq(connect(client, (struct sockaddr *)&address, sizeof address), 0);
    return client;
}

void rig_turn(struct rig *rig)
{
    event_base_loop(rig->base, EVLOOP_NONBLOCK);
}

static void wait_a_moment(int client, short events)
{
    struct pollfd one = {.fd = client, .events = events};
    poll(&one, 1, 1);
}

bool rig_send(struct rig *rig, int client, const char *bytes, size_t length)
{
    int64_t until = clock_monotonic() + PATIENCE;
    while (length > 0) {
        ck_assert_msg(clock_monotonic() < until, "the server does not read");
        /* not send(): that of the server may be made to fail */
        ssize_t sent = sendto(client, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL, NULL, 0);
        if (sent < 0 && errno != EAGAIN)
            return false;
        if (sent > 0) {
            bytes += sent;
            length -= (size_t)sent;
        }
        rig_turn(rig);
    }
    return true;
}

bool rig_send_text(struct rig *rig, int client, const char *text)
{
    return rig_send(rig, client, text, strlen(text));
}

bool rig_read(struct rig *rig, int client, struct buffer *answer, bool (*enough)(const struct buffer *answer))
{
    int64_t until = clock_monotonic() + PATIENCE;
    while (clock_monotonic() < until) {
        rig_turn(rig);
        char *room = buffer_reserve(answer, 65536 + 1);
        ssize_t got = recv(client, room, 65536, MSG_DONTWAIT);
        if (got == 0 || (got < 0 && errno != EAGAIN))
            return true;
        if (got > 0)
            answer->end += (size_t)got;
        if (enough != NULL && enough(answer))
            return false;
        if (got < 0)
            wait_a_moment(client, POLLIN);
    }
    return false;
}

void rig_read_all(struct rig *rig, int client, struct buffer *answer)
{
    ck_assert_msg(rig_read(rig, client, answer, NULL), "the server does not close; so far: %s", buffer_text(answer));
}

bool one_answer(const struct buffer *answer)
{
    struct buffer copy = *answer;
    if (buffer_length(&copy) == 0)
        return false;
    const char *text = buffer_text(&copy);
    const char *end = strstr(text, "\r\n\r\n");
    ck_assert_ptr_eq(copy.memory, answer->memory); /* rig_read leaves room for the NUL */
    if (end == NULL)
        return false;
    const char *length = strstr(text, "\r\nContent-Length: ");
    size_t body = length != NULL && length < end ? strtoul(length + 18, NULL, 10) : 0;
    return buffer_length(answer) >= (size_t)(end + 4 - text) + body;
}

void rig_wait(struct rig *rig, bool (*condition)(void *context), void *context)
{
    int64_t until = clock_monotonic() + PATIENCE;
    while (!condition(context)) {
        ck_assert_msg(clock_monotonic() < until, "the condition does not come true");
        rig_turn(rig);
        poll(NULL, 0, 1);
    }
}

struct buffer rig_exchange(struct rig *rig, const char *request)
{
    struct buffer answer = {0};
    int client = rig_connect(rig);
    rig_send_text(rig, client, request);
    shutdown(client, SHUT_WR);
    rig_read_all(rig, client, &answer);
    close(client);
    buffer_text(&answer);
    return answer;
}

int status_of(const struct buffer *answer)
{
    if (buffer_length(answer) < 12 || memcmp(buffer_bytes(answer), "HTTP/1.1 ", 9) != 0)
        return 0;
    return atoi(buffer_bytes(answer) + 9);
}

bool has_text(const struct buffer *answer, const char *text)
{
    return buffer_length(answer) > 0 && memmem(buffer_bytes(answer), buffer_length(answer), text, strlen(text)) != NULL;
}
