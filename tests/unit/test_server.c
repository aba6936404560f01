/* Unit tests of src/http/server: accepting, limits, deadlines, the drain, counters and the access log. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "http/connection.h"
#include "http_rig.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define HOST "Host: a\r\n"
#define END "\r\n"
#define PLAIN "GET /plain HTTP/1.1\r\n" HOST END
#define MS INT64_C(1000)
#define NEVER_IN_A_TEST (3600 * 1000 * MS)

static struct rig rig;
static struct http_request *waiting;

static void answer_text(struct http_request *request, const char *text)
{
    struct http_response response = {.status = 200, .body = text, .body_length = strlen(text)};
    http_respond(request, &response);
}

static void plain(struct http_request *request)
{
    answer_text(request, "plain");
}

static void personal(struct http_request *request)
{
    request->user_id = "user-7";
    answer_text(request, request->client_address);
}

static void later(struct http_request *request)
{
    waiting = request;
}

static void large(struct http_request *request)
{
    static const char body[4 << 20];
    struct http_response response = {.status = 200, .body = body, .body_length = sizeof body};
    http_respond(request, &response);
}

static const struct http_route routes[] = {
    {HTTP_METHOD_GET, "/plain", plain, 0}, {HTTP_METHOD_POST, "/plain", plain, 0},
    {HTTP_METHOD_GET, "/later", later, 0}, {HTTP_METHOD_GET, "/users/{id}", personal, 0},
    {HTTP_METHOD_GET, "/large", large, 0}, {HTTP_METHOD_GET, NULL, NULL, 0},
};

static void setup(void)
{
    waiting = NULL;
    rig_prepare(&rig);
    /* the one that a test is about is made short there */
    rig.configuration->header_timeout = NEVER_IN_A_TEST;
    rig.configuration->body_timeout = NEVER_IN_A_TEST;
    rig.configuration->write_timeout = NEVER_IN_A_TEST;
    rig.configuration->idle_timeout = NEVER_IN_A_TEST;
}

static void teardown(void)
{
    rig_stop(&rig);
}

static struct http_statistics statistics(void)
{
    struct http_statistics counted;
    http_server_statistics(rig.server, &counted);
    return counted;
}

/* ---- accepting ---- */

START_TEST(test_a_tcp_client_is_answered_and_known_by_its_address)
{
    rig_start(&rig, routes, true);
    struct buffer answer = {0};
    int client = rig_connect_tcp(&rig);
    rig_send_text(&rig, client, "GET /users/7 HTTP/1.1\r\n" HOST END);
    rig_read(&rig, client, &answer, one_answer);
    ck_assert(has_text(&answer, "\r\n\r\n127.0.0.1"));
    ck_assert_int_eq(statistics().accepted, 1);
    ck_assert_int_eq(statistics().requests, 1);
    buffer_free(&answer);
    close(client);
}
END_TEST

START_TEST(test_a_unix_client_is_answered)
{
    char folder[] = "/tmp/turnout-http-XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(folder));
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/socket", folder);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(listener, 16), 0);
    rig.base = event_base_new();
    struct http_server_options options = {.base = rig.base,
                                          .configuration = rig.configuration,
                                          .routes = routes,
                                          .listeners = &listener,
                                          .listener_count = 1};
    rig.server = http_server_create(&options);

    struct buffer answer = {0};
    int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(client, (struct sockaddr *)&address, sizeof address), 0);
    rig_send_text(&rig, client, "GET /users/7 HTTP/1.1\r\n" HOST END);
    rig_read(&rig, client, &answer, one_answer);
    ck_assert(has_text(&answer, "\r\n\r\nunix"));
    buffer_free(&answer);
    close(client);
    close(listener);
    unlink(address.sun_path);
    rmdir(folder);
}
END_TEST

static bool two_connections(void *context)
{
    (void)context;
    return statistics().connections == 2;
}

START_TEST(test_a_full_server_accepts_again_when_a_connection_has_closed)
{
    rig.configuration->max_connections = 2;
    rig_start(&rig, routes, true);
    int clients[3];
    for (size_t i = 0; i < COUNT(clients); i++)
        clients[i] = rig_connect_tcp(&rig);
    rig_wait(&rig, two_connections, NULL);
    send(clients[2], PLAIN, strlen(PLAIN), 0);
    for (int i = 0; i < 10; i++)
        rig_turn(&rig);
    ck_assert_int_eq(statistics().accepted, 2);
    close(clients[0]);
    struct buffer answer = {0};
    rig_read(&rig, clients[2], &answer, one_answer);
    ck_assert_int_eq(status_of(&answer), 200);
    ck_assert_int_eq(statistics().connections, 2);
    buffer_free(&answer);
    close(clients[1]);
    close(clients[2]);
}
END_TEST

