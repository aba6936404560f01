/* Unit tests of src/http/relief: who goes when the server is full, and when slow clients hold too much memory. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "http/connection.h"
#include "http_rig.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define PLAIN "GET /plain HTTP/1.1\r\nHost: a\r\n\r\n"
#define SECOND INT64_C(1000000)
#define LARGE (400 << 10)

static struct rig rig;
static struct http_request *waiting;

static void plain(struct http_request *request)
{
    struct http_response response = {.status = 200, .body = "plain", .body_length = 5};
    http_respond(request, &response);
}

static void large(struct http_request *request)
{
    char *body = calloc(1, LARGE);
    struct http_response response = {.status = 200, .body = body, .body_length = LARGE, .release = free, .owner = body};
    http_respond(request, &response);
}

/* Of the hot cache: what the kernel does not take is the connection's own. */
static void shared_page(struct http_request *request)
{
    static char body[100 << 10];
    http_respond_shared(request, &(struct http_shared){.status = 200,
                                                       .lines = "Content-Length: 102400\r\n",
                                                       .lines_length = 24,
                                                       .body = body,
                                                       .body_length = sizeof body});
}

static void later(struct http_request *request)
{
    waiting = request;
}

static const struct http_route routes[] = {
    {HTTP_METHOD_GET, "/plain", plain, 0},      {HTTP_METHOD_POST, "/plain", plain, 0},
    {HTTP_METHOD_GET, "/large", large, 0},      {HTTP_METHOD_GET, "/later", later, 0},
    {HTTP_METHOD_GET, "/page", shared_page, 0}, {HTTP_METHOD_GET, NULL, NULL, 0},
};

static void setup(void)
{
    waiting = NULL;
    rig_prepare(&rig);
    rig.configuration->header_timeout = 3600 * SECOND;
    rig.configuration->body_timeout = 3600 * SECOND;
    rig.configuration->write_timeout = 3600 * SECOND;
    rig.configuration->idle_timeout = 3600 * SECOND;
}

static void teardown(void)
{
    rig_stop(&rig);
}

static int64_t open_connections(void)
{
    struct http_statistics counted;
    http_server_statistics(rig.server, &counted);
    return counted.connections;
}

static bool as_many(void *context)
{
    return open_connections() == *(const int64_t *)context;
}

static void connect_all(int *clients, size_t count)
{
    int64_t wanted = open_connections() + (int64_t)count;
    for (size_t i = 0; i < count; i++) {
        clients[i] = rig_connect_tcp(&rig);
        int64_t now = wanted - (int64_t)count + (int64_t)i + 1;
        rig_wait(&rig, as_many, &now); /* in this order */
    }
}

/* All that are idle now have been so for longer. */
static void let_idle_age(int64_t seconds)
{
    struct http_connection *connection;
    TAILQ_FOREACH (connection, &rig.server->silent, place)
        connection->idle_at -= seconds * SECOND;
    TAILQ_FOREACH (connection, &rig.server->kept, place)
        connection->idle_at -= seconds * SECOND;
}

