/* What hosts share in Redis, as long as it is there: versions, expiry, leases, and values that nobody of ours has put.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "redis_fixture.h"

#define MANY 300 /* more than may be in flight */

static struct store *store;

static void begin(void)
{
    redis_fixture_fresh();
    struct store_options options = redis_fixture_options();
    store = redis_fixture_store(&options);
}

static void finish(void)
{
    store_destroy(store);
}

/* ---- entries ---- */

static struct store_entry seen;
static char *seen_body;

static void on_seen(void *context, enum store_result result, const struct store_entry *entry)
{
    if (result == STORE_DONE) {
        seen = *entry;
        seen_body = malloc(entry->body.length);
        memcpy(seen_body, entry->body.bytes, entry->body.length);
        ck_assert_mem_eq(entry->etag.bytes, "1.2.3", 5);
        ck_assert_mem_eq(entry->lines.bytes, "ETag: \"1.2.3\"\r\n", 15);
        ck_assert_mem_eq(entry->meta.bytes, "\0\1\2", 3);
    }
    redis_fixture_done(context, result, NULL);
}

START_TEST(test_what_was_put_is_got_whole)
{
    static const size_t lengths[] = {1, 100, 8192, STORE_VALUE_MAX - 300};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        char *body = malloc(lengths[i]);
        for (size_t at = 0; at < lengths[i]; at++)
            body[at] = (char)(at * 31);
        struct store_entry entry = redis_fixture_entry(i + 1, 5, 2, "");
        entry.body = (struct store_bytes){body, lengths[i]};
        entry.meta = (struct store_bytes){"\0\1\2", 3};
        ck_assert_int_eq(redis_fixture_was_put(store, &entry), STORE_DONE);
        struct end end;
        store_get(store, KEY, strlen(KEY), on_seen, redis_fixture_begin(&end));
        fixture_wait_for(end.done);
        ck_assert_int_eq(end.result, STORE_DONE);
        ck_assert_uint_eq(seen.body.length, lengths[i]);
        ck_assert_mem_eq(seen_body, body, lengths[i]);
        ck_assert(seen.rendered_at == entry.rendered_at && seen.expires_at == entry.expires_at);
        ck_assert(seen.version.epoch == i + 1 && seen.version.xmax == 5 && seen.version.in_progress == 2);
        ck_assert(seen.meta.length == 3 && seen.etag.length == 5 && seen.lines.length == 15);
        free(seen_body);
        free(body);
    }
}
END_TEST

START_TEST(test_what_is_too_large_or_has_expired_is_not_put)
{
    char *body = calloc(1, STORE_VALUE_MAX);
    struct store_entry entry = redis_fixture_entry(1, 1, 0, "");
    entry.body = (struct store_bytes){body, STORE_VALUE_MAX};
    ck_assert_int_eq(redis_fixture_was_put(store, &entry), STORE_REFUSED);
    entry = redis_fixture_entry(1, 1, 0, "old");
    entry.expires_at = clock_realtime() - 1;
    ck_assert_int_eq(redis_fixture_was_put(store, &entry), STORE_REFUSED);
    ck_assert_int_eq(redis_fixture_got(store).result, STORE_MISSING);
    ck_assert_str_eq(redis_fixture_say("DBSIZE"), "0");
    free(body);
}
END_TEST

/* Each the older one first. */
static const struct store_version pairs[][2] = {
    {{1, 10, 0}, {2, 5, 3}},
    {{9, 10, 0}, {10, 1, 0}}, /* as text without zeros in front it would be the other way round */
    {{7, 10, 0}, {7, 11, 4}},
    {{7, 10, 2}, {7, 10, 1}},                                                 /* fewer in progress is later */
    {{UINT64_C(9007199254740992), 1, 0}, {UINT64_C(9007199254740993), 1, 0}}, /* 2^53: one double */
    {{3, UINT64_C(18446744073709551614), 0}, {3, UINT64_MAX, 0}},
    {{UINT64_MAX, UINT64_MAX, UINT64_MAX}, {UINT64_MAX, UINT64_MAX, UINT64_MAX - 1}},
};

