/* Unit tests of src/http/repeat: a client that sends the same bytes again is answered as if they had been read again,
 * and one that sends others is read. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/connection.h"
#include "http/query.h"
#include "http/repeat.h"
#include "http_rig.h"

#define HOST "Host: a\r\n"
#define END "\r\n"
#define TAGS "X-Tag: first\r\nX-tag: second\r\nAccept-Encoding:  gzip \r\n"
#define ASK "GET /items/a%20b?q=one+two&r HTTP/1.1\r\n" HOST TAGS END

static struct rig rig;
static struct http_request *waiting;

static const char *or_dash(const char *text)
{
    return text == NULL ? "-" : text;
}

/* Says everything that a request is made of. */
static void answer_all(struct http_request *request)
{
    char *text = arena_printf(
        request->arena, "%s %s item=%s q=%s r=%s tag=%s encoding=%s parent=%s count=%zu", request->method_name,
        request->target, or_dash(request->parameters[0]), or_dash(http_request_query(request, "q")),
        or_dash(http_request_query(request, "r")), or_dash(http_request_header(request, "x-tag")),
        or_dash(http_request_header(request, "accept-encoding")), or_dash(request->traceparent), request->header_count);
    struct http_response response = {.status = 200, .body = text, .body_length = strlen(text)};
    http_respond(request, &response);
}

static void later(struct http_request *request)
{
    waiting = request;
}

static const struct http_route routes[] = {
    {HTTP_METHOD_GET, "/items/{id}", answer_all, 0},
    {HTTP_METHOD_POST, "/items/{id}", answer_all, 0},
    {HTTP_METHOD_GET, "/later/{id}", later, 0},
    {HTTP_METHOD_GET, NULL, NULL, 0},
};

static void setup(void)
{
    waiting = NULL;
    rig_prepare(&rig);
    rig_start(&rig, routes, false);
}

static void teardown(void)
{
    rig_stop(&rig);
}

static size_t kept(void)
{
    size_t count = 0;
    for (size_t i = 0; i < REPEATS; i++)
        count += rig.server->repeats[i] != NULL && rig.server->repeats[i]->length > 0;
    return count;
}

/* The answer with what differs from one to the next blotted out: a made request id, and the date. */
static struct buffer ask(int client, const char *request, size_t length)
{
    struct buffer answer = {0};
    rig_send(&rig, client, request, length);
    rig_read(&rig, client, &answer, one_answer);
    char *text = buffer_text(&answer);
    char *date = strstr(text, "\r\nDate: ");
    char *id = strstr(text, "\r\nX-Request-Id: ");
    ck_assert_msg(date != NULL && id != NULL, "%s", text);
    memset(date + 8, '.', strcspn(date + 8, "\r"));
    memset(id + 16, '.', strcspn(id + 16, "\r"));
    return answer;
}

static struct buffer ask_text(int client, const char *request)
{
    return ask(client, request, strlen(request));
}

static void assert_same(const struct buffer *left, const struct buffer *right)
{
    ck_assert_uint_eq(buffer_length(left), buffer_length(right));
    ck_assert_int_eq(memcmp(buffer_bytes(left), buffer_bytes(right), buffer_length(left)), 0);
}

static int warm(const char *request)
{
    int client = rig_connect(&rig);
    for (int i = 0; i < 3; i++) {
        struct buffer answer = ask_text(client, request);
        ck_assert_int_eq(status_of(&answer), 200);
        buffer_free(&answer);
    }
    return client;
}

START_TEST(test_the_same_bytes_get_the_same_answer_again_and_again)
{
    int client = rig_connect(&rig);
    struct buffer first = ask_text(client, ASK);
    ck_assert(has_text(&first, "GET /items/a%20b?q=one+two&r item=a b q=one two r= tag=first, second encoding=gzip "
                               "parent=- count=4"));
    ck_assert_uint_eq(kept(), 0);
    for (int i = 0; i < 5; i++) {
        struct buffer answer = ask_text(client, ASK);
        assert_same(&first, &answer);
        buffer_free(&answer);
        ck_assert_uint_eq(kept(), 1);
    }
    buffer_free(&first);
    close(client);
}
END_TEST

