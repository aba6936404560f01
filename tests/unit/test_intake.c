/* Unit tests of src/http/intake: whole conversations, cut into reads in every way, get the same answers. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http_rig.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct rig rig;

static void plain(struct http_request *request)
{
    struct http_response response = {.status = 200, .body = "plain", .body_length = 5};
    http_respond(request, &response);
}

static void echo(struct http_request *request)
{
    struct http_response response = {.status = 200, .body = request->body, .body_length = request->body_length};
    http_respond(request, &response);
}

static void nothing(struct http_request *request)
{
    struct http_response response = {.status = 204};
    http_respond(request, &response);
}

static void same(struct http_request *request)
{
    struct http_response response = {.status = 304, .headers = "ETag: \"1\"\r\n"};
    http_respond(request, &response);
}

static const struct http_route routes[] = {
    {HTTP_METHOD_GET, "/plain", plain, 0},      {HTTP_METHOD_POST, "/echo", echo, 0},
    {HTTP_METHOD_GET, "/items/{id}", plain, 0}, {HTTP_METHOD_GET, "/nothing", nothing, 0},
    {HTTP_METHOD_GET, "/same", same, 0},        {HTTP_METHOD_GET, NULL, NULL, 0},
};

static void setup(void)
{
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

/* Whole conversations; each ends where the client shuts its side. The statuses are those of the answers, in order. */
static const struct {
    const char *bytes;
    int statuses[5];
} conversations[] = {
    {PLAIN, {200}},
    {PLAIN PLAIN PLAIN, {200, 200, 200}},
    {"\r\n" PLAIN "\r\n" PLAIN, {200, 200}},
    {"\r\n\r\n" PLAIN, {400}},
    {PLAIN "\r\n\r\n" PLAIN, {200, 400}},
    {"\n" PLAIN, {400}},
    {"HEAD /plain HTTP/1.1\r\n" HOST END PLAIN, {200, 200}},
    {"GET /plain HTTP/1.0\r\n" END PLAIN, {200}},
    {"GET /plain HTTP/1.0\r\nConnection: keep-alive\r\n" END PLAIN, {200, 200}},
    {"GET /plain HTTP/1.1\r\nConnection: close\r\n" HOST END PLAIN, {200}},
    {"GET http://a/items/7?q=1 HTTP/1.1\r\n" HOST END, {200}},
    {"POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n" END "hello" PLAIN, {200, 200}},
    {"POST /echo HTTP/1.1\r\n" HOST "Content-Length: 0\r\n" END PLAIN, {200, 200}},
    {"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n" END "5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n" PLAIN,
     {200, 200}},
    {"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n" END "0\r\n\r\n" PLAIN, {200, 200}},
    {"POST /echo HTTP/1.1\r\n" HOST "Content-Length: 2\r\nExpect: 100-continue\r\n" END "ab" PLAIN, {100, 200, 200}},
    {"POST /nowhere HTTP/1.1\r\n" HOST "Content-Length: 2\r\nExpect: 100-continue\r\n" END "ab" PLAIN, {404}},
    {"POST /nowhere HTTP/1.1\r\n" HOST "Content-Length: 2\r\n" END "ab" PLAIN, {404, 200}},
    {"POST /plain HTTP/1.1\r\n" HOST "Content-Length: 2\r\n" END "ab" PLAIN, {405, 200}},
    {"OPTIONS /plain HTTP/1.1\r\n" HOST END PLAIN, {204, 200}},
    {"TRACE /plain HTTP/1.1\r\n" HOST END PLAIN, {405, 200}},
    {"NONSENSE /plain HTTP/1.1\r\n" HOST END PLAIN, {501}},
    {"DESCRIBE /plain HTTP/1.1\r\n" HOST END PLAIN, {501}},
    {"PRI /plain HTTP/1.1\r\n" HOST END PLAIN, {501}},
    {"SOURCE /plain HTTP/1.1\r\n" HOST END PLAIN, {405, 200}},
    {"get /plain HTTP/1.1\r\n" HOST END PLAIN, {501}},
    {"GETX /plain HTTP/1.1\r\n" HOST END PLAIN, {501}},
    {"M-SEARCH /plain HTTP/1.1\r\n" HOST END PLAIN, {405, 200}},
    {"GET /nothing HTTP/1.1\r\n" HOST END "GET /same HTTP/1.1\r\n" HOST END PLAIN, {204, 304, 200}},
    {"GET /items/%zz HTTP/1.1\r\n" HOST END PLAIN, {400, 200}},
    {"GET /items/1?q=%ff HTTP/1.1\r\n" HOST END PLAIN, {400, 200}},
    {PLAIN "GET /plain HTTP/1.1\n" HOST END PLAIN, {200, 400}},
    {"GET /plain HTTP/2.0\r\n" HOST END PLAIN, {505}},
    {"GET /plain HTTP/1.1\r\n" END PLAIN, {400}},
    {"GET /plain HTTP/1.1\r\n" HOST "A: b\rc\r\n" END, {400}},
    {"GET /plain HTTP/1.1\r\n" HOST "Content-Length: 3\r\n" END "abc" PLAIN, {400}},
    {"POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\nContent-Length: 3\r\n" END "abc" PLAIN, {400}},
    {"POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1025\r\n" END "abc", {413}},
    {"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n" END "0\r\n\r\n", {501}},
    {"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n" END "3\r\nabc\r\n400\r\n", {413}},
    {"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n" END "3;a=b\r\nabc\r\n0\r\n\r\n" PLAIN, {400}},
    {"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n" END "3\r\nabc\r\n0\r\nA: b\r\n\r\n" PLAIN, {400}},
    {"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n" END "3\r\nabc\r\n0\r\n: b\r\n\r\n" PLAIN, {400}},
    {"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n" END "3\r\nabc\r\n0\r\n\n" PLAIN, {400}},
    {"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n" END "3\nabc\r\n0\r\n\r\n" PLAIN, {400}},
    {"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n" END "3\r\nabc\n0\r\n\r\n" PLAIN, {400}},
    {"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n" END "3\r\nabcd\r\n0\r\n\r\n" PLAIN, {400}},
    {"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n" END "x\r\nabc\r\n0\r\n\r\n" PLAIN, {400}},
    {"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n" END "fffffffffffffffff\r\n" PLAIN, {400}},
    {"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n" END "ffffffffffffffff\r\n" PLAIN, {413}},
    {"POST /echo HTTP/1.1\r\n" HOST "Content-Length: 9\r\n" END "cut off", {0}},
    {"GET /plain HTTP/1.1\r\n" HOST, {0}},
};

