/* fuzz_http: bytes of a client through the real connections of src/http, over a socket pair.
 *
 * The input is what the client sends; the two bytes FF FE are not sent, they cut it into pieces. What must hold:
 *  - the answers and the requests that handlers see are the same when the bytes come in one piece, one by one, and as
 *    they are cut here;
 *  - each request that our stack takes is one that llhttp alone, in its strict mode, reads from the same bytes, with
 * the same method, target, headers and body; so what llhttp refuses, we refuse;
 *  - every request is answered at most once, in order, and the connection ends. */
#include <errno.h>
#include <event2/event.h>
#include <llhttp.h>
#include <stdbool.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/configuration.h"
#include "base/log.h"
#include "http/connection.h"
#include "http/server.h"
#include "target.h"

#define SIZE_MAX_TRIED 4096
/* More requests than this are not compared; at 18 bytes each they do not fit an input. */
#define MESSAGES_MAX 256
/* Turns of the loop without a byte from the server after which it hangs. */
#define PATIENCE 1000

static const char cut[] = "\xff\xfe";

static struct event_base *base;
static struct configuration *configuration;
static struct http_server *server;

/* ---- what handlers see ---- */

static struct buffer seen;              /* of this conversation: requests, each as text */
static struct http_request *unanswered; /* answered in a later turn of the loop */

static void put_header(struct buffer *to, const char *name, size_t name_length, const char *value, size_t value_length)
{
    for (size_t i = 0; i < name_length; i++) {
        char lower = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] | 0x20 : name[i]);
        buffer_append(to, &lower, 1);
    }
    buffer_append_text(to, "\t");
    buffer_append(to, value, value_length);
    buffer_append_text(to, "\n");
}

static void put_body(struct buffer *to, const char *body, size_t length)
{
    buffer_printf(to, "body of %zu\n", length);
    buffer_append(to, body, length);
    buffer_append_text(to, "\n");
}

/* As long as the body, and without the marks that are masked. */
static void answer(struct http_request *request)
{
    static const char filler[1024];
    MUST(request->body_length <= sizeof filler);
    struct http_response response = {.status = 202, .body = filler, .body_length = request->body_length};
    http_respond(request, &response);
}

static void note(struct http_request *request)
{
    buffer_printf(&seen, "%s %s\n", request->method_name, request->target);
    for (size_t i = 0; i < request->header_count; i++)
        put_header(&seen, request->headers[i].name, strlen(request->headers[i].name), request->headers[i].value,
                   request->headers[i].value_length);
    put_body(&seen, request->body, request->body_length);
}

static void at_once(struct http_request *request)
{
    note(request);
    answer(request);
}

static void later(struct http_request *request)
{
    note(request);
    MUST(unanswered == NULL); /* one request at a time */
    unanswered = request;
}

static const struct http_route routes[] = {
    {HTTP_METHOD_GET, "/", at_once, 0},        {HTTP_METHOD_POST, "/", at_once, 0},
    {HTTP_METHOD_PUT, "/", at_once, 0},        {HTTP_METHOD_PATCH, "/", at_once, 0},
    {HTTP_METHOD_DELETE, "/", at_once, 0},     {HTTP_METHOD_GET, "/{a}", at_once, 0},
    {HTTP_METHOD_POST, "/{a}", at_once, 0},    {HTTP_METHOD_PUT, "/{a}", at_once, 0},
    {HTTP_METHOD_GET, "/later/{a}", later, 0}, {HTTP_METHOD_POST, "/later/{a}", later, 0},
    {HTTP_METHOD_GET, "/{a}/{b}", at_once, 0}, {HTTP_METHOD_POST, "/{a}/{b}/{c}", at_once, 0},
    {HTTP_METHOD_GET, NULL, NULL, 0},
};

/* ---- our stack ---- */

static void prepare(void)
{
    char error[256];
    configuration = configuration_read(NULL, error, sizeof error);
    MUST(configuration != NULL);
    configuration->access_log = false;
    /* small, so that an input can pass them */
    configuration->header_size = 512;
    configuration->request_line_size = 128;
    configuration->header_count = 8;
    configuration->body_size = 256;
    log_set_level(LOG_LEVEL_ERROR);
    base = event_base_new();
    MUST(base != NULL);
    struct http_server_options options = {.base = base, .configuration = configuration, .routes = routes};
    server = http_server_create(&options);
}