START_TEST(test_of_bytes_that_differ_anywhere_nothing_is_remembered)
{
    size_t length = strlen(ASK);
    int fresh = rig_connect(&rig);
    int client = warm(ASK);
    for (size_t i = 0; i < length; i++) {
        static const char others[] = "\r\n :%/?&=Z9\x01\x80";
        for (const char *other = others; *other != '\0'; other++) {
            char changed[sizeof ASK];
            memcpy(changed, ASK, sizeof changed);
            if (changed[i] == *other)
                continue;
            changed[i] = *other;
            /* never twice on one connection, so that this one is always read */
            close(fresh);
            fresh = rig_connect(&rig);
            rig_send(&rig, fresh, changed, length);
            shutdown(fresh, SHUT_WR);
            struct buffer right = {0}, answer = {0};
            rig_read_all(&rig, fresh, &right);
            rig_send(&rig, client, changed, length);
            shutdown(client, SHUT_WR);
            rig_read_all(&rig, client, &answer);
            ck_assert_msg(status_of(&answer) == status_of(&right) && buffer_length(&answer) == buffer_length(&right),
                          "byte %zu as %d", i, *other);
            buffer_free(&right);
            buffer_free(&answer);
            close(client);
            client = warm(ASK);
        }
    }
    close(fresh);
    close(client);
}
END_TEST

START_TEST(test_repeats_in_one_write_and_cut_anywhere_are_answered_each)
{
    static const char requests[] = ASK ASK "\r\n" ASK;
    for (size_t cut = 1; cut < sizeof requests - 1; cut++) {
        int client = warm(ASK);
        rig_send(&rig, client, requests, cut);
        rig_send(&rig, client, requests + cut, sizeof requests - 1 - cut);
        shutdown(client, SHUT_WR);
        struct buffer answer = {0};
        rig_read_all(&rig, client, &answer);
        size_t count = 0;
        for (const char *at = buffer_text(&answer); (at = strstr(at, "item=a b q=one two")) != NULL; at++)
            count++;
        ck_assert_msg(count == 3, "cut at %zu: %zu answers", cut, count);
        buffer_free(&answer);
        close(client);
    }
}
END_TEST

static void read_id(int client, const char *request, char *id, size_t size)
{
    struct buffer answer = {0};
    rig_send_text(&rig, client, request);
    rig_read(&rig, client, &answer, one_answer);
    const char *at = strstr(buffer_text(&answer), "X-Request-Id: ") + 14;
    snprintf(id, size, "%.*s", (int)strcspn(at, "\r"), at);
    buffer_free(&answer);
}

START_TEST(test_a_made_request_id_is_made_anew_and_a_given_one_stays)
{
    char before[80], id[80];
    int client = warm(ASK);
    ck_assert_uint_eq(kept(), 1);
    read_id(client, ASK, before, sizeof before);
    read_id(client, ASK, id, sizeof id);
    ck_assert_uint_eq(strlen(id), 36);
    ck_assert_str_ne(id, before);
    static const char given[] = "GET /items/b HTTP/1.1\r\n" HOST "X-Request-Id: mine\r\n" END;
    for (int i = 0; i < 4; i++) {
        read_id(client, given, id, sizeof id);
        ck_assert_str_eq(id, "mine");
    }
    ck_assert_uint_eq(kept(), 2);
    close(client);
}
END_TEST

START_TEST(test_nothing_that_says_who_somebody_is_is_kept)
{
    static const char *const requests[] = {
        "GET /items/b HTTP/1.1\r\n" HOST "Authorization: Bearer secret\r\n" END,
        "GET /items/b HTTP/1.1\r\n" HOST "cookie: secret\r\n" END,
    };
    for (size_t i = 0; i < 2; i++)
        close(warm(requests[i]));
    ck_assert_uint_eq(kept(), 0);
    close(warm("GET /items/b HTTP/1.1\r\n" HOST "X-Tag: secret\r\n" END));
    ck_assert_uint_eq(kept(), 1);
}
END_TEST

START_TEST(test_requests_with_a_body_or_without_a_route_are_read_each_time)
{
    static const char posted[] = "POST /items/b HTTP/1.1\r\n" HOST "Content-Length: 2\r\n" END "{}";
    close(warm(posted));
    static const char unknown[] = "GET /nowhere HTTP/1.1\r\n" HOST END;
    int client = rig_connect(&rig);
    for (int i = 0; i < 4; i++) {
        struct buffer answer = ask_text(client, unknown);
        ck_assert_int_eq(status_of(&answer), 404);
        buffer_free(&answer);
    }
    close(client);
    ck_assert_uint_eq(kept(), 0);
}
END_TEST

