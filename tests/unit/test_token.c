/* Which tokens are read and whose signatures count. Each refusal stands beside an accepted twin. */
#include <check.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "identity/base64url.h"
#include "identity/token.h"
#include "identity_keys.h"

static json_t *oct, *rsa, *ec;
static struct key_set *oct_keys, *rsa_keys, *ec_keys;
static struct arena *arena;

static void make_keys(void)
{
    oct = make_oct_key("oct-1");
    rsa = make_rsa_key("rsa-1", 2048);
    ec = make_ec_key("ec-1", "P-256");
    oct_keys = set_of(oct, NULL);
    rsa_keys = set_of(rsa, NULL);
    ec_keys = set_of(ec, NULL);
}

static void drop_keys(void)
{
    key_set_free(oct_keys);
    key_set_free(rsa_keys);
    key_set_free(ec_keys);
    json_decref(oct);
    json_decref(rsa);
    json_decref(ec);
}

static void make_arena(void)
{
    arena = arena_create(16384);
}

static void drop_arena(void)
{
    arena_destroy(arena);
}

static enum token_result verify(const struct key_set *keys, const char *token)
{
    struct token_claims claims;

    return verify_token(keys, &sample_policy, token, NOW, arena, &claims);
}

static char *sample_payload(void)
{
    json_t *json = sample_claims();
    char *text = json_dumps(json, 0);

    json_decref(json);
    return text;
}

START_TEST(test_a_token_of_each_algorithm_comes_back_with_its_claims)
{
    struct key_set *const sets[] = {oct_keys, rsa_keys, ec_keys};

    for (size_t i = 0; i < 3; i++) {
        json_t *json = sample_claims();
        struct token_claims claims;
        char *token;

        json_object_set_new(json, "name", json_string("Erika Mustermann 山田"));
        json_object_set_new(json, "department", json_string("Research"));
        json_object_set_new(json, "kind", json_string("guest"));
        json_object_set_new(json, "role", json_string("organizer"));
        json_object_set_new(json, "locale", json_string("ja"));
        json_object_set_new(json, "zoneinfo", json_string("Asia/Tokyo"));
        token = token_sign(sets[i], json);
        ck_assert_int_eq(verify_token(sets[i], &sample_policy, token, NOW, arena, &claims), TOKEN_OK);
        ck_assert_str_eq(claims.issuer, "https://id.example.com/");
        ck_assert_str_eq(claims.subject, "42");
        ck_assert_str_eq(claims.email, "erika@example.com");
        ck_assert_str_eq(claims.name, "Erika Mustermann 山田");
        ck_assert_str_eq(claims.department, "Research");
        ck_assert_str_eq(claims.kind, "guest");
        ck_assert_str_eq(claims.role, "organizer");
        ck_assert_str_eq(claims.locale, "ja");
        ck_assert_str_eq(claims.zoneinfo, "Asia/Tokyo");
        ck_assert(claims.email_verified);
        ck_assert_int_eq(claims.expires_at, NOW + 3600);
        free(token);
        json_decref(json);
    }
}
END_TEST

