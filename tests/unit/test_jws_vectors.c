/* The signature layer against the JSON Web Signature vectors of wycheproof, read in place from the shared test data.
 *
 * Every vector goes through token_check_signature with its group's key as the only one of a set. What counts as ours is
 * decided by the header and the key: a valid HS256, RS256 or ES256 token under a key of that algorithm must be
 * accepted, nothing that is labelled invalid may be, and valid ones of other algorithms (PS256, RS512, ...) must be
 * refused.
 *
 * Four labels contradict the rest, and the test holds them to being what they are, not to a list of numbers:
 *  - two tokens labelled invalid are byte for byte another token of the same group that is labelled valid (upstream
 * issue 236: their padding was lost on the way into the file). A verifier cannot tell equal bytes apart.
 *  - two tokens labelled valid carry a character inside their base64url that is not of its alphabet, and a MAC over the
 *    text without it. RFC 7515, section 2 forbids such characters, and the same group labels five like them invalid. */
#include <check.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "identity/key.h"
#include "identity/token.h"

#define SKIPPED 77 /* automake's exit status for a test that did not run */

struct counts {
    size_t all;
    size_t valid_accepted[KEY_ALGORITHM_COUNT];
    size_t valid_of_others;
    size_t valid_not_base64url;
    size_t invalid_refused;
    size_t invalid_equal_to_valid;
    size_t acceptable;
};

static json_t *vectors;
static char path[4096];

/* NULL where the set has no key that we use. */
static struct key_set *set_of_group(json_t *group, const char *part)
{
    json_t *jwk = json_object_get(group, part);
    json_t *set = json_pack("{s:[O]}", "keys", jwk);
    char *text = json_dumps(set, 0);
    char error[256];
    struct key_set *keys = key_set_parse(text, strlen(text), error, sizeof error);

    free(text);
    json_decref(set);
    return keys;
}

static bool is_accepted(const struct key_set *keys, const char *token)
{
    struct arena *arena = arena_create(4096);
    const char *payload;
    size_t length;
    bool accepted =
        keys != NULL && token_check_signature(keys, token, strlen(token), arena, &payload, &length) == TOKEN_OK;

    ck_assert_uint_eq(ERR_peek_error(), 0);
    arena_destroy(arena);
    return accepted;
}

static bool equals_a_valid_one(json_t *group, const char *token)
{
    json_t *test;
    size_t i;

    json_array_foreach(json_object_get(group, "tests"), i, test)
    {
        if (strcmp(json_string_value(json_object_get(test, "result")), "valid") == 0 &&
            strcmp(json_string_value(json_object_get(test, "jws")), token) == 0)
            return true;
    }
    return false;
}