/* What the server can do now; requests that wait for their answer get it. */
static void turn(void)
{
    event_base_loop(base, EVLOOP_NONBLOCK);
    struct http_request *request = unanswered;
    if (request != NULL) {
        unanswered = NULL;
        answer(request);
    }
}

/* false: the server has closed. */
static bool receive(int client, struct buffer *answers)
{
    ssize_t got = recv(client, buffer_reserve(answers, 4096), 4096, MSG_DONTWAIT);
    if (got > 0)
        answers->end += (size_t)got;
    return got > 0 || (got < 0 && errno == EAGAIN);
}

static bool feed(int client, const uint8_t *bytes, size_t size, struct buffer *answers)
{
    int idle = 0;
    while (size > 0) {
        ssize_t sent = send(client, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN)
            return false;
        if (sent > 0) {
            bytes += sent;
            size -= (size_t)sent;
            idle = 0;
        }
        turn();
        if (sent < 0)
            (void)receive(client, answers);
        MUST(++idle < PATIENCE);
    }
    return true;
}

/* Dates and ids that the server makes differ from answer to answer; the rest must not. */
static void mask(struct buffer *answers)
{
    static const char *const marks[] = {"\r\nDate: ", "\r\nX-Request-Id: ", "\"request_id\":\""};
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        size_t length = strlen(marks[i]);
        char *end = answers->memory + answers->end;
        char *at = buffer_length(answers) == 0 ? NULL : buffer_bytes(answers);
        while (at != NULL && (at = memmem(at, (size_t)(end - at), marks[i], length)) != NULL) {
            for (at += length; at < end && *at != '\r' && *at != '"'; at++)
                *at = '#';
        }
    }
}

/* How the bytes are cut: pieces of `step` bytes, or with 0 where they are marked; unmarked ones by chance. */
struct cuts {
    size_t step;
    uint64_t chance;
    const bool *marked;
    bool any_marked;
};

static size_t next_piece(struct cuts *cuts, size_t at, size_t size)
{
    size_t piece = 1;
    if (cuts->step > 0) {
        piece = cuts->step;
    } else if (cuts->any_marked) {
        while (at + piece < size && !cuts->marked[at + piece])
            piece++;
    } else {
        cuts->chance = cuts->chance * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        piece = 1 + (cuts->chance >> 33) % (cuts->chance >> 62 == 0 ? 4 : 97);
    }
    return piece < size - at ? piece : size - at;
}

struct conversation {
    struct buffer answers;
    struct buffer requests;
};

static struct conversation converse(const uint8_t *bytes, size_t size, struct cuts cuts, bool narrow)
{
    struct conversation conversation = {0};
    int ends[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    int room = 1; /* the kernel makes it its least */
    if (narrow)
        MUST(setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof room) == 0);
    connection_open(server, ends[0], &(struct network_peer){.kind = NETWORK_UNIX});
    int client = ends[1];
    bool open = true;
    for (size_t at = 0; open && at < size;) {
        size_t piece = next_piece(&cuts, at, size);
        open = feed(client, bytes + at, piece, &conversation.answers);
        at += piece;
    }
    shutdown(client, SHUT_WR);
    int idle = 0;
    for (size_t before = 0; receive(client, &conversation.answers); before = buffer_length(&conversation.answers)) {
        turn();
        idle = buffer_length(&conversation.answers) > before ? 0 : idle + 1;
        MUST(idle < PATIENCE);
    }
    close(client);
    turn();
    turn();
    MUST(unanswered == NULL);
    struct http_statistics statistics;
    http_server_statistics(server, &statistics);
    MUST(statistics.connections == 0 && statistics.in_flight == 0);
    mask(&conversation.answers);
    conversation.requests = seen;
    seen = (struct buffer){0};
    return conversation;
}

static bool equal(const struct buffer *one, const struct buffer *other)
{
    return buffer_length(one) == buffer_length(other) &&
           (buffer_length(one) == 0 || memcmp(buffer_bytes(one), buffer_bytes(other), buffer_length(one)) == 0);
}

static void show(const char *what, const struct buffer *bytes)
{
    fprintf(stderr, "--- %s:\n%.*s\n", what, (int)buffer_length(bytes),
            buffer_length(bytes) == 0 ? "" : buffer_bytes(bytes));
}