START_TEST(test_a_lower_version_is_refused_and_a_higher_one_taken)
{
    const struct store_version *old = &pairs[_i][0], *new = &pairs[_i][1];
    struct store_entry older = redis_fixture_entry(old->epoch, old->xmax, old->in_progress, "older");
    struct store_entry newer = redis_fixture_entry(new->epoch, new->xmax, new->in_progress, "newer");

    ck_assert_int_eq(redis_fixture_was_put(store, &newer), STORE_DONE);
    ck_assert_int_eq(redis_fixture_was_put(store, &older), STORE_REFUSED);
    ck_assert_str_eq(redis_fixture_got(store).body, "newer");
    ck_assert_int_eq(heard.ends[STORE_PUT][STORE_END_REFUSED], 1);

    redis_fixture_say("FLUSHALL");
    ck_assert_int_eq(redis_fixture_was_put(store, &older), STORE_DONE);
    ck_assert_str_eq(redis_fixture_got(store).body, "older");
    ck_assert_int_eq(redis_fixture_was_put(store, &newer), STORE_DONE);
    struct end end = redis_fixture_got(store);
    ck_assert_str_eq(end.body, "newer");
    ck_assert(end.version.epoch == new->epoch &&end.version.xmax == new->xmax &&end.version.in_progress ==
              new->in_progress);
}
END_TEST

START_TEST(test_the_same_version_renews_its_expiry)
{
    struct store_entry entry = redis_fixture_entry(4, 4, 0, "same");
    ck_assert_int_eq(redis_fixture_was_put(store, &entry), STORE_DONE);
    ck_assert_int_le(atoi(redis_fixture_say("PTTL %s", WHOLE_KEY)), 60000);
    entry.expires_at += 600 * SECOND;
    ck_assert_int_eq(redis_fixture_was_put(store, &entry), STORE_DONE);
    ck_assert_int_gt(atoi(redis_fixture_say("PTTL %s", WHOLE_KEY)), 300000);
    ck_assert_int_eq(redis_fixture_got(store).expires_at, entry.expires_at);
}
END_TEST

START_TEST(test_what_has_expired_by_our_clock_is_missing_although_redis_has_it)
{
    struct store_entry entry = redis_fixture_entry(1, 1, 0, "short");
    entry.expires_at = clock_realtime() + 300 * MILLISECOND;
    ck_assert_int_eq(redis_fixture_was_put(store, &entry), STORE_DONE);
    ck_assert_str_eq(redis_fixture_say("PERSIST %s", WHOLE_KEY), "1");
    ck_assert_int_eq(redis_fixture_got(store).result, STORE_DONE);
    fixture_wait_for(redis_fixture_got(store).result == STORE_MISSING);
    ck_assert_int_ge(clock_realtime(), entry.expires_at);
    ck_assert_str_eq(redis_fixture_say("EXISTS %s", WHOLE_KEY), "1");
}
END_TEST

START_TEST(test_an_entry_of_another_name_is_not_seen)
{
    struct store_entry entry = redis_fixture_entry(1, 1, 0, "mine");
    ck_assert_int_eq(redis_fixture_was_put(store, &entry), STORE_DONE);
    store_name(store, "7000000000000000001", "16385", "abc");
    ck_assert_int_eq(redis_fixture_got(store).result, STORE_MISSING);
    store_name(store, "7000000000000000001", "16384", "other rules");
    ck_assert_int_eq(redis_fixture_got(store).result, STORE_MISSING);
    store_name(store, "7000000000000000001", "16384", "abc");
    ck_assert_str_eq(redis_fixture_got(store).body, "mine");
    /* what was asked under one name is not answered under another */
    struct end end;
    redis_fixture_get(store, &end);
    store_name(store, "7000000000000000001", "16385", "abc");
    fixture_wait_for(end.done);
    ck_assert_int_eq(end.result, STORE_UNAVAILABLE);
    store_name(store, "", "", "");
    ck_assert_int_eq(redis_fixture_got(store).result, STORE_UNAVAILABLE);
}
END_TEST