START_TEST(test_a_connection_that_asks_to_close_is_closed_also_the_second_time)
{
    static const char closing[] = "GET /items/b HTTP/1.1\r\n" HOST "Connection: close\r\n" END;
    for (int i = 0; i < 4; i++) {
        int client = rig_connect(&rig);
        struct buffer answer = {0};
        rig_send_text(&rig, client, closing);
        rig_read_all(&rig, client, &answer);
        ck_assert(has_text(&answer, "Connection: close\r\n"));
        buffer_free(&answer);
        close(client);
    }
    int old = rig_connect(&rig);
    static const char kept_alive[] = "GET /items/b HTTP/1.0\r\nConnection: keep-alive\r\n" END;
    for (int i = 0; i < 4; i++) {
        struct buffer answer = ask_text(old, kept_alive);
        ck_assert(has_text(&answer, "Connection: keep-alive\r\n"));
        buffer_free(&answer);
    }
    close(old);
}
END_TEST

/* Many other blocks, each often enough to be kept if there is a place. */
static void crowd(int count)
{
    for (int i = 0; i < count; i++) {
        char request[128];
        snprintf(request, sizeof request, "GET /items/%d HTTP/1.1\r\n" HOST "X-Tag: %d\r\n" END, i, i);
        close(warm(request));
    }
}

START_TEST(test_a_request_that_waits_keeps_what_it_points_to)
{
    static const char request[] = "GET /later/mine?q=whole HTTP/1.1\r\n" HOST "X-Tag: for-long\r\n" END;
    int client = rig_connect(&rig);
    for (int i = 0; i < 3; i++) {
        rig_send_text(&rig, client, request);
        rig_turn(&rig);
        ck_assert_ptr_nonnull(waiting);
        if (i < 2) {
            struct buffer answer = {0};
            answer_all(waiting);
            waiting = NULL;
            rig_read(&rig, client, &answer, one_answer);
            buffer_free(&answer);
        }
    }
    ck_assert_ptr_nonnull(exchange_of(waiting)->repeat);
    crowd(1000);
    http_server_reload(rig.server);
    crowd(1000);
    struct buffer answer = {0};
    answer_all(waiting);
    rig_read(&rig, client, &answer, one_answer);
    ck_assert(has_text(&answer, "GET /later/mine?q=whole item=mine q=whole r=- tag=for-long"));
    buffer_free(&answer);
    close(client);
}
END_TEST

START_TEST(test_a_crowd_of_different_clients_holds_a_bounded_memory)
{
    crowd(3000);
    ck_assert_uint_gt(kept(), REPEATS / 2);
    ck_assert_uint_le(kept(), REPEATS);
    ck_assert_uint_le(repeat_memory(rig.server), REPEATS * 8192);
    close(warm(ASK));
}
END_TEST

START_TEST(test_new_limits_hold_for_bytes_that_were_fine_before)
{
    int client = warm("GET /items/b HTTP/1.1\r\n" HOST "X-Tag: 123456789012345678901234567890\r\n" END);
    ck_assert_uint_eq(kept(), 1);
    rig.configuration->header_count = 1;
    http_server_reload(rig.server);
    ck_assert_uint_eq(kept(), 0);
    struct buffer answer =
        ask_text(client, "GET /items/b HTTP/1.1\r\n" HOST "X-Tag: 123456789012345678901234567890\r\n" END);
    ck_assert_int_eq(status_of(&answer), 431);
    buffer_free(&answer);
    close(client);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("repeat");
    TCase *tcase = tcase_create("repeat");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, test_the_same_bytes_get_the_same_answer_again_and_again);
    tcase_add_test(tcase, test_of_bytes_that_differ_anywhere_nothing_is_remembered);
    tcase_add_test(tcase, test_repeats_in_one_write_and_cut_anywhere_are_answered_each);
    tcase_add_test(tcase, test_a_made_request_id_is_made_anew_and_a_given_one_stays);
    tcase_add_test(tcase, test_nothing_that_says_who_somebody_is_is_kept);
    tcase_add_test(tcase, test_requests_with_a_body_or_without_a_route_are_read_each_time);
    tcase_add_test(tcase, test_a_connection_that_asks_to_close_is_closed_also_the_second_time);
    tcase_add_test(tcase, test_a_request_that_waits_keeps_what_it_points_to);
    tcase_add_test(tcase, test_a_crowd_of_different_clients_holds_a_bounded_memory);
    tcase_add_test(tcase, test_new_limits_hold_for_bytes_that_were_fine_before);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