START_TEST(test_a_server_out_of_descriptors_tries_again)
{
    rig_start(&rig, routes, true);
    int client = rig_connect_tcp(&rig);
    send(client, PLAIN, strlen(PLAIN), 0);
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    /* the next free number is past the limit now */
    int next = dup(client);
    struct rlimit none = {.rlim_cur = (rlim_t)next, .rlim_max = limit.rlim_max};
    close(next);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    for (int i = 0; i < 5; i++)
        rig_turn(&rig);
    ck_assert_int_eq(statistics().accepted, 0);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    struct buffer answer = {0};
    rig_read(&rig, client, &answer, one_answer);
    ck_assert_int_eq(status_of(&answer), 200);
    buffer_free(&answer);
    close(client);
}
END_TEST

/* ---- deadlines ---- */

START_TEST(test_a_client_that_never_says_a_word_is_left_without_one)
{
    rig.configuration->header_timeout = 30 * MS;
    rig_start(&rig, routes, false);
    struct buffer answer = {0};
    int client = rig_connect(&rig);
    rig_read_all(&rig, client, &answer);
    ck_assert_uint_eq(buffer_length(&answer), 0);
    buffer_free(&answer);
    close(client);
}
END_TEST

/* Sends a byte whenever it can, so that only an absolute deadline ends it. */
static void drip(int client, const char *bytes, struct buffer *answer)
{
    for (const char *at = bytes;; at += at[1] != '\0') {
        send(client, at, 1, MSG_NOSIGNAL);
        struct buffer piece = {0};
        rig_turn(&rig);
        ssize_t got = recv(client, buffer_reserve(&piece, 4096), 4096, MSG_DONTWAIT);
        if (got > 0)
            buffer_append(answer, piece.memory, (size_t)got);
        buffer_free(&piece);
        if (got >= 0 && buffer_length(answer) > 0)
            return;
    }
}

START_TEST(test_headers_that_never_end_are_answered_with_408)
{
    rig.configuration->header_timeout = 50 * MS;
    rig.configuration->header_size = 1 << 20; /* more than drips in that time */
    rig_start(&rig, routes, false);
    struct buffer answer = {0};
    int client = rig_connect(&rig);
    drip(client, "GET /plain HTTP/1.1\r\nHost: aaa", &answer);
    ck_assert_int_eq(status_of(&answer), 408);
    ck_assert(has_text(&answer, "/problems/bad-request") && has_text(&answer, "Connection: close"));
    buffer_free(&answer);
    close(client);
}
END_TEST

START_TEST(test_a_second_request_has_its_own_deadline)
{
    rig.configuration->header_timeout = 50 * MS;
    rig_start(&rig, routes, false);
    struct buffer answer = {0};
    int client = rig_connect(&rig);
    rig_send_text(&rig, client, PLAIN);
    rig_read(&rig, client, &answer, one_answer);
    ck_assert_int_eq(status_of(&answer), 200);
    int64_t begun = clock_monotonic();
    while (clock_monotonic() < begun + 80 * MS) /* idle for longer than headers may take */
        rig_turn(&rig);
    buffer_clear(&answer, 0);
    rig_send_text(&rig, client, "GET");
    begun = clock_monotonic();
    rig_read_all(&rig, client, &answer);
    ck_assert_int_eq(status_of(&answer), 408);
    ck_assert_int_ge(clock_monotonic() - begun, 49 * MS);
    buffer_free(&answer);
    close(client);
}
END_TEST

START_TEST(test_a_body_that_never_ends_is_answered_with_408)
{
    rig.configuration->body_timeout = 50 * MS;
    rig_start(&rig, routes, false);
    struct buffer answer = {0};
    int client = rig_connect(&rig);
    rig_send_text(&rig, client, "POST /plain HTTP/1.1\r\n" HOST "Content-Length: 250000\r\n" END); /* likewise */
    drip(client, "x", &answer);
    ck_assert_int_eq(status_of(&answer), 408);
    buffer_free(&answer);
    close(client);
}
END_TEST

START_TEST(test_a_kept_connection_that_is_idle_for_too_long_is_closed)
{
    rig.configuration->idle_timeout = 30 * MS;
    rig_start(&rig, routes, false);
    struct buffer answer = {0};
    int client = rig_connect(&rig);
    rig_send_text(&rig, client, PLAIN);
    rig_read_all(&rig, client, &answer);
    ck_assert_int_eq(status_of(&answer), 200);
    ck_assert(!has_text(&answer, "HTTP/1.1 408"));
    buffer_free(&answer);
    close(client);
}
END_TEST

static bool no_connection(void *context)
{
    (void)context;
    return statistics().connections == 0;
}

