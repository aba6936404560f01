/* Which keys of a JWK Set are used, which are left out and why, and which sets and files are refused. */
#include <check.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "identity/base64url.h"
#include "identity/key_set.h"
#include "identity_keys.h"

static json_t *oct, *rsa, *ec;

static void make_keys(void)
{
    oct = make_oct_key("oct-1");
    rsa = make_rsa_key("rsa-1", 2048);
    ec = make_ec_key("ec-1", "P-256");
}

static void drop_keys(void)
{
    json_decref(oct);
    json_decref(rsa);
    json_decref(ec);
}

START_TEST(test_a_key_of_each_kind_is_used)
{
    struct key_set *keys = set_of(oct, rsa, ec, NULL);

    ck_assert_uint_eq(key_set_count(keys), 3);
    ck_assert(key_set_can_sign(keys));
    key_set_free(keys);
}
END_TEST

START_TEST(test_a_public_key_verifies_and_cannot_sign)
{
    json_t *rsa_public = public_part(rsa), *ec_public = public_part(ec);
    struct key_set *keys = set_of(rsa_public, ec_public, NULL);

    ck_assert_uint_eq(key_set_count(keys), 2);
    ck_assert(!key_set_can_sign(keys));
    key_set_free(keys);
    json_decref(rsa_public);
    json_decref(ec_public);
}
END_TEST

/* One member changed (NULL: removed), and the key is still good: the accepted twins of `left_out` below. */
static const struct {
    json_t **key;
    const char *member;
    const char *value;
    bool can_sign;
} usable[] = {
    {&oct, "alg", NULL, true},
    {&rsa, "alg", NULL, true},
    {&ec, "alg", NULL, true},
    {&oct, "kid", NULL, true},
    {&oct, "use", "\"sig\"", true},
    {&rsa, "use", "\"sig\"", true},
    {&rsa, "key_ops", "[\"verify\"]", false},
    {&rsa, "key_ops", "[\"sign\", \"verify\"]", true},
    {&oct, "key_ops", "[\"verify\"]", false},
    {&ec, "key_ops", "[\"verify\", \"sign\"]", true},
    {&ec, "x5t", "\"not looked at\"", true},
    {&oct, "k", "\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIj\"", true},
};

START_TEST(test_a_key_is_used)
{
    char error[256] = "";
    struct key_set *keys = set_with(*usable[_i].key, usable[_i].member, usable[_i].value, error, sizeof error);

    ck_assert_msg(keys != NULL, "%s: %s", usable[_i].member, error);
    ck_assert_int_eq(key_set_can_sign(keys), usable[_i].can_sign);
    key_set_free(keys);
}
END_TEST