START_TEST(test_what_is_deleted_or_flushed_is_missing_and_can_be_put_again)
{
    struct store_entry entry = redis_fixture_entry(9, 9, 0, "body");
    struct store_entry lower = redis_fixture_entry(8, 9, 0, "lower");
    struct end end;
    ck_assert_int_eq(redis_fixture_was_put(store, &entry), STORE_DONE);
    redis_fixture_say("FLUSHALL");
    ck_assert_int_eq(redis_fixture_got(store).result, STORE_MISSING);
    ck_assert_int_eq(redis_fixture_was_put(store, &entry), STORE_DONE);
    store_delete(store, KEY, strlen(KEY), redis_fixture_done, redis_fixture_begin(&end));
    fixture_wait_for(end.done);
    ck_assert_int_eq(end.result, STORE_DONE);
    ck_assert_int_eq(redis_fixture_got(store).result, STORE_MISSING);
    ck_assert_int_eq(redis_fixture_was_put(store, &lower), STORE_DONE);
}
END_TEST

START_TEST(test_scripts_that_redis_has_forgotten_are_sent_again)
{
    struct store_entry entry = redis_fixture_entry(2, 2, 0, "body");
    struct store_entry lower = redis_fixture_entry(1, 2, 0, "lower");
    uint64_t lease;
    ck_assert_int_eq(redis_fixture_was_put(store, &entry), STORE_DONE);
    ck_assert_ptr_null(strstr(redis_fixture_say("INFO errorstats"), "NOSCRIPT"));
    redis_fixture_say("SCRIPT FLUSH");
    ck_assert_int_eq(redis_fixture_was_put(store, &lower), STORE_REFUSED);
    ck_assert_ptr_nonnull(strstr(redis_fixture_say("INFO errorstats"), "NOSCRIPT:count=1"));
    ck_assert_int_eq(redis_fixture_was_put(store, &entry), STORE_DONE);
    redis_fixture_say("SCRIPT FLUSH");
    ck_assert_int_eq(redis_fixture_leased(store, 60000, &lease), STORE_DONE);
    store_release(store, KEY, strlen(KEY), lease);
    fixture_wait_for(strcmp(redis_fixture_say("DBSIZE"), "1") == 0); /* the lease is gone */
    ck_assert_ptr_nonnull(strstr(redis_fixture_say("INFO errorstats"), "NOSCRIPT:count=2"));
}
END_TEST

/* ---- values that are not ours ---- */

static void set(const char *bytes, size_t length)
{
    redis_fixture_say("SET %s %b", WHOLE_KEY, bytes, length);
}

static void put_garbage(int kind)
{
    struct store_entry entry = redis_fixture_entry(5, 5, 0, "body");
    static char large[STORE_VALUE_MAX * 2];
    switch (kind) {
    case 0:
        set("hello", 5);
        return;
    case 1:
        set("\0", 1);
        return;
    case 2:
        set("\xdd\xff\xff\xff\xff", 5); /* an array of 2^32 - 1 */
        return;
    case 3:
        set(large, sizeof large);
        return;
    case 4: /* begins like an envelope of the highest version */
        redis_fixture_say("SET %s %b", WHOLE_KEY,
                          "\x99\x01\xd9\x3c"
                          "999999999999999999999999999999999999999999999999999999999999",
                          (size_t)64);
        return;
    case 5:
        redis_fixture_say("LPUSH %s a b c", WHOLE_KEY);
        return;
    case 6:
        redis_fixture_say("HSET %s a b", WHOLE_KEY);
        return;
    default:
        break;
    }
    ck_assert_int_eq(redis_fixture_was_put(store, &entry), STORE_DONE);
    switch (kind) {
    case 7: /* cut off */
        redis_fixture_say("EVAL %s 1 %s", "redis.call('set', KEYS[1], redis.call('getrange', KEYS[1], 0, -2))",
                          WHOLE_KEY);
        return;
    case 8: /* a bit of the body */
        redis_fixture_say("SETBIT %s 900 1", WHOLE_KEY);
        redis_fixture_say("SETBIT %s 901 0", WHOLE_KEY);
        redis_fixture_say("SETBIT %s 902 1", WHOLE_KEY);
        return;
    case 9: /* something behind it */
        redis_fixture_say("APPEND %s x", WHOLE_KEY);
        return;
    default: /* a good one of another key */
        store_put(store, "stats:1", 7, &entry, NULL, NULL);
        ck_assert_int_eq(redis_fixture_was_put(store, &entry), STORE_DONE);
        redis_fixture_say("COPY %s %s REPLACE", "turnout:1:7000000000000000001:16384:abc:body:stats:1", WHOLE_KEY);
    }
}

