/* Unit tests of src/http/router: which line of the route table a method and a path fit. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "http/router.h"

static void handler(struct http_request *request)
{
    (void)request;
}

static const struct http_route routes[] = {
    {HTTP_METHOD_GET, "/", handler, 0},
    {HTTP_METHOD_GET, "/api/events", handler, 0},
    {HTTP_METHOD_POST, "/api/events", handler, 0},
    {HTTP_METHOD_GET, "/api/events/{id}", handler, 0},
    {HTTP_METHOD_PATCH, "/api/events/{id}", handler, 0},
    {HTTP_METHOD_DELETE, "/api/events/{id}", handler, 0},
    {HTTP_METHOD_POST, "/api/events/{id}/publish", handler, 0},
    {HTTP_METHOD_GET, "/api/events/new", handler, 0},
    {HTTP_METHOD_GET, "/api/events/{id}/parts/{part}/{piece}", handler, 0},
    {HTTP_METHOD_OPTIONS, "/own", handler, 0},
    {HTTP_METHOD_GET, "/own", handler, 0},
    {HTTP_METHOD_HEAD, "/own", handler, 0},
    {HTTP_METHOD_GET, NULL, NULL, 0},
};

static struct router *router;
static struct http_request request;
static const char *allow;

static void setup(void)
{
    router = router_create(routes);
    request = (struct http_request){.magic = HTTP_REQUEST_MAGIC, .arena = arena_create(1024)};
}

static void teardown(void)
{
    router_destroy(router);
    arena_destroy(request.arena);
}

static enum router_result find(enum http_method method, const char *path)
{
    request.method = method;
    request.route = NULL;
    memset(request.parameters, 0, sizeof request.parameters);
    allow = NULL;
    return router_find(router, &request, path, strlen(path), &allow);
}

static void assert_found(enum http_method method, const char *path, const char *template)
{
    ck_assert_int_eq(find(method, path), ROUTER_FOUND);
    ck_assert_str_eq(request.route->path, template);
}

START_TEST(test_a_path_finds_its_template)
{
    assert_found(HTTP_METHOD_GET, "/", "/");
    assert_found(HTTP_METHOD_GET, "/api/events", "/api/events");
    assert_found(HTTP_METHOD_POST, "/api/events", "/api/events");
    ck_assert_int_eq(request.route->method, HTTP_METHOD_POST);
    assert_found(HTTP_METHOD_PATCH, "/api/events/7", "/api/events/{id}");
    ck_assert_str_eq(request.parameters[0], "7");
    assert_found(HTTP_METHOD_GET, "/api/events/a/parts/b/c", "/api/events/{id}/parts/{part}/{piece}");
    ck_assert_str_eq(request.parameters[0], "a");
    ck_assert_str_eq(request.parameters[1], "b");
    ck_assert_str_eq(request.parameters[2], "c");
}
END_TEST

START_TEST(test_a_literal_segment_wins_over_a_parameter)
{
    assert_found(HTTP_METHOD_GET, "/api/events/new", "/api/events/new");
    assert_found(HTTP_METHOD_POST, "/api/events/new/publish", "/api/events/{id}/publish");
    ck_assert_str_eq(request.parameters[0], "new");
}
END_TEST

START_TEST(test_slashes_are_not_forgiven)
{
    static const char *const unknown[] = {"/api/events/",         "/api//events", "//api/events",
                                          "/api/events//publish", "/api",         "/API/events",
                                          "/api/events/7/x",      "/api/../own",  ""};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++)
        ck_assert_msg(find(HTTP_METHOD_GET, unknown[i]) == ROUTER_UNKNOWN, "%s", unknown[i]);
}
END_TEST

START_TEST(test_segments_are_split_first_and_decoded_once)
{
    assert_found(HTTP_METHOD_GET, "/api/events/a%2Fpublish", "/api/events/{id}");
    ck_assert_str_eq(request.parameters[0], "a/publish");
    assert_found(HTTP_METHOD_GET, "/api/events/%2541", "/api/events/{id}");
    ck_assert_str_eq(request.parameters[0], "%41");
    assert_found(HTTP_METHOD_GET, "/%61pi/event%73", "/api/events");
    assert_found(HTTP_METHOD_GET, "/api/events/a+b%E3%81%82", "/api/events/{id}");
    ck_assert_str_eq(request.parameters[0], "a+b\xe3\x81\x82");
}
END_TEST

START_TEST(test_a_bad_escape_is_a_bad_path)
{
    static const char *const bad[] = {"/%", "/%2", "/%zz", "/api/events/%00", "/api/events/%ff", "/x/%c3/y"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(find(HTTP_METHOD_GET, bad[i]) == ROUTER_BAD_PATH, "%s", bad[i]);
    ck_assert_int_eq(find(HTTP_METHOD_GET, "/%c3%a9"), ROUTER_UNKNOWN);
}
END_TEST

START_TEST(test_a_wrong_method_is_told_which_are_right)
{
    ck_assert_int_eq(find(HTTP_METHOD_PUT, "/api/events/7"), ROUTER_METHOD);
    ck_assert_str_eq(allow, "GET, HEAD, PATCH, DELETE, OPTIONS");
    ck_assert_int_eq(find(HTTP_METHOD_GET, "/api/events/7/publish"), ROUTER_METHOD);
    ck_assert_str_eq(allow, "POST, OPTIONS");
    ck_assert_int_eq(find(HTTP_METHOD_OTHER, "/api/events"), ROUTER_METHOD);
    ck_assert_int_eq(find(HTTP_METHOD_HEAD, "/api/events/7/publish"), ROUTER_METHOD);
    ck_assert_ptr_null(request.route);
}
END_TEST

START_TEST(test_head_is_served_by_get_and_options_by_the_table)
{
    assert_found(HTTP_METHOD_HEAD, "/api/events", "/api/events");
    ck_assert_int_eq(request.route->method, HTTP_METHOD_GET);
    ck_assert_int_eq(find(HTTP_METHOD_OPTIONS, "/api/events"), ROUTER_OPTIONS);
    ck_assert_str_eq(allow, "GET, HEAD, POST, OPTIONS");
    assert_found(HTTP_METHOD_OPTIONS, "/own", "/own");
    assert_found(HTTP_METHOD_HEAD, "/own", "/own");
    ck_assert_int_eq(request.route->method, HTTP_METHOD_HEAD);
}
END_TEST

START_TEST(test_a_path_deeper_than_any_template_is_unknown)
{
    char path[8192];
    for (size_t i = 0; i + 2 < sizeof path; i += 2)
        memcpy(path + i, "/a", 3);
    ck_assert_int_eq(find(HTTP_METHOD_GET, path), ROUTER_UNKNOWN);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("router");
    TCase *tcase = tcase_create("router");
    tcase_add_checked_fixture(tcase, setup, teardown);
    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, test_a_path_finds_its_template);
    tcase_add_test(tcase, test_a_literal_segment_wins_over_a_parameter);
    tcase_add_test(tcase, test_slashes_are_not_forgiven);
    tcase_add_test(tcase, test_segments_are_split_first_and_decoded_once);
    tcase_add_test(tcase, test_a_bad_escape_is_a_bad_path);
    tcase_add_test(tcase, test_a_wrong_method_is_told_which_are_right);
    tcase_add_test(tcase, test_head_is_served_by_get_and_options_by_the_table);
    tcase_add_test(tcase, test_a_path_deeper_than_any_template_is_unknown);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
