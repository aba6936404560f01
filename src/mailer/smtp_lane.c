/* smtp_lane: one connection to the SMTP server. Mailer, in the lane's own thread. libcurl connects, agrees on TLS and
 * signs in; then the commands are our own, over that connection: libcurl waits for each answer before the next command,
 * also where the server offers PIPELINING (RFC 2920), and so for four round trips a message instead of two. */
#include "mailer/smtp_lane.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

/* A piece of a message that is sent at once. */
#define PIECE_SIZE 16384
/* How long one look for bytes lasts; the loop cuts a connection that stands still. Milliseconds. */
#define WAIT_MOST 250

/* ---- libcurl's callbacks ---- */

void lane_note(struct lane *lane)
{
    atomic_store_explicit(&lane->moved, clock_monotonic(), memory_order_relaxed);
}

/* An answer may have several lines; the last one says most. Lines of the TLS handshake are no answers. */
static void take_answer(struct lane *lane, const char *line, size_t length)
{
    while (length > 0 && (line[length - 1] == '\r' || line[length - 1] == '\n'))
        length--;
    if (length < 3 || line[0] < '2' || line[0] > '5')
        return;
    lane->code = (line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0');
    snprintf(lane->answer, sizeof lane->answer, "%.*s", (int)length, line);
}

/* What is said until we may send, as far as it is no secret. */
static int on_debug(CURL *curl, curl_infotype type, char *data, size_t size, void *context)
{
    struct lane *lane = context;
    (void)curl;
    lane_note(lane);
    if (type == CURLINFO_HEADER_IN) {
        take_answer(lane, data, size);
        if (size >= 14 && strncasecmp(data, "250", 3) == 0 && strncasecmp(data + 4, "PIPELINING", 10) == 0)
            lane->pipelining = true;
    } else if (type == CURLINFO_HEADER_OUT) {
        /* only which command: what stands behind AUTH is a secret */
        enum smtp_stage stage = verdict_stage(data, size, lane->stage);
        if (stage == SMTP_STAGE_HELLO)
            lane->pipelining = false; /* what was offered before TLS does not count */
        if (stage != lane->stage) {
            lane->stage = stage;
            lane->code = 0;
        }
    }
    return 0;
}

/* libcurl asks at least once a second, also while it waits for an answer. */
static int on_progress(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    struct lane *lane = context;
    (void)a;
    (void)b;
    (void)c;
    (void)d;
    return atomic_load(&lane->late) ? 1 : 0;
}

static curl_socket_t on_open(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct lane *lane = context;
    (void)purpose;
    int descriptor = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    if (descriptor >= 0)
        atomic_store(&lane->descriptor, descriptor);
    return descriptor;
}

static int on_close(void *context, curl_socket_t descriptor)
{
    struct lane *lane = context;
    /* first, or the loop would shut down what somebody else has opened since */
    pthread_mutex_lock(lane->lock);
    int mine = descriptor;
    atomic_compare_exchange_strong(&lane->descriptor, &mine, -1);
    pthread_mutex_unlock(lane->lock);
    return close(descriptor);
}

/* ---- one message ---- */

static CURL *make_curl(struct lane *lane, const struct smtp_settings *settings)
{
    CURL *curl = curl_easy_init();
    INVARIANT(curl != NULL);
    curl_easy_setopt(curl, CURLOPT_URL, settings->url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L); /* a slow name server holds up no end */
    curl_easy_setopt(curl, CURLOPT_USE_SSL,
                     (long)(settings->tls == SMTP_TLS_OFF   ? CURLUSESSL_NONE
                            : settings->tls == SMTP_TLS_TRY ? CURLUSESSL_TRY
                                                            : CURLUSESSL_ALL));
    if (settings->ca_file != NULL) {
        curl_easy_setopt(curl, CURLOPT_CAINFO, settings->ca_file);
        curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
    }
    if (settings->user != NULL) {
        curl_easy_setopt(curl, CURLOPT_USERNAME, settings->user);
        curl_easy_setopt(curl, CURLOPT_PASSWORD, settings->password);
    }
    curl_easy_setopt(curl, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)(settings->timeout / 1000));
    curl_easy_setopt(curl, CURLOPT_MAXCONNECTS, 1L);
    curl_easy_setopt(curl, CURLOPT_VERBOSE, 1L);
    curl_easy_setopt(curl, CURLOPT_DEBUGFUNCTION, on_debug);
    curl_easy_setopt(curl, CURLOPT_DEBUGDATA, lane);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, lane);
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, on_open);
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, lane);
    curl_easy_setopt(curl, CURLOPT_CLOSESOCKETFUNCTION, on_close);
    curl_easy_setopt(curl, CURLOPT_CLOSESOCKETDATA, lane);
    return curl;
}

