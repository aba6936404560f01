/* What src/redis decides by itself: when Redis is left alone, what an entry looks like as bytes, and which hosts and
 * sockets it takes. */
#include <stdlib.h>
#include <string.h>

#include "loop.h"
#include "redis/circuit.h"
#include "redis/envelope.h"
#include "redis/place.h"

/* ---- circuit ---- */

static struct circuit closed(void)
{
    struct circuit circuit;
    circuit_begin(&circuit, 1000);
    circuit_probe(&circuit);
    circuit_probed(&circuit, true, 1000);
    ck_assert_int_eq(circuit.state, CIRCUIT_CLOSED);
    return circuit;
}

START_TEST(test_a_circuit_begins_with_a_probe_at_once)
{
    struct circuit circuit;
    circuit_begin(&circuit, 1000);
    ck_assert_int_eq(circuit.state, CIRCUIT_OPEN);
    ck_assert_int_eq(circuit.probe_at, 1000);
}
END_TEST

START_TEST(test_five_failures_in_a_row_open_it_and_four_do_not)
{
    struct circuit circuit = closed();
    for (int round = 0; round < 3; round++) { /* a success between them, and one before */
        for (int i = 0; i < 2; i++)
            ck_assert(!circuit_count(&circuit, false, 1000));
        for (int i = 0; i < 2; i++)
            ck_assert(!circuit_count(&circuit, true, 1000));
    }
    circuit = closed();
    for (int i = 1; i < CIRCUIT_FAILURES; i++)
        ck_assert(!circuit_count(&circuit, true, 1000));
    ck_assert(circuit_count(&circuit, true, 1000));
    ck_assert_int_eq(circuit.state, CIRCUIT_OPEN);
    ck_assert(!circuit_count(&circuit, true, 1000)); /* those that were sent before */
    ck_assert(!circuit_count(&circuit, false, 1000));
    ck_assert_int_eq(circuit.state, CIRCUIT_OPEN);
}
END_TEST

START_TEST(test_half_of_the_last_twenty_open_it)
{
    struct circuit circuit = closed();
    bool opened = false;
    for (int i = 0; i < 100 * 3; i++) /* one of three */
        ck_assert(!circuit_count(&circuit, i % 3 == 0, 1000));
    circuit = closed();
    int calls = 0;
    for (; calls < 100 && !opened; calls++) /* one of two */
        opened = circuit_count(&circuit, calls % 2 == 0, 1000);
    ck_assert(opened);
    ck_assert_int_eq(calls, CIRCUIT_WINDOW);
    circuit_probe(&circuit); /* what it remembers ends with it */
    circuit_probed(&circuit, true, 1000);
    for (int i = 0; i < 2; i++)
        ck_assert(!circuit_count(&circuit, true, 1000));
}
END_TEST

START_TEST(test_probes_back_off_with_jitter_up_to_five_seconds)
{
    struct circuit circuit;
    int64_t most = 100 * MILLISECOND, different = 0, before = 0;
    circuit_begin(&circuit, 0);
    for (int i = 0; i < 20; i++) {
        circuit_probe(&circuit);
        circuit_probed(&circuit, false, 1000);
        most = most * 2 > 5 * SECOND ? 5 * SECOND : most * 2;
        int64_t wait = circuit.probe_at - 1000;
        ck_assert_msg(wait > most / 2 - 1 && wait <= most, "%ld of %ld", (long)wait, (long)most);
        different += wait != before;
        before = wait;
    }
    ck_assert_int_gt(different, 10);
}
END_TEST

START_TEST(test_who_answers_probes_but_no_calls_is_probed_less_often)
{
    struct circuit circuit = closed();
    ck_assert(!circuit_count(&circuit, false, 1000));
    circuit_lost(&circuit, 1000); /* was good for something: at once */
    ck_assert_int_eq(circuit.probe_at, 1000);
    for (int i = 0; i < 10; i++) {
        circuit_probe(&circuit);
        circuit_probed(&circuit, true, 1000);
        circuit_lost(&circuit, 1000);
        ck_assert_int_gt(circuit.probe_at, 1000);
    }
    ck_assert_int_gt(circuit.probe_at, 1000 + 2 * SECOND);
    circuit_probe(&circuit);
    circuit_probed(&circuit, true, 1000);
    ck_assert(!circuit_count(&circuit, false, 1000));
    circuit_lost(&circuit, 1000);
    ck_assert_int_eq(circuit.probe_at, 1000);
}
END_TEST

/* ---- envelope ---- */

static const struct store_entry sample = {.version = {1, 2, 3},
                                          .rendered_at = 1000,
                                          .expires_at = 2000,
                                          .body = {"{\"events\":[]}", 13},
                                          .etag = {"abc", 3},
                                          .lines = {"A: b\r\n", 6},
                                          .meta = {"m", 1}};

