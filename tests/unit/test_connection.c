/* Unit tests of src/http/connection and what it is made of: requests over socket pairs, and the bytes that come back.
 */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/query.h"
#include "http_rig.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define LARGE_SIZE (8 << 20)

static struct rig rig;
static struct http_request *waiting[128];
static size_t waiting_count;
static int released;

static void answer_text(struct http_request *request, const char *text)
{
    struct http_response response = {
        .status = 200, .content_type = "text/plain", .body = text, .body_length = strlen(text)};
    http_respond(request, &response);
}

static void plain(struct http_request *request)
{
    answer_text(request, "plain");
}

static void echo(struct http_request *request)
{
    struct http_response response = {.status = 200,
                                     .content_type = "application/octet-stream",
                                     .headers = "X-Echo: yes\r\n",
                                     .body = request->body,
                                     .body_length = request->body_length};
    ck_assert_int_eq(request->body[request->body_length], '\0');
    http_respond(request, &response);
}

static void item(struct http_request *request)
{
    const char *query = http_request_query(request, "q");
    answer_text(request, arena_printf(request->arena, "item %s q=%s", request->parameters[0], query ? query : "-"));
}

static void trace(struct http_request *request)
{
    answer_text(request, request->traceparent == NULL ? "none" : request->traceparent);
}

static void later(struct http_request *request)
{
    ck_assert_uint_lt(waiting_count, COUNT(waiting));
    waiting[waiting_count++] = request;
}

static void count_release(void *owner)
{
    released++;
    free(owner);
}

static void large(struct http_request *request)
{
    char *body = malloc(LARGE_SIZE);
    ck_assert_ptr_nonnull(body);
    for (size_t i = 0; i < LARGE_SIZE; i++)
        body[i] = (char)('a' + i % 23);
    struct http_response response = {
        .status = 200, .body = body, .body_length = LARGE_SIZE, .release = count_release, .owner = body};
    http_respond(request, &response);
}

static void nothing(struct http_request *request)
{
    struct http_response response = {.status = 204, .body = "ignored", .body_length = 7};
    http_respond(request, &response);
}

static void same(struct http_request *request)
{
    struct http_response response = {.status = 304, .headers = "ETag: \"1\"\r\n"};
    http_respond(request, &response);
}

static const struct http_route routes[] = {
    {HTTP_METHOD_GET, "/plain", plain, 0},     {HTTP_METHOD_POST, "/echo", echo, 0},
    {HTTP_METHOD_GET, "/items/{id}", item, 0}, {HTTP_METHOD_GET, "/later", later, 0},
    {HTTP_METHOD_POST, "/later", later, 0},    {HTTP_METHOD_GET, "/large", large, 0},
    {HTTP_METHOD_GET, "/nothing", nothing, 0}, {HTTP_METHOD_GET, "/same", same, 0},
    {HTTP_METHOD_GET, "/trace", trace, 0},     {HTTP_METHOD_GET, NULL, NULL, 0},
};

static void setup(void)
{
    waiting_count = 0;
    released = 0;
    rig_prepare(&rig);
    rig.configuration->body_size = 1024;
    rig.configuration->header_size = 1024;
    rig.configuration->request_line_size = 256;
    rig.configuration->header_count = 8;
    rig_start(&rig, routes, false);
}

static void teardown(void)
{
    rig_stop(&rig);
}

#define HOST "Host: a\r\n"
#define END "\r\n"
#define PLAIN "GET /plain HTTP/1.1\r\n" HOST END

START_TEST(test_an_answer_carries_the_headers_that_every_answer_has)
{
    struct buffer answer = rig_exchange(&rig, "GET /plain HTTP/1.1\r\n" HOST "X-Request-Id: from-the.proxy_1\r\n" END);
    ck_assert_int_eq(status_of(&answer), 200);
    ck_assert(has_text(&answer, "HTTP/1.1 200 OK\r\nServer: turnout\r\nDate: "));
    ck_assert(has_text(&answer, " GMT\r\nX-Content-Type-Options: nosniff\r\nX-Request-Id: from-the.proxy_1\r\n"));
    ck_assert(has_text(&answer, "Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nplain"));
    ck_assert(!has_text(&answer, "Connection:"));
    buffer_free(&answer);
}
END_TEST