START_TEST(test_a_reader_that_is_too_slow_is_cut_off)
{
    rig.configuration->write_timeout = 50 * MS;
    rig_start(&rig, routes, false);
    int client = rig_connect(&rig);
    rig_send_text(&rig, client, "GET /large HTTP/1.1\r\n" HOST END);
    int64_t begun = clock_monotonic();
    char piece[64];
    while (statistics().connections > 0) { /* reads on, but not enough */
        ck_assert_int_lt(clock_monotonic() - begun, 10000 * MS);
        (void)!recv(client, piece, sizeof piece, MSG_DONTWAIT);
        rig_turn(&rig);
    }
    ck_assert_int_ge(clock_monotonic() - begun, 49 * MS);
    close(client);
}
END_TEST

START_TEST(test_a_handler_may_take_longer_than_every_deadline)
{
    rig.configuration->header_timeout = rig.configuration->body_timeout = 20 * MS;
    rig.configuration->write_timeout = rig.configuration->idle_timeout = 20 * MS;
    rig_start(&rig, routes, false);
    struct buffer answer = {0};
    int client = rig_connect(&rig);
    rig_send_text(&rig, client, "GET /later HTTP/1.1\r\n" HOST END);
    int64_t begun = clock_monotonic();
    while (clock_monotonic() < begun + 60 * MS)
        rig_turn(&rig);
    ck_assert_ptr_nonnull(waiting->connection);
    answer_text(waiting, "late");
    rig_read_all(&rig, client, &answer);
    ck_assert_int_eq(status_of(&answer), 200);
    buffer_free(&answer);
    close(client);
}
END_TEST

/* ---- the drain ---- */

static bool is_drained(void *context)
{
    return ((struct rig *)context)->drained;
}

START_TEST(test_a_drain_serves_who_waits_and_ends_when_all_have_gone)
{
    rig_start(&rig, routes, true);
    struct buffer answer = {0};
    int kept = rig_connect_tcp(&rig);
    int working = rig_connect_tcp(&rig);
    rig_send_text(&rig, kept, PLAIN);
    rig_read(&rig, kept, &answer, one_answer);
    ck_assert(!has_text(&answer, "Connection: close"));
    rig_send_text(&rig, working, "GET /later HTTP/1.1\r\n" HOST END);
    while (waiting == NULL)
        rig_turn(&rig);
    int queued[3]; /* accepted by the kernel, not yet by the server */
    for (size_t i = 0; i < COUNT(queued); i++) {
        queued[i] = rig_connect_tcp(&rig);
        send(queued[i], PLAIN, strlen(PLAIN), 0);
    }
    http_server_drain(rig.server, false);
    rig.listener = -1; /* closed by the drain */
    for (size_t i = 0; i < COUNT(queued); i++) {
        buffer_clear(&answer, 0);
        rig_read_all(&rig, queued[i], &answer);
        ck_assert_int_eq(status_of(&answer), 200);
        ck_assert(has_text(&answer, "Connection: close"));
        close(queued[i]);
    }
    ck_assert(!rig.drained);
    buffer_clear(&answer, 0);
    rig_send_text(&rig, kept, PLAIN);
    rig_read_all(&rig, kept, &answer);
    ck_assert_int_eq(status_of(&answer), 200);
    ck_assert(has_text(&answer, "Connection: close"));
    close(kept);
    ck_assert(!rig.drained);
    buffer_clear(&answer, 0);
    answer_text(waiting, "late");
    rig_read_all(&rig, working, &answer);
    ck_assert(has_text(&answer, "Connection: close"));
    close(working);
    rig_wait(&rig, is_drained, &rig);
    buffer_free(&answer);
}
END_TEST

START_TEST(test_a_drain_without_connections_ends_at_once)
{
    rig_start(&rig, routes, true);
    http_server_drain(rig.server, false);
    rig.listener = -1;
    rig_wait(&rig, is_drained, &rig);
}
END_TEST

START_TEST(test_closing_all_ends_a_drain)
{
    rig_start(&rig, routes, true);
    int silent = rig_connect_tcp(&rig);
    int working = rig_connect_tcp(&rig);
    rig_send_text(&rig, working, "GET /later HTTP/1.1\r\n" HOST END);
    while (waiting == NULL)
        rig_turn(&rig);
    http_server_drain(rig.server, false);
    rig.listener = -1;
    ck_assert_int_eq(statistics().connections, 2);
    http_server_close_all(rig.server);
    rig_wait(&rig, is_drained, &rig);
    ck_assert_ptr_null(waiting->connection);
    answer_text(waiting, "to nobody");
    close(silent);
    close(working);
}
END_TEST

/* ---- memory and the log ---- */