START_TEST(test_an_envelope_with_any_bit_changed_or_any_length_is_none)
{
    struct buffer bytes = {.memory = NULL};
    struct store_entry entry;
    envelope_write(&bytes, "key", 3, &sample);
    size_t length = buffer_length(&bytes);
    char *at = buffer_bytes(&bytes);
    ck_assert_int_eq(envelope_read(at, length, "key", 3, 1999, &entry), ENVELOPE_OK);
    ck_assert(entry.version.epoch == 1 && entry.version.xmax == 2 && entry.version.in_progress == 3);
    ck_assert_int_eq(envelope_read(at, length, "key", 3, 2000, &entry), ENVELOPE_EXPIRED);
    ck_assert_int_eq(envelope_read(at, length, "kez", 3, 1999, &entry), ENVELOPE_MALFORMED);
    for (size_t bit = 0; bit < length * 8; bit++) {
        at[bit / 8] = (char)(at[bit / 8] ^ 1 << bit % 8);
        ck_assert_int_eq(envelope_read(at, length, "key", 3, 1999, &entry), ENVELOPE_MALFORMED);
        at[bit / 8] = (char)(at[bit / 8] ^ 1 << bit % 8);
    }
    for (size_t less = 0; less < length; less++) {
        char *copy = malloc(less + 1); /* of its own, so that a sanitizer sees a byte too many */
        memcpy(copy, at, less);
        ck_assert_int_eq(envelope_read(copy, less, "key", 3, 1999, &entry), ENVELOPE_MALFORMED);
        free(copy);
    }
    ck_assert_int_eq(envelope_read(at, length, "key", 3, 1999, &entry), ENVELOPE_OK);
    buffer_free(&bytes);
}
END_TEST

START_TEST(test_versions_as_text_sort_as_versions_do)
{
    static const struct store_version versions[] = {{0, 0, UINT64_MAX},
                                                    {0, 0, 1},
                                                    {0, 0, 0},
                                                    {0, 9, 0},
                                                    {0, 10, 0},
                                                    {1, 0, 5},
                                                    {UINT64_C(1) << 53, 0, 0},
                                                    {(UINT64_C(1) << 53) + 1, 0, 0},
                                                    {UINT64_MAX, 0, 0},
                                                    {UINT64_MAX, 0xffff, 0}};
    char before[ENVELOPE_VERSION_LENGTH] = "";
    for (size_t i = 0; i < sizeof versions / sizeof versions[0]; i++) {
        struct buffer bytes = {.memory = NULL};
        struct store_entry entry = sample;
        entry.version = versions[i];
        envelope_write(&bytes, "key", 3, &entry);
        const char *text = buffer_bytes(&bytes) + ENVELOPE_VERSION_AT;
        ck_assert_int_lt(memcmp(before, text, sizeof before), 0);
        memcpy(before, text, sizeof before);
        ck_assert_int_eq(envelope_read(buffer_bytes(&bytes), buffer_length(&bytes), "key", 3, 0, &entry), ENVELOPE_OK);
        ck_assert_mem_eq(&entry.version, &versions[i], sizeof versions[i]);
        buffer_free(&bytes);
    }
}
END_TEST

/* ---- where it is ---- */

START_TEST(test_hosts_and_sockets_that_are_taken_and_that_are_not)
{
    static const char *const hosts[] = {"localhost:6379", "10.0.0.1:1", "[::1]:65535", "redis.example:6379"};
    static const char *const no_hosts[] = {
        "",         "localhost",    ":6379",        "localhost:",       "localhost:0",
        "::1:6379", "[::1]",        "localhost:6x", "localhost:65536",  "[localhost]:1",
        "a b:1",    "localhost:-1", "localhost:+1", "unix:/run/redis:1"};
    char error[256], path[200] = "/";
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++)
        ck_assert_msg(place_check_host(hosts[i], error, sizeof error), "%s", hosts[i]);
    for (size_t i = 0; i < sizeof no_hosts / sizeof no_hosts[0]; i++)
        ck_assert_msg(!place_check_host(no_hosts[i], error, sizeof error), "%s", no_hosts[i]);
    memset(path + 1, 'x', 106);
    ck_assert(place_check_socket(path, error, sizeof error)); /* 107 bytes */
    path[107] = 'x';
    ck_assert(!place_check_socket(path, error, sizeof error));
    ck_assert(!place_check_socket("redis.sock", error, sizeof error));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("redis_parts");
    TCase *tests = tcase_create("parts");
    tcase_add_test(tests, test_a_circuit_begins_with_a_probe_at_once);
    tcase_add_test(tests, test_five_failures_in_a_row_open_it_and_four_do_not);
    tcase_add_test(tests, test_half_of_the_last_twenty_open_it);
    tcase_add_test(tests, test_probes_back_off_with_jitter_up_to_five_seconds);
    tcase_add_test(tests, test_who_answers_probes_but_no_calls_is_probed_less_often);
    tcase_add_test(tests, test_an_envelope_with_any_bit_changed_or_any_length_is_none);
    tcase_add_test(tests, test_versions_as_text_sort_as_versions_do);
    tcase_add_test(tests, test_hosts_and_sockets_that_are_taken_and_that_are_not);
    suite_add_tcase(suite, tests);
    return fixture_run(suite);
}
