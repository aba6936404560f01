/* Unit tests of http_respond_shared: answers from memory that is somebody else's again as soon as the call is over. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/connection.h"
#include "http_rig.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define LARGE_SIZE (8 << 20)
#define HOST "Host: a\r\n"
#define END "\r\n"
#define PAGE "GET /page HTTP/1.1\r\n" HOST END

static struct rig rig;
static struct http_request *waiting;
static char *shared_memory;
static size_t seen_bytes;
static int seen_answers;

/* What nobody may look at after the call. */
static void spoil(char *memory, size_t length)
{
    memset(memory, '!', length);
}

static void answer_shared(struct http_request *request, int status, size_t body_length)
{
    static const char made[] = "Content-Type: text/plain\r\nContent-Length: %zu\r\nETag: \"e\"\r\n";
    char lines[128];
    char more[] = "Cache-Control: public\r\nVary: Accept-Encoding\r\n";
    size_t lines_length = (size_t)snprintf(lines, sizeof lines, made, body_length);
    for (size_t i = 0; i < body_length; i++)
        shared_memory[i] = (char)('a' + i % 23);
    http_respond_shared(request, &(struct http_shared){.status = status,
                                                       .lines = lines,
                                                       .lines_length = lines_length,
                                                       .more = more,
                                                       .more_length = strlen(more),
                                                       .body = shared_memory,
                                                       .body_length = body_length});
    spoil(lines, sizeof lines);
    spoil(more, sizeof more);
    spoil(shared_memory, body_length);
}

static void page(struct http_request *request)
{
    answer_shared(request, 200, 5);
}

static void large(struct http_request *request)
{
    answer_shared(request, 200, LARGE_SIZE);
}

static void same(struct http_request *request)
{
    static const char lines[] = "ETag: \"e\"\r\n";
    http_respond_shared(
        request, &(struct http_shared){
                     .status = 304, .lines = lines, .lines_length = strlen(lines), .body = "never", .body_length = 5});
}

static void bare(struct http_request *request)
{
    http_respond_shared(request, &(struct http_shared){.status = 200, .body = "bare", .body_length = 4});
}

static void later(struct http_request *request)
{
    waiting = request;
}

static const struct http_route routes[] = {
    {HTTP_METHOD_GET, "/page", page, 0}, {HTTP_METHOD_POST, "/page", page, 0},  {HTTP_METHOD_GET, "/large", large, 0},
    {HTTP_METHOD_GET, "/same", same, 0}, {HTTP_METHOD_GET, "/later", later, 0}, {HTTP_METHOD_GET, "/bare", bare, 0},
    {HTTP_METHOD_GET, NULL, NULL, 0},
};

static void note_answer(void *context, const struct http_request *request, int status, size_t bytes,
                        int64_t microseconds)
{
    (void)context;
    (void)request;
    (void)status;
    (void)microseconds;
    seen_answers++;
    seen_bytes = bytes;
}

static void note_refusal(void *context, enum guard_verdict verdict)
{
    (void)context;
    (void)verdict;
}

static void note_occurrence(void *context, enum http_occurrence what, int64_t n)
{
    (void)context;
    (void)what;
    (void)n;
}

static const struct http_observer observer = {
    .answered = note_answer, .refused = note_refusal, .happened = note_occurrence};

static void setup(void)
{
    waiting = NULL;
    seen_answers = 0;
    shared_memory = malloc(LARGE_SIZE);
    ck_assert_ptr_nonnull(shared_memory);
    rig_prepare(&rig);
    rig_start(&rig, routes, false);
    rig.server->options.observer = &observer;
}

static void teardown(void)
{
    rig_stop(&rig);
    free(shared_memory);
}

static void assert_body(const char *body, size_t length)
{
    size_t right = 0;
    while (right < length && body[right] == (char)('a' + right % 23))
        right++;
    ck_assert_uint_eq(right, length);
}

START_TEST(test_an_answer_is_the_common_lines_those_made_ready_and_those_added)
{
    struct buffer answer = rig_exchange(&rig, "GET /page HTTP/1.1\r\n" HOST "X-Request-Id: mine\r\n" END);
    ck_assert_int_eq(status_of(&answer), 200);
    ck_assert(has_text(&answer, "HTTP/1.1 200 OK\r\nServer: turnout\r\nDate: "));
    ck_assert(has_text(&answer, " GMT\r\nX-Content-Type-Options: nosniff\r\nX-Request-Id: mine\r\n"
                                "Content-Type: text/plain\r\nContent-Length: 5\r\nETag: \"e\"\r\n"
                                "Cache-Control: public\r\nVary: Accept-Encoding\r\n\r\nabcde"));
    ck_assert(!has_text(&answer, "Connection:") && !has_text(&answer, "!"));
    ck_assert_int_eq(seen_answers, 1);
    ck_assert_uint_eq(seen_bytes, buffer_length(&answer));
    buffer_free(&answer);
    answer = rig_exchange(&rig, "GET /bare HTTP/1.1\r\n" HOST "X-Request-Id: mine\r\n" END);
    ck_assert(has_text(&answer, "X-Request-Id: mine\r\n\r\nbare"));
    buffer_free(&answer);
}
END_TEST

