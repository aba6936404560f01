/* What a token must say, claim by claim. Each refusal stands beside an accepted twin. */
#include <check.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "identity/token.h"
#include "identity_keys.h"

static struct key_set *keys;
static struct arena *arena;

static void make_keys(void)
{
    json_t *oct = make_oct_key("oct-1");

    keys = set_of(oct, NULL);
    json_decref(oct);
}

static void drop_keys(void)
{
    key_set_free(keys);
}

static void make_arena(void)
{
    arena = arena_create(16384);
}

static void drop_arena(void)
{
    arena_destroy(arena);
}

/* The sample's claims with one of them changed: `value` is JSON text, NULL removes it. */
static enum token_result verify_with(const char *claim, const char *value, int64_t now,
                                     const struct token_policy *wanted, struct token_claims *claims)
{
    json_t *json = sample_claims();
    enum token_result result;
    char *token;

    if (value == NULL) {
        json_object_del(json, claim);
    } else {
        json_t *changed = json_loads(value, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);

        ck_assert_msg(changed != NULL, "not JSON: %s", value);
        json_object_set_new(json, claim, changed);
    }
    token = token_sign(keys, json);
    result = verify_token(keys, wanted, token, now, arena, claims);
    free(token);
    json_decref(json);
    return result;
}

START_TEST(test_a_claim_that_the_token_does_not_make_is_null)
{
    struct token_claims claims;

    ck_assert_int_eq(verify_with("name", "null", NOW, &sample_policy, &claims), TOKEN_OK);
    ck_assert_ptr_null(claims.name);
    ck_assert_ptr_null(claims.department);
    ck_assert_ptr_null(claims.kind);
    ck_assert_ptr_null(claims.role);
    ck_assert(claims.email_verified);
    ck_assert_int_eq(verify_with("name", "\"\"", NOW, &sample_policy, &claims), TOKEN_OK);
    ck_assert_ptr_null(claims.name);
}
END_TEST

/* Moments relative to NOW. */
static const struct {
    const char *claim;
    int64_t offset;
    enum token_result expected;
} moments[] = {
    {"exp", 1, TOKEN_OK},
    {"exp", 0, TOKEN_OK},
    {"exp", 1 - LEEWAY, TOKEN_OK},
    {"exp", -LEEWAY, TOKEN_EXPIRED},
    {"exp", -LEEWAY - 1, TOKEN_EXPIRED},
    {"nbf", -1, TOKEN_OK},
    {"nbf", LEEWAY, TOKEN_OK},
    {"nbf", LEEWAY + 1, TOKEN_NOT_YET_VALID},
    {"iat", LEEWAY, TOKEN_OK},
    {"iat", -100000000, TOKEN_OK},
    {"iat", LEEWAY + 1, TOKEN_NOT_YET_VALID},
};

START_TEST(test_a_moment_counts_with_sixty_seconds_leeway)
{
    struct token_claims claims;
    char value[32];
    enum token_result result;

    snprintf(value, sizeof value, "%lld", (long long)(NOW + moments[_i].offset));
    result = verify_with(moments[_i].claim, value, NOW, &sample_policy, &claims);
    ck_assert_msg(result == moments[_i].expected, "%s %+lld: %s", moments[_i].claim, (long long)moments[_i].offset,
                  token_result_text(result));
}
END_TEST

