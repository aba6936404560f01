/* A link in a mail acts for the person and the mails that it was made for, and nothing else does. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "identity/link_token.h"
#include "identity/seal.h"

static const char key[] = "0123456789abcdef0123456789abcdef";
static const char user_id[] = "019a9f3e-7c1b-7f00-8a11-22334455aabb";

static void set_key(void)
{
    seal_set_key(key, sizeof key - 1);
}

static void sign(const char *group, char text[LINK_TOKEN_TEXT_MAX])
{
    struct link_token token = {.group = group};
    memcpy(token.user_id, user_id, sizeof user_id);
    link_token_sign(&token, text);
}

START_TEST(test_a_link_says_who_and_from_what)
{
    static const char *const groups[] = {"reminders", "surveys"};
    for (size_t i = 0; i < 2; i++) {
        char text[LINK_TOKEN_TEXT_MAX];
        struct link_token found = {.group = NULL};
        sign(groups[i], text);
        ck_assert(link_token_verify(text, &found));
        ck_assert_str_eq(found.user_id, user_id);
        ck_assert_str_eq(found.group, groups[i]);
    }
}
END_TEST

START_TEST(test_any_changed_character_is_refused)
{
    char text[LINK_TOKEN_TEXT_MAX];
    struct link_token found = {.group = "as before"};
    sign("reminders", text);
    for (char *at = text; *at != '\0'; at++) {
        char right = *at;
        for (const char *other = "ABab09-_ =%"; *other != '\0'; other++) {
            *at = *other;
            if (*other != right)
                ck_assert_msg(!link_token_verify(text, &found), "%s", text);
        }
        *at = right;
    }
    ck_assert(!link_token_verify("", &found));
    text[strlen(text) - 1] = '\0';
    ck_assert(!link_token_verify(text, &found));
    ck_assert_str_eq(found.group, "as before");
    sign("reminders", text);
    ck_assert(link_token_verify(text, &found));
}
END_TEST

START_TEST(test_a_link_of_another_key_is_refused)
{
    char text[LINK_TOKEN_TEXT_MAX];
    struct link_token found;
    sign("surveys", text);
    seal_set_key("fedcba9876543210fedcba9876543210", 32);
    ck_assert(!link_token_verify(text, &found));
    set_key();
    ck_assert(link_token_verify(text, &found));
}
END_TEST

START_TEST(test_what_was_signed_for_one_purpose_is_worth_nothing_for_another)
{
    unsigned char seal[SEAL_SIZE];
    seal_make("one", (const unsigned char *)"bytes", 5, NULL, seal);
    ck_assert(seal_fits("one", (const unsigned char *)"bytes", 5, NULL, seal));
    ck_assert(!seal_fits("two", (const unsigned char *)"bytes", 5, NULL, seal));
    ck_assert(!seal_fits("one", (const unsigned char *)"bytes", 5, "scope", seal));
    ck_assert(!seal_fits("on", (const unsigned char *)"ebytes", 6, NULL, seal));
}
END_TEST

START_TEST(a_group_that_is_none_has_no_such_link)
{
    char url[256];
    ck_assert(link_token_unsubscribe_url("https://events.example.com", user_id, "reminders", url, sizeof url));
    ck_assert_ptr_eq(strstr(url, "https://events.example.com/api/mail/unsubscribe?token="), url);
    struct link_token found;
    ck_assert(link_token_verify(strchr(url, '=') + 1, &found));
    ck_assert_str_eq(found.group, "reminders");
    ck_assert(link_token_unsubscribe_url("https://x.example", user_id, "surveys", url, sizeof url));
    ck_assert(!link_token_unsubscribe_url("https://x.example", user_id, "confirmation", url, sizeof url));
    ck_assert(!link_token_unsubscribe_url(NULL, user_id, "reminders", url, sizeof url));
    ck_assert(!link_token_unsubscribe_url("https://x.example", "nobody", "reminders", url, sizeof url));
    ck_assert(!link_token_unsubscribe_url("https://x.example", user_id, "reminders", url, 40));
}
END_TEST

START_TEST(test_the_token_of_a_feed_can_be_made_again_and_not_be_made_up)
{
    char text[LINK_TOKEN_TEXT_MAX];
    char again[LINK_TOKEN_TEXT_MAX];
    char id[UUID_TEXT_SIZE];
    char hash[LINK_TOKEN_HASH_SIZE];
    link_token_feed(user_id, text);
    link_token_feed(user_id, again);
    ck_assert_str_eq(text, again);
    ck_assert(link_token_is_feed(text, id));
    ck_assert_str_eq(id, user_id);
    text[5] = text[5] == 'A' ? 'B' : 'A';
    ck_assert(!link_token_is_feed(text, id));
    sign("reminders", text);
    ck_assert(!link_token_is_feed(text, id));
    link_token_hash("abc", hash);
    ck_assert_str_eq(hash, "\\xba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("link_token");
    TCase *tests = tcase_create("link_token");
    tcase_add_checked_fixture(tests, set_key, seal_forget_key);
    tcase_add_test(tests, test_a_link_says_who_and_from_what);
    tcase_add_test(tests, test_any_changed_character_is_refused);
    tcase_add_test(tests, test_a_link_of_another_key_is_refused);
    tcase_add_test(tests, test_what_was_signed_for_one_purpose_is_worth_nothing_for_another);
    tcase_add_test(tests, a_group_that_is_none_has_no_such_link);
    tcase_add_test(tests, test_the_token_of_a_feed_can_be_made_again_and_not_be_made_up);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