/* Signed by the right key with whatever the header says, so that the header alone decides. */
static const struct {
    const char *header;
    enum token_result expected;
} headers[] = {
    {"{\"alg\":\"HS256\"}", TOKEN_OK},
    {"{\"alg\":\"HS256\",\"kid\":\"oct-1\"}", TOKEN_OK},
    {" { \"alg\" : \"HS256\" } \n", TOKEN_OK},
    {"{\"alg\":\"HS256\",\"typ\":\"JWT\"}", TOKEN_OK},
    {"{\"alg\":\"HS256\",\"typ\":\"jwt\"}", TOKEN_OK},
    {"{\"alg\":\"HS256\",\"typ\":\"at+jwt\"}", TOKEN_OK},
    {"{\"alg\":\"HS256\",\"typ\":\"AT+JWT\"}", TOKEN_OK},
    {"{\"alg\":\"HS256\",\"typ\":\"application/at+jwt\"}", TOKEN_OK},
    {"{\"alg\":\"HS256\",\"x5t\":\"ignored\",\"jku\":\"https://evil.example/keys\"}", TOKEN_OK},
    {"{\"alg\":\"HS256\",\"jwk\":{\"kty\":\"oct\",\"k\":\"AA\"}}",
     TOKEN_OK}, /* not looked at: the set's key signed it */
    {"{\"alg\":\"HS256\",\"kid\":\"oct-2\"}", TOKEN_UNKNOWN_KEY},
    {"{\"alg\":\"HS256\",\"kid\":\"\"}", TOKEN_UNKNOWN_KEY},
    {"{\"alg\":\"HS256\",\"kid\":\"OCT-1\"}", TOKEN_UNKNOWN_KEY},
    {"{\"alg\":\"RS256\"}", TOKEN_UNKNOWN_KEY},
    {"{\"alg\":\"RS256\",\"kid\":\"oct-1\"}", TOKEN_BAD_SIGNATURE},
    {"{\"alg\":\"ES256\",\"kid\":\"oct-1\"}", TOKEN_BAD_SIGNATURE},
    {"{\"alg\":\"none\"}", TOKEN_MALFORMED},
    {"{\"alg\":\"None\",\"kid\":\"oct-1\"}", TOKEN_MALFORMED},
    {"{\"alg\":\"\"}", TOKEN_MALFORMED},
    {"{\"alg\":\"hs256\"}", TOKEN_MALFORMED},
    {"{\"alg\":\"HS256 \"}", TOKEN_MALFORMED},
    {"{\"alg\":\"HS512\"}", TOKEN_MALFORMED},
    {"{\"alg\":[\"HS256\"]}", TOKEN_MALFORMED},
    {"{\"alg\":null}", TOKEN_MALFORMED},
    {"{\"kid\":\"oct-1\"}", TOKEN_MALFORMED},
    {"{}", TOKEN_MALFORMED},
    {"[\"HS256\"]", TOKEN_MALFORMED},
    {"\"HS256\"", TOKEN_MALFORMED},
    {"{\"alg\":\"HS256\"", TOKEN_MALFORMED},
    {"{\"alg\":\"HS256\"}}", TOKEN_MALFORMED},
    {"{\"alg\":\"HS256\",\"alg\":\"HS256\"}", TOKEN_MALFORMED},
    {"{\"alg\":\"none\",\"alg\":\"HS256\"}", TOKEN_MALFORMED},
    {"{\"alg\":\"HS256\",\"kid\":7}", TOKEN_MALFORMED},
    {"{\"alg\":\"HS256\",\"kid\":null}", TOKEN_MALFORMED},
    {"{\"alg\":\"HS256\",\"kid\":\"oct-1\\u0000\"}", TOKEN_MALFORMED},
    {"{\"alg\":\"HS256\",\"crit\":[\"exp\"],\"exp\":1}", TOKEN_MALFORMED},
    {"{\"alg\":\"HS256\",\"crit\":[]}", TOKEN_MALFORMED},
    {"{\"alg\":\"HS256\",\"crit\":null}", TOKEN_MALFORMED},
    {"{\"alg\":\"HS256\",\"b64\":false,\"crit\":[\"b64\"]}", TOKEN_MALFORMED},
    {"{\"alg\":\"HS256\",\"typ\":\"logout+jwt\"}", TOKEN_MALFORMED},
    {"{\"alg\":\"HS256\",\"typ\":\"JWE\"}", TOKEN_MALFORMED},
    {"{\"alg\":\"HS256\",\"typ\":\"\"}", TOKEN_MALFORMED},
    {"{\"alg\":\"HS256\",\"typ\":7}", TOKEN_MALFORMED},
    {"{\"alg\":\"HS256\",\"typ\":null}", TOKEN_MALFORMED},
    {"{\"alg\":\"HS256\",\"x\":\"\xff\"}", TOKEN_MALFORMED},
};