START_TEST(test_what_cannot_be_read_is_missing_and_removed_and_can_be_put_over)
{
    struct store_entry entry = redis_fixture_entry(1, 1, 0, "good");
    put_garbage(_i);
    ck_assert_int_eq(redis_fixture_got(store).result, STORE_MISSING);
    ck_assert_int_eq(heard.ends[STORE_GET][STORE_END_MALFORMED], 1);
    fixture_wait_for(heard.ends[STORE_DELETE][STORE_END_OK] == 1);
    ck_assert_str_eq(redis_fixture_say("EXISTS %s", WHOLE_KEY), "0");
    ck_assert_int_eq(redis_fixture_was_put(store, &entry), STORE_DONE);
    ck_assert_str_eq(redis_fixture_got(store).body, "good");

    if (_i == 4 || _i >= 7) /* what begins like an envelope is only replaced by a higher version */
        return;
    redis_fixture_say("DEL %s", WHOLE_KEY);
    put_garbage(_i);
    ck_assert_int_eq(redis_fixture_was_put(store, &entry), STORE_DONE);
    ck_assert_str_eq(redis_fixture_got(store).body, "good");
}
END_TEST

/* ---- leases ---- */

START_TEST(test_one_host_has_the_lease_until_it_lets_go)
{
    struct store_options options = redis_fixture_options();
    struct store *other = redis_fixture_store(&options);
    uint64_t mine, theirs, again;
    ck_assert_int_eq(redis_fixture_leased(store, 60000, &mine), STORE_DONE);
    ck_assert_int_eq(redis_fixture_leased(other, 60000, &theirs), STORE_REFUSED);
    ck_assert_int_eq(redis_fixture_leased(store, 60000, &again), STORE_REFUSED);
    /* neither another host with the same number nor another number of this host lets go of it */
    store_release(other, KEY, strlen(KEY), mine);
    ck_assert_int_eq(redis_fixture_leased(other, 60000, &theirs), STORE_REFUSED);
    store_release(store, KEY, strlen(KEY), again);
    ck_assert_int_eq(redis_fixture_leased(store, 60000, &again), STORE_REFUSED);
    store_release(store, KEY, strlen(KEY), mine);
    ck_assert_int_eq(redis_fixture_got(store).result, STORE_MISSING); /* behind the release */
    ck_assert_int_eq(redis_fixture_leased(other, 60000, &theirs), STORE_DONE);
    store_destroy(other);
}
END_TEST

START_TEST(test_a_lease_ends_by_itself)
{
    uint64_t lease;
    ck_assert_int_eq(redis_fixture_leased(store, 50, &lease), STORE_DONE);
    fixture_wait_for(redis_fixture_leased(store, 60000, &lease) == STORE_DONE);
}
END_TEST

/* ---- much at once ---- */

