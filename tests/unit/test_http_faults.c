/* Unit tests of src/http: each call to the kernel fails again and again while clients talk to it. The linker leads the
 * calls of src/http (accept4, read, send, sendmsg) through here; the clients use others. */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http_rig.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define POINTS 200
/* After these the listener rests for 100 ms. */
#define EXHAUSTED_POINTS 3

enum call { ACCEPT, READ, SEND };

/* Which call fails, with what, at every so many-th time. */
static struct {
    enum call call;
    int error;
    int step;
    int calls;
    int fired;
} fault;

static struct rig rig;

int __real_accept4(int descriptor, struct sockaddr *name, socklen_t *size, int flags);
ssize_t __real_read(int descriptor, void *bytes, size_t size);
ssize_t __real_send(int descriptor, const void *bytes, size_t size, int flags);
ssize_t __real_sendmsg(int descriptor, const struct msghdr *message, int flags);
int __wrap_accept4(int descriptor, struct sockaddr *name, socklen_t *size, int flags);
ssize_t __wrap_read(int descriptor, void *bytes, size_t size);
ssize_t __wrap_send(int descriptor, const void *bytes, size_t size, int flags);
ssize_t __wrap_sendmsg(int descriptor, const struct msghdr *message, int flags);

static bool fails(enum call call)
{
    if (fault.step == 0 || fault.call != call || ++fault.calls % fault.step != 0)
        return false;
    fault.fired++;
    errno = fault.error;
    return true;
}

int __wrap_accept4(int descriptor, struct sockaddr *name, socklen_t *size, int flags)
{
    return fails(ACCEPT) ? -1 : __real_accept4(descriptor, name, size, flags);
}

ssize_t __wrap_read(int descriptor, void *bytes, size_t size)
{
    return fails(READ) ? -1 : __real_read(descriptor, bytes, size);
}

ssize_t __wrap_send(int descriptor, const void *bytes, size_t size, int flags)
{
    return fails(SEND) ? -1 : __real_send(descriptor, bytes, size, flags);
}

ssize_t __wrap_sendmsg(int descriptor, const struct msghdr *message, int flags)
{
    return fails(SEND) ? -1 : __real_sendmsg(descriptor, message, flags);
}

/* In one piece and in two, in turn: each leaves by a call of its own. */
static void echo(struct http_request *request)
{
    static bool in_one;
    in_one = !in_one;
    if (in_one) {
        const char *lines = arena_printf(request->arena, "Content-Length: %zu\r\n", request->body_length);
        http_respond_shared(request, &(struct http_shared){.status = 200,
                                                           .lines = lines,
                                                           .lines_length = strlen(lines),
                                                           .body = request->body,
                                                           .body_length = request->body_length});
        return;
    }
    struct http_response response = {.status = 200, .body = request->body, .body_length = request->body_length};
    http_respond(request, &response);
}

static const struct http_route routes[] = {{HTTP_METHOD_POST, "/echo", echo, 0}, {HTTP_METHOD_GET, NULL, NULL, 0}};

static void setup(void)
{
    fault.step = 0;
    rig_prepare(&rig);
    rig_start(&rig, routes, true);
}

static void teardown(void)
{
    rig_stop(&rig);
}

static int open_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    int count = 0;
    ck_assert_ptr_nonnull(folder);
    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count;
}

static bool nobody_is_left(void *context)
{
    struct http_statistics statistics;
    (void)context;
    http_server_statistics(rig.server, &statistics);
    return statistics.connections == 0;
}

/* A request in two pieces. Whether it was answered; the connection may have been lost at any point. */
static bool converse(void)
{
    struct buffer answer = {0};
    int client = rig_connect_tcp(&rig);
    bool answered = rig_send_text(&rig, client, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Le") &&
                    rig_send_text(&rig, client, "ngth: 5\r\n\r\nhello") &&
                    !rig_read(&rig, client, &answer, one_answer) && status_of(&answer) == 200;
    close(client);
    buffer_free(&answer);
    return answered;
}

static const struct {
    enum call call;
    int error;
    bool is_survived; /* the connection goes on, so every request is answered */
} faults[] = {
    {ACCEPT, EINTR, true},     {ACCEPT, ECONNABORTED, true}, {ACCEPT, EMFILE, true},    {ACCEPT, ENFILE, true},
    {ACCEPT, ENOBUFS, true},   {ACCEPT, ENOMEM, true},       {ACCEPT, EPERM, true},     {READ, EINTR, true},
    {READ, EAGAIN, true},      {READ, EIO, false},           {READ, ECONNRESET, false}, {READ, ENOMEM, false},
    {READ, ETIMEDOUT, false},  {SEND, EINTR, true},          {SEND, EAGAIN, true},      {SEND, EPIPE, false},
    {SEND, ECONNRESET, false}, {SEND, ENOBUFS, false},       {SEND, ENOMEM, false},     {SEND, EIO, false},
};

static bool exhausts(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

START_TEST(test_a_call_that_fails_costs_a_connection_at_most)
{
    int before = open_descriptors();
    int wanted = faults[_i].call == ACCEPT && exhausts(faults[_i].error) ? EXHAUSTED_POINTS : POINTS;
    int conversations = 0;
    int answered = 0;
    fault.call = faults[_i].call;
    fault.error = faults[_i].error;
    fault.calls = fault.fired = 0;
    fault.step = 4; /* a conversation reads three times: so each of them fails in turn */
    while (fault.fired < wanted) {
        answered += converse();
        ck_assert_msg(++conversations < 20 * POINTS, "it does not fail often enough: %d of %d", fault.fired, wanted);
    }
    int fired = fault.fired;
    fault.step = 0;
    ck_assert_int_ge(answered, faults[_i].is_survived ? conversations : conversations - fired);
    ck_assert_int_le(answered, faults[_i].is_survived ? conversations : conversations - fired / 4);
    ck_assert_msg(converse(), "the server does not serve any more");
    rig_wait(&rig, nobody_is_left, NULL);
    ck_assert_int_eq(open_descriptors(), before);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("http faults");
    TCase *tcase = tcase_create("http faults");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    suite_add_tcase(suite, tcase);
    tcase_add_loop_test(tcase, test_a_call_that_fails_costs_a_connection_at_most, 0, (int)COUNT(faults));
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
