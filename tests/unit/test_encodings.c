/* Accept-Encoding: what a client gets for what it says (RFC 9110, 12.5.3). */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/encodings.h"

static const bool everything[HOT_ENCODING_COUNT] = {true, true, true};
static const bool no_brotli[HOT_ENCODING_COUNT] = {[HOT_IDENTITY] = true, [HOT_GZIP] = true};
static const bool nothing[HOT_ENCODING_COUNT] = {[HOT_IDENTITY] = true};

static const struct {
    const char *header;
    enum hot_encoding chosen; /* where everything is offered */
} headers[] = {
    {NULL, HOT_IDENTITY},
    {"", HOT_IDENTITY},
    {" ", HOT_IDENTITY},
    {",", HOT_IDENTITY},
    {"gzip", HOT_GZIP},
    {"GZip", HOT_GZIP},
    {"x-gzip", HOT_GZIP},
    {"br", HOT_BROTLI},
    {"deflate", HOT_IDENTITY},
    {"zstd, deflate", HOT_IDENTITY},
    {"brotli, gzi, gzipp, b", HOT_IDENTITY},
    /* what browsers and curl send */
    {"gzip, deflate, br", HOT_BROTLI},
    {"gzip, deflate, br, zstd", HOT_BROTLI},
    {"deflate, gzip, br;q=1.0, *;q=0.5", HOT_BROTLI},
    /* weights */
    {"gzip, br;q=0.9", HOT_GZIP},
    {"gzip;q=0.999, br", HOT_BROTLI},
    {"br;q=0.5, gzip;q=0.5", HOT_BROTLI},
    {"gzip;q=0.5, br;q=0.5", HOT_BROTLI},
    {"gzip;q=0.001", HOT_GZIP},
    {"gzip;q=0", HOT_IDENTITY},
    {"gzip;q=0.000, br;q=0.0", HOT_IDENTITY},
    {"br;q=0, gzip", HOT_GZIP},
    {"gzip ; q=1 , br ; q=0.2", HOT_GZIP},
    {"gzip\t;\tQ=1,\tbr;q=0.2", HOT_GZIP},
    /* identity */
    {"identity", HOT_IDENTITY},
    {"identity, gzip;q=0.5", HOT_IDENTITY},
    {"identity;q=0.5, gzip;q=0.4", HOT_IDENTITY},
    {"identity;q=0.5, gzip;q=0.5", HOT_GZIP},
    {"identity;q=0.5, gzip;q=0.6, br;q=0.55", HOT_GZIP},
    {"identity;q=0, gzip;q=0.1", HOT_GZIP},
    {"identity;q=0", HOT_IDENTITY}, /* nothing else is accepted either */
    {"identity;q=0, gzip;q=0, br;q=0", HOT_IDENTITY},
    {"*;q=0", HOT_IDENTITY},
    /* anything */
    {"*", HOT_BROTLI},
    {"*;q=0.1", HOT_BROTLI},
    {"br;q=0, *", HOT_GZIP},
    {"*, br;q=0.5", HOT_GZIP},
    {"gzip;q=0.5, *;q=0.2", HOT_GZIP},
    {"gzip, *;q=0", HOT_GZIP},
    {"identity, *;q=0", HOT_IDENTITY},
    {"identity;q=0.3, *;q=0.2", HOT_IDENTITY},
    /* what cannot be read counts as not said */
    {"gzip;q=2", HOT_IDENTITY},
    {"gzip;q=1.001", HOT_IDENTITY},
    {"gzip;q=-1, br;q=x", HOT_IDENTITY},
    {"gzip;q=", HOT_IDENTITY},
    {"gzip;q=0.1234", HOT_IDENTITY},
    {"gzip;level=9", HOT_IDENTITY},
    {"gzip;q=1;level=9", HOT_IDENTITY},
    {"gzip br", HOT_IDENTITY},
    {"gzip;q=x, br;q=0.1", HOT_BROTLI},
    {";q=1, br", HOT_BROTLI},
    {"\"gzip\", br;q=0.1", HOT_BROTLI},
    {"gzip;q=0.1, gzip;q=0.9, br;q=0.5", HOT_GZIP},
};

START_TEST(test_a_client_gets_what_it_likes_best)
{
    ck_assert_msg(encodings_choose(headers[_i].header, everything) == headers[_i].chosen, "%s",
                  headers[_i].header == NULL ? "no header" : headers[_i].header);
}
END_TEST

START_TEST(test_nobody_gets_what_is_not_there)
{
    ck_assert_int_eq(encodings_choose(headers[_i].header, nothing), HOT_IDENTITY);
    ck_assert_int_ne(encodings_choose(headers[_i].header, no_brotli), HOT_BROTLI);
}
END_TEST

START_TEST(test_the_next_best_is_taken_where_the_best_is_not_there)
{
    ck_assert_int_eq(encodings_choose("gzip;q=0.2, br", no_brotli), HOT_GZIP);
    ck_assert_int_eq(encodings_choose("br", no_brotli), HOT_IDENTITY);
    ck_assert_int_eq(encodings_choose("*", no_brotli), HOT_GZIP);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("encodings");
    TCase *table = tcase_create("table");
    tcase_add_loop_test(table, test_a_client_gets_what_it_likes_best, 0, sizeof headers / sizeof headers[0]);
    tcase_add_loop_test(table, test_nobody_gets_what_is_not_there, 0, sizeof headers / sizeof headers[0]);
    tcase_add_test(table, test_the_next_best_is_taken_where_the_best_is_not_there);
    suite_add_tcase(suite, table);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