static void must_be_equal(const struct conversation *whole, const struct conversation *pieces)
{
    if (equal(&whole->answers, &pieces->answers) && equal(&whole->requests, &pieces->requests))
        return;
    show("answers to one piece", &whole->answers);
    show("answers to many", &pieces->answers);
    show("requests of one piece", &whole->requests);
    show("requests of many", &pieces->requests);
    fuzz_failed(__FILE__, __LINE__, "the cut counts");
}

static void forget(struct conversation *conversation)
{
    buffer_free(&conversation->answers);
    buffer_free(&conversation->requests);
}

/* ---- llhttp alone ---- */

struct message {
    char method[32];
    struct buffer url;
    struct buffer names; /* the header that is being read */
    struct buffer value;
    struct buffer headers;
    struct buffer body;
    bool has_headers;
    bool complete;
};

static struct message messages[MESSAGES_MAX];
static size_t message_count;

static struct message *last_message(void)
{
    return &messages[message_count - 1];
}

static int on_begin(llhttp_t *parser)
{
    (void)parser;
    if (message_count == MESSAGES_MAX)
        return HPE_USER;
    messages[message_count++] = (struct message){0};
    return 0;
}

static int on_url(llhttp_t *parser, const char *bytes, size_t length)
{
    (void)parser;
    buffer_append(&last_message()->url, bytes, length);
    return 0;
}

static int on_field(llhttp_t *parser, const char *bytes, size_t length)
{
    (void)parser;
    if (!last_message()->has_headers)
        buffer_append(&last_message()->names, bytes, length);
    return 0;
}

static int on_value(llhttp_t *parser, const char *bytes, size_t length)
{
    (void)parser;
    if (!last_message()->has_headers)
        buffer_append(&last_message()->value, bytes, length);
    return 0;
}

static int on_value_complete(llhttp_t *parser)
{
    (void)parser;
    struct message *message = last_message();
    if (message->has_headers)
        return 0;
    const char *value = buffer_text(&message->value);
    size_t length = buffer_length(&message->value);
    while (length > 0 && (value[length - 1] == ' ' || value[length - 1] == '\t'))
        length--;
    put_header(&message->headers, buffer_text(&message->names), buffer_length(&message->names), value, length);
    buffer_clear(&message->names, 4096);
    buffer_clear(&message->value, 4096);
    return 0;
}

static int on_headers_complete(llhttp_t *parser)
{
    last_message()->has_headers = true;
    snprintf(last_message()->method, sizeof last_message()->method, "%s",
             llhttp_method_name((llhttp_method_t)parser->method));
    return 0;
}

static int on_body(llhttp_t *parser, const char *bytes, size_t length)
{
    (void)parser;
    buffer_append(&last_message()->body, bytes, length);
    return 0;
}

static int on_complete(llhttp_t *parser)
{
    (void)parser;
    last_message()->complete = true;
    return 0;
}

static void read_alone(const uint8_t *bytes, size_t size)
{
    llhttp_settings_t settings = {
        .on_message_begin = on_begin,
        .on_url = on_url,
        .on_header_field = on_field,
        .on_header_value = on_value,
        .on_header_value_complete = on_value_complete,
        .on_headers_complete = on_headers_complete,
        .on_body = on_body,
        .on_message_complete = on_complete,
    };
    llhttp_t parser;
    llhttp_init(&parser, HTTP_REQUEST, &settings);
    (void)llhttp_execute(&parser, (const char *)bytes, size);
}

static void forget_messages(void)
{
    while (message_count > 0) {
        struct message *message = &messages[--message_count];
        buffer_free(&message->url);
        buffer_free(&message->names);
        buffer_free(&message->value);
        buffer_free(&message->headers);
        buffer_free(&message->body);
    }
}

/* Our targets begin with the path: of an absolute one (RFC 9112, 3.2.2) it is what follows the authority. */
static const char *path_of(struct buffer *url)
{
    const char *text = buffer_text(url);
    if (*text == '/')
        return text;
    const char *authority = strstr(text, "://");
    MUST(authority != NULL);
    authority += 3;
    return authority + strcspn(authority, "/?");
}

/* The request that llhttp has read is what our handler saw first of `ours`; its length there. */
static size_t must_begin_with(const char *ours, size_t left, struct message *message)
{
    struct buffer theirs = {0};
    const char *path = path_of(&message->url);
    buffer_printf(&theirs, "%s %s%s\n", message->method, *path == '/' ? "" : "/", path);
    buffer_append(&theirs, buffer_text(&message->headers), buffer_length(&message->headers));
    put_body(&theirs, buffer_text(&message->body), buffer_length(&message->body));
    size_t length = buffer_length(&theirs);
    if (left < length || memcmp(ours, buffer_bytes(&theirs), length) != 0) {
        show("llhttp alone", &theirs);
        fprintf(stderr, "--- our stack:\n%.*s\n", (int)left, ours);
        fuzz_failed(__FILE__, __LINE__, "both read the same request");
    }
    buffer_free(&theirs);
    return length;
}