START_TEST(test_of_many_calls_at_once_some_are_not_sent_and_all_are_answered)
{
    static struct end ends[MANY];
    int done = 0, missing = 0;
    for (int i = 0; i < MANY; i++)
        redis_fixture_get(store, &ends[i]);
    struct store_statistics statistics;
    store_statistics(store, &statistics);
    ck_assert_int_eq(statistics.in_flight, 256);
    for (int i = 0; i < MANY; i++) {
        fixture_wait_for(ends[i].done);
        done++;
        missing += ends[i].result == STORE_MISSING ? 1 : 0;
    }
    ck_assert_int_eq(done, MANY);
    ck_assert_int_eq(missing, 256);
    ck_assert_int_eq(heard.ends[STORE_GET][STORE_END_BUSY], MANY - 256);
    ck_assert_int_eq(redis_fixture_got(store).result, STORE_MISSING);
    store_statistics(store, &statistics);
    ck_assert_int_eq(statistics.in_flight, 0);
}
END_TEST

START_TEST(test_a_full_redis_still_gives_what_it_has)
{
    struct store_entry entry = redis_fixture_entry(1, 1, 0, "there");
    struct store_entry newer = redis_fixture_entry(2, 1, 0, "newer");
    uint64_t lease;
    ck_assert_int_eq(redis_fixture_was_put(store, &entry), STORE_DONE);
    redis_fixture_say("CONFIG SET maxmemory-policy noeviction");
    redis_fixture_say("CONFIG SET maxmemory 1");
    for (int i = 0; i < 25; i++) /* as often as would open the circuit */
        ck_assert_int_eq(redis_fixture_was_put(store, &newer), STORE_UNAVAILABLE);
    ck_assert_int_eq(heard.ends[STORE_PUT][STORE_END_FAILED], 25);
    ck_assert_ptr_nonnull(strstr(redis_fixture_say("INFO errorstats"), "OOM:count=25"));
    ck_assert_int_eq(redis_fixture_leased(store, 1000, &lease), STORE_UNAVAILABLE);
    ck_assert_str_eq(redis_fixture_got(store).body, "there");
    ck_assert_int_eq(heard.opened, 0);
    redis_fixture_say("CONFIG SET maxmemory 0");
    ck_assert_int_eq(redis_fixture_was_put(store, &newer), STORE_DONE);
    ck_assert_str_eq(redis_fixture_got(store).body, "newer");
}
END_TEST

int main(int count, char **arguments)
{
    (void)count;
    redis_fixture_need(arguments);
    Suite *suite = suite_create("redis_store");
    TCase *tests = tcase_create("store");
    tcase_add_checked_fixture(tests, begin, finish);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, test_what_was_put_is_got_whole);
    tcase_add_test(tests, test_what_is_too_large_or_has_expired_is_not_put);
    tcase_add_loop_test(tests, test_a_lower_version_is_refused_and_a_higher_one_taken, 0,
                        sizeof pairs / sizeof pairs[0]);
    tcase_add_test(tests, test_the_same_version_renews_its_expiry);
    tcase_add_test(tests, test_what_has_expired_by_our_clock_is_missing_although_redis_has_it);
    tcase_add_test(tests, test_an_entry_of_another_name_is_not_seen);
    tcase_add_test(tests, test_what_is_deleted_or_flushed_is_missing_and_can_be_put_again);
    tcase_add_test(tests, test_scripts_that_redis_has_forgotten_are_sent_again);
    tcase_add_loop_test(tests, test_what_cannot_be_read_is_missing_and_removed_and_can_be_put_over, 0, 11);
    tcase_add_test(tests, test_one_host_has_the_lease_until_it_lets_go);
    tcase_add_test(tests, test_a_lease_ends_by_itself);
    tcase_add_test(tests, test_of_many_calls_at_once_some_are_not_sent_and_all_are_answered);
    tcase_add_test(tests, test_a_full_redis_still_gives_what_it_has);
    suite_add_tcase(suite, tests);
    return fixture_run(suite);
}