/* What libcurl was doing when it ended, in our words, where the server said nothing. */
static void take_words(struct lane *lane, struct task *task, CURLcode code, const char *error)
{
    /* a server that had said yes so far is not what ended it */
    bool answered = lane->code >= 400 || (lane->code != 0 && code == CURLE_OK);
    const char *words = answered                   ? lane->answer
                        : code == CURLE_OK         ? ""
                        : atomic_load(&lane->late) ? "the server did not answer in time"
                        : error[0] != '\0'         ? error
                                                   : curl_easy_strerror(code);
    snprintf(task->words, sizeof task->words, "%.*s%s", WORDS_SIZE - 32, words,
             code != CURLE_OK && lane->stage == SMTP_STAGE_BODY && lane->code == 0 ? " (outcome unknown)" : "");
}

/* libcurl says nothing over a connection that it has given away. */
void lane_hang_up(struct lane *lane)
{
    size_t sent;
    if (lane->connected)
        (void)curl_easy_send(lane->curl, "QUIT\r\n", 6, &sent);
    if (lane->curl != NULL)
        curl_easy_cleanup(lane->curl);
    lane->curl = NULL;
    lane->connected = false;
}

/* Until the connection may be read or written; the loop cuts it when that lasts for too long. */
static void wait_for(const struct lane *lane, short events)
{
    struct pollfd ready = {.fd = atomic_load(&lane->descriptor), .events = events};
    (void)poll(&ready, 1, WAIT_MOST);
}

static bool say(struct lane *lane, const char *bytes, size_t length)
{
    while (length > 0) {
        size_t sent = 0;
        CURLcode code = curl_easy_send(lane->curl, bytes, length, &sent);
        if (atomic_load(&lane->late) || (code != CURLE_OK && code != CURLE_AGAIN))
            return false;
        if (code == CURLE_AGAIN)
            wait_for(lane, POLLOUT);
        else
            lane_note(lane);
        bytes += sent;
        length -= sent;
    }
    return true;
}

/* The next line of the server, its end included, is in `heard`: how long it is, or 0 where the connection has ended. */
static size_t hear(struct lane *lane)
{
    for (;;) {
        char *end = memchr(lane->heard, '\n', lane->heard_length);
        if (end != NULL)
            return (size_t)(end - lane->heard) + 1;
        if (lane->heard_length == sizeof lane->heard)
            return 0;
        size_t got = 0;
        CURLcode code =
            curl_easy_recv(lane->curl, lane->heard + lane->heard_length, sizeof lane->heard - lane->heard_length, &got);
        if (atomic_load(&lane->late) || (code != CURLE_OK && code != CURLE_AGAIN) || (code == CURLE_OK && got == 0))
            return 0;
        if (code == CURLE_AGAIN)
            wait_for(lane, POLLIN);
        else
            lane_note(lane);
        lane->heard_length += got;
    }
}

/* The answer to what was said at this stage: its code, or 0 where there was none. */
static int answer(struct lane *lane, enum smtp_stage stage)
{
    lane->stage = stage;
    lane->code = 0;
    for (;;) {
        size_t length = hear(lane);
        if (length == 0)
            return lane->code = 0;
        bool last = length < 4 || lane->heard[3] != '-';
        lane->code = 0;
        take_answer(lane, lane->heard, length);
        lane->heard_length -= length;
        memmove(lane->heard, lane->heard + length, lane->heard_length);
        if (last)
            return lane->code;
    }
}