START_TEST(test_a_request_id_that_is_none_is_replaced)
{
    char too_long[256];
    snprintf(too_long, sizeof too_long, "GET /plain HTTP/1.1\r\n" HOST "X-Request-Id: %065d\r\n" END, 7);
    const char *const requests[] = {
        "GET /plain HTTP/1.1\r\n" HOST "X-Request-Id: a b\r\n" END,
        "GET /plain HTTP/1.1\r\n" HOST "X-Request-Id:\r\n" END,
        "GET /plain HTTP/1.1\r\n" HOST "X-Request-Id: a\r\nX-Request-Id: b\r\n" END,
        too_long,
        PLAIN,
    };
    for (size_t i = 0; i < COUNT(requests); i++) {
        struct buffer answer = rig_exchange(&rig, requests[i]);
        const char *id = strstr(buffer_bytes(&answer), "X-Request-Id: ");
        ck_assert_ptr_nonnull(id);
        ck_assert_uint_eq(strcspn(id + 14, "\r"), 36); /* a UUID */
        buffer_free(&answer);
    }
}
END_TEST

#define TRACE "0af7651916cd43dd8448eb211c80319c"
#define PARENT "b7ad6b7169203331"

START_TEST(test_a_traceparent_is_passed_on_only_where_it_is_one)
{
    static const struct {
        const char *sent;
        bool passed;
    } rows[] = {
        {"00-" TRACE "-" PARENT "-01", true},
        {"00-" TRACE "-" PARENT "-00", true},
        {"cc-" TRACE "-" PARENT "-01-later", true},
        {"00-" TRACE "-" PARENT "-01-later", false},
        {"ff-" TRACE "-" PARENT "-01", false},
        {"00-" TRACE "-" PARENT "-0x", false},
        {"00-" TRACE "-" PARENT, false},
        {"00-00000000000000000000000000000000-" PARENT "-01", false},
        {"00-" TRACE "-0000000000000000-01", false},
        {"00-0AF7651916CD43DD8448EB211C80319C-" PARENT "-01", false},
        {"00_" TRACE "-" PARENT "-01", false},
        {"", false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char request[256];
        snprintf(request, sizeof request, "GET /trace HTTP/1.1\r\n" HOST "Traceparent: %s\r\n\r\n", rows[i].sent);
        struct buffer answer = rig_exchange(&rig, request);
        const char *body = strstr(buffer_bytes(&answer), "\r\n\r\n");
        ck_assert_ptr_nonnull(body);
        ck_assert_str_eq(body + 4, rows[i].passed ? rows[i].sent : "none");
        buffer_free(&answer);
    }
}
END_TEST

START_TEST(test_head_says_what_get_would_without_the_body)
{
    struct buffer answer = rig_exchange(&rig, "HEAD /plain HTTP/1.1\r\n" HOST END);
    ck_assert_int_eq(status_of(&answer), 200);
    ck_assert(has_text(&answer, "Content-Length: 5\r\n"));
    ck_assert_str_eq(strstr(buffer_bytes(&answer), "\r\n\r\n"), "\r\n\r\n");
    buffer_free(&answer);
    answer = rig_exchange(&rig, "HEAD /nowhere HTTP/1.1\r\n" HOST END);
    ck_assert_int_eq(status_of(&answer), 404);
    ck_assert_str_eq(strstr(buffer_bytes(&answer), "\r\n\r\n"), "\r\n\r\n");
    buffer_free(&answer);
    answer = rig_exchange(&rig, "HEAD /large HTTP/1.1\r\n" HOST END);
    ck_assert(has_text(&answer, "Content-Length: 8388608\r\n"));
    ck_assert_int_eq(released, 1);
    buffer_free(&answer);
}
END_TEST

START_TEST(test_204_and_304_have_neither_body_nor_length)
{
    struct buffer answer = rig_exchange(&rig, "GET /nothing HTTP/1.1\r\n" HOST END);
    ck_assert_int_eq(status_of(&answer), 204);
    ck_assert(!has_text(&answer, "Content-Length") && !has_text(&answer, "ignored"));
    buffer_free(&answer);
    answer = rig_exchange(&rig, "GET /same HTTP/1.1\r\n" HOST END);
    ck_assert_int_eq(status_of(&answer), 304);
    ck_assert(!has_text(&answer, "Content-Length") && has_text(&answer, "ETag: \"1\"\r\n"));
    buffer_free(&answer);
}
END_TEST

START_TEST(test_a_connection_says_whether_it_is_kept)
{
    static const struct {
        const char *request;
        const char *said;
    } rows[] = {
        {"GET /plain HTTP/1.1\r\n" HOST "Connection: close\r\n" END, "Connection: close\r\n"},
        {"GET /plain HTTP/1.0\r\n" END, "Connection: close\r\n"},
        {"GET /plain HTTP/1.0\r\nConnection: keep-alive\r\n" END, "Connection: keep-alive\r\n"},
        {"GET /plain HTTP/1.1\n", "Connection: close\r\n"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct buffer answer = rig_exchange(&rig, rows[i].request);
        ck_assert_msg(has_text(&answer, rows[i].said), "row %zu: %s", i, buffer_text(&answer));
        buffer_free(&answer);
    }
}
END_TEST

START_TEST(test_path_and_query_reach_the_handler_decoded_once)
{
    struct buffer answer = rig_exchange(&rig, "GET /items/a%2Fb%2541+?x=1&&q=%2B+%2525&q=2 HTTP/1.1\r\n" HOST END);
    ck_assert(has_text(&answer, "\r\n\r\nitem a/b%41+ q=+ %25"));
    buffer_free(&answer);
}
END_TEST

START_TEST(test_a_body_may_be_as_long_as_the_limit_and_no_longer)
{
    for (int length = 1023; length <= 1025; length++) {
        for (int chunked = 0; chunked < 2; chunked++) {
            char request[2048];
            if (chunked)
                snprintf(request, sizeof request,
                         "POST /echo HTTP/1.1\r\n" HOST
                         "Transfer-Encoding: chunked\r\n\r\n%x\r\n%0*d\r\n%x\r\n%0*d\r\n0\r\n\r\n",
                         23, 23, 0, (unsigned)length - 23, length - 23, 7);
            else
                snprintf(request, sizeof request, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: %d\r\n\r\n%0*d",
                         length, length, 7);
            struct buffer answer = rig_exchange(&rig, request);
            ck_assert_int_eq(status_of(&answer), length <= 1024 ? 200 : 413);
            if (length <= 1024) {
                char said[32];
                snprintf(said, sizeof said, "Content-Length: %d\r\n", length);
                ck_assert(has_text(&answer, said) && has_text(&answer, "0007"));
            }
            buffer_free(&answer);
        }
    }
}
END_TEST

START_TEST(test_endless_zeros_of_a_chunk_size_come_to_an_end)
{
    int client = rig_connect(&rig);
    struct buffer answer = {0};
    rig_send_text(&rig, client, "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 1024 && buffer_length(&answer) == 0; i++) {
        rig_send_text(&rig, client, "0000000000000000");
        answer.end += (size_t)(recv(client, buffer_reserve(&answer, 65536), 65536, MSG_DONTWAIT) > 0);
    }
    ck_assert_uint_gt(buffer_length(&answer), 0);
    buffer_free(&answer);
    close(client);
}
END_TEST

/* ---- handlers that answer later ---- */

START_TEST(test_a_hundred_requests_in_one_write_are_answered_in_order)
{
    struct buffer requests = {0};
    struct buffer answer = {0};
    for (int i = 0; i < 100; i++)
        buffer_printf(&requests,
                      i % 10 == 3 ? "GET /later HTTP/1.1\r\n" HOST END : "GET /items/%d HTTP/1.1\r\n" HOST END, i);
    int client = rig_connect(&rig);
    rig_send(&rig, client, buffer_bytes(&requests), buffer_length(&requests));
    shutdown(client, SHUT_WR);
    for (size_t i = 0; i < 10; i++) {
        ck_assert_uint_eq(waiting_count, i + 1); /* one at a time */
        answer_text(waiting[i], arena_printf(waiting[i]->arena, "item %zu3 q=-", i));
        rig_turn(&rig);
    }
    rig_read_all(&rig, client, &answer);
    const char *at = buffer_text(&answer);
    for (int i = 0; i < 100; i++) {
        char expected[32];
        snprintf(expected, sizeof expected, "item %d q=-", i >= 10 || i != 3 ? i : 3);
        if (i == 3)
            snprintf(expected, sizeof expected, "item 03 q=-");
        at = strstr(at, "item ");
        ck_assert_msg(at != NULL && strncmp(at, expected, strlen(expected)) == 0, "answer %d: %.20s", i, at);
        at++;
    }
    buffer_free(&requests);
    buffer_free(&answer);
    close(client);
}
END_TEST

START_TEST(test_a_client_that_goes_away_leaves_the_handler_its_request)
{
    int client = rig_connect(&rig);
    rig_send_text(&rig, client, "POST /later HTTP/1.1\r\n" HOST "Content-Length: 4\r\n" END "body");
    ck_assert_uint_eq(waiting_count, 1);
    ck_assert_ptr_nonnull(waiting[0]->connection);
    close(client);
    rig_turn(&rig);
    ck_assert_ptr_null(waiting[0]->connection);
    ck_assert_str_eq(waiting[0]->body, "body");
    struct http_statistics statistics;
    http_server_statistics(rig.server, &statistics);
    ck_assert_int_eq(statistics.connections, 0);
    ck_assert_int_eq(statistics.in_flight, 1);
    large(waiting[0]);
    ck_assert_int_eq(released, 1);
    http_server_statistics(rig.server, &statistics);
    ck_assert_int_eq(statistics.in_flight, 0);
}
END_TEST

START_TEST(test_a_client_that_resets_its_connection_leaves_the_handler_its_request)
{
    int client = rig_connect(&rig);
    rig_send_text(&rig, client,
                  "POST /later HTTP/1.1\r\n" HOST "Content-Length: 4\r\nExpect: 100-continue\r\n" END "body");
    ck_assert_uint_eq(waiting_count, 1);
    close(client); /* with "100 Continue" unread, which makes it a reset */
    rig_turn(&rig);
    ck_assert_ptr_null(waiting[0]->connection);
    answer_text(waiting[0], "to nobody");
}
END_TEST

START_TEST(test_a_client_that_only_stops_sending_still_gets_its_answer)
{
    struct buffer answer = {0};
    int client = rig_connect(&rig);
    rig_send_text(&rig, client, "GET /later HTTP/1.1\r\n" HOST END);
    shutdown(client, SHUT_WR);
    rig_turn(&rig);
    ck_assert_ptr_nonnull(waiting[0]->connection);
    answer_text(waiting[0], "late");
    rig_read_all(&rig, client, &answer);
    ck_assert(has_text(&answer, "\r\n\r\nlate"));
    buffer_free(&answer);
    close(client);
}
END_TEST

START_TEST(test_a_client_that_sends_on_and_on_is_made_to_wait)
{
    int client = rig_connect(&rig);
    struct buffer answer = {0};
    rig_send_text(&rig, client, "GET /later HTTP/1.1\r\n" HOST END);
    /* until the socket pair is full, which it never is while the server reads */
    size_t sent = 0;
    for (ssize_t one = 1; one > 0; sent += one > 0 ? (size_t)one : 0) {
        one = send(client, PLAIN, strlen(PLAIN), MSG_DONTWAIT | MSG_NOSIGNAL);
        rig_turn(&rig);
    }
    struct http_statistics statistics;
    http_server_statistics(rig.server, &statistics);
    ck_assert_int_lt(statistics.memory, 100000);
    ck_assert_uint_gt(sent, 4096);
    answer_text(waiting[0], "late");
    shutdown(client, SHUT_WR);
    rig_read_all(&rig, client, &answer);
    size_t answers = 0;
    buffer_text(&answer);
    for (const char *at = buffer_bytes(&answer); (at = strstr(at, "\r\n\r\nplain")) != NULL; at++)
        answers++;
    ck_assert_uint_eq(answers, sent / strlen(PLAIN));
    buffer_free(&answer);
    close(client);
}
END_TEST

START_TEST(test_a_slow_reader_gets_a_large_answer_whole)
{
    int client = rig_connect(&rig);
    struct buffer answer = {0};
    rig_send_text(&rig, client, "GET /large HTTP/1.1\r\n" HOST END PLAIN);
    ck_assert_int_eq(released, 0);
    char piece[4096];
    while (buffer_length(&answer) < LARGE_SIZE) {
        ssize_t got = recv(client, piece, sizeof piece, MSG_DONTWAIT);
        if (got > 0)
            buffer_append(&answer, piece, (size_t)got);
        rig_turn(&rig);
    }
    shutdown(client, SHUT_WR);
    rig_read_all(&rig, client, &answer);
    ck_assert_int_eq(released, 1);
    const char *body = strstr(buffer_text(&answer), "\r\n\r\n") + 4;
    size_t right = 0;
    while (right < LARGE_SIZE && body[right] == (char)('a' + right % 23))
        right++;
    ck_assert_uint_eq(right, LARGE_SIZE);
    ck_assert(strstr(body + LARGE_SIZE, "\r\n\r\nplain") != NULL);
    buffer_free(&answer);
    close(client);
}
END_TEST

START_TEST(test_a_client_that_leaves_in_the_middle_of_an_answer_frees_it_once)
{
    int client = rig_connect(&rig);
    rig_send_text(&rig, client, "GET /large HTTP/1.1\r\n" HOST END);
    ck_assert_int_eq(released, 0);
    close(client);
    rig_turn(&rig);
    rig_turn(&rig);
    ck_assert_int_eq(released, 1);
}
END_TEST

START_TEST(test_a_refused_client_sees_why_though_it_goes_on_sending)
{
    int client = rig_connect(&rig);
    struct buffer answer = {0};
    struct buffer request = {0};
    buffer_append_text(&request, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 400000\r\n" END);
    memset(buffer_reserve(&request, 400000), 'x', 400000);
    request.end += 400000;
    ck_assert(rig_send(&rig, client, buffer_bytes(&request), buffer_length(&request)));
    rig_read(&rig, client, &answer, one_answer);
    ck_assert_int_eq(status_of(&answer), 413);
    ck_assert(has_text(&answer, "/problems/too-large"));
    buffer_free(&request);
    buffer_free(&answer);
    close(client);
}
END_TEST

START_TEST(test_a_refused_client_that_never_stops_sending_is_cut_off)
{
    int client = rig_connect(&rig);
    ck_assert(rig_send_text(&rig, client, "GET /plain HTTP/1.1\n"));
    char piece[4096] = {0};
    size_t sent = 0;
    while (rig_send(&rig, client, piece, sizeof piece)) {
        sent += sizeof piece;
        ck_assert_uint_lt(sent, 4 << 20);
    }
    ck_assert_uint_gt(sent, 1 << 19);
    close(client);
}
END_TEST

int main(void)
{
    signal(SIGPIPE, SIG_DFL); /* a write to a client that has gone must not need this ignored */
    Suite *suite = suite_create("connection");
    TCase *tcase = tcase_create("connection");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, test_an_answer_carries_the_headers_that_every_answer_has);
    tcase_add_test(tcase, test_a_request_id_that_is_none_is_replaced);
    tcase_add_test(tcase, test_a_traceparent_is_passed_on_only_where_it_is_one);
    tcase_add_test(tcase, test_head_says_what_get_would_without_the_body);
    tcase_add_test(tcase, test_204_and_304_have_neither_body_nor_length);
    tcase_add_test(tcase, test_a_connection_says_whether_it_is_kept);
    tcase_add_test(tcase, test_path_and_query_reach_the_handler_decoded_once);
    tcase_add_test(tcase, test_a_body_may_be_as_long_as_the_limit_and_no_longer);
    tcase_add_test(tcase, test_endless_zeros_of_a_chunk_size_come_to_an_end);
    tcase_add_test(tcase, test_a_hundred_requests_in_one_write_are_answered_in_order);
    tcase_add_test(tcase, test_a_client_that_goes_away_leaves_the_handler_its_request);
    tcase_add_test(tcase, test_a_client_that_resets_its_connection_leaves_the_handler_its_request);
    tcase_add_test(tcase, test_a_client_that_only_stops_sending_still_gets_its_answer);
    tcase_add_test(tcase, test_a_client_that_sends_on_and_on_is_made_to_wait);
    tcase_add_test(tcase, test_a_slow_reader_gets_a_large_answer_whole);
    tcase_add_test(tcase, test_a_client_that_leaves_in_the_middle_of_an_answer_frees_it_once);
    tcase_add_test(tcase, test_a_refused_client_sees_why_though_it_goes_on_sending);
    tcase_add_test(tcase, test_a_refused_client_that_never_stops_sending_is_cut_off);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
