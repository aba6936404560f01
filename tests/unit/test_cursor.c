/* A cursor comes back as it was signed, and nothing else does. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "identity/base64url.h"
#include "identity/cursor.h"

#define SCOPE "events|published||||20"

static const char key[] = "0123456789abcdef0123456789abcdef";
static const struct cursor sample = {.place = INT64_C(1795442400123456), .id = "019a9f3e-7c1b-7f00-8a11-22334455aabb"};

static void set_key(void)
{
    cursor_set_key(key, sizeof key - 1);
}

START_TEST(test_a_cursor_comes_back)
{
    static const int64_t places[] = {0, 1, -1, INT64_MAX, INT64_MIN, INT64_C(1795442400123456)};

    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        struct cursor cursor = {.place = places[i]}, back;
        char text[CURSOR_TEXT_MAX];

        uuid_v7(cursor.id);
        cursor_sign(&cursor, SCOPE, text);
        ck_assert_uint_eq(strlen(text),
                          strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"));
        ck_assert(cursor_verify(text, SCOPE, &back));
        ck_assert_int_eq(back.place, cursor.place);
        ck_assert_str_eq(back.id, cursor.id);
    }
}
END_TEST

START_TEST(test_a_cursor_with_a_name_comes_back)
{
    char longest[CURSOR_NAME_SIZE];
    const char *const names[] = {"a", "佐藤 遥", "|", longest};

    memset(longest, 'x', sizeof longest);
    longest[CURSOR_NAME_SIZE - 1] = '\0';
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct cursor cursor = sample, back = {.place = 1};
        char text[CURSOR_TEXT_MAX];

        strcpy(cursor.name, names[i]);
        cursor_sign(&cursor, SCOPE, text);
        ck_assert_uint_lt(strlen(text), CURSOR_TEXT_MAX);
        ck_assert(cursor_verify(text, SCOPE, &back));
        ck_assert_int_eq(back.place, cursor.place);
        ck_assert_str_eq(back.id, cursor.id);
        ck_assert_str_eq(back.name, names[i]);
    }
}
END_TEST

/* What was signed says where the name ends and the scope begins. */
START_TEST(test_a_name_and_a_scope_do_not_run_into_each_other)
{
    struct cursor cursor = sample, back;
    char text[CURSOR_TEXT_MAX];

    strcpy(cursor.name, "ab");
    cursor_sign(&cursor, "c", text);
    ck_assert(!cursor_verify(text, "bc", &back));
    ck_assert(!cursor_verify(text, "", &back));
    ck_assert(cursor_verify(text, "c", &back));
}
END_TEST

START_TEST(test_a_cursor_of_another_list_is_refused)
{
    static const char *const others[] = {"", "events|published||||21", "events|published||||2",
                                         "events|published||||20 "};
    struct cursor back;
    char text[CURSOR_TEXT_MAX];

    cursor_sign(&sample, SCOPE, text);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        ck_assert(!cursor_verify(text, others[i], &back));
    ck_assert(cursor_verify(text, SCOPE, &back));
}
END_TEST

START_TEST(test_a_cursor_of_another_key_is_refused)
{
    struct cursor back;
    char text[CURSOR_TEXT_MAX];

    cursor_sign(&sample, SCOPE, text);
    cursor_set_key("0123456789abcdef0123456789abcdeF", 32);
    ck_assert(!cursor_verify(text, SCOPE, &back));
    set_key();
    ck_assert(cursor_verify(text, SCOPE, &back));
}
END_TEST

