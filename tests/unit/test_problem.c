/* Unit tests of src/http/problem, query and body_object: what a refusal looks like, and that each kind is documented.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "http/body.h"
#include "http/problem.h"
#include "http/query.h"
#include "http_rig.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define HOST "Host: a\r\n"
#define END "\r\n"

static struct rig rig;
static enum problem chosen;
static const struct problem_details *chosen_details;

static void refuse(struct http_request *request)
{
    problem_respond(request, chosen, chosen_details);
}

static void accept_query(struct http_request *request)
{
    static const char *const allowed[] = {"limit", "cursor", NULL};
    if (!http_request_query_check(request, allowed))
        return;
    const char *limit = http_request_query(request, "limit");
    struct http_response response = {.status = 200, .body = limit, .body_length = limit == NULL ? 0 : strlen(limit)};
    http_respond(request, &response);
}

static void accept_body(struct http_request *request)
{
    json_t *object = body_object(request, request->method == HTTP_METHOD_PATCH);
    if (object == NULL)
        return;
    json_decref(object);
    struct http_response response = {.status = 204};
    http_respond(request, &response);
}

static const struct http_route routes[] = {
    {HTTP_METHOD_GET, "/refuse/{what}", refuse, 0},
    {HTTP_METHOD_GET, "/query", accept_query, 0},
    {HTTP_METHOD_POST, "/body", accept_body, 0},
    {HTTP_METHOD_PATCH, "/body", accept_body, 0},
    {HTTP_METHOD_GET, NULL, NULL, 0},
};

static void setup(void)
{
    rig_prepare(&rig);
    rig_start(&rig, routes, false);
    chosen_details = NULL;
}

static void teardown(void)
{
    rig_stop(&rig);
}

/* Sends the request, checks that the answer is a problem, and gives its body. */
static json_t *problem_of(const char *request, int status, const char *slug, struct buffer *answer)
{
    *answer = rig_exchange(&rig, request);
    ck_assert_msg(status_of(answer) == status, "%d expected: %s", status, buffer_text(answer));
    ck_assert(has_text(answer, "Content-Type: application/problem+json\r\n"));
    json_t *body = json_loads(strstr(buffer_bytes(answer), "\r\n\r\n") + 4, JSON_REJECT_DUPLICATES, NULL);
    ck_assert_ptr_nonnull(body);
    char type[64];
    snprintf(type, sizeof type, "/problems/%s", slug);
    ck_assert_str_eq(json_string_value(json_object_get(body, "type")), type);
    ck_assert_int_eq((int)json_integer_value(json_object_get(body, "status")), status);
    ck_assert_ptr_nonnull(json_string_value(json_object_get(body, "title")));
    ck_assert_ptr_nonnull(json_string_value(json_object_get(body, "detail")));
    char id[128];
    snprintf(id, sizeof id, "X-Request-Id: %s\r\n", json_string_value(json_object_get(body, "request_id")));
    ck_assert(has_text(answer, id));
    return body;
}

static const char *text_of(const json_t *body, const char *name)
{
    return json_string_value(json_object_get(body, name));
}

START_TEST(test_every_problem_says_its_type_and_what_to_do)
{
    for (int i = 0; i < PROBLEM_COUNT; i++) {
        struct buffer answer;
        chosen = (enum problem)i;
        json_t *body = problem_of("GET /refuse/x%22y?secret=1 HTTP/1.1\r\n" HOST END, problem_status(chosen),
                                  problem_slug(chosen), &answer);
        ck_assert_str_eq(text_of(body, "instance"), "/refuse/x%22y");
        ck_assert_uint_gt(strlen(text_of(body, "detail")), 15);
        bool comes_back = problem_status(chosen) == 429 || problem_status(chosen) == 503;
        ck_assert(has_text(&answer, "\r\nRetry-After: ") == comes_back);
        json_decref(body);
        buffer_free(&answer);
    }
}
END_TEST

START_TEST(test_details_and_members_are_added)
{
    static const char members[] =
        "{\"count\":3,\"detail\":\"Choose at least 3.\",\"opens_at\":\"2026-01-01T00:00:00Z\",\"type\":\"x\","
        "\"errors\":[{\"pointer\":\"/a\"}],\"request_id\":\"forged\",\"wide\":\"\xe3\x81\x82\\n\"}";
    static const struct problem_details details = {.status = 418,
                                                   .detail = "less good",
                                                   .members = members,
                                                   .members_length = sizeof members - 1,
                                                   .headers = "X-Further: 1\r\n"};
    struct buffer answer;
    chosen = PROBLEM_CAPACITY_BELOW_COUNT;
    chosen_details = &details;
    json_t *body = problem_of("GET /refuse/1 HTTP/1.1\r\n" HOST END, 418, "capacity-below-count", &answer);
    ck_assert_int_eq((int)json_integer_value(json_object_get(body, "count")), 3);
    ck_assert_str_eq(text_of(body, "detail"), "Choose at least 3.");
    ck_assert_str_eq(text_of(body, "opens_at"), "2026-01-01T00:00:00Z");
    ck_assert_str_eq(text_of(body, "wide"), "\xe3\x81\x82\n");
    ck_assert_uint_eq(json_array_size(json_object_get(body, "errors")), 1);
    ck_assert(has_text(&answer, "X-Further: 1\r\n"));
    json_decref(body);
    buffer_free(&answer);
}
END_TEST