static const struct {
    const char *claim;
    const char *value;
    enum token_result expected;
} values[] = {
    {"exp", NULL, TOKEN_INCOMPLETE},
    {"exp", "null", TOKEN_INCOMPLETE},
    {"exp", "\"1795446000\"", TOKEN_INCOMPLETE},
    {"exp", "true", TOKEN_INCOMPLETE},
    {"exp", "-1", TOKEN_INCOMPLETE},
    {"exp", "1795446000.5", TOKEN_OK},
    {"exp", "1.795446e9", TOKEN_OK},
    {"exp", "1795446000000", TOKEN_INCOMPLETE}, /* milliseconds */
    {"exp", "9223372036854775807", TOKEN_INCOMPLETE},
    {"exp", "1e300", TOKEN_INCOMPLETE},
    {"nbf", "\"now\"", TOKEN_INCOMPLETE},
    {"nbf", "null", TOKEN_INCOMPLETE},
    {"iat", "\"now\"", TOKEN_INCOMPLETE},
    {"iat", NULL, TOKEN_OK},
    {"iss", NULL, TOKEN_WRONG_ISSUER},
    {"iss", "null", TOKEN_WRONG_ISSUER},
    {"iss", "\"https://id.example.com\"", TOKEN_WRONG_ISSUER},
    {"iss", "[\"https://id.example.com/\"]", TOKEN_WRONG_ISSUER},
    {"aud", "\"turnout\"", TOKEN_OK},
    {"aud", "[\"turnout\"]", TOKEN_OK},
    {"aud", "[\"mail\", \"turnout\"]", TOKEN_OK},
    {"aud", "[\"mail\", 7, \"turnout\"]", TOKEN_OK},
    {"aud", NULL, TOKEN_WRONG_AUDIENCE},
    {"aud", "null", TOKEN_WRONG_AUDIENCE},
    {"aud", "[]", TOKEN_WRONG_AUDIENCE},
    {"aud", "\"mail\"", TOKEN_WRONG_AUDIENCE},
    {"aud", "[\"mail\"]", TOKEN_WRONG_AUDIENCE},
    {"aud", "\"turnout \"", TOKEN_WRONG_AUDIENCE},
    {"aud", "{\"turnout\": true}", TOKEN_WRONG_AUDIENCE},
    {"aud", "[[\"turnout\"]]", TOKEN_WRONG_AUDIENCE},
    {"sub", NULL, TOKEN_INCOMPLETE},
    {"sub", "\"\"", TOKEN_INCOMPLETE},
    {"sub", "42", TOKEN_INCOMPLETE},
    {"sub", "\"a\\u0001\"", TOKEN_INCOMPLETE},
    {"sub", "\"a\\u0000\"", TOKEN_MALFORMED},
    {"email", NULL, TOKEN_INCOMPLETE},
    {"email", "\"\"", TOKEN_INCOMPLETE},
    {"email", "null", TOKEN_INCOMPLETE},
    {"email", "\"o'hara+events@mail.example.co.jp\"", TOKEN_OK},
    {"email", "\"jos\u00e9@example.com\"", TOKEN_OK},
    {"email", "\"erika\"", TOKEN_INCOMPLETE},
    {"email", "\"@example.com\"", TOKEN_INCOMPLETE},
    {"email", "\"erika@\"", TOKEN_INCOMPLETE},
    {"email", "\"a@b@example.com\"", TOKEN_INCOMPLETE},
    {"email", "\"a b@example.com\"", TOKEN_INCOMPLETE},
    {"email", "\"a\\u3000b@example.com\"", TOKEN_INCOMPLETE},
    {"email", "\"a\\u00a0b@example.com\"", TOKEN_INCOMPLETE},
    {"email", "\"a@example.com\\r\\nBcc: all@example.com\"", TOKEN_INCOMPLETE},
    {"email", "\"<a@example.com>\"", TOKEN_INCOMPLETE},
    {"email", "\"a@example.com,b\"", TOKEN_INCOMPLETE},
    {"email", "[\"erika@example.com\"]", TOKEN_INCOMPLETE},
    {"name", "7", TOKEN_INCOMPLETE},
    {"name", "[\"Erika\"]", TOKEN_INCOMPLETE},
    {"name", "\"a\\nb\"", TOKEN_INCOMPLETE},
    {"name", "\"a\\u007fb\"", TOKEN_INCOMPLETE},
    {"name", "\"a\\u0085b\"", TOKEN_INCOMPLETE},
    {"name", "\"a\\u2028b\"", TOKEN_INCOMPLETE},
    {"name", "\"a\\u00a0b\"", TOKEN_OK},
    {"name", "\"\\u05e9\\u05dc\\u05d5\\u05dd\"", TOKEN_OK},
    {"department", "{}", TOKEN_INCOMPLETE},
    {"department", "null", TOKEN_OK},
    {"department", "\"Research & Development\"", TOKEN_OK},
    {"locale", "7", TOKEN_INCOMPLETE},
    {"locale", "\"ja-JP\"", TOKEN_OK},
    {"zoneinfo", "false", TOKEN_INCOMPLETE},
    {"zoneinfo", "\"Europe/Berlin\"", TOKEN_OK},
    {"kind", "\"employee\"", TOKEN_OK},
    {"kind", "\"guest\"", TOKEN_OK},
    {"kind", "\"robot\"", TOKEN_INCOMPLETE},
    {"kind", "true", TOKEN_INCOMPLETE},
    {"role", "\"participant\"", TOKEN_OK},
    {"role", "\"organizer\"", TOKEN_OK},
    {"role", "\"admin\"", TOKEN_OK},
    {"role", "\"Admin\"", TOKEN_INCOMPLETE},
    {"role", "\"admin \"", TOKEN_INCOMPLETE},
    {"role", "\"owner\"", TOKEN_INCOMPLETE},
    {"role", "[\"admin\"]", TOKEN_INCOMPLETE},
    {"role", "1", TOKEN_INCOMPLETE},
    {"email_verified", "true", TOKEN_OK},
    {"email_verified", "false", TOKEN_OK},
    {"email_verified", "null", TOKEN_OK},
    {"email_verified", "\"false\"", TOKEN_OK},
    {"email_verified", "0", TOKEN_INCOMPLETE},
    {"email_verified", "\"no\"", TOKEN_INCOMPLETE},
};

