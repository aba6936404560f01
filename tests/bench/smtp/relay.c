/* relay: stands between a mailer and an SMTP server of the bench. Ends STARTTLS, which smtp-sink does not know, makes
 * each round trip take so long as it would over a network, and counts what passes.
 *
 *     relay --listen PORT --server PORT --certificate PEM --key PEM --delay MICROSECONDS [--ids FILE] [--message FILE]
 *
 * What comes from a client is held for half the delay, and what goes to it as long: TLS handshakes, too. The kernel has
 * accepted a connection before we hear of it, and at once; so the greeting waits for the round trip that this would
 * have taken as well. The server behind is asked without any delay.
 *
 * --ids: one line for each message, what stands in its Message-ID. --message: the first message, as it was sent.
 * At SIGTERM it prints how many connections, messages and bytes there were, and ends. */
#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include <time.h>
#include <unistd.h>

#include "base/object.h"

#define LINE_SIZE 2048

/* Bytes under way. */
struct piece {
    STAILQ_ENTRY(piece) link;
    int64_t due; /* monotonic microseconds */
    size_t length;
    unsigned char bytes[];
};

/* One direction between a client and us. */
struct wire {
    STAILQ_HEAD(, piece) pieces;
    struct event *timer;
};

enum phase {
    PHASE_PLAIN, /* we answer ourselves, until STARTTLS */
    PHASE_SHAKE, /* TLS is being agreed on */
    PHASE_RELAY, /* what is said goes to the server and back */
};

struct link {
    struct bufferevent *client, *server;
    struct wire in, out;
    enum phase phase;
    SSL *tls;
    BIO *from_client, *to_client; /* of tls, which owns them */
    bool server_greeted, client_gone, server_gone;
    bool in_data, in_header;
    char line[LINE_SIZE]; /* of what the client says, in the clear */
    size_t line_length;
};

static struct {
    struct event_base *base;
    SSL_CTX *context;
    struct sockaddr_in server;
    int64_t delay; /* of one direction, microseconds */
    FILE *ids, *message;
    int64_t connections, handshakes, messages, bytes;
} relay;