START_TEST(test_members_that_are_no_object_do_not_spoil_the_refusal)
{
    static const struct problem_details details = {.members = "[1]", .members_length = 3};
    struct buffer answer;
    chosen = PROBLEM_EVENT_FULL;
    chosen_details = &details;
    json_decref(problem_of("GET /refuse/1 HTTP/1.1\r\n" HOST END, 409, "event-full", &answer));
    buffer_free(&answer);
}
END_TEST

static int retry_after(enum problem problem, int seconds)
{
    struct problem_details details = {.retry_after = seconds, .headers = "X-Further: 1\r\n"};
    struct buffer answer;
    chosen = problem;
    chosen_details = &details;
    json_decref(
        problem_of("GET /refuse/1 HTTP/1.1\r\n" HOST END, problem_status(problem), problem_slug(problem), &answer));
    static const char lines[] = "\r\nX-Further: 1\r\nCache-Control: no-store\r\nRetry-After: ";
    const char *said = strstr(buffer_bytes(&answer), lines);
    ck_assert_ptr_nonnull(said);
    int value = atoi(said + strlen(lines));
    buffer_free(&answer);
    return value;
}

START_TEST(test_those_who_retry_are_spread_but_a_known_moment_is_told_as_it_is)
{
    bool differ = false;
    for (int i = 0; i < 50; i++) {
        int told = retry_after(PROBLEM_OVERLOADED, 10);
        ck_assert_int_ge(told, 10);
        ck_assert_int_le(told, 16);
        differ = differ || told != 10;
        ck_assert_int_eq(retry_after(PROBLEM_NOT_OPEN_YET, 3600), 3600);
    }
    ck_assert(differ);
}
END_TEST

