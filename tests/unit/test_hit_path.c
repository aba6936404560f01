/* Unit tests of what an everyday request costs src/http: one read, one write, no memory. The linker leads its calls
 * through here; the clients use others. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/connection.h"
#include "http_rig.h"

#define REQUESTS 100

static struct rig rig;

/* Of the server, while it is counted. */
static struct {
    bool on;
    int memory;
    int reads;
    int writes;
} calls;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
ssize_t __real_read(int descriptor, void *bytes, size_t size);
ssize_t __real_send(int descriptor, const void *bytes, size_t size, int flags);
ssize_t __real_sendmsg(int descriptor, const struct msghdr *message, int flags);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
ssize_t __wrap_read(int descriptor, void *bytes, size_t size);
ssize_t __wrap_send(int descriptor, const void *bytes, size_t size, int flags);
ssize_t __wrap_sendmsg(int descriptor, const struct msghdr *message, int flags);

void *__wrap_malloc(size_t size)
{
    calls.memory += calls.on;
    return __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    calls.memory += calls.on;
    return __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    calls.memory += calls.on;
    return __real_realloc(memory, size);
}

ssize_t __wrap_read(int descriptor, void *bytes, size_t size)
{
    calls.reads += calls.on;
    return __real_read(descriptor, bytes, size);
}

ssize_t __wrap_send(int descriptor, const void *bytes, size_t size, int flags)
{
    calls.writes += calls.on;
    return __real_send(descriptor, bytes, size, flags);
}

ssize_t __wrap_sendmsg(int descriptor, const struct msghdr *message, int flags)
{
    calls.writes += calls.on;
    return __real_sendmsg(descriptor, message, flags);
}

static void answer(struct http_request *request, int status, const char *lines, size_t body_length)
{
    static const char body[8192];
    static const char more[] = "Cache-Control: public\r\nVary: Accept-Encoding\r\n";
    http_respond_shared(request, &(struct http_shared){.status = status,
                                                       .lines = lines,
                                                       .lines_length = strlen(lines),
                                                       .more = more,
                                                       .more_length = strlen(more),
                                                       .body = body,
                                                       .body_length = body_length});
}

static void page(struct http_request *request)
{
    if (http_request_header(request, "if-none-match") != NULL)
        answer(request, 304, "ETag: \"e\"\r\n", 0);
    else
        answer(request, 200, "ETag: \"e\"\r\nContent-Length: 8192\r\n", 8192);
}

static void item(struct http_request *request)
{
    answer(request, 200, "Content-Length: 600\r\n", 600);
}

static void own(struct http_request *request)
{
    char *body = malloc(600);
    ck_assert_ptr_nonnull(body);
    memset(body, 'x', 600);
    http_respond(request, &(struct http_response){
                              .status = 200, .body = body, .body_length = 600, .release = free, .owner = body});
}

static const struct http_route routes[] = {
    {HTTP_METHOD_GET, "/page", page, 0},
    {HTTP_METHOD_GET, "/items/{id}", item, 0},
    {HTTP_METHOD_GET, "/own", own, 0},
    {HTTP_METHOD_GET, NULL, NULL, 0},
};

static void setup(void)
{
    calls.on = false;
    rig_prepare(&rig);
    rig_start(&rig, routes, false);
}

static void teardown(void)
{
    rig_stop(&rig);
}

#define BROWSER                                                                                                      \
    "Host: events.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0" \
    "\r\nAccept: application/json\r\nAccept-Language: en,ja;q=0.7\r\nAccept-Encoding: gzip, deflate, br\r\n"         \
    "Connection: keep-alive\r\n"

/* What is asked for: the number of the request stands behind the path where that ends with '/', and in a header of its
 * own with `is_numbered`. */
struct form {
    const char *path;
    const char *headers;
    bool is_numbered;
};

static void ask(int client, const struct form *form, int first, int count)
{
    struct buffer got = {0};
    buffer_reserve(&got, 65537);
    for (int i = first; i < first + count; i++) {
        char number[16], header[32], request[1024];
        snprintf(number, sizeof number, "%d", i);
        snprintf(header, sizeof header, "X-Number: %d\r\n", i);
        bool in_path = form->path[strlen(form->path) - 1] == '/';
        int length = snprintf(request, sizeof request, "GET %s%s HTTP/1.1\r\n" BROWSER "%s%s\r\n", form->path,
                              in_path ? number : "", form->headers, form->is_numbered ? header : "");
        ck_assert_int_eq((int)sendto(client, request, (size_t)length, 0, NULL, 0), length);
        calls.on = true;
        rig_turn(&rig);
        calls.on = false;
        buffer_clear(&got, 65537);
        rig_read(&rig, client, &got, one_answer);
        ck_assert(status_of(&got) == 200 || status_of(&got) == 304);
    }
    buffer_free(&got);
}

/* Of so many requests, once the connection has sent some. */
static void count(const struct form *form)
{
    int client = rig_connect(&rig);
    ask(client, form, 0, 3);
    calls.memory = calls.reads = calls.writes = 0;
    ask(client, form, 3, REQUESTS);
    close(client);
}

static const struct form forms[] = {
    {"/page?number=1", "", false},
    {"/page", "If-None-Match: \"e\"\r\n", false},
    {"/items/", "", false},
    {"/items/a", "X-Request-Id: mine\r\n", true},
    {"/page", "Authorization: Bearer token\r\n", false},
};

START_TEST(test_a_hit_costs_one_read_one_write_and_no_memory)
{
    count(&forms[_i]);
    ck_assert_int_eq(calls.reads, REQUESTS);
    ck_assert_int_eq(calls.writes, REQUESTS);
#ifndef __SANITIZE_ADDRESS__ /* nothing is reused there */
    ck_assert_int_eq(calls.memory, 0);
#endif
}
END_TEST

START_TEST(test_memory_that_a_handler_takes_is_counted_here)
{
    count(&(struct form){"/own", "", false});
    ck_assert_int_ge(calls.memory, REQUESTS);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hit path");
    TCase *tcase = tcase_create("hit path");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    suite_add_tcase(suite, tcase);
    tcase_add_loop_test(tcase, test_a_hit_costs_one_read_one_write_and_no_memory, 0,
                        (int)(sizeof forms / sizeof forms[0]));
    tcase_add_test(tcase, test_memory_that_a_handler_takes_is_counted_here);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