START_TEST(test_head_and_304_send_no_body)
{
    struct buffer answer = rig_exchange(&rig, "HEAD /page HTTP/1.1\r\n" HOST END);
    ck_assert(has_text(&answer, "Content-Length: 5\r\n"));
    ck_assert_str_eq(strstr(buffer_bytes(&answer), "\r\n\r\n"), "\r\n\r\n");
    ck_assert_uint_eq(seen_bytes, buffer_length(&answer));
    buffer_free(&answer);
    answer = rig_exchange(&rig, "GET /same HTTP/1.1\r\n" HOST END);
    ck_assert_int_eq(status_of(&answer), 304);
    ck_assert(has_text(&answer, "ETag: \"e\"\r\n") && !has_text(&answer, "Content-Length"));
    ck_assert_str_eq(strstr(buffer_bytes(&answer), "\r\n\r\n"), "\r\n\r\n");
    buffer_free(&answer);
}
END_TEST

START_TEST(test_a_connection_says_whether_it_is_kept)
{
    static const struct {
        const char *request;
        const char *said;
    } rows[] = {
        {"GET /page HTTP/1.1\r\n" HOST "Connection: close\r\n" END, "Connection: close\r\n"},
        {"GET /page HTTP/1.0\r\n" END, "Connection: close\r\n"},
        {"GET /page HTTP/1.0\r\nConnection: keep-alive\r\n" END, "Connection: keep-alive\r\n"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct buffer answer = {0};
        int client = rig_connect(&rig);
        rig_send_text(&rig, client, rows[i].request);
        bool closed = rig_read(&rig, client, &answer, one_answer) || rig_read(&rig, client, &answer, one_answer);
        ck_assert_msg(has_text(&answer, rows[i].said) && has_text(&answer, "abcde"), "row %zu", i);
        ck_assert_msg(i == 2 ? !closed : strstr(rows[i].said, "close") != NULL, "row %zu", i);
        buffer_free(&answer);
        close(client);
    }
}
END_TEST

START_TEST(test_a_slow_reader_gets_what_was_there_during_the_call)
{
    int client = rig_connect(&rig);
    struct buffer answer = {0};
    rig_send_text(&rig, client, "GET /large HTTP/1.1\r\n" HOST END PAGE);
    ck_assert_uint_gt(rig.server->slow_memory, LARGE_SIZE / 2); /* not all was taken, and it counts */
    char piece[4096];
    while (buffer_length(&answer) < LARGE_SIZE) {
        ssize_t got = recv(client, piece, sizeof piece, MSG_DONTWAIT);
        if (got > 0)
            buffer_append(&answer, piece, (size_t)got);
        rig_turn(&rig);
    }
    shutdown(client, SHUT_WR);
    rig_read_all(&rig, client, &answer);
    const char *body = strstr(buffer_text(&answer), "\r\n\r\n") + 4;
    assert_body(body, LARGE_SIZE);
    ck_assert(strstr(body + LARGE_SIZE, "\r\n\r\nabcde") != NULL);
    ck_assert_uint_eq(rig.server->slow_memory, 0);
    ck_assert_int_eq(seen_answers, 2);
    buffer_free(&answer);
    close(client);
}
END_TEST

START_TEST(test_a_client_whose_queue_is_full_gets_the_answer_behind_what_it_holds)
{
    int client = rig_connect(&rig);
    int server_end = LIST_FIRST(&rig.server->open)->descriptor;
    static char filling[4096];
    memset(filling, '.', sizeof filling);
    size_t filled = 0;
    for (ssize_t sent; (sent = send(server_end, filling, sizeof filling, MSG_DONTWAIT)) > 0;)
        filled += (size_t)sent;
    rig_send_text(&rig, client, PAGE);
    rig_turn(&rig);
    ck_assert_int_eq(seen_answers, 1);
    ck_assert_int_eq(LIST_FIRST(&rig.server->open)->state, CONNECTION_WRITING);
    struct buffer answer = {0};
    shutdown(client, SHUT_WR);
    rig_read_all(&rig, client, &answer);
    buffer_consume(&answer, filled);
    ck_assert_int_eq(status_of(&answer), 200);
    ck_assert(has_text(&answer, "\r\n\r\nabcde") && !has_text(&answer, "!"));
    buffer_free(&answer);
    close(client);
}
END_TEST

START_TEST(test_a_client_that_leaves_in_the_middle_leaves_nothing_behind)
{
    int client = rig_connect(&rig);
    rig_send_text(&rig, client, "GET /large HTTP/1.1\r\n" HOST END);
    ck_assert_uint_gt(rig.server->slow_memory, 0);
    close(client);
    rig_turn(&rig);
    rig_turn(&rig);
    ck_assert_uint_eq(rig.server->slow_memory, 0);
    ck_assert(LIST_EMPTY(&rig.server->exchanges) && LIST_EMPTY(&rig.server->open));
}
END_TEST

START_TEST(test_a_client_that_has_gone_before_is_answered_to_nobody)
{
    int client = rig_connect(&rig);
    rig_send_text(&rig, client, "GET /later HTTP/1.1\r\n" HOST END);
    ck_assert_ptr_nonnull(waiting);
    close(client);
    rig_turn(&rig);
    ck_assert_ptr_null(waiting->connection);
    page(waiting);
    ck_assert_int_eq(seen_answers, 1);
    ck_assert(LIST_EMPTY(&rig.server->exchanges));
}
END_TEST

START_TEST(test_a_client_that_goes_while_it_is_being_answered_is_closed)
{
    int client = rig_connect(&rig);
    rig_send_text(&rig, client, "GET /later HTTP/1.1\r\n" HOST END);
    close(client); /* the loop has not turned since: the send fails */
    large(waiting);
    ck_assert(LIST_EMPTY(&rig.server->exchanges) && LIST_EMPTY(&rig.server->open));
}
END_TEST

START_TEST(test_a_later_answer_comes_from_outside_of_the_loop_as_well)
{
    int client = rig_connect(&rig);
    struct buffer answer = {0};
    rig_send_text(&rig, client, "GET /later HTTP/1.1\r\n" HOST END PAGE);
    large(waiting);
    ck_assert_uint_gt(rig.server->slow_memory, 0);
    shutdown(client, SHUT_WR);
    rig_read_all(&rig, client, &answer);
    const char *body = strstr(buffer_text(&answer), "\r\n\r\n") + 4;
    assert_body(body, LARGE_SIZE);
    ck_assert(strstr(body + LARGE_SIZE, "\r\n\r\nabcde") != NULL);
    buffer_free(&answer);
    close(client);
}
END_TEST

START_TEST(test_requests_in_one_write_are_answered_in_order)
{
    struct buffer requests = {0};
    struct buffer answer = {0};
    for (int i = 0; i < 100; i++)
        buffer_printf(&requests, "GET /%s HTTP/1.1\r\n" HOST "X-Request-Id: number-%d\r\n" END,
                      i % 3 == 0 ? "page" : "same", i);
    int client = rig_connect(&rig);
    rig_send(&rig, client, buffer_bytes(&requests), buffer_length(&requests));
    shutdown(client, SHUT_WR);
    rig_read_all(&rig, client, &answer);
    const char *at = buffer_text(&answer);
    for (int i = 0; i < 100; i++) {
        char id[48];
        snprintf(id, sizeof id, "X-Request-Id: number-%d\r\n", i);
        ck_assert_int_eq(strncmp(at, i % 3 == 0 ? "HTTP/1.1 200" : "HTTP/1.1 304", 12), 0);
        const char *end = strstr(at, "\r\n\r\n");
        at = strstr(at, id);
        ck_assert(at != NULL && at < end);
        at = end + 4 + (i % 3 == 0 ? 5 : 0);
    }
    ck_assert_str_eq(at, "");
    buffer_free(&requests);
    buffer_free(&answer);
    close(client);
}
END_TEST

START_TEST(test_a_server_that_drains_answers_once_more_and_says_so)
{
    int client = rig_connect(&rig);
    struct buffer answer = {0};
    rig_send_text(&rig, client, PAGE);
    rig_read(&rig, client, &answer, one_answer);
    ck_assert(!has_text(&answer, "Connection: close"));
    buffer_clear(&answer, 0);
    http_server_drain(rig.server, false);
    rig_send_text(&rig, client, PAGE);
    rig_read_all(&rig, client, &answer);
    ck_assert(has_text(&answer, "Connection: close\r\n") && has_text(&answer, "\r\n\r\nabcde"));
    buffer_free(&answer);
    close(client);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("shared answer");
    TCase *tcase = tcase_create("shared answer");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, test_an_answer_is_the_common_lines_those_made_ready_and_those_added);
    tcase_add_test(tcase, test_head_and_304_send_no_body);
    tcase_add_test(tcase, test_a_connection_says_whether_it_is_kept);
    tcase_add_test(tcase, test_a_slow_reader_gets_what_was_there_during_the_call);
    tcase_add_test(tcase, test_a_client_whose_queue_is_full_gets_the_answer_behind_what_it_holds);
    tcase_add_test(tcase, test_a_client_that_leaves_in_the_middle_leaves_nothing_behind);
    tcase_add_test(tcase, test_a_client_that_has_gone_before_is_answered_to_nobody);
    tcase_add_test(tcase, test_a_client_that_goes_while_it_is_being_answered_is_closed);
    tcase_add_test(tcase, test_a_later_answer_comes_from_outside_of_the_loop_as_well);
    tcase_add_test(tcase, test_requests_in_one_write_are_answered_in_order);
    tcase_add_test(tcase, test_a_server_that_drains_answers_once_more_and_says_so);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
