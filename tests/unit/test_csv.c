/* CSV as people's spreadsheets write it (RFC 4180): what is read, and on which line. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/csv.h"

static char memory[4096];

static void begin(struct csv *csv, const char *text)
{
    strcpy(memory, text);
    csv_begin(csv, memory, strlen(text));
}

START_TEST(test_fields_are_read_with_and_without_quotes)
{
    struct csv csv;
    begin(&csv, "\xef\xbb\xbf"
                "title,venue\r\n\"Fest, gross\",\"say \"\"hi\"\"\"\r\n,\n\"\",x");
    ck_assert_int_eq(csv_next(&csv), CSV_RECORD);
    ck_assert_uint_eq(csv.count, 2);
    ck_assert_str_eq(csv.fields[0], "title");
    ck_assert_str_eq(csv.fields[1], "venue");
    ck_assert_int_eq(csv_next(&csv), CSV_RECORD);
    ck_assert_str_eq(csv.fields[0], "Fest, gross");
    ck_assert_str_eq(csv.fields[1], "say \"hi\"");
    ck_assert_int_eq(csv_next(&csv), CSV_RECORD);
    ck_assert_uint_eq(csv.count, 2);
    ck_assert_str_eq(csv.fields[0], "");
    ck_assert_str_eq(csv.fields[1], "");
    ck_assert_int_eq(csv_next(&csv), CSV_RECORD);
    ck_assert_str_eq(csv.fields[0], "");
    ck_assert_str_eq(csv.fields[1], "x");
    ck_assert_int_eq(csv.line, 4);
    ck_assert_int_eq(csv_next(&csv), CSV_END);
}
END_TEST

START_TEST(test_lines_are_counted_over_empty_and_quoted_ones)
{
    struct csv csv;
    begin(&csv, "\n\na\n\"one\ntwo\",b\n\r\nlast\n");
    ck_assert_int_eq(csv_next(&csv), CSV_RECORD);
    ck_assert_int_eq(csv.line, 3);
    ck_assert_int_eq(csv_next(&csv), CSV_RECORD);
    ck_assert_int_eq(csv.line, 4);
    ck_assert_str_eq(csv.fields[0], "one\ntwo");
    ck_assert_int_eq(csv_next(&csv), CSV_RECORD);
    ck_assert_int_eq(csv.line, 7);
    ck_assert_str_eq(csv.fields[0], "last");
    ck_assert_int_eq(csv_next(&csv), CSV_END);
}
END_TEST

START_TEST(test_a_quote_out_of_place_is_refused)
{
    struct csv csv;
    begin(&csv, "a,b\nc,\"d\n");
    ck_assert_int_eq(csv_next(&csv), CSV_RECORD);
    ck_assert_int_eq(csv_next(&csv), CSV_BROKEN);
    ck_assert_str_eq(csv.error, "has a quote that is not closed");
    ck_assert_int_eq(csv.line, 2);
    begin(&csv, "\"a\"b,c\n");
    ck_assert_int_eq(csv_next(&csv), CSV_BROKEN);
    ck_assert_str_eq(csv.error, "has text behind a closing quote");
    begin(&csv, "\"a\",c\n");
    ck_assert_int_eq(csv_next(&csv), CSV_RECORD);
}
END_TEST

START_TEST(test_an_empty_text_has_no_records)
{
    struct csv csv;
    begin(&csv, "");
    ck_assert_int_eq(csv_next(&csv), CSV_END);
    begin(&csv, "\r\n\n");
    ck_assert_int_eq(csv_next(&csv), CSV_END);
}
END_TEST

START_TEST(test_too_many_fields_are_refused_and_the_most_are_taken)
{
    struct csv csv;
    char text[256] = "";
    for (int i = 1; i < CSV_FIELDS_MAX; i++)
        strcat(text, "x,");
    strcat(text, "x");
    begin(&csv, text);
    ck_assert_int_eq(csv_next(&csv), CSV_RECORD);
    ck_assert_uint_eq(csv.count, CSV_FIELDS_MAX);
    strcat(text, ",x");
    begin(&csv, text);
    ck_assert_int_eq(csv_next(&csv), CSV_BROKEN);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("csv");
    TCase *tests = tcase_create("csv");
    tcase_add_test(tests, test_fields_are_read_with_and_without_quotes);
    tcase_add_test(tests, test_lines_are_counted_over_empty_and_quoted_ones);
    tcase_add_test(tests, test_a_quote_out_of_place_is_refused);
    tcase_add_test(tests, test_an_empty_text_has_no_records);
    tcase_add_test(tests, test_too_many_fields_are_refused_and_the_most_are_taken);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