static const struct {
    json_t **key;
    const char *member;
    const char *value;
    const char *reason; /* a part of it */
} left_out[] = {
    {&oct, "kty", NULL, "kty is missing"},
    {&oct, "kty", "7", "kty is missing"},
    {&oct, "kty", "\"OKP\"", "kty is none of"},
    {&oct, "kty", "\"RSA\"", "alg is not"},
    {&oct, "alg", "\"HS512\"", "alg is not"},
    {&oct, "alg", "\"RS256\"", "alg is not"},
    {&oct, "alg", "\"none\"", "alg is not"},
    {&oct, "alg", "\"hs256\"", "alg is not"},
    {&oct, "alg", "null", "alg is not"},
    {&rsa, "alg", "\"HS256\"", "alg is not"}, /* the classic confusion, in the set itself */
    {&rsa, "alg", "\"PS256\"", "alg is not"},
    {&rsa, "alg", "\"RS512\"", "alg is not"},
    {&rsa, "alg", "\"RSA-OAEP\"", "alg is not"},
    {&ec, "alg", "\"HS256\"", "alg is not"},
    {&ec, "alg", "\"ES384\"", "alg is not"},
    {&rsa, "use", "\"enc\"", "use is not sig"},
    {&rsa, "use", "null", "use is not sig"},
    {&rsa, "key_ops", "[\"encrypt\"]", "key_ops"},
    {&rsa, "key_ops", "[\"sign\"]", "key_ops"},
    {&rsa, "key_ops", "[\"sign, verify\"]", "key_ops"},
    {&rsa, "key_ops", "[]", "key_ops"},
    {&rsa, "key_ops", "\"verify\"", "key_ops"},
    {&rsa, "kid", "17", "kid"},
    {&rsa, "kid", "\"\"", "kid"},
    {&oct, "k", NULL, "k is missing"},
    {&oct, "k", "\"\"", "k is missing"},
    {&oct, "k", "\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg\"", "shorter than 32"}, /* 31 bytes */
    {&oct, "k", "\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"", "not base64url"}, /* padding */
    {&oct, "k", "\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9\"", "not base64url"},  /* unused bits */
    {&oct, "k", "\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd Hh8\"", "not base64url"}, /* white space */
    {&rsa, "n", NULL, "missing"},
    {&rsa, "e", NULL, "missing"},
    {&rsa, "e", "\"AQ\"", "e is not"},   /* 1: every message is its own signature */
    {&rsa, "e", "\"AQAA\"", "e is not"}, /* even */
    {&rsa, "e", "\"____________\"", "e is not"},
    {&rsa, "n", "\"AQAB\"", "shorter than 2,048"},
    {&rsa, "p", NULL, "private part is neither"},
    {&rsa, "oth", "[]", "more than two primes"},
    {&ec, "x", NULL, "x or y"},
    {&ec, "y", "\"AQAB\"", "x or y"},
    {&ec, "d", "\"AQAB\"", "d is not"},
    {&ec, "d", "\"" OCT_SECRET "\"", "does not belong"},
    {&ec, "x", "\"" OCT_SECRET "\"", "make no key"}, /* off the curve */
    {&ec, "crv", "\"P-384\"", "crv"},
    {&ec, "crv", "\"secp256k1\"", "crv"},
    {&ec, "crv", NULL, "crv"},
};

START_TEST(test_a_key_is_left_out)
{
    char error[256] = "";
    struct key_set *keys = set_with(*left_out[_i].key, left_out[_i].member, left_out[_i].value, error, sizeof error);

    ck_assert_msg(keys == NULL, "%s = %s was taken", left_out[_i].member, left_out[_i].value);
    ck_assert_msg(strstr(error, left_out[_i].reason) != NULL, "«%s» was expected, and came: %s", left_out[_i].reason,
                  error);
    ck_assert_uint_eq(ERR_peek_error(), 0);
}
END_TEST

START_TEST(test_a_short_rsa_key_is_left_out)
{
    json_t *short_key = make_rsa_key("short", 1024);
    char error[256] = "";

    ck_assert_ptr_null(set_with(short_key, "kid", NULL, error, sizeof error));
    ck_assert_ptr_nonnull(strstr(error, "2,048"));
    json_decref(short_key);
}
END_TEST

START_TEST(test_rsa_with_d_alone_signs_when_it_is_the_right_one)
{
    static const char *const members[] = {"p", "q", "dp", "dq", "qi"};
    json_t *plain = json_deep_copy(rsa);
    char error[256] = "";
    struct key_set *keys;

    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        json_object_del(plain, members[i]);
    keys = set_of(plain, NULL);
    ck_assert(key_set_can_sign(keys));
    key_set_free(keys);
    ck_assert_ptr_null(set_with(plain, "d", "\"AQAB\"", error, sizeof error));
    ck_assert_ptr_nonnull(strstr(error, "does not belong"));
    json_decref(plain);
}
END_TEST

START_TEST(test_an_even_modulus_is_left_out)
{
    json_t *even = public_part(rsa);
    const char *number = json_string_value(json_object_get(even, "n"));
    unsigned char bytes[256];
    char text[352] = "\"", error[256] = "";
    size_t length;

    ck_assert_int_eq(base64url_decode(number, strlen(number), bytes, sizeof bytes), sizeof bytes);
    bytes[255] &= 0xfe;
    length = base64url_encode(bytes, sizeof bytes, text + 1);
    strcpy(text + 1 + length, "\"");
    ck_assert_ptr_null(set_with(even, "n", text, error, sizeof error));
    ck_assert_ptr_nonnull(strstr(error, "make no key"));
    json_decref(even);
}
END_TEST

struct noted {
    size_t count;
    char kid[64];
    char reason[128];
};

static void note(void *context, const char *kid, const char *reason)
{
    struct noted *noted = context;

    noted->count++;
    snprintf(noted->kid, sizeof noted->kid, "%s", kid);
    snprintf(noted->reason, sizeof noted->reason, "%s", reason);
}

START_TEST(test_what_is_left_out_is_named_beside_a_key_that_is_used)
{
    json_t *odd = json_deep_copy(rsa);
    struct noted noted = {0};
    struct key_set *keys;

    json_object_set_new(odd, "alg", json_string("PS256"));
    keys = set_of(odd, oct, NULL);
    ck_assert_uint_eq(key_set_count(keys), 1);
    key_set_each_left_out(keys, note, &noted);
    ck_assert_uint_eq(noted.count, 1);
    ck_assert_str_eq(noted.kid, "rsa-1");
    ck_assert_ptr_nonnull(strstr(noted.reason, "alg"));
    key_set_free(keys);
    json_decref(odd);
}
END_TEST

static const struct {
    const char *text;
    const char *reason;
} refused_sets[] = {
    {"", "not valid JSON"},
    {"{\"keys\": [}", "not valid JSON"},
    {"{\"keys\": []} more", "not valid JSON"},
    {"[]", "not a JWK Set"},
    {"{}", "not a JWK Set"},
    {"{\"keys\": {}}", "not a JWK Set"},
    {"{\"kty\": \"oct\", \"k\": \"" OCT_SECRET "\"}", "not a JWK Set"},
    {"{\"keys\": []}", "no key"},
    {"{\"keys\": [17]}", "key 1 is no object"},
    {"{\"keys\": [{\"kty\": \"oct\", \"k\": \"" OCT_SECRET "\", \"k\": \"x\"}]}", "stands twice"},
    {"{\"keys\": [{\"kty\": \"oct\", \"k\": \"" OCT_SECRET "\" oops}]}", "not valid JSON"},
    {"{\"keys\": [{\"kty\": \"oct\", \"k\": \"" OCT_SECRET "\n\"}]}", "not valid JSON"},
};

START_TEST(test_a_set_is_refused_and_its_secret_is_not_quoted)
{
    const char *text = refused_sets[_i].text;
    char error[256] = "";
    struct key_set *keys = key_set_parse(text, strlen(text), error, sizeof error);

    ck_assert_msg(keys == NULL, "was taken: %s", text);
    ck_assert_msg(strstr(error, refused_sets[_i].reason) != NULL, "«%s» was expected, and came: %s",
                  refused_sets[_i].reason, error);
    ck_assert_msg(strstr(error, "AAECAwQF") == NULL, "quotes the secret: %s", error);
}
END_TEST

START_TEST(test_a_set_holds_sixteen_keys_of_one_algorithm_and_no_more)
{
    json_t *list = json_array();
    char error[256] = "";

    for (int i = 0; i < 17; i++) {
        char *text;
        json_t *set;
        struct key_set *keys;

        json_array_append(list, oct);
        set = json_pack("{s:O}", "keys", list);
        text = json_dumps(set, 0);
        keys = key_set_parse(text, strlen(text), error, sizeof error);
        ck_assert_int_eq(keys != NULL, i < 16);
        key_set_free(keys);
        free(text);
        json_decref(set);
    }
    ck_assert_ptr_nonnull(strstr(error, "more than 16 keys for HS256"));
    json_decref(list);
}
END_TEST

static void write_set(const char *path, json_t *jwk, mode_t mode)
{
    json_t *set = json_pack("{s:[O]}", "keys", jwk);

    unlink(path);
    ck_assert_int_eq(json_dump_file(set, path, JSON_INDENT(2)), 0);
    ck_assert_int_eq(chmod(path, mode), 0);
    json_decref(set);
}

START_TEST(test_a_file_with_secrets_must_not_be_open_to_everybody)
{
    char folder[] = "key-set-XXXXXX"; /* in the build folder, which the run may write */
    char path[64], error[512] = "";
    json_t *rsa_public = public_part(rsa);
    struct key_set *keys;

    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/jwks.json", folder);

    ck_assert_ptr_null(key_set_read(path, error, sizeof error));
    ck_assert_ptr_nonnull(strstr(error, "jwks.json: No such file"));
    ck_assert_ptr_null(key_set_read(folder, error, sizeof error));
    ck_assert_ptr_nonnull(strstr(error, "not a regular file"));
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    ck_assert_ptr_null(key_set_read(path, error, sizeof error));
    ck_assert_ptr_nonnull(strstr(error, "not a regular file"));

    write_set(path, oct, 0644);
    ck_assert_ptr_null(key_set_read(path, error, sizeof error));
    ck_assert_ptr_nonnull(strstr(error, "chmod o-rwx"));
    write_set(path, rsa, 0644);
    ck_assert_ptr_null(key_set_read(path, error, sizeof error));
    ck_assert_ptr_nonnull(strstr(error, "chmod o-rwx"));

    write_set(path, oct, 0640);
    keys = key_set_read(path, error, sizeof error);
    ck_assert_msg(keys != NULL, "%s", error);
    key_set_free(keys);
    write_set(path, rsa_public, 0644);
    keys = key_set_read(path, error, sizeof error);
    ck_assert_msg(keys != NULL, "%s", error);
    key_set_free(keys);

    unlink(path);
    rmdir(folder);
    json_decref(rsa_public);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("key_set");
    TCase *tests = tcase_create("keys");
    SRunner *runner;
    int failed;

    tcase_add_unchecked_fixture(tests, make_keys, drop_keys);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, test_a_key_of_each_kind_is_used);
    tcase_add_test(tests, test_a_public_key_verifies_and_cannot_sign);
    tcase_add_loop_test(tests, test_a_key_is_used, 0, sizeof usable / sizeof usable[0]);
    tcase_add_loop_test(tests, test_a_key_is_left_out, 0, sizeof left_out / sizeof left_out[0]);
    tcase_add_test(tests, test_a_short_rsa_key_is_left_out);
    tcase_add_test(tests, test_rsa_with_d_alone_signs_when_it_is_the_right_one);
    tcase_add_test(tests, test_an_even_modulus_is_left_out);
    tcase_add_test(tests, test_what_is_left_out_is_named_beside_a_key_that_is_used);
    tcase_add_loop_test(tests, test_a_set_is_refused_and_its_secret_is_not_quoted, 0,
                        sizeof refused_sets / sizeof refused_sets[0]);
    tcase_add_test(tests, test_a_set_holds_sixteen_keys_of_one_algorithm_and_no_more);
    tcase_add_test(tests, test_a_file_with_secrets_must_not_be_open_to_everybody);
    suite_add_tcase(suite, tests);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
