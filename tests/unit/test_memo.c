/* A verified token is remembered for a while, and never for longer or as another. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "identity/memo.h"

#define NOW INT64_C(1795442400)

static const struct memo_person admin = {
    .user_id = "019a9f3e-7c1b-7f00-8a11-22334455aabb", .role = "admin", .claim_role = "admin"};
static const struct memo_person guest = {.user_id = "019a9f3e-7c1b-7f00-8a11-22334455aabc", .role = "participant"};

static struct memo *memo;

static void make_memo(void)
{
    memo = memo_create(8192);
}

static void drop_memo(void)
{
    memo_free(memo);
}

static void store(const char *token, int64_t now, int64_t expires_at, const struct memo_person *person)
{
    memo_store(memo, token, strlen(token), now, expires_at, person);
}

static bool find(const char *token, int64_t now, struct memo_person *person)
{
    return memo_find(memo, token, strlen(token), now, person);
}

START_TEST(test_a_token_is_remembered_with_its_person)
{
    struct memo_person found;

    ck_assert(!find("one", NOW, &found));
    store("one", NOW, NOW + 3600, &admin);
    store("two", NOW, NOW + 3600, &guest);
    ck_assert(find("one", NOW, &found));
    ck_assert_str_eq(found.user_id, admin.user_id);
    ck_assert_str_eq(found.role, "admin");
    ck_assert_str_eq(found.claim_role, "admin");
    ck_assert(find("two", NOW + 1, &found));
    ck_assert_str_eq(found.user_id, guest.user_id);
    ck_assert_str_eq(found.role, "participant");
    ck_assert_str_eq(found.claim_role, "");
}
END_TEST

START_TEST(test_a_token_is_looked_at_again_after_sixty_seconds)
{
    struct memo_person found;

    store("one", NOW, NOW + 3600, &admin);
    ck_assert(find("one", NOW + 59, &found));
    ck_assert(!find("one", NOW + 60, &found));
    ck_assert(!find("one", NOW + 61, &found));
}
END_TEST

START_TEST(test_a_token_is_not_remembered_past_its_end)
{
    struct memo_person found;

    store("one", NOW, NOW + 10, &admin);
    ck_assert(find("one", NOW + 9, &found));
    ck_assert(!find("one", NOW + 10, &found));
    store("over", NOW, NOW, &admin);
    ck_assert(!find("over", NOW, &found));
    ck_assert(!find("over", NOW - 1, &found));
}
END_TEST

START_TEST(test_a_clock_set_back_makes_nothing_live_longer)
{
    struct memo_person found;

    store("one", NOW, NOW + 3600, &admin);
    ck_assert(!find("one", NOW - 1, &found));
    ck_assert(find("one", NOW, &found));
}
END_TEST

START_TEST(test_any_other_token_is_not_found)
{
    char token[] = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl";
    struct memo_person found;

    store(token, NOW, NOW + 3600, &admin);
    for (size_t bit = 0; bit < 8 * strlen(token); bit++) {
        char changed[sizeof token];

        memcpy(changed, token, sizeof token);
        changed[bit / 8] = (char)(changed[bit / 8] ^ 1 << bit % 8);
        ck_assert_msg(!memo_find(memo, changed, sizeof token - 1, NOW, &found), "bit %zu", bit);
    }
    for (size_t length = 0; length < sizeof token - 1; length++)
        ck_assert(!memo_find(memo, token, length, NOW, &found));
    ck_assert(!memo_find(memo, token, sizeof token, NOW, &found)); /* with its NUL */
    ck_assert(find(token, NOW, &found));
}
END_TEST

START_TEST(test_storing_again_replaces)
{
    struct memo_person found;

    memo_free(memo);
    memo = memo_create(4);
    for (int i = 0; i < 10; i++)
        store("one", NOW + i, NOW + 3600, i % 2 == 0 ? &admin : &guest);
    store("two", NOW + 10, NOW + 3600, &guest);
    store("three", NOW + 10, NOW + 3600, &guest);
    store("four", NOW + 10, NOW + 3600, &guest);
    ck_assert(find("one", NOW + 10, &found));
    ck_assert_str_eq(found.role, "participant");
}
END_TEST

START_TEST(test_the_oldest_makes_room_and_what_is_over_goes_first)
{
    struct memo_person found;

    memo_free(memo);
    memo = memo_create(4); /* one bucket */
    store("a", NOW, NOW + 3600, &admin);
    store("b", NOW + 1, NOW + 3600, &admin);
    store("c", NOW + 2, NOW + 5, &admin);
    store("d", NOW + 3, NOW + 3600, &admin);
    store("e", NOW + 4, NOW + 3600, &admin);
    ck_assert(!find("a", NOW + 4, &found));
    ck_assert(find("b", NOW + 4, &found));
    store("f", NOW + 6, NOW + 3600, &admin); /* c is over */
    ck_assert(find("b", NOW + 6, &found));
    ck_assert(find("d", NOW + 6, &found));
    ck_assert(find("e", NOW + 6, &found));
    ck_assert(find("f", NOW + 6, &found));
}
END_TEST

START_TEST(test_a_table_holds_about_as_many_as_it_was_made_for)
{
    struct memo_person found;
    char token[32];
    int held = 0;

    for (int i = 0; i < 100000; i++) {
        snprintf(token, sizeof token, "token %d", i);
        store(token, NOW, NOW + 3600, &guest);
        ck_assert(find(token, NOW, &found)); /* the newest is always there */
    }
    for (int i = 0; i < 100000; i++) {
        snprintf(token, sizeof token, "token %d", i);
        held += find(token, NOW, &found);
    }
    ck_assert_int_eq(held, 8192); /* twelve to a place on average: every place is taken */
}
END_TEST

START_TEST(test_forgetting_forgets_all)
{
    struct memo_person found;
    uint64_t generation;

    store("one", NOW, NOW + 3600, &admin);
    store("two", NOW, NOW + 3600, &admin);
    ck_assert(find("one", NOW, &found));
    generation = memo_generation(memo);
    memo_forget_all(memo);
    ck_assert_uint_ne(memo_generation(memo), generation);
    ck_assert(!find("one", NOW, &found));
    ck_assert(!find("two", NOW, &found));
    store("one", NOW, NOW + 3600, &admin);
    ck_assert(find("one", NOW, &found));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("memo");
    TCase *tests = tcase_create("memo");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tests, make_memo, drop_memo);
    tcase_add_test(tests, test_a_token_is_remembered_with_its_person);
    tcase_add_test(tests, test_a_token_is_looked_at_again_after_sixty_seconds);
    tcase_add_test(tests, test_a_token_is_not_remembered_past_its_end);
    tcase_add_test(tests, test_a_clock_set_back_makes_nothing_live_longer);
    tcase_add_test(tests, test_any_other_token_is_not_found);
    tcase_add_test(tests, test_storing_again_replaces);
    tcase_add_test(tests, test_the_oldest_makes_room_and_what_is_over_goes_first);
    tcase_add_test(tests, test_a_table_holds_about_as_many_as_it_was_made_for);
    tcase_add_test(tests, test_forgetting_forgets_all);
    suite_add_tcase(suite, tests);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