START_TEST(test_the_header_decides)
{
    char *payload = sample_payload();
    char *token = sign_raw(oct_keys, headers[_i].header, payload);
    enum token_result result = verify(oct_keys, token);

    ck_assert_msg(result == headers[_i].expected, "%s: %s", headers[_i].header, token_result_text(result));
    free(token);
    free(payload);
}
END_TEST

START_TEST(test_a_public_key_is_never_the_secret_of_an_hmac)
{
    static const char *const members[] = {"n", "e", "x", "y"};
    json_t *const pairs[] = {rsa, ec};
    struct key_set *const sets[] = {rsa_keys, ec_keys};
    static const char *const headers_without_kid[] = {"{\"alg\":\"HS256\"}", "{\"alg\":\"HS256\",\"kid\":\"rsa-1\"}",
                                                      "{\"alg\":\"HS256\",\"kid\":\"ec-1\"}"};
    char *payload = sample_payload();
    size_t tried = 0;

    /* An attacker knows all of the public key: its numbers as they stand in the set, as bytes, and the set's own text.
     */
    for (size_t i = 0; i < 2; i++) {
        for (size_t j = 0; j < 4; j++) {
            const char *number = json_string_value(json_object_get(pairs[i], members[j]));
            char error[256], secret[1400];
            json_t *forger;
            struct key_set *forged;

            if (number == NULL || strlen(number) < 43)
                continue;
            for (int as_text = 0; as_text < 2; as_text++) {
                snprintf(secret, sizeof secret, "\"%s\"", number);
                if (as_text) {
                    secret[0] = '"';
                    secret[1 + base64url_encode(number, strlen(number), secret + 1)] = '"';
                    secret[base64url_encoded_length(strlen(number)) + 2] = '\0';
                }
                forger = json_deep_copy(oct);
                forged = set_with(forger, "k", secret, error, sizeof error);
                ck_assert_msg(forged != NULL, "%s", error);
                for (size_t k = 0; k < 3; k++) {
                    char *token = sign_raw(forged, headers_without_kid[k], payload);

                    ck_assert_int_ne(verify(sets[i], token), TOKEN_OK);
                    tried++;
                    free(token);
                }
                key_set_free(forged);
                json_decref(forger);
            }
        }
    }
    ck_assert_uint_ge(tried, 18);
    free(payload);
}
END_TEST

START_TEST(test_any_flipped_bit_is_refused)
{
    struct key_set *const sets[] = {oct_keys, ec_keys, rsa_keys};

    for (size_t i = 0; i < 3; i++) {
        json_t *json = sample_claims();
        char *token = token_sign(sets[i], json);

        /* Each bit of each character: for RS256 each eighth of them, or the sanitizers take long. */
        for (size_t bit = 0; bit < 8 * strlen(token); bit += sets[i] == rsa_keys ? 7 : 1) {
            struct token_claims claims;

            token[bit / 8] = (char)(token[bit / 8] ^ 1 << bit % 8);
            if (token[bit / 8] != '\0')
                ck_assert_msg(verify_token(sets[i], &sample_policy, token, NOW, arena, &claims) != TOKEN_OK,
                              "bit %zu of %s", bit, token);
            token[bit / 8] = (char)(token[bit / 8] ^ 1 << bit % 8);
            arena_reset(arena);
        }
        ck_assert_int_eq(verify(sets[i], token), TOKEN_OK);
        free(token);
        json_decref(json);
    }
}
END_TEST