/* The envelope: 354 where the server wants the message now. */
static int say_envelope(struct lane *lane, const struct task *task)
{
    char text[3][400];
    static const enum smtp_stage stages[] = {SMTP_STAGE_MAIL, SMTP_STAGE_RECIPIENT, SMTP_STAGE_DATA};
    snprintf(text[0], sizeof text[0], "MAIL FROM:%s\r\n", task->sender);
    snprintf(text[1], sizeof text[1], "RCPT TO:%s\r\n", task->recipient);
    snprintf(text[2], sizeof text[2], "DATA\r\n");
    lane->stage = SMTP_STAGE_MAIL;
    lane->code = 0;
    if (lane->pipelining) {
        char all[sizeof text + 1];
        int length = snprintf(all, sizeof all, "%s%s%s", text[0], text[1], text[2]);
        if (!say(lane, all, (size_t)length))
            return 0;
    }
    int code = 0;
    for (size_t i = 0; i < 3; i++) {
        lane->stage = stages[i];
        lane->code = 0;
        if (!lane->pipelining && !say(lane, text[i], strlen(text[i])))
            return 0;
        code = answer(lane, stages[i]);
        if (code / 100 != 2 && code != 354)
            return code; /* what is answered to the rest of the commands says nothing more */
    }
    return code;
}

/* The message with its dots doubled at the beginning of lines, and its end. */
static bool say_message(struct lane *lane, const struct task *task)
{
    char piece[PIECE_SIZE];
    size_t filled = 0;
    bool line_begins = true;
    lane->stage = SMTP_STAGE_BODY;
    lane->code = 0;
    for (size_t i = 0; i < task->length; i++) {
        if (line_begins && task->bytes[i] == '.')
            piece[filled++] = '.';
        piece[filled++] = task->bytes[i];
        line_begins = task->bytes[i] == '\n';
        if (filled + 8 > sizeof piece) {
            if (!say(lane, piece, filled))
                return false;
            filled = 0;
        }
    }
    const char *end = line_begins ? ".\r\n" : "\r\n.\r\n";
    memcpy(piece + filled, end, strlen(end));
    return say(lane, piece, filled + strlen(end));
}

/* Connects, where it is not. */
static CURLcode connect_lane(struct lane *lane, char *error)
{
    if (lane->connected)
        return CURLE_OK;
    lane_hang_up(lane);
    lane->curl = make_curl(lane, lane->settings);
    lane->heard_length = 0;
    lane->pipelining = false;
    lane->stage = SMTP_STAGE_CONNECT;
    curl_easy_setopt(lane->curl, CURLOPT_ERRORBUFFER, error);
    CURLcode code = curl_easy_perform(lane->curl);
    curl_easy_setopt(lane->curl, CURLOPT_ERRORBUFFER, NULL);
    lane->connected = code == CURLE_OK;
    /* where the host has several addresses the one opened last may not be the one that answered */
    curl_socket_t descriptor;
    if (lane->connected && curl_easy_getinfo(lane->curl, CURLINFO_ACTIVESOCKET, &descriptor) == CURLE_OK)
        atomic_store(&lane->descriptor, descriptor);
    return code;
}

bool lane_try(struct lane *lane, struct task *task, bool *reused)
{
    char error[CURL_ERROR_SIZE] = "";
    bool accepted = false;
    *reused = lane->connected;
    lane->stage = SMTP_STAGE_CONNECT;
    lane->code = 0;
    lane_note(lane);
    CURLcode code = connect_lane(lane, error);
    bool made = !*reused && lane->connected;
    if (code == CURLE_OK) {
        accepted =
            say_envelope(lane, task) == 354 && say_message(lane, task) && answer(lane, SMTP_STAGE_BODY) / 100 == 2;
        code = accepted ? CURLE_OK : lane->code == 0 ? CURLE_RECV_ERROR : CURLE_SEND_ERROR;
    }
    take_words(lane, task, code, error);
    task->end = (struct smtp_end){.stage = lane->stage, .code = lane->code, .accepted = accepted, .words = task->words};
    if (!accepted)
        lane_hang_up(lane); /* the next one begins anew, whatever was left unsaid here */
    return made;
}