START_TEST(test_any_flipped_bit_is_refused)
{
    unsigned char bytes[41];
    struct cursor back = sample;
    char text[CURSOR_TEXT_MAX], changed[CURSOR_TEXT_MAX];

    cursor_sign(&sample, SCOPE, text);
    ck_assert_int_eq(base64url_decode(text, strlen(text), bytes, sizeof bytes), sizeof bytes);
    for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
        bytes[bit / 8] = (unsigned char)(bytes[bit / 8] ^ 1u << bit % 8);
        base64url_encode(bytes, sizeof bytes, changed);
        ck_assert_msg(!cursor_verify(changed, SCOPE, &back), "bit %zu", bit);
        bytes[bit / 8] = (unsigned char)(bytes[bit / 8] ^ 1u << bit % 8);
    }
    /* The same over the text: 55 characters hold two bits more than 41 bytes. */
    for (size_t at = 0; at < strlen(text); at++) {
        for (unsigned value = 1; value < 256; value++) {
            strcpy(changed, text);
            if ((unsigned char)changed[at] == value)
                continue;
            changed[at] = (char)value;
            ck_assert_msg(!cursor_verify(changed, SCOPE, &back), "character %zu as %u", at, value);
        }
    }
    ck_assert_int_eq(back.place, sample.place);
    ck_assert_str_eq(back.id, sample.id);
    ck_assert(cursor_verify(text, SCOPE, &back));
}
END_TEST

START_TEST(test_any_other_length_is_refused)
{
    struct cursor back;
    char text[CURSOR_TEXT_MAX], changed[2 * CURSOR_TEXT_MAX];

    cursor_sign(&sample, SCOPE, text);
    for (size_t length = 0; length < strlen(text); length++) {
        memcpy(changed, text, length);
        changed[length] = '\0';
        ck_assert_msg(!cursor_verify(changed, SCOPE, &back), "length %zu", length);
        ck_assert_msg(!cursor_verify(text + length + 1, SCOPE, &back), "without the first %zu", length + 1);
    }
    strcpy(changed, text);
    strcat(changed, "=");
    ck_assert(!cursor_verify(changed, SCOPE, &back));
    strcpy(changed, text);
    strcat(changed, text);
    ck_assert(!cursor_verify(changed, SCOPE, &back));
    ck_assert(cursor_verify(text, SCOPE, &back));
}
END_TEST

/* RFC 4648, 10, without the padding. */
START_TEST(test_base64url_has_one_text_for_each_sequence_of_bytes)
{
    static const char *const texts[] = {"", "Zg", "Zm8", "Zm9v", "Zm9vYg", "Zm9vYmE", "Zm9vYmFy"};
    static const char *const wrong[] = {"A",    "Zm9vA",  "Z",     "Zh",   "Zm9",  "Zm9vY", "Zg==",
                                        "Zm8=", "Zm9v\n", " Zm9v", "Zm+v", "Zm/v", "Zm9v.", "\xff\xff\xff\xff"};
    unsigned char bytes[8];
    char text[16];

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        ck_assert_uint_eq(base64url_encoded_length(i), strlen(texts[i]));
        ck_assert_uint_eq(base64url_encode("foobar", i, text), strlen(texts[i]));
        ck_assert_str_eq(text, texts[i]);
        ck_assert_int_eq(base64url_decode(text, strlen(text), bytes, i), (ssize_t)i);
        ck_assert_mem_eq(bytes, "foobar", i);
        if (i > 0)
            ck_assert_int_eq(base64url_decode(text, strlen(text), bytes, i - 1), -1);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        ck_assert_msg(base64url_decode(wrong[i], strlen(wrong[i]), bytes, sizeof bytes) == -1, "%s", wrong[i]);
    ck_assert_uint_eq(base64url_encode("\xfb\xff", 2, text), 3);
    ck_assert_str_eq(text, "-_8");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cursor");
    TCase *tests = tcase_create("cursor");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tests, set_key, cursor_forget_key);
    tcase_add_test(tests, test_a_cursor_comes_back);
    tcase_add_test(tests, test_a_cursor_with_a_name_comes_back);
    tcase_add_test(tests, test_a_name_and_a_scope_do_not_run_into_each_other);
    tcase_add_test(tests, test_a_cursor_of_another_list_is_refused);
    tcase_add_test(tests, test_a_cursor_of_another_key_is_refused);
    tcase_add_test(tests, test_any_flipped_bit_is_refused);
    tcase_add_test(tests, test_any_other_length_is_refused);
    tcase_add_test(tests, test_base64url_has_one_text_for_each_sequence_of_bytes);
    suite_add_tcase(suite, tests);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