START_TEST(test_a_claim_decides)
{
    struct token_claims claims;
    enum token_result result = verify_with(values[_i].claim, values[_i].value, NOW, &sample_policy, &claims);

    ck_assert_msg(result == values[_i].expected, "%s = %s: %s", values[_i].claim, values[_i].value,
                  token_result_text(result));
}
END_TEST

START_TEST(test_an_unverified_address_is_told)
{
    struct token_claims claims;

    ck_assert_int_eq(verify_with("email_verified", "false", NOW, &sample_policy, &claims), TOKEN_OK);
    ck_assert(!claims.email_verified);
    ck_assert_int_eq(verify_with("email_verified", "\"false\"", NOW, &sample_policy, &claims), TOKEN_OK);
    ck_assert(!claims.email_verified);
    ck_assert_int_eq(verify_with("email_verified", "\"true\"", NOW, &sample_policy, &claims), TOKEN_OK);
    ck_assert(claims.email_verified);
}
END_TEST

static const struct {
    const char *claim;
    const char *character;
    size_t most;
} lengths[] = {
    {"sub", "x", 255},  {"sub", "山", 255},       {"name", "x", 255},  {"name", "山", 255},
    {"name", "😀", 255}, {"department", "x", 255}, {"locale", "x", 64}, {"zoneinfo", "x", 64},
};

START_TEST(test_a_text_may_be_so_long_and_no_longer)
{
    for (size_t extra = 0; extra < 2; extra++) {
        struct token_claims claims;
        char value[2048] = "\"";

        for (size_t i = 0; i < lengths[_i].most + extra; i++)
            strcat(value, lengths[_i].character);
        strcat(value, "\"");
        ck_assert_int_eq(verify_with(lengths[_i].claim, value, NOW, &sample_policy, &claims),
                         extra == 0 ? TOKEN_OK : TOKEN_INCOMPLETE);
    }
}
END_TEST

START_TEST(test_an_address_of_254_bytes_is_the_longest)
{
    for (int length = 254; length < 256; length++) {
        struct token_claims claims;
        char value[300];

        snprintf(value, sizeof value, "\"%0*d@example.com\"", length - (int)strlen("@example.com"), 7);
        ck_assert_int_eq(verify_with("email", value, NOW, &sample_policy, &claims),
                         length == 254 ? TOKEN_OK : TOKEN_INCOMPLETE);
    }
}
END_TEST

START_TEST(test_a_policy_without_issuer_and_audience_asks_for_neither)
{
    const struct token_policy lax = {.leeway = 0};
    struct token_claims claims;

    ck_assert_int_eq(verify_with("aud", NULL, NOW, &lax, &claims), TOKEN_OK);
    ck_assert_int_eq(verify_with("iss", "\"somebody else\"", NOW, &lax, &claims), TOKEN_OK);
    ck_assert_str_eq(claims.issuer, "somebody else");
    ck_assert_int_eq(verify_with("iss", NULL, NOW, &lax, &claims), TOKEN_INCOMPLETE);
    ck_assert_int_eq(verify_with("exp", "1795442400", NOW, &lax, &claims), TOKEN_EXPIRED);
    ck_assert_int_eq(verify_with("exp", "1795442401", NOW, &lax, &claims), TOKEN_OK);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("claims");
    TCase *tests = tcase_create("claims");
    SRunner *runner;
    int failed;

    tcase_add_unchecked_fixture(tests, make_keys, drop_keys);
    tcase_add_checked_fixture(tests, make_arena, drop_arena);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, test_a_claim_that_the_token_does_not_make_is_null);
    tcase_add_loop_test(tests, test_a_moment_counts_with_sixty_seconds_leeway, 0, sizeof moments / sizeof moments[0]);
    tcase_add_loop_test(tests, test_a_claim_decides, 0, sizeof values / sizeof values[0]);
    tcase_add_test(tests, test_an_unverified_address_is_told);
    tcase_add_loop_test(tests, test_a_text_may_be_so_long_and_no_longer, 0, sizeof lengths / sizeof lengths[0]);
    tcase_add_test(tests, test_an_address_of_254_bytes_is_the_longest);
    tcase_add_test(tests, test_a_policy_without_issuer_and_audience_asks_for_neither);
    suite_add_tcase(suite, tests);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