/* Dates and made ids differ from answer to answer; the rest must not. */
static void mask(struct buffer *answer)
{
    static const char *const marks[] = {"\r\nDate: ", "\r\nX-Request-Id: ", "\"request_id\":\""};
    char *text = buffer_text(answer);
    for (size_t i = 0; i < COUNT(marks); i++) {
        for (char *at = strstr(text, marks[i]); at != NULL; at = strstr(at, marks[i])) {
            at += strlen(marks[i]);
            memset(at, '#', strcspn(at, "\r\""));
        }
    }
}

/* Sends the conversation in pieces: `first` bytes, then pieces of `step`. */
static struct buffer converse(const char *bytes, size_t first, size_t step)
{
    struct buffer answer = {0};
    int client = rig_connect(&rig);
    size_t length = strlen(bytes);
    bool open = rig_send(&rig, client, bytes, first);
    for (size_t at = first; open && at < length; at += step)
        open = rig_send(&rig, client, bytes + at, at + step < length ? step : length - at);
    shutdown(client, SHUT_WR);
    rig_read_all(&rig, client, &answer);
    close(client);
    mask(&answer);
    return answer;
}

static void assert_statuses(const char *text, const int *statuses, const char *conversation)
{
    for (; *statuses != 0; statuses++) {
        ck_assert_msg(strncmp(text, "HTTP/1.1 ", 9) == 0 && atoi(text + 9) == *statuses, "%d expected for %s, got %s",
                      *statuses, conversation, text);
        const char *next = text;
        do
            next = strstr(next + 9, "HTTP/1.1 ");
        while (next != NULL && (next[9] < '1' || next[9] > '5')); /* details speak of HTTP/1.1, too */
        text = next == NULL ? "" : next;
    }
    ck_assert_msg(*text == '\0', "more answers than expected for %s: %s", conversation, text);
}

START_TEST(test_an_answer_does_not_depend_on_how_the_bytes_are_cut)
{
    const char *bytes = conversations[_i].bytes;
    size_t length = strlen(bytes);
    struct buffer whole = converse(bytes, length, 1);
    assert_statuses(buffer_text(&whole), conversations[_i].statuses, bytes);
    for (size_t first = 0; first < length; first++) {
        struct buffer cut = converse(bytes, first, first == 0 ? 1 : length);
        ck_assert_msg(strcmp(buffer_text(&cut), buffer_text(&whole)) == 0, "cut at %zu: %s\n---\n%s\n---\n%s", first,
                      bytes, buffer_text(&cut), buffer_text(&whole));
        buffer_free(&cut);
    }
    buffer_free(&whole);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("intake");
    TCase *tcase = tcase_create("intake");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    suite_add_tcase(suite, tcase);
    tcase_add_loop_test(tcase, test_an_answer_does_not_depend_on_how_the_bytes_are_cut, 0, (int)COUNT(conversations));
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
