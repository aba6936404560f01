/* Unit tests of src/http/turn: reads go by writes once a turn of the loop has spent enough on these. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "http_rig.h"

/* Longer than the slice of a turn. Microseconds. */
#define LONG INT64_C(2000)

static struct rig rig;
static char order[16]; /* what has been done, a letter each */
static struct http_request *held[2];
static int held_count;
static int leaves; /* a client's descriptor that is closed when the held ones have been answered; -1: none */
static bool sent_at_once;

static void note(const struct http_request *request)
{
    size_t length = strlen(order);
    order[length] = request->body_length > 0 ? request->body[0] : 'R';
    order[length + 1] = '\0';
}

static void plain(struct http_request *request)
{
    note(request);
    http_respond(request, &(struct http_response){.status = 200, .body = "plain", .body_length = 5});
}

static void spin(void)
{
    for (int64_t start = clock_monotonic(); clock_monotonic() - start < LONG;)
        ;
}

static void slow(struct http_request *request)
{
    spin();
    plain(request);
}

static void hold(struct http_request *request)
{
    held[held_count++] = request;
}

static bool has_bytes(int client)
{
    char byte;
    return recv(client, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

static int holders[2];

static void release(struct http_request *request)
{
    for (int i = 0; i < held_count; i++)
        http_respond(held[i], &(struct http_response){.status = 201, .body = "held", .body_length = 4});
    sent_at_once = has_bytes(holders[0]) || has_bytes(holders[1]);
    if (leaves >= 0)
        close(leaves);
    plain(request);
}

static void work_of(void *context)
{
    plain(context);
}

static void in_turn(struct http_request *request)
{
    http_in_turn(request, work_of, request);
}

static const struct http_route routes[] = {
    {HTTP_METHOD_GET, "/plain", plain, 0},  {HTTP_METHOD_POST, "/slow", slow, 0},
    {HTTP_METHOD_POST, "/hold", hold, 0},   {HTTP_METHOD_GET, "/release", release, 0},
    {HTTP_METHOD_GET, "/turn", in_turn, 0}, {HTTP_METHOD_GET, NULL, NULL, 0},
};

static void setup(void)
{
    order[0] = '\0';
    held_count = 0;
    leaves = -1;
    rig_prepare(&rig);
    rig_start(&rig, routes, false);
}

static void teardown(void)
{
    rig_stop(&rig);
}

/* Without a turn of the server. */
static void put(int client, const char *text)
{
    ck_assert_int_eq(send(client, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static void put_write(int client, const char *path, char name)
{
    char text[128];
    snprintf(text, sizeof text, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n%c", path, name);
    put(client, text);
}

static void put_read(int client, const char *path)
{
    char text[128];
    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path);
    put(client, text);
}

static void expect(int client, int status)
{
    struct buffer answer = {0};
    ck_assert(!rig_read(&rig, client, &answer, one_answer));
    ck_assert_int_eq(status_of(&answer), status);
    buffer_free(&answer);
}

static int64_t in_flight(void)
{
    struct http_statistics counted;
    http_server_statistics(rig.server, &counted);
    return counted.in_flight;
}

START_TEST(test_a_read_goes_by_the_writes_that_a_turn_has_no_time_for)
{
    int writers[3];
    for (int i = 0; i < 3; i++)
        writers[i] = rig_connect(&rig);
    int reader = rig_connect(&rig);
    for (int i = 0; i < 3; i++)
        put_write(writers[i], "/slow", (char)('a' + i));
    put_read(reader, "/plain");
    event_base_loop(rig.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    ck_assert_str_eq(order, "aR");
    put_read(reader, "/plain");
    event_base_loop(rig.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    ck_assert_str_eq(order, "aRRb");
    for (int i = 0; i < 3; i++)
        expect(writers[i], 200);
    ck_assert_str_eq(order, "aRRbc");
    ck_assert_int_eq(in_flight(), 0);
}
END_TEST

START_TEST(test_a_write_that_comes_alone_is_done_at_once)
{
    int writer = rig_connect(&rig);
    for (int i = 0; i < 3; i++) {
        put_write(writer, "/slow", (char)('a' + i));
        event_base_loop(rig.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
        ck_assert(has_bytes(writer));
        expect(writer, 200);
    }
}
END_TEST

START_TEST(test_work_that_a_read_needs_waits_for_its_turn_too)
{
    int writer = rig_connect(&rig);
    int asker = rig_connect(&rig);
    int reader = rig_connect(&rig);
    put_write(writer, "/slow", 'a');
    put_read(asker, "/turn");
    put_read(reader, "/plain");
    event_base_loop(rig.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    ck_assert(has_bytes(writer) && has_bytes(reader) && !has_bytes(asker));
    expect(asker, 200);
    ck_assert_int_eq(in_flight(), 0);
}
END_TEST

static void let_two_wait_for_their_answers(void)
{
    held_count = 0;
    for (int i = 0; i < 2; i++) {
        holders[i] = rig_connect(&rig);
        put_write(holders[i], "/hold", 'h');
    }
    rig_turn(&rig);
    ck_assert_int_eq(held_count, 2);
}

START_TEST(test_answers_to_writes_that_are_ready_together_wait_for_their_turn)
{
    let_two_wait_for_their_answers();
    int writer = rig_connect(&rig);
    int reader = rig_connect(&rig);
    put_write(writer, "/slow", 'a');
    put_read(reader, "/release");
    expect(reader, 200);
    ck_assert(!sent_at_once);
    expect(holders[0], 201);
    expect(holders[1], 201);
    /* with time left they leave at once: the twin */
    let_two_wait_for_their_answers();
    put_read(reader, "/release");
    expect(reader, 200);
    ck_assert(sent_at_once);
}
END_TEST

START_TEST(test_a_write_whose_client_goes_while_it_waits_is_never_begun)
{
    int writers[2] = {rig_connect(&rig), rig_connect(&rig)};
    put_write(writers[0], "/slow", 'a');
    put_write(writers[1], "/slow", 'b');
    close(writers[1]);
    expect(writers[0], 200);
    rig_turn(&rig);
    ck_assert_str_eq(order, "a");
    ck_assert_int_eq(in_flight(), 0);
}
END_TEST

START_TEST(test_an_answer_whose_client_goes_while_it_waits_is_dropped)
{
    let_two_wait_for_their_answers();
    int writer = rig_connect(&rig);
    int reader = rig_connect(&rig);
    leaves = holders[0];
    put_write(writer, "/slow", 'a');
    put_read(reader, "/release");
    expect(reader, 200);
    expect(holders[1], 201);
    ck_assert_int_eq(in_flight(), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("turn");
    TCase *tests = tcase_create("turn");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, test_a_read_goes_by_the_writes_that_a_turn_has_no_time_for);
    tcase_add_test(tests, test_a_write_that_comes_alone_is_done_at_once);
    tcase_add_test(tests, test_work_that_a_read_needs_waits_for_its_turn_too);
    tcase_add_test(tests, test_answers_to_writes_that_are_ready_together_wait_for_their_turn);
    tcase_add_test(tests, test_a_write_whose_client_goes_while_it_waits_is_never_begun);
    tcase_add_test(tests, test_an_answer_whose_client_goes_while_it_waits_is_dropped);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