static bool is_closed(int client)
{
    char byte;
    return recv(client, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static void assert_served(int client)
{
    struct buffer answer = {0};
    ck_assert_int_eq((int)send(client, PLAIN, strlen(PLAIN), MSG_NOSIGNAL), (int)strlen(PLAIN));
    rig_read(&rig, client, &answer, one_answer);
    ck_assert_int_eq(status_of(&answer), 200);
    buffer_free(&answer);
}

static void close_all(const int *clients, size_t count)
{
    for (size_t i = 0; i < count; i++)
        close(clients[i]);
}

/* ---- a full server ---- */

START_TEST(test_a_newcomer_takes_the_place_of_one_that_never_said_a_word)
{
    rig.configuration->max_connections = 3;
    rig_start(&rig, routes, true);
    int clients[4];
    connect_all(clients, 3);
    assert_served(clients[0]); /* kept, and idle for as long as the others */
    let_idle_age(9);
    clients[3] = rig_connect_tcp(&rig);
    assert_served(clients[3]);
    ck_assert(is_closed(clients[1]));
    ck_assert_int_eq(open_connections(), 3);
    assert_served(clients[0]);
    assert_served(clients[2]);
    close_all(clients, COUNT(clients));
}
END_TEST

START_TEST(test_then_of_the_one_that_was_kept_and_idle_for_longest)
{
    rig.configuration->max_connections = 2;
    rig_start(&rig, routes, true);
    int clients[3];
    connect_all(clients, 2);
    assert_served(clients[1]);
    assert_served(clients[0]);
    let_idle_age(11);
    clients[2] = rig_connect_tcp(&rig);
    assert_served(clients[2]);
    ck_assert(is_closed(clients[1]));
    assert_served(clients[0]);
    close_all(clients, COUNT(clients));
}
END_TEST

START_TEST(test_nobody_goes_who_has_just_come_or_is_at_work)
{
    rig.configuration->max_connections = 4;
    rig_start(&rig, routes, true);
    int clients[5];
    connect_all(clients, 4);
    rig_send_text(&rig, clients[0], "GET /pl"); /* headers */
    rig_send_text(&rig, clients[1],
                  "POST /plain HTTP/1.1\r\nHost: a\r\n"
                  "Content-Length: 9\r\n\r\n{");                               /* body */
    rig_send_text(&rig, clients[2], "GET /later HTTP/1.1\r\nHost: a\r\n\r\n"); /* in hand */
    clients[4] = rig_connect_tcp(&rig);
    send(clients[4], PLAIN, strlen(PLAIN), 0);
    for (int i = 0; i < 20; i++)
        rig_turn(&rig);
    for (int i = 0; i < 4; i++)
        ck_assert(!is_closed(clients[i]));
    ck_assert_int_eq(open_connections(), 4);
    /* one that is idle, but has sent what nobody has read yet, stays as well */
    let_idle_age(2);
    send(clients[3], PLAIN, 5, 0);
    struct buffer answer = {0};
    rig_turn(&rig);
    ck_assert(!is_closed(clients[3]));
    /* and the newcomer comes in as soon as somebody goes */
    close(clients[0]);
    rig_read(&rig, clients[4], &answer, one_answer);
    ck_assert_int_eq(status_of(&answer), 200);
    buffer_free(&answer);
    close_all(clients + 1, 4);
    plain(waiting);
}
END_TEST

static bool four_came_in(void *context)
{
    (void)context;
    struct http_statistics counted;
    http_server_statistics(rig.server, &counted);
    return counted.accepted == 4;
}

START_TEST(test_who_waits_comes_in_when_others_have_been_idle_for_long_enough)
{
    rig.configuration->max_connections = 3;
    rig_start(&rig, routes, true);
    int clients[4];
    connect_all(clients, 3);
    clients[3] = rig_connect_tcp(&rig);
    rig_wait(&rig, four_came_in, NULL); /* without any other event: a second later */
    assert_served(clients[3]);
    ck_assert(is_closed(clients[0]) && !is_closed(clients[1]) && !is_closed(clients[2]));
    close_all(clients, COUNT(clients));
}
END_TEST

START_TEST(test_a_server_takes_no_more_than_the_limit_of_open_files_allows)
{
    struct rlimit before;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit few = {.rlim_cur = 140, .rlim_max = before.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    rig_start(&rig, routes, true);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    int clients[90];
    connect_all(clients, 76);
    for (size_t i = 76; i < COUNT(clients); i++)
        clients[i] = rig_connect_tcp(&rig);
    for (int i = 0; i < 20; i++)
        rig_turn(&rig);
    ck_assert_int_eq(open_connections(), 76);
    let_idle_age(2);
    assert_served(clients[COUNT(clients) - 1]);
    close_all(clients, COUNT(clients));
}
END_TEST

START_TEST(test_a_server_out_of_descriptors_makes_room_as_well)
{
    rig_start(&rig, routes, true);
    int clients[3];
    connect_all(clients, 2);
    let_idle_age(2);
    clients[2] = rig_connect_tcp(&rig);
    struct rlimit before;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    int next = dup(clients[2]);
    struct rlimit none = {.rlim_cur = (rlim_t)next, .rlim_max = before.rlim_max};
    close(next);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_served(clients[2]);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    ck_assert(is_closed(clients[0]) && !is_closed(clients[1]));
    close_all(clients, COUNT(clients));
}
END_TEST

/* ---- the memory of slow clients ---- */

static int unfinished_body(void)
{
    static char part[100 << 10];
    memset(part, 'x', sizeof part);
    int client = rig_connect(&rig);
    rig_send_text(&rig, client, "POST /plain HTTP/1.1\r\nHost: a\r\nContent-Length: 102401\r\n\r\n");
    rig_send(&rig, client, part, sizeof part);
    return client;
}

START_TEST(test_the_oldest_of_many_slow_bodies_are_told_to_send_sooner)
{
    rig.configuration->connection_memory = 1 << 20;
    rig_start(&rig, routes, false);
    int clients[30];
    for (size_t i = 0; i < COUNT(clients); i++) {
        clients[i] = unfinished_body();
        ck_assert_uint_le(rig.server->slow_memory, 1 << 20);
    }
    struct buffer answer = {0};
    rig_read_all(&rig, clients[0], &answer);
    ck_assert_int_eq(status_of(&answer), 408);
    buffer_clear(&answer, 0);
    /* the last one is quick enough */
    rig_send_text(&rig, clients[COUNT(clients) - 1], "x");
    rig_read(&rig, clients[COUNT(clients) - 1], &answer, one_answer);
    ck_assert_int_eq(status_of(&answer), 200);
    buffer_free(&answer);
    close_all(clients, COUNT(clients));
    int64_t none = 0;
    rig_wait(&rig, as_many, &none);
    ck_assert_uint_eq(rig.server->slow_memory, 0);
}
END_TEST

START_TEST(test_the_oldest_of_many_slow_headers_are_told_to_send_sooner)
{
    rig.configuration->connection_memory = 256 << 10;
    rig_start(&rig, routes, false);
    int clients[60];
    char header[8000];
    memset(header, 'x', sizeof header);
    for (size_t i = 0; i < COUNT(clients); i++) {
        clients[i] = rig_connect(&rig);
        rig_send_text(&rig, clients[i], "GET /plain HTTP/1.1\r\nHost: a\r\nX-A: ");
        rig_send(&rig, clients[i], header, sizeof header);
        ck_assert_uint_le(rig.server->slow_memory, 256 << 10);
    }
    struct buffer answer = {0};
    rig_read_all(&rig, clients[0], &answer);
    ck_assert_int_eq(status_of(&answer), 408);
    buffer_clear(&answer, 0);
    rig_send_text(&rig, clients[COUNT(clients) - 1], "\r\n\r\n");
    rig_read(&rig, clients[COUNT(clients) - 1], &answer, one_answer);
    ck_assert_int_eq(status_of(&answer), 200);
    buffer_free(&answer);
    close_all(clients, COUNT(clients));
}
END_TEST

START_TEST(test_the_oldest_of_many_slow_readers_are_cut_off)
{
    rig.configuration->connection_memory = 2 << 20;
    rig_start(&rig, routes, false);
    int clients[20];
    for (size_t i = 0; i < COUNT(clients); i++) {
        clients[i] = rig_connect(&rig);
        rig_send_text(&rig, clients[i], "GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
        ck_assert_uint_le(rig.server->slow_memory, 2 << 20);
    }
    ck_assert_int_eq(open_connections(), 5); /* of 400 KiB each, and a little */
    struct buffer answer = {0};
    ck_assert(rig_read(&rig, clients[0], &answer, one_answer));
    buffer_clear(&answer, 0);
    ck_assert(!rig_read(&rig, clients[COUNT(clients) - 1], &answer, one_answer));
    ck_assert_int_eq(status_of(&answer), 200);
    buffer_free(&answer);
    /* kept, and it holds nothing any more */
    assert_served(clients[COUNT(clients) - 1]);
    close_all(clients, COUNT(clients));
}
END_TEST

START_TEST(test_the_oldest_of_many_slow_readers_of_shared_pages_are_cut_off)
{
    rig.configuration->connection_memory = 1 << 20;
    rig_start(&rig, routes, false);
    int clients[30];
    for (size_t i = 0; i < COUNT(clients); i++) {
        clients[i] = rig_connect(&rig);
        int little = 1;
        setsockopt(LIST_FIRST(&rig.server->open)->descriptor, SOL_SOCKET, SO_SNDBUF, &little, sizeof little);
        rig_send_text(&rig, clients[i], "GET /page HTTP/1.1\r\nHost: a\r\n\r\n");
        ck_assert_uint_le(rig.server->slow_memory, 1 << 20);
    }
    ck_assert_int_ge(open_connections(), 9);
    ck_assert_int_le(open_connections(), 12); /* of 100 KiB each at most, less what the kernel took */
    struct buffer answer = {0};
    ck_assert(rig_read(&rig, clients[0], &answer, one_answer));
    buffer_clear(&answer, 0);
    ck_assert(!rig_read(&rig, clients[COUNT(clients) - 1], &answer, one_answer));
    ck_assert_int_eq(status_of(&answer), 200);
    buffer_free(&answer);
    assert_served(clients[COUNT(clients) - 1]);
    close_all(clients, COUNT(clients));
}
END_TEST

START_TEST(test_one_that_holds_more_than_all_may_is_cut_off_itself)
{
    rig.configuration->connection_memory = 64 << 10;
    rig_start(&rig, routes, false);
    int client = unfinished_body();
    struct buffer answer = {0};
    rig_read_all(&rig, client, &answer);
    ck_assert_int_eq(status_of(&answer), 408);
    buffer_free(&answer);
    close(client);
    int reader = rig_connect(&rig);
    assert_served(reader);
    close(reader);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("relief");
    TCase *tcase = tcase_create("relief");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, test_a_newcomer_takes_the_place_of_one_that_never_said_a_word);
    tcase_add_test(tcase, test_then_of_the_one_that_was_kept_and_idle_for_longest);
    tcase_add_test(tcase, test_nobody_goes_who_has_just_come_or_is_at_work);
    tcase_add_test(tcase, test_who_waits_comes_in_when_others_have_been_idle_for_long_enough);
    tcase_add_test(tcase, test_a_server_takes_no_more_than_the_limit_of_open_files_allows);
    tcase_add_test(tcase, test_a_server_out_of_descriptors_makes_room_as_well);
    tcase_add_test(tcase, test_the_oldest_of_many_slow_bodies_are_told_to_send_sooner);
    tcase_add_test(tcase, test_the_oldest_of_many_slow_headers_are_told_to_send_sooner);
    tcase_add_test(tcase, test_the_oldest_of_many_slow_readers_are_cut_off);
    tcase_add_test(tcase, test_the_oldest_of_many_slow_readers_of_shared_pages_are_cut_off);
    tcase_add_test(tcase, test_one_that_holds_more_than_all_may_is_cut_off_itself);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