static bool is_base64url(const char *token)
{
    return token[strspn(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")] == '\0';
}

/* Is this key of an algorithm that we support? From the label of the key, not from our reading of it. */
static bool group_algorithm(json_t *group, enum key_algorithm *algorithm)
{
    const char *name = json_string_value(json_object_get(json_object_get(group, "private"), "alg"));

    return name != NULL && key_algorithm_parse(name, algorithm);
}

static void run(json_t *group, json_t *test, const struct key_set *keys, struct counts *counts)
{
    json_t *value = json_object_get(test, "jws");
    const char *token = json_string_value(value);
    const char *result = json_string_value(json_object_get(test, "result"));
    int number = (int)json_integer_value(json_object_get(test, "tcId"));
    enum key_algorithm algorithm;
    bool accepted;

    ck_assert_msg(token != NULL && result != NULL, "vector %d has no text", number);
    accepted = is_accepted(keys, token);
    counts->all++;
    if (strcmp(result, "valid") == 0) {
        if (!group_algorithm(group, &algorithm)) {
            ck_assert_msg(!accepted, "vector %d is of an algorithm that nobody supports here, and was accepted",
                          number);
            counts->valid_of_others++;
        } else if (!is_base64url(token)) {
            ck_assert_msg(!accepted, "vector %d is not base64url, and was accepted", number);
            counts->valid_not_base64url++;
        } else {
            ck_assert_msg(accepted, "vector %d is valid, and was refused", number);
            counts->valid_accepted[algorithm]++;
        }
    } else if (strcmp(result, "invalid") == 0 && equals_a_valid_one(group, token)) {
        ck_assert_msg(accepted, "vector %d is a valid one's bytes, and was refused", number);
        counts->invalid_equal_to_valid++;
    } else if (strcmp(result, "invalid") == 0) {
        ck_assert_msg(!accepted, "vector %d is invalid, and was accepted", number);
        counts->invalid_refused++;
    } else {
        ck_assert_str_eq(result, "acceptable");
        counts->acceptable++;
    }
}

static struct counts run_all(const char *part)
{
    struct counts counts = {0};
    json_t *group;
    size_t i;

    json_array_foreach(json_object_get(vectors, "testGroups"), i, group)
    {
        struct key_set *keys = set_of_group(group, json_object_get(group, part) != NULL ? part : "private");
        json_t *test;
        size_t j;

        json_array_foreach(json_object_get(group, "tests"), j, test) run(group, test, keys, &counts);
        key_set_free(keys);
    }
    return counts;
}

START_TEST(test_no_invalid_token_is_accepted_and_every_valid_one_is)
{
    struct counts counts = run_all("public");

    printf("%zu vectors: valid and accepted %zu HS256, %zu RS256, %zu ES256; invalid and refused %zu; valid of other "
           "algorithms, refused %zu; acceptable %zu; mislabelled: %zu invalid with the bytes of a valid one, %zu valid "
           "that are not base64url\n",
           counts.all, counts.valid_accepted[KEY_HS256], counts.valid_accepted[KEY_RS256],
           counts.valid_accepted[KEY_ES256], counts.invalid_refused, counts.valid_of_others, counts.acceptable,
           counts.invalid_equal_to_valid, counts.valid_not_base64url);
    fflush(stdout);
    ck_assert_uint_eq(counts.all, (size_t)json_integer_value(json_object_get(vectors, "numberOfTests")));
    ck_assert_uint_ge(counts.valid_accepted[KEY_HS256], 8);
    ck_assert_uint_ge(counts.valid_accepted[KEY_RS256], 8);
    ck_assert_uint_ge(counts.valid_accepted[KEY_ES256], 2);
    ck_assert_uint_eq(counts.invalid_equal_to_valid, 2);
    ck_assert_uint_eq(counts.valid_not_base64url, 2);
}
END_TEST

/* The private half of a pair verifies as the public one does. One group is left out here: its private key's key_ops is
 * the one text "sign, verify", which is no operation. */
START_TEST(test_private_keys_verify_the_same)
{
    struct counts counts = {0};
    json_t *group;
    size_t i;

    json_array_foreach(json_object_get(vectors, "testGroups"), i, group)
    {
        json_t *private = json_object_get(group, "private");
        const char *operation = json_string_value(json_array_get(json_object_get(private, "key_ops"), 0));
        struct key_set *keys = set_of_group(group, "private");
        json_t *test;
        size_t j;

        json_array_foreach(json_object_get(group, "tests"), j, test)
        {
            if (operation == NULL || strcmp(operation, "sign, verify") != 0)
                run(group, test, keys, &counts);
        }
        key_set_free(keys);
    }
    ck_assert_uint_ge(counts.valid_accepted[KEY_RS256], 7);
    ck_assert_uint_ge(counts.valid_accepted[KEY_ES256], 2);
}
END_TEST

/* All usable keys in one set, as a provider would publish them: what each alone refuses, all together refuse. */
START_TEST(test_a_set_of_all_keys_accepts_no_more)
{
    json_t *list = json_array();
    json_t *set = json_pack("{s:o}", "keys", list);
    json_t *group, *test;
    char error[256] = "";
    char *text;
    struct key_set *keys;
    size_t i, j, accepted = 0;

    json_array_foreach(json_object_get(vectors, "testGroups"), i, group)
    {
        json_t *jwk = json_object_get(group, "public");
        enum key_algorithm algorithm;

        if (group_algorithm(group, &algorithm))
            json_array_append(list, jwk != NULL ? jwk : json_object_get(group, "private"));
    }
    text = json_dumps(set, 0);
    keys = key_set_parse(text, strlen(text), error, sizeof error);
    ck_assert_msg(keys != NULL, "%s", error);
    json_array_foreach(json_object_get(vectors, "testGroups"), i, group)
    {
        json_array_foreach(json_object_get(group, "tests"), j, test)
        {
            const char *token = json_string_value(json_object_get(test, "jws"));
            const char *result = json_string_value(json_object_get(test, "result"));
            const char *comment = json_string_value(json_object_get(test, "comment"));

            if (!is_accepted(keys, token))
                continue;
            accepted++;
            /* Wrong use and wrong operation are faults of the group's own key, and its token is another group's. */
            ck_assert_msg(strcmp(result, "invalid") != 0 || equals_a_valid_one(group, token) ||
                              strncmp(comment, "rejectWrong", strlen("rejectWrong")) == 0,
                          "vector %d was accepted", (int)json_integer_value(json_object_get(test, "tcId")));
        }
    }
    ck_assert_uint_ge(accepted, 18);
    key_set_free(keys);
    free(text);
    json_decref(set);
}
END_TEST

int main(void)
{
    const char *folder = getenv("TURNOUT_TEST_DATA");
    json_error_t problem;
    Suite *suite = suite_create("jws_vectors");
    TCase *tests = tcase_create("vectors");
    SRunner *runner;
    int failed;

    snprintf(path, sizeof path, "%s/jws/json_web_signature_test.json",
             folder != NULL && folder[0] != '\0' ? folder : TURNOUT_SOURCE_DIR "/../shared/data");
    vectors = json_load_file(path, 0, &problem);
    if (vectors == NULL && json_error_code(&problem) == json_error_cannot_open_file) {
        printf("skipped: %s is not there (set TURNOUT_TEST_DATA)\n", path);
        return SKIPPED;
    }
    if (vectors == NULL) {
        printf("%s: line %d: %s\n", path, problem.line, problem.text);
        return EXIT_FAILURE;
    }
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, test_no_invalid_token_is_accepted_and_every_valid_one_is);
    tcase_add_test(tests, test_private_keys_verify_the_same);
    tcase_add_test(tests, test_a_set_of_all_keys_accepts_no_more);
    suite_add_tcase(suite, tests);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    json_decref(vectors);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