/* ---- the answers ---- */

struct answer {
    int status;
    bool closes;
    size_t length; /* all of it */
};

static bool has_line(const char *head, size_t length, const char *line)
{
    return memmem(head, length, line, strlen(line)) != NULL;
}

/* The bytes were refused, and nothing more is read: the answer is no word about a request. */
static bool is_refusal(const struct answer *one)
{
    static const int statuses[] = {400, 408, 413, 414, 417, 431, 501, 505};
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        if (one->closes && one->status == statuses[i])
            return true;
    }
    return false;
}

/* Our own answers are well-formed, or this is a finding too. */
static struct answer read_answer(const char *bytes, size_t left, bool to_head)
{
    struct answer one = {0};
    MUST(left > 12 && memcmp(bytes, "HTTP/1.1 ", 9) == 0);
    one.status = atoi(bytes + 9);
    const char *end = memmem(bytes, left, "\r\n\r\n", 4);
    MUST(one.status >= 100 && one.status <= 599 && end != NULL);
    size_t head = (size_t)(end - bytes) + 4;
    one.closes = has_line(bytes, head, "\r\nConnection: close\r\n");
    size_t body = 0;
    const char *length = memmem(bytes, head, "\r\nContent-Length: ", 18);
    /* of bytes that are refused llhttp and we may read HEAD or not: the last answer is as long as it is */
    bool without = is_refusal(&one) ? head == left : to_head;
    if (length != NULL && !without)
        body = strtoul(length + 18, NULL, 10);
    MUST(body <= left - head);
    one.length = head + body;
    return one;
}

static bool expects_continue(struct message *message)
{
    return strcasestr(buffer_text(&message->headers), "expect\t100-continue") != NULL;
}

/* Each answer that takes a request stands for the next message that llhttp has read. */
static void compare(struct conversation *whole)
{
    const char *answers = buffer_text(&whole->answers);
    size_t left = buffer_length(&whole->answers);
    const char *requests = buffer_text(&whole->requests);
    const char *requests_end = requests + buffer_length(&whole->requests);
    size_t number = 0;
    bool over = false;
    while (left > 0) {
        struct message *message = number < message_count ? &messages[number] : NULL;
        struct answer one = read_answer(answers, left, message != NULL && strcmp(message->method, "HEAD") == 0);
        MUST(!over); /* nothing follows an answer that closes */
        over = one.closes;
        answers += one.length;
        left -= one.length;
        if (one.status == 100) {
            MUST(message != NULL && message->has_headers && expects_continue(message));
            continue;
        }
        if (is_refusal(&one))
            continue;
        MUST(message != NULL && message->has_headers);
        MUST(message->complete || (one.closes && expects_continue(message)));
        if (one.status == 202)
            requests += must_begin_with(requests, (size_t)(requests_end - requests), message);
        number++;
    }
    MUST(requests == requests_end);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t input_size)
{
    if (server == NULL)
        prepare();
    if (input_size > SIZE_MAX_TRIED)
        return 0;
    uint8_t bytes[SIZE_MAX_TRIED];
    bool marked[SIZE_MAX_TRIED + 1] = {false};
    size_t size = 0;
    struct cuts cuts = {.chance = choice_of(input, input_size), .marked = marked};
    for (size_t i = 0; i < input_size; i++) {
        if (i + 1 < input_size && memcmp(input + i, cut, 2) == 0) {
            marked[size] = true;
            cuts.any_marked = true;
            i++;
        } else {
            bytes[size++] = input[i];
        }
    }
    struct conversation whole = converse(bytes, size, (struct cuts){.step = SIZE_MAX_TRIED}, false);
    struct conversation single = converse(bytes, size, (struct cuts){.step = 1}, false);
    must_be_equal(&whole, &single);
    forget(&single);
    struct conversation pieces = converse(bytes, size, cuts, cuts.chance >> 60 < 4);
    must_be_equal(&whole, &pieces);
    forget(&pieces);
    read_alone(bytes, size);
    compare(&whole);
    forget_messages();
    forget(&whole);
    return 0;
}