START_TEST(test_idle_connections_cost_little_more_than_their_struct)
{
    rig_start(&rig, routes, false);
    enum { CLIENTS = 200 };
    int clients[CLIENTS];
    int64_t before = statistics().memory;
    for (int i = 0; i < CLIENTS; i++) {
        struct buffer answer = {0};
        clients[i] = rig_connect(&rig);
        rig_send_text(&rig, clients[i], PLAIN);
        rig_read(&rig, clients[i], &answer, one_answer);
        buffer_free(&answer);
    }
    int64_t each = (statistics().memory - before) / CLIENTS;
    ck_assert_int_lt(each, (int64_t)sizeof(struct http_connection) + 64);
    for (int i = 0; i < CLIENTS; i++)
        close(clients[i]);
    rig_wait(&rig, no_connection, NULL);
    rig_turn(&rig);
    /* some stay ready for the next ones; the rest is given back */
    ck_assert_int_le(statistics().memory - before, SPARE_CONNECTIONS_MAX * (int64_t)sizeof(struct http_connection) +
                                                       SPARE_ARENAS_MAX * (int64_t)(ARENA_SIZE + 256));
}
END_TEST

START_TEST(test_the_access_log_has_a_line_for_every_answer)
{
    static const struct {
        const char *request;
        const char *said[6];
    } rows[] = {
        {"GET /users/7 HTTP/1.1\r\n" HOST "X-Request-Id: one\r\n"
         "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n" END,
         {"method=GET", "route=/users/{id}", "status=200", "request_id=one", "user_id=user-7",
          "traceparent=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}},
        {"GET /nowhere HTTP/1.1\r\n" HOST "traceparent: 00-0-0-0\r\n" END,
         {"method=GET", "route=-", "status=404", "client=unix"}},
        {"GET /pl\nain HTTP/1.1\r\n" END, {"method=-", "route=-", "status=400", "microseconds="}},
        {"NOPE /plain HTTP/1.1\r\n" HOST END, {"method=NOPE", "status=501", "bytes="}},
    };
    char path[] = "/tmp/turnout-log-XXXXXX";
    int file = mkstemp(path);
    int saved = dup(STDERR_FILENO);
    rig.configuration->access_log = true;
    rig_start(&rig, routes, false);
    for (size_t i = 0; i < COUNT(rows); i++) {
        ck_assert_int_eq(ftruncate(file, 0), 0);
        ck_assert_int_eq((int)lseek(file, 0, SEEK_SET), 0);
        dup2(file, STDERR_FILENO);
        struct buffer answer = rig_exchange(&rig, rows[i].request);
        dup2(saved, STDERR_FILENO);
        char line[4096];
        ssize_t length = pread(file, line, sizeof line - 1, 0);
        ck_assert_int_gt((int)length, 0);
        line[length] = '\0';
        for (size_t j = 0; j < 6 && rows[i].said[j] != NULL; j++)
            ck_assert_msg(strstr(line, rows[i].said[j]) != NULL, "%s is missing in %s", rows[i].said[j], line);
        ck_assert_ptr_eq(strchr(line, '\n'), line + length - 1);
        if (i == 1)
            ck_assert_ptr_null(strstr(line, "traceparent")); /* it was none */
        buffer_free(&answer);
    }
    close(file);
    close(saved);
    unlink(path);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("server");
    TCase *tcase = tcase_create("server");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, test_a_tcp_client_is_answered_and_known_by_its_address);
    tcase_add_test(tcase, test_a_unix_client_is_answered);
    tcase_add_test(tcase, test_a_full_server_accepts_again_when_a_connection_has_closed);
    tcase_add_test(tcase, test_a_server_out_of_descriptors_tries_again);
    tcase_add_test(tcase, test_a_client_that_never_says_a_word_is_left_without_one);
    tcase_add_test(tcase, test_headers_that_never_end_are_answered_with_408);
    tcase_add_test(tcase, test_a_second_request_has_its_own_deadline);
    tcase_add_test(tcase, test_a_body_that_never_ends_is_answered_with_408);
    tcase_add_test(tcase, test_a_kept_connection_that_is_idle_for_too_long_is_closed);
    tcase_add_test(tcase, test_a_reader_that_is_too_slow_is_cut_off);
    tcase_add_test(tcase, test_a_handler_may_take_longer_than_every_deadline);
    tcase_add_test(tcase, test_a_drain_serves_who_waits_and_ends_when_all_have_gone);
    tcase_add_test(tcase, test_a_drain_without_connections_ends_at_once);
    tcase_add_test(tcase, test_closing_all_ends_a_drain);
    tcase_add_test(tcase, test_idle_connections_cost_little_more_than_their_struct);
    tcase_add_test(tcase, test_the_access_log_has_a_line_for_every_answer);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