START_TEST(test_any_other_form_is_refused)
{
    json_t *json = sample_claims();
    char *token = token_sign(oct_keys, json);
    size_t length = strlen(token);
    char *changed = malloc(TOKEN_SIZE_MAX + 2 * length + 16);
    static const char *const ends[] = {"=", ".", "\n", " ", ".AAAA", "A", "AAAA"};
    char *first = strchr(token, '.'), *last = strrchr(token, '.');
    struct token_claims claims;

    ck_assert_int_eq(verify(oct_keys, token), TOKEN_OK);
    for (size_t cut = 0; cut < length; cut++) {
        ck_assert_int_ne(token_verify(oct_keys, &sample_policy, token, cut, NOW, arena, &claims), TOKEN_OK);
        ck_assert_int_ne(token_verify(oct_keys, &sample_policy, token + cut + 1, length - cut - 1, NOW, arena, &claims),
                         TOKEN_OK);
    }
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        sprintf(changed, "%s%s", token, ends[i]);
        ck_assert_msg(verify(oct_keys, changed) != TOKEN_OK, "with %s behind it", ends[i]);
        sprintf(changed, "%s%s", ends[i], token);
        ck_assert_msg(verify(oct_keys, changed) != TOKEN_OK, "with %s before it", ends[i]);
        sprintf(changed, "%.*s%s%s", (int)(first - token), token, ends[i], first);
        ck_assert_msg(verify(oct_keys, changed) != TOKEN_OK, "with %s behind its header", ends[i]);
        sprintf(changed, "%.*s%s%s", (int)(last - token), token, ends[i], last);
        ck_assert_msg(verify(oct_keys, changed) != TOKEN_OK, "with %s behind its payload", ends[i]);
    }
    /* The signature removed, with and without its dot. */
    sprintf(changed, "%.*s", (int)(last - token), token);
    ck_assert_int_eq(verify(oct_keys, changed), TOKEN_MALFORMED);
    sprintf(changed, "%.*s", (int)(last - token) + 1, token);
    ck_assert_int_eq(verify(oct_keys, changed), TOKEN_MALFORMED);
    free(changed);
    free(token);
    json_decref(json);
}
END_TEST

START_TEST(test_a_token_of_eight_kibibytes_is_read_and_no_more)
{
    json_t *json = sample_claims();
    char filler[TOKEN_SIZE_MAX];
    size_t accepted = 0, refused = 0;

    for (size_t i = 5600; i < 6200; i += 3) {
        char *token;
        struct token_claims claims;
        enum token_result result;

        memset(filler, 'x', i);
        filler[i] = '\0';
        json_object_set_new(json, "more", json_string(filler));
        token = token_sign(oct_keys, json);
        result = verify_token(oct_keys, &sample_policy, token, NOW, arena, &claims);
        ck_assert_int_eq(result, strlen(token) <= TOKEN_SIZE_MAX ? TOKEN_OK : TOKEN_MALFORMED);
        accepted += result == TOKEN_OK;
        refused += result != TOKEN_OK;
        free(token);
        arena_reset(arena);
    }
    ck_assert_uint_gt(accepted, 0);
    ck_assert_uint_gt(refused, 0);
    json_decref(json);
}
END_TEST

START_TEST(test_the_kid_selects_and_without_it_all_of_the_algorithm_are_tried)
{
    json_t *other = make_oct_key("oct-2"), *nameless = json_deep_copy(oct);
    struct key_set *both, *second;
    char *payload = sample_payload();
    char *named, *named_wrong, *unnamed;

    json_object_set_new(other, "k", json_string("__________________________________________8"));
    json_object_del(nameless, "kid");
    both = set_of(other, rsa, oct, NULL);
    second = set_of(nameless, NULL);
    named = sign_raw(oct_keys, "{\"alg\":\"HS256\",\"kid\":\"oct-1\"}", payload);
    named_wrong = sign_raw(oct_keys, "{\"alg\":\"HS256\",\"kid\":\"oct-2\"}", payload);
    unnamed = sign_raw(oct_keys, "{\"alg\":\"HS256\"}", payload);
    ck_assert_int_eq(verify(both, named), TOKEN_OK);
    ck_assert_int_eq(verify(both, named_wrong), TOKEN_BAD_SIGNATURE);
    ck_assert_int_eq(verify(both, unnamed), TOKEN_OK);
    ck_assert_int_eq(verify(second, unnamed), TOKEN_OK);
    ck_assert_int_eq(verify(second, named), TOKEN_UNKNOWN_KEY); /* a name is a name: the set does not have it */
    free(named);
    free(named_wrong);
    free(unnamed);
    free(payload);
    key_set_free(both);
    key_set_free(second);
    json_decref(other);
    json_decref(nameless);
}
END_TEST

