/* When the file of keys is read again, and what a broken one leaves in force. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "identity/key_file.h"
#include "identity_keys.h"

#define SECOND INT64_C(1000000)
#define INTERVAL (10 * SECOND)
#define START (100 * SECOND)

static char folder[] = "/tmp/turnout-key-file-XXXXXX";
static char path[64];
static char error[256];

static void write_text(const char *text)
{
    FILE *file = fopen(path, "we");

    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fchmod(fileno(file), 0600), 0);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
}

static void write_keys(size_t count)
{
    json_t *list = json_array();
    json_t *set;
    char *text;

    for (size_t i = 0; i < count; i++) {
        char kid[32];

        snprintf(kid, sizeof kid, "key-%zu", i);
        json_array_append_new(list, make_oct_key(kid));
    }
    set = json_pack("{s:o}", "keys", list);
    text = json_dumps(set, 0);
    write_text(text);
    free(text);
    json_decref(set);
}

static struct key_file *open_with(size_t count)
{
    struct key_file *file;

    write_keys(count);
    file = key_file_open(path, START, error, sizeof error);
    ck_assert_msg(file != NULL, "%s", error);
    ck_assert_uint_eq(key_set_count(key_file_keys(file)), count);
    return file;
}

static void make_folder(void)
{
    strcpy(folder + strlen(folder) - 6, "XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/jwks.json", folder);
}

static void drop_folder(void)
{
    unlink(path);
    rmdir(folder);
}

START_TEST(test_a_reading_takes_other_keys_and_knows_the_same_ones)
{
    struct key_file *file = open_with(1);

    ck_assert_int_eq(key_file_read(file, path, START, error, sizeof error), KEY_FILE_SAME);
    write_keys(2);
    ck_assert_int_eq(key_file_read(file, path, START, error, sizeof error), KEY_FILE_CHANGED);
    ck_assert_uint_eq(key_set_count(key_file_keys(file)), 2);
    /* A new time stamp is no new set. */
    write_keys(2);
    ck_assert_int_eq(key_file_read(file, path, START, error, sizeof error), KEY_FILE_SAME);
    key_file_close(file);
}
END_TEST

START_TEST(test_a_look_comes_not_sooner_than_the_interval_after_the_last_reading)
{
    struct key_file *file = open_with(1);

    write_keys(2);
    ck_assert_int_eq(key_file_look(file, path, INTERVAL, START + INTERVAL - 1, error, sizeof error), KEY_FILE_EARLY);
    ck_assert_uint_eq(key_set_count(key_file_keys(file)), 1);
    ck_assert_int_eq(key_file_look(file, path, INTERVAL, START + INTERVAL, error, sizeof error), KEY_FILE_CHANGED);
    ck_assert_uint_eq(key_set_count(key_file_keys(file)), 2);
    /* A try that brought nothing is a try as well; so is a broken file. */
    ck_assert_int_eq(key_file_look(file, path, INTERVAL, START + 2 * INTERVAL, error, sizeof error), KEY_FILE_SAME);
    write_text("{");
    ck_assert_int_eq(key_file_look(file, path, INTERVAL, START + 3 * INTERVAL - 1, error, sizeof error),
                     KEY_FILE_EARLY);
    ck_assert_int_eq(key_file_look(file, path, INTERVAL, START + 3 * INTERVAL, error, sizeof error), KEY_FILE_BROKEN);
    write_keys(3);
    ck_assert_int_eq(key_file_look(file, path, INTERVAL, START + 4 * INTERVAL - 1, error, sizeof error),
                     KEY_FILE_EARLY);
    ck_assert_int_eq(key_file_look(file, path, INTERVAL, START + 4 * INTERVAL, error, sizeof error), KEY_FILE_CHANGED);
    key_file_close(file);
}
END_TEST

START_TEST(test_a_reading_on_demand_waits_for_nothing)
{
    struct key_file *file = open_with(1);

    for (size_t count = 2; count < 5; count++) {
        write_keys(count);
        ck_assert_int_eq(key_file_read(file, path, START, error, sizeof error), KEY_FILE_CHANGED);
        ck_assert_uint_eq(key_set_count(key_file_keys(file)), count);
    }
    key_file_close(file);
}
END_TEST

static void break_missing(void)
{
    ck_assert_int_eq(unlink(path), 0);
}

static void break_text(void)
{
    write_text("{\"keys\": [");
}

static void break_empty(void)
{
    write_text("");
}

static void break_no_keys(void)
{
    write_keys(0);
}

static void break_fifo(void)
{
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
}

static void break_folder(void)
{
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(mkdir(path, 0700), 0);
}

static void break_size(void)
{
    ck_assert_int_eq(truncate(path, (1 << 20) + 1), 0);
}

static void break_mode(void)
{
    ck_assert_int_eq(chmod(path, 0644), 0);
}

static const struct {
    void (*make)(void);
    const char *says;
} broken[] = {
    {break_missing, "No such file"},    {break_text, "not valid JSON"},         {break_empty, "not valid JSON"},
    {break_no_keys, "no key"},          {break_fifo, "is not a regular file"},  {break_folder, "is not a regular file"},
    {break_size, "is larger than 1 M"}, {break_mode, "readable for everybody"},
};

/* The file of a FIFO would hold up everything if it were waited for: the test would not end. */
START_TEST(test_a_file_that_cannot_be_used_leaves_the_keys_in_force)
{
    struct key_file *file = open_with(2);

    broken[_i].make();
    error[0] = '\0';
    ck_assert_int_eq(key_file_read(file, path, START, error, sizeof error), KEY_FILE_BROKEN);
    ck_assert_msg(strstr(error, broken[_i].says) != NULL, "%s", error);
    ck_assert_ptr_nonnull(strstr(error, path));
    ck_assert_ptr_null(key_file_open(path, START, error, sizeof error));
    ck_assert_uint_eq(key_set_count(key_file_keys(file)), 2);
    if (unlink(path) != 0)
        rmdir(path);
    write_keys(3);
    ck_assert_int_eq(key_file_read(file, path, START, error, sizeof error), KEY_FILE_CHANGED);
    ck_assert_uint_eq(key_set_count(key_file_keys(file)), 3);
    key_file_close(file);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("key_file");
    TCase *tests = tcase_create("files");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tests, make_folder, drop_folder);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, test_a_reading_takes_other_keys_and_knows_the_same_ones);
    tcase_add_test(tests, test_a_look_comes_not_sooner_than_the_interval_after_the_last_reading);
    tcase_add_test(tests, test_a_reading_on_demand_waits_for_nothing);
    tcase_add_loop_test(tests, test_a_file_that_cannot_be_used_leaves_the_keys_in_force, 0,
                        sizeof broken / sizeof broken[0]);
    suite_add_tcase(suite, tests);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