static int64_t now_microseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void fail(const char *what)
{
    fprintf(stderr, "relay: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* ---- the wires ---- */

static void arm(struct wire *wire)
{
    if (STAILQ_EMPTY(&wire->pieces))
        return;
    int64_t left = STAILQ_FIRST(&wire->pieces)->due - now_microseconds();
    struct timeval delay = {0};
    if (left > 0) {
        delay.tv_sec = left / 1000000;
        delay.tv_usec = left % 1000000;
    }
    evtimer_add(wire->timer, &delay);
}

static void post(struct wire *wire, const void *bytes, size_t length, int64_t delay)
{
    struct piece *piece = malloc(sizeof *piece + length);
    INVARIANT(piece != NULL);
    piece->length = length;
    piece->due = now_microseconds() + delay;
    memcpy(piece->bytes, bytes, length);
    bool first = STAILQ_EMPTY(&wire->pieces);
    STAILQ_INSERT_TAIL(&wire->pieces, piece, link);
    if (first)
        arm(wire);
}

/* The next piece that is due, or NULL. The caller frees it. */
static struct piece *take(struct wire *wire)
{
    struct piece *piece = STAILQ_FIRST(&wire->pieces);
    if (piece == NULL || piece->due > now_microseconds())
        return NULL;
    STAILQ_REMOVE_HEAD(&wire->pieces, link);
    return piece;
}

static void drain(struct wire *wire)
{
    struct piece *piece;
    while ((piece = STAILQ_FIRST(&wire->pieces)) != NULL) {
        STAILQ_REMOVE_HEAD(&wire->pieces, link);
        free(piece);
    }
    event_free(wire->timer);
}

static void end(struct link *link)
{
    bufferevent_free(link->client);
    if (link->server != NULL)
        bufferevent_free(link->server);
    SSL_free(link->tls);
    drain(&link->in);
    drain(&link->out);
    free(link);
}

static void say(struct link *link, const char *text)
{
    post(&link->out, text, strlen(text), relay.delay);
}

/* ---- what the client says, in the clear ---- */

static void heard_line(struct link *link)
{
    const char *line = link->line;
    if (!link->in_data) {
        link->in_data = link->in_header = strcasecmp(line, "DATA") == 0;
        return;
    }
    if (strcmp(line, ".") == 0) {
        link->in_data = false;
        relay.messages++;
        if (relay.message != NULL) {
            fclose(relay.message);
            relay.message = NULL;
        }
        return;
    }
    if (line[0] == '\0')
        link->in_header = false;
    if (link->in_header && relay.ids != NULL && strncasecmp(line, "Message-ID: ", 12) == 0)
        fprintf(relay.ids, "%s\n", line + 12);
    if (relay.message != NULL)
        fprintf(relay.message, "%s\r\n", line);
}

static void listen_in(struct link *link, const char *bytes, size_t length)
{
    relay.bytes += (int64_t)length;
    for (size_t i = 0; i < length; i++) {
        if (bytes[i] != '\n') {
            if (link->line_length < LINE_SIZE - 1)
                link->line[link->line_length++] = bytes[i];
            continue;
        }
        if (link->line_length > 0 && link->line[link->line_length - 1] == '\r')
            link->line_length--;
        link->line[link->line_length] = '\0';
        link->line_length = 0;
        heard_line(link);
    }
}

/* ---- the server behind ---- */

static void flush_tls(struct link *link)
{
    char bytes[16384];
    int length;
    while ((length = BIO_read(link->to_client, bytes, sizeof bytes)) > 0)
        post(&link->out, bytes, (size_t)length, relay.delay);
}

static void on_server_read(struct bufferevent *server, void *context)
{
    struct link *link = context;
    struct evbuffer *input = bufferevent_get_input(server);
    if (!link->server_greeted) {
        /* the client was greeted by us */
        char *line = evbuffer_readln(input, NULL, EVBUFFER_EOL_CRLF);
        if (line == NULL)
            return;
        free(line);
        link->server_greeted = true;
    }
    size_t length = evbuffer_get_length(input);
    if (length == 0)
        return;
    const unsigned char *bytes = evbuffer_pullup(input, -1);
    if (SSL_write(link->tls, bytes, (int)length) != (int)length) {
        fprintf(stderr, "relay: TLS did not take what the server said\n");
        exit(1);
    }
    evbuffer_drain(input, length);
    flush_tls(link);
}

static void on_server_event(struct bufferevent *server, short what, void *context)
{
    struct link *link = context;
    (void)server;
    if (what & BEV_EVENT_CONNECTED)
        return;
    link->server_gone = true;
    if (link->client_gone || STAILQ_EMPTY(&link->out.pieces))
        end(link);
}

static void call_server(struct link *link)
{
    link->server = bufferevent_socket_new(relay.base, -1, BEV_OPT_CLOSE_ON_FREE);
    INVARIANT(link->server != NULL);
    bufferevent_setcb(link->server, on_server_read, NULL, on_server_event, link);
    bufferevent_enable(link->server, EV_READ | EV_WRITE);
    if (bufferevent_socket_connect(link->server, (struct sockaddr *)&relay.server, sizeof relay.server) != 0)
        fail("connect");
    int yes = 1;
    setsockopt(bufferevent_getfd(link->server), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

/* ---- the client ---- */

static void begin_tls(struct link *link)
{
    link->tls = SSL_new(relay.context);
    link->from_client = BIO_new(BIO_s_mem());
    link->to_client = BIO_new(BIO_s_mem());
    INVARIANT(link->tls != NULL && link->from_client != NULL && link->to_client != NULL);
    SSL_set_bio(link->tls, link->from_client, link->to_client);
    SSL_set_accept_state(link->tls);
    link->phase = PHASE_SHAKE;
}

/* EHLO and STARTTLS are all that is known before TLS. */
static void hear_plain(struct link *link, const unsigned char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (bytes[i] != '\n') {
            if (link->line_length < LINE_SIZE - 1)
                link->line[link->line_length++] = (char)bytes[i];
            continue;
        }
        link->line[link->line_length] = '\0';
        link->line_length = 0;
        if (strncasecmp(link->line, "EHLO", 4) == 0) {
            say(link, "250-relay.example.com\r\n250 STARTTLS\r\n");
        } else if (strncasecmp(link->line, "STARTTLS", 8) == 0) {
            say(link, "220 2.0.0 go on\r\n");
            begin_tls(link);
            return;
        } else {
            say(link, "530 5.7.0 STARTTLS first\r\n");
        }
    }
}

static void hear_tls(struct link *link, const unsigned char *bytes, size_t length)
{
    char clear[16384];
    BIO_write(link->from_client, bytes, (int)length);
    if (link->phase == PHASE_SHAKE) {
        int done = SSL_do_handshake(link->tls);
        flush_tls(link);
        if (done != 1)
            return;
        relay.handshakes++;
        link->phase = PHASE_RELAY;
        call_server(link);
    }
    int count;
    while ((count = SSL_read(link->tls, clear, sizeof clear)) > 0) {
        listen_in(link, clear, (size_t)count);
        bufferevent_write(link->server, clear, (size_t)count);
    }
    flush_tls(link);
}

static void on_arrived(evutil_socket_t unused, short events, void *context)
{
    struct link *link = context;
    struct piece *piece;
    (void)unused;
    (void)events;
    while ((piece = take(&link->in)) != NULL) {
        size_t length = piece->length;
        if (length > 0 && link->phase == PHASE_PLAIN)
            hear_plain(link, piece->bytes, length);
        else if (length > 0)
            hear_tls(link, piece->bytes, length);
        free(piece);
        if (length == 0) { /* the client has closed */
            end(link);
            return;
        }
    }
    arm(&link->in);
}

static void on_leaves(evutil_socket_t unused, short events, void *context)
{
    struct link *link = context;
    struct piece *piece;
    (void)unused;
    (void)events;
    while ((piece = take(&link->out)) != NULL) {
        if (!link->client_gone)
            bufferevent_write(link->client, piece->bytes, piece->length);
        free(piece);
    }
    if (link->server_gone && STAILQ_EMPTY(&link->out.pieces)) {
        bufferevent_flush(link->client, EV_WRITE, BEV_FLUSH);
        end(link);
        return;
    }
    arm(&link->out);
}

static void on_client_read(struct bufferevent *client, void *context)
{
    struct link *link = context;
    struct evbuffer *input = bufferevent_get_input(client);
    size_t length = evbuffer_get_length(input);
    post(&link->in, evbuffer_pullup(input, -1), length, relay.delay);
    evbuffer_drain(input, length);
}

static void on_client_event(struct bufferevent *client, short what, void *context)
{
    struct link *link = context;
    (void)client;
    (void)what;
    if (link->client_gone)
        return;
    link->client_gone = true;
    bufferevent_disable(link->client, EV_READ);
    post(&link->in, "", 0, relay.delay);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t descriptor, struct sockaddr *address, int size,
                      void *context)
{
    static const char greeting[] = "220 relay.example.com ESMTP\r\n";
    (void)listener;
    (void)address;
    (void)size;
    (void)context;
    int yes = 1;
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    struct link *link = calloc(1, sizeof *link);
    INVARIANT(link != NULL);
    link->client = bufferevent_socket_new(relay.base, descriptor, BEV_OPT_CLOSE_ON_FREE);
    link->in.timer = evtimer_new(relay.base, on_arrived, link);
    link->out.timer = evtimer_new(relay.base, on_leaves, link);
    INVARIANT(link->client != NULL && link->in.timer != NULL && link->out.timer != NULL);
    STAILQ_INIT(&link->in.pieces);
    STAILQ_INIT(&link->out.pieces);
    bufferevent_setcb(link->client, on_client_read, NULL, on_client_event, link);
    bufferevent_enable(link->client, EV_READ | EV_WRITE);
    relay.connections++;
    /* the round trip of the connection, and the half that the client's last packet of it takes to come here */
    post(&link->out, greeting, sizeof greeting - 1, 4 * relay.delay);
}

/* ---- the beginning and the end ---- */

static void on_term(evutil_socket_t unused, short events, void *context)
{
    (void)unused;
    (void)events;
    (void)context;
    event_base_loopbreak(relay.base);
}

static struct sockaddr_in loopback(const char *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)strtol(port, NULL, 10))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static FILE *open_file(const char *path)
{
    FILE *file = fopen(path, "we");
    if (file == NULL)
        fail(path);
    return file;
}

static struct sockaddr_in read_options(int count, char **words)
{
    struct sockaddr_in address = {0};
    relay.context = SSL_CTX_new(TLS_server_method());
    INVARIANT(relay.context != NULL);
    for (int i = 1; i + 1 < count; i += 2) {
        const char *name = words[i], *value = words[i + 1];
        bool good = true;
        if (strcmp(name, "--listen") == 0)
            address = loopback(value);
        else if (strcmp(name, "--server") == 0)
            relay.server = loopback(value);
        else if (strcmp(name, "--certificate") == 0)
            good = SSL_CTX_use_certificate_chain_file(relay.context, value) == 1;
        else if (strcmp(name, "--key") == 0)
            good = SSL_CTX_use_PrivateKey_file(relay.context, value, SSL_FILETYPE_PEM) == 1;
        else if (strcmp(name, "--delay") == 0)
            relay.delay = strtol(value, NULL, 10) / 2;
        else if (strcmp(name, "--ids") == 0)
            relay.ids = open_file(value);
        else if (strcmp(name, "--message") == 0)
            relay.message = open_file(value);
        else
            good = false;
        if (!good) {
            fprintf(stderr, "relay: %s %s cannot be used\n", name, value);
            exit(2);
        }
    }
    return address;
}

int main(int count, char **words)
{
    struct sockaddr_in address = read_options(count, words);
    signal(SIGPIPE, SIG_IGN);
    struct event_config *config = event_config_new();
    INVARIANT(config != NULL);
    /* or epoll rounds each delay up to a whole millisecond */
    event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER);
    relay.base = event_base_new_with_config(config);
    event_config_free(config);
    INVARIANT(relay.base != NULL);
    struct evconnlistener *listener =
        evconnlistener_new_bind(relay.base, on_accept, NULL, LEV_OPT_REUSEABLE | LEV_OPT_CLOSE_ON_FREE, 1024,
                                (struct sockaddr *)&address, sizeof address);
    if (listener == NULL)
        fail("listen");
    struct event *term = evsignal_new(relay.base, SIGTERM, on_term, NULL);
    INVARIANT(term != NULL);
    evsignal_add(term, NULL);
    printf("ready\n");
    fflush(stdout);
    event_base_dispatch(relay.base);
    printf("{\"connections\": %lld, \"handshakes\": %lld, \"messages\": %lld, \"bytes\": %lld}\n",
           (long long)relay.connections, (long long)relay.handshakes, (long long)relay.messages,
           (long long)relay.bytes);
    if (relay.ids != NULL)
        fclose(relay.ids);
    event_free(term);
    evconnlistener_free(listener);
    return 0;
}
