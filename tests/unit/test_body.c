/* Unit tests of src/http/body: which bytes are a JSON object that we read. */
#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "http/body.h"

static char error[256];

static enum body_result parse(const char *text, size_t length)
{
    json_t *object;
    error[0] = '\0';
    enum body_result result = body_parse(text, length, &object, error, sizeof error);
    ck_assert_int_eq(result == BODY_OK, json_is_object(object));
    ck_assert_int_eq(result == BODY_OK, error[0] == '\0');
    json_decref(object);
    return result;
}

START_TEST(test_an_object_is_read)
{
    static const char *const texts[] = {"{}", " {\"a\": [1, 2.5, null, true]} \n", "{\"\": {\"a\": {}}}",
                                        "{\"title\": \"\xe5\x8b\x89\xe5\xbc\xb7\xe4\xbc\x9a \\ud83d\\ude00\"}",
                                        "{\"a\": \"[[[[{{{{ \\\" ]]\"}"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        ck_assert_msg(parse(texts[i], strlen(texts[i])) == BODY_OK, "%s: %s", texts[i], error);
}
END_TEST

START_TEST(test_what_is_no_object_gets_its_own_message)
{
    static const char *const texts[] = {"[]", "1", "\"a\"", "null", "true", "[{}]"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        ck_assert_msg(parse(texts[i], strlen(texts[i])) == BODY_NOT_OBJECT, "%s", texts[i]);
        ck_assert_str_eq(error, "the body is JSON, but no object");
    }
}
END_TEST

START_TEST(test_what_two_readers_could_understand_differently_is_refused)
{
    static const struct {
        const char *text;
        size_t length;
        const char *why;
    } rows[] = {
        {"", 0, "empty"},
        {" \n", 2, "line"},
        {"\xef\xbb\xbf{}", 5, "byte order mark"},
        {"{\"a\":\"\0\"}", 9, "zero byte"},
        {"{\"a\":\"\\u0000\"}", 14, "line 1"},
        {"{}\0", 3, "zero byte"},
        {"{\"a\":\"\xff\"}", 9, "UTF-8"},
        {"{\"a\":\"\xed\xa0\x80\"}", 11, "UTF-8"},
        {"{\"a\":1,\"a\":2}", 13, "duplicate"},
        {"{\"a\":1,\"\\u0061\":2}", 18, "duplicate"},
        {"{\"a\":\"\\ud800\"}", 14, "line 1"},
        {"{} {}", 5, "line 1, column"},
        {"{'a':1}", 7, "line 1"},
        {"{\"a\":1,}", 8, "line 1"},
        {"{\"a\":\n01}", 9, "line 2"},
        {"{\"a\":NaN}", 9, "line 1"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        ck_assert_msg(parse(rows[i].text, rows[i].length) == BODY_INVALID, "row %zu", i);
        ck_assert_msg(strstr(error, rows[i].why) != NULL, "row %zu: %s", i, error);
    }
}
END_TEST

/* `depth` levels of arrays (the last of them in an object), as the whole text. */
static struct buffer nested(int depth, const char *open, const char *close)
{
    struct buffer text = {0};
    buffer_append_text(&text, "{\"a\":");
    for (int i = 1; i < depth; i++)
        buffer_append_text(&text, open);
    buffer_append_text(&text, "1");
    for (int i = 1; i < depth; i++)
        buffer_append_text(&text, close);
    buffer_append_text(&text, "}");
    return text;
}

START_TEST(test_depth_is_capped)
{
    static const char *const pairs[][2] = {{"[", "]"}, {"{\"b\":", "}"}};
    for (size_t i = 0; i < 2; i++) {
        for (int depth = BODY_DEPTH_MAX - 1; depth <= BODY_DEPTH_MAX + 1; depth++) {
            struct buffer text = nested(depth, pairs[i][0], pairs[i][1]);
            enum body_result result = parse(buffer_bytes(&text), buffer_length(&text));
            ck_assert_int_eq(result, depth <= BODY_DEPTH_MAX ? BODY_OK : BODY_INVALID);
            buffer_free(&text);
        }
    }
    struct buffer text = nested(200000, "[", "]");
    ck_assert_int_eq(parse(buffer_bytes(&text), buffer_length(&text)), BODY_INVALID);
    ck_assert_ptr_nonnull(strstr(error, "deeper than 32"));
    buffer_free(&text);
}
END_TEST

START_TEST(test_brackets_in_strings_are_no_depth)
{
    struct buffer text = {0};
    buffer_append_text(&text, "{\"a\":\"\\\\\\\"");
    for (int i = 0; i < 100; i++)
        buffer_append_text(&text, "[{");
    buffer_append_text(&text, "\"}");
    ck_assert_int_eq(parse(buffer_bytes(&text), buffer_length(&text)), BODY_OK);
    buffer_free(&text);
}
END_TEST

/* What a y_ text of the suite may be refused for, by rule. */
static bool refused_by_rule(const char *name, enum body_result result)
{
    return result == BODY_NOT_OBJECT ||
           (result == BODY_INVALID && (strstr(name, "duplicated_key") != NULL || strstr(name, "null_in_key") != NULL ||
                                       strcmp(name, "y_string_null_escape.json") == 0));
}

static bool read_file(const char *folder, const char *name, struct buffer *text)
{
    char path[2048];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return false;
    size_t got;
    while ((got = fread(buffer_reserve(text, 65536), 1, 65536, file)) > 0)
        text->end += got;
    fclose(file);
    return true;
}

START_TEST(test_the_parsing_suite_of_others)
{
    const char *data = getenv("TURNOUT_TEST_DATA");
    char folder[1024];
    snprintf(folder, sizeof folder, "%s/json/test_parsing", data != NULL ? data : TURNOUT_SOURCE_DIR "/../shared/data");
    DIR *directory = opendir(folder);
    if (directory == NULL) {
        printf("SKIP: %s is not there\n", folder);
        return;
    }
    int counts[3] = {0};
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        const char *name = entry->d_name;
        struct buffer text = {0};
        if (strchr("yni", name[0]) == NULL || name[1] != '_' || !read_file(folder, name, &text))
            continue;
        /* a copy of the exact size: a sanitizer sees a read beyond it */
        char *exact = malloc(buffer_length(&text) + (buffer_length(&text) == 0));
        if (buffer_length(&text) > 0)
            memcpy(exact, buffer_bytes(&text), buffer_length(&text));
        enum body_result result = parse(exact, buffer_length(&text));
        if (name[0] == 'y')
            ck_assert_msg(result == BODY_OK || refused_by_rule(name, result), "%s: %s", name, error);
        else if (name[0] == 'n')
            ck_assert_msg(result == BODY_INVALID, "%s is not refused", name);
        counts[name[0] == 'y' ? 0 : name[0] == 'n' ? 1 : 2]++;
        free(exact);
        buffer_free(&text);
    }
    closedir(directory);
    printf("parsing suite: %d y, %d n, %d i\n", counts[0], counts[1], counts[2]);
    ck_assert_int_gt(counts[0], 0);
    ck_assert_int_gt(counts[1], 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("body");
    TCase *tcase = tcase_create("body");
    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, test_an_object_is_read);
    tcase_add_test(tcase, test_what_is_no_object_gets_its_own_message);
    tcase_add_test(tcase, test_what_two_readers_could_understand_differently_is_refused);
    tcase_add_test(tcase, test_depth_is_capped);
    tcase_add_test(tcase, test_brackets_in_strings_are_no_depth);
    tcase_add_test(tcase, test_the_parsing_suite_of_others);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