START_TEST(test_refused_bytes_are_a_problem_too)
{
    static const struct {
        const char *request;
        int status;
        const char *slug;
        const char *instance;
    } rows[] = {
        {"GET / HTTP/3.0\r\n" HOST END, 505, "bad-request", NULL},
        {"GET /a?b HTTP/1.1\r\n" END, 400, "bad-request", "/a"},
        {"GET http://a/b?c HTTP/1.1\r\n" HOST HOST END, 400, "bad-request", "/b"},
        {"GET /\x01 HTTP/1.1\r\n" HOST END, 400, "bad-request", NULL},
        {"POST /body HTTP/1.1\r\n" HOST "Content-Length: 999999999\r\n" END, 413, "too-large", "/body"},
        {"GET /nowhere HTTP/1.1\r\n" HOST END, 404, "not-found", "/nowhere"},
        {"DELETE /query HTTP/1.1\r\n" HOST END, 405, "method-not-allowed", "/query"},
        {"GET /query?a=%zz HTTP/1.1\r\n" HOST END, 400, "bad-request", "/query"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct buffer answer;
        json_t *body = problem_of(rows[i].request, rows[i].status, rows[i].slug, &answer);
        if (rows[i].instance == NULL)
            ck_assert_ptr_null(json_object_get(body, "instance"));
        else
            ck_assert_str_eq(text_of(body, "instance"), rows[i].instance);
        if (rows[i].status == 405)
            ck_assert(has_text(&answer, "\r\nAllow: GET, HEAD, OPTIONS\r\n"));
        json_decref(body);
        buffer_free(&answer);
    }
}
END_TEST

START_TEST(test_unknown_and_repeated_parameters_are_named)
{
    struct buffer answer = rig_exchange(&rig, "GET /query?limit=1%30&cursor= HTTP/1.1\r\n" HOST END);
    ck_assert_int_eq(status_of(&answer), 200);
    ck_assert(has_text(&answer, "\r\n\r\n10"));
    buffer_free(&answer);
    json_t *body =
        problem_of("GET /query?limit=1&l%22imit=1&limit=2 HTTP/1.1\r\n" HOST END, 422, "invalid-fields", &answer);
    const json_t *errors = json_object_get(body, "errors");
    ck_assert_uint_eq(json_array_size(errors), 2);
    ck_assert_str_eq(text_of(json_array_get(errors, 0), "parameter"), "l\"imit");
    ck_assert_str_eq(text_of(json_array_get(errors, 1), "parameter"), "limit");
    ck_assert_str_eq(text_of(json_array_get(errors, 1), "detail"), "Send the parameter once.");
    json_decref(body);
    buffer_free(&answer);
}
END_TEST

START_TEST(test_more_parameters_than_the_limit_are_refused)
{
    for (int count = 63; count <= 65; count++) {
        char request[1024] = "GET /query?a";
        for (int i = 1; i < count; i++)
            strcat(request, "&a");
        strcat(request, " HTTP/1.1\r\n" HOST END);
        struct buffer answer = rig_exchange(&rig, request);
        ck_assert_int_eq(status_of(&answer), count <= 64 ? 422 : 400);
        buffer_free(&answer);
    }
}
END_TEST

static void send_body(const char *method, const char *type, const char *bytes, int status)
{
    char request[512];
    snprintf(request, sizeof request, "%s /body HTTP/1.1\r\n" HOST "%s%s%sContent-Length: %zu\r\n\r\n%s", method,
             type == NULL ? "" : "Content-Type: ", type == NULL ? "" : type, type == NULL ? "" : "\r\n", strlen(bytes),
             bytes);
    struct buffer answer = rig_exchange(&rig, request);
    ck_assert_msg(status_of(&answer) == status, "%s: %s", request, buffer_text(&answer));
    if (status == 415)
        ck_assert(has_text(&answer, method[1] == 'A'
                                        ? "\r\nAccept-Patch: application/merge-patch+json, application/json"
                                        : "\r\nAccept: application/json\r\n"));
    buffer_free(&answer);
}

START_TEST(test_a_body_is_one_json_object_announced_as_such)
{
    static const char *const good[] = {"application/json", "Application/JSON", "application/json; charset=utf-8",
                                       "application/json;charset=\"UTF-8\" ; a=b"};
    static const char *const bad[] = {"text/plain",
                                      "application/jsonp",
                                      "application/json; charset=latin-1",
                                      "application/json, application/json",
                                      "multipart/form-data; boundary=x",
                                      ""};
    for (size_t i = 0; i < COUNT(good); i++)
        send_body("POST", good[i], "{}", 204);
    for (size_t i = 0; i < COUNT(bad); i++)
        send_body("POST", bad[i], "{}", 415);
    send_body("POST", NULL, "{}", 415);
    send_body("POST", "application/merge-patch+json", "{}", 415);
    send_body("PATCH", "application/merge-patch+json", "{}", 204);
    send_body("PATCH", "application/json", "{}", 204);
    send_body("PATCH", "text/plain", "{}", 415);
    send_body("POST", "application/json", "", 400);
    send_body("POST", "application/json", "[]", 400);
    send_body("POST", "application/json", "{\"a\":1,\"a\":1}", 400);
}
END_TEST

START_TEST(test_each_problem_has_its_section_of_documentation)
{
    FILE *file = fopen(TURNOUT_SOURCE_DIR "/docs/problems.md", "r");
    ck_assert_ptr_nonnull(file);
    bool seen[PROBLEM_COUNT] = {false};
    char line[1024];
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "## ", 3) != 0)
            continue;
        line[strcspn(line, "\n")] = '\0';
        int found = 0;
        while (found < PROBLEM_COUNT && strcmp(problem_slug((enum problem)found), line + 3) != 0)
            found++;
        ck_assert_msg(found < PROBLEM_COUNT && !seen[found], "no such problem, or twice: %s", line + 3);
        seen[found] = true;
        /* the text begins with the status */
        ck_assert_ptr_nonnull(fgets(line, sizeof line, file));
        ck_assert_int_eq(atoi(line), problem_status((enum problem)found));
    }
    fclose(file);
    for (int i = 0; i < PROBLEM_COUNT; i++)
        ck_assert_msg(seen[i], "docs/problems.md has no section %s", problem_slug((enum problem)i));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("problem");
    TCase *tcase = tcase_create("problem");
    tcase_add_checked_fixture(tcase, setup, teardown);
    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, test_every_problem_says_its_type_and_what_to_do);
    tcase_add_test(tcase, test_details_and_members_are_added);
    tcase_add_test(tcase, test_members_that_are_no_object_do_not_spoil_the_refusal);
    tcase_add_test(tcase, test_those_who_retry_are_spread_but_a_known_moment_is_told_as_it_is);
    tcase_add_test(tcase, test_refused_bytes_are_a_problem_too);
    tcase_add_test(tcase, test_unknown_and_repeated_parameters_are_named);
    tcase_add_test(tcase, test_more_parameters_than_the_limit_are_refused);
    tcase_add_test(tcase, test_a_body_is_one_json_object_announced_as_such);
    tcase_add_test(tcase, test_each_problem_has_its_section_of_documentation);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