START_TEST(test_another_key_of_the_same_name_is_refused)
{
    json_t *const made[] = {make_oct_key("oct-1"), make_rsa_key("rsa-1", 2048), make_ec_key("ec-1", "P-256")};
    struct key_set *const sets[] = {oct_keys, rsa_keys, ec_keys};

    json_object_set_new(made[0], "k", json_string("__________________________________________8"));
    for (size_t i = 0; i < 3; i++) {
        json_t *json = sample_claims();
        struct key_set *others = set_of(made[i], NULL);
        char *token = token_sign(others, json);

        ck_assert_int_eq(verify(others, token), TOKEN_OK);
        ck_assert_int_eq(verify(sets[i], token), TOKEN_BAD_SIGNATURE);
        free(token);
        key_set_free(others);
        json_decref(json);
        json_decref(made[i]);
    }
}
END_TEST

START_TEST(test_a_set_without_private_parts_signs_nothing)
{
    json_t *json = sample_claims(), *rsa_public = public_part(rsa);
    struct key_set *keys = set_of(rsa_public, NULL);
    struct key_set *mixed = set_of(rsa_public, ec, NULL);
    char *token;

    ck_assert_ptr_null(token_sign(keys, json));
    token = token_sign(mixed, json);
    ck_assert_int_eq(verify(mixed, token), TOKEN_OK);
    ck_assert_int_eq(verify(ec_keys, token), TOKEN_OK);
    free(token);
    key_set_free(keys);
    key_set_free(mixed);
    json_decref(rsa_public);
    json_decref(json);
}
END_TEST

/* Moments relative to NOW. */
static const char *const payloads[] = {"", "7", "\"text\"", "[]", "{", "{\"sub\":\"1\",\"sub\":\"2\"}", "{}x", "null"};

START_TEST(test_a_signed_payload_that_is_no_object_is_refused)
{
    char *token = sign_raw(oct_keys, "{\"alg\":\"HS256\"}", payloads[_i]);
    const char *payload;
    size_t length;

    ck_assert_int_eq(verify(oct_keys, token), TOKEN_MALFORMED);
    /* The signature alone is right. */
    ck_assert_int_eq(token_check_signature(oct_keys, token, strlen(token), arena, &payload, &length), TOKEN_OK);
    ck_assert_uint_eq(length, strlen(payloads[_i]));
    ck_assert_str_eq(payload, payloads[_i]);
    free(token);
}
END_TEST

START_TEST(test_every_result_has_a_text)
{
    for (int result = TOKEN_OK; result <= TOKEN_INCOMPLETE; result++)
        ck_assert_uint_gt(strlen(token_result_text((enum token_result)result)), 10);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("token");
    TCase *tests = tcase_create("token");
    SRunner *runner;
    int failed;

    tcase_add_unchecked_fixture(tests, make_keys, drop_keys);
    tcase_add_checked_fixture(tests, make_arena, drop_arena);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, test_a_token_of_each_algorithm_comes_back_with_its_claims);
    tcase_add_loop_test(tests, test_the_header_decides, 0, sizeof headers / sizeof headers[0]);
    tcase_add_test(tests, test_a_public_key_is_never_the_secret_of_an_hmac);
    tcase_add_test(tests, test_any_flipped_bit_is_refused);
    tcase_add_test(tests, test_any_other_form_is_refused);
    tcase_add_test(tests, test_a_token_of_eight_kibibytes_is_read_and_no_more);
    tcase_add_test(tests, test_the_kid_selects_and_without_it_all_of_the_algorithm_are_tried);
    tcase_add_test(tests, test_another_key_of_the_same_name_is_refused);
    tcase_add_test(tests, test_a_set_without_private_parts_signs_nothing);
    tcase_add_loop_test(tests, test_a_signed_payload_that_is_no_object_is_refused, 0,
                        sizeof payloads / sizeof payloads[0]);
    tcase_add_test(tests, test_every_result_has_a_text);
    suite_add_tcase(suite, tests);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
