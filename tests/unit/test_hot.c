/* The hot cache as a refresher and a worker in one process see it: what is published is found, byte by byte, and what
 * must not be served any more is not. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "hot_rig.h"
#include "shm/hot_floors.h"
#include "shm/hot_index.h"

#define HOUR INT64_C(3600000000)

static enum hot_own serve_own(const char *key, int64_t stale_max)
{
    return hot_serve_own(key, strlen(key), hot_rig_now, stale_max);
}

static enum hot_found find(const char *key, int64_t stale_max)
{
    struct hot_view view;
    enum hot_found found = hot_find(key, strlen(key), hot_rig_now, stale_max, &view);
    if (found == HOT_FRESH || found == HOT_STALE)
        hot_release();
    return found;
}

static enum hot_publish publish_from_store(const char *key, uint64_t version)
{
    struct hot_entry *entry = hot_rig_entry(key, version, 300);
    entry->source = HOT_FROM_STORE;
    return hot_publish(entry);
}

static void raise_pattern_floors(uint64_t version)
{
    for (unsigned pattern = 0; pattern < HOT_PATTERN_COUNT; pattern++)
        hot_raise_pattern_floor((enum hot_pattern)pattern, &(struct hot_version){.epoch = 1, .xmax = version});
}

/* ---- publishing and finding ---- */

START_TEST(test_what_was_published_is_found_as_it_is)
{
    hot_rig_begin(4, 1);
    static const size_t sizes[] = {0, 1, 300, 5000, 100 << 10, 600 << 10};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char key[] = "events:?";
        key[7] = (char)('a' + i);
        ck_assert_int_eq(hot_rig_publish(key, i + 1, sizes[i]), HOT_PUBLISHED);
        struct hot_view view;
        ck_assert_int_eq(hot_find(key, strlen(key), hot_rig_now, 0, &view), HOT_FRESH);
        ck_assert(hot_rig_is_body(&view, key, i + 1, sizes[i]));
        ck_assert_int_eq(view.rendered_at, hot_rig_now);
        ck_assert_int_eq(view.coherent_at, hot_rig_now);
        hot_release();
    }
    ck_assert_int_eq(hot_rig_find("events:z"), HOT_RIG_MISSING);
}
END_TEST

START_TEST(test_keys_of_every_length_are_told_apart)
{
    hot_rig_begin(4, 1);
    char key[HOT_KEY_MAX + 1];
    for (size_t length = 1; length <= HOT_KEY_MAX; length++) {
        memset(key, 'e', length);
        key[length] = '\0';
        ck_assert_int_eq(hot_rig_publish(key, length, 300), HOT_PUBLISHED);
    }
    for (size_t length = 1; length <= HOT_KEY_MAX; length++) {
        key[length] = '\0';
        memset(key, 'e', length);
        ck_assert_int_eq(hot_rig_find(key), (int64_t)length);
    }
}
END_TEST

START_TEST(test_a_key_with_the_hash_of_another_one_is_not_taken_for_it)
{
    hot_rig_begin(4, 1);
    ck_assert_int_eq(hot_rig_publish("events:1", 1, 300), HOT_PUBLISHED);
    uint64_t there = hot_index_at(hot_index_find(hot_index_hash("events:1", 8), "events:1", 8));
    /* As if the hash of the other one had the same bits where they count. */
    uint64_t hash = hot_index_hash("events:2", 8);
    uint32_t slot = hot_bucket_first(hash) * HOT_BUCKET;
    while (hot_index_at(slot) != 0)
        slot++;
    hot_index_store(slot, hot_reference(hash, 1, hot_reference_segment(there), hot_reference_offset(there)));
    ck_assert_int_eq(hot_rig_find("events:2"), HOT_RIG_MISSING);
    ck_assert_int_eq(hot_rig_find("events:1"), 1);
}
END_TEST

START_TEST(test_a_newer_body_takes_the_place_of_an_older_one_and_never_the_other_way_round)
{
    hot_rig_begin(4, 1);
    ck_assert_int_eq(hot_rig_publish("events:1", 5, 300), HOT_PUBLISHED);
    ck_assert_int_eq(hot_rig_publish("events:1", 7, 700), HOT_PUBLISHED);
    ck_assert_int_eq(hot_rig_publish("events:1", 6, 300), HOT_OLDER);
    ck_assert_int_eq(hot_rig_find("events:1"), 7);
    hot_rig_now += 10;
    ck_assert_int_eq(hot_rig_publish("events:1", 7, 700), HOT_PUBLISHED);
    struct hot_view view;
    ck_assert(hot_peek("events:1", 8, &view));
    ck_assert_int_eq(view.rendered_at, hot_rig_now);
}
END_TEST

START_TEST(test_versions_are_ordered_by_epoch_then_xmax_then_fewer_in_progress)
{
    hot_rig_begin(4, 1);
    static const struct hot_version rising[] = {{1, 900, 5}, {1, 900, 3}, {1, 900, 0}, {1, 901, 7}, {2, 4, 9}};
    for (unsigned i = 0; i < sizeof rising / sizeof *rising; i++) {
        struct hot_entry *entry = hot_rig_entry("events:1", i, 300);
        entry->version = rising[i];
        ck_assert_int_eq(hot_publish(entry), HOT_PUBLISHED);
        for (unsigned older = 0; older < i; older++) {
            entry->version = rising[older];
            ck_assert_int_eq(hot_publish(entry), HOT_OLDER);
        }
    }
}
END_TEST

START_TEST(test_what_was_deleted_is_gone_and_nothing_older_comes_back)
{
    hot_rig_begin(4, 1);
    ck_assert_int_eq(hot_rig_publish("events:1", 5, 300), HOT_PUBLISHED);
    ck_assert(hot_delete("events:1", 8));
    ck_assert(!hot_delete("events:1", 8));
    ck_assert_int_eq(hot_rig_find("events:1"), HOT_RIG_MISSING);
    ck_assert_int_eq(hot_rig_publish("events:1", 4, 300), HOT_OLDER);
    ck_assert_int_eq(hot_rig_publish("events:1", 5, 300), HOT_PUBLISHED);
    ck_assert_int_eq(hot_rig_find("events:1"), 5);
}
END_TEST

START_TEST(test_what_is_too_large_for_a_segment_is_refused)
{
    hot_rig_begin(4, 1);
    ck_assert_int_eq(hot_rig_publish("events:1", 1, 680 << 10), HOT_PUBLISHED);
    ck_assert_int_eq(hot_rig_publish("events:1", 2, 700 << 10), HOT_TOO_LARGE);
    ck_assert_int_eq(hot_rig_find("events:1"), 1);
}
END_TEST

START_TEST(test_what_has_expired_is_missing)
{
    hot_rig_begin(4, 1);
    struct hot_entry *entry = hot_rig_entry("events:1", 1, 300);
    entry->expires_at = hot_rig_now + 100;
    ck_assert_int_eq(hot_publish(entry), HOT_PUBLISHED);
    hot_rig_now += 100;
    ck_assert_int_eq(hot_rig_find("events:1"), 1);
    hot_rig_now++;
    ck_assert_int_eq(hot_rig_find("events:1"), HOT_RIG_MISSING);
}
END_TEST

START_TEST(test_whether_an_entry_was_read_is_known_until_it_is_published_anew)
{
    hot_rig_begin(4, 1);
    ck_assert(!hot_was_read("events:1", 8));
    ck_assert_int_eq(hot_rig_publish("events:1", 1, 300), HOT_PUBLISHED);
    ck_assert_int_eq(hot_rig_publish("events:2", 1, 300), HOT_PUBLISHED);
    for (uint64_t version = 2; version < 600; version++) {
        ck_assert(!hot_was_read("events:1", 8));
        ck_assert_int_eq(hot_rig_find("events:1"), (int64_t)version - 1);
        ck_assert(hot_was_read("events:1", 8));
        ck_assert_int_eq(hot_rig_publish("events:1", version, 300), HOT_PUBLISHED);
    }
    ck_assert(!hot_was_read("events:2", 8));
}
END_TEST

static void count_entry(void *context, const char *key, size_t length, enum hot_pattern pattern,
                        const struct hot_view *view)
{
    int *counts = context;
    ck_assert_uint_eq(length, strlen("events:1"));
    counts[key[length - 1] - '0']++;
    ck_assert_int_eq(pattern, HOT_PATTERN_EVENT);
    ck_assert_uint_eq(view->meta_length, length);
}

START_TEST(test_each_entry_is_listed_once)
{
    hot_rig_begin(4, 1);
    int counts[10] = {0};
    for (unsigned version = 1; version < 4; version++)
        for (char last = '0'; last < '7'; last++)
            ck_assert_int_eq(hot_rig_publish((char[]){'e', 'v', 'e', 'n', 't', 's', ':', last, 0}, version, 300),
                             HOT_PUBLISHED);
    ck_assert(hot_delete("events:3", 8));
    hot_each(count_entry, counts);
    ck_assert_mem_eq(counts, ((int[10]){1, 1, 1, 0, 1, 1, 1, 0, 0, 0}), sizeof counts);
    struct hot_statistics statistics;
    hot_statistics(&statistics);
    ck_assert_int_eq(statistics.entries[HOT_PATTERN_EVENT], 6);
    ck_assert_int_eq(statistics.bytes[HOT_PATTERN_EVENT], INT64_C(6) * 512);
    ck_assert_int_eq(statistics.oldest[HOT_PATTERN_EVENT], hot_rig_now);
    ck_assert_int_eq(statistics.segments_free, 3);
    ck_assert_int_eq(statistics.segments_open, 1);
}
END_TEST

/* ---- floors ---- */

START_TEST(test_a_change_that_was_read_refuses_what_is_older_from_redis_alone)
{
    hot_rig_begin(4, 1);
    raise_pattern_floors(1);
    hot_raise_store_floor("events:1", 8, &(struct hot_version){.epoch = 1, .xmax = 20});
    ck_assert_int_eq(publish_from_store("events:1", 19), HOT_OLDER);
    ck_assert_int_eq(hot_rig_publish("events:1", 19, 300), HOT_PUBLISHED);
    ck_assert_int_eq(publish_from_store("events:1", 20), HOT_PUBLISHED);
    ck_assert_int_eq(publish_from_store("events:2", 19), HOT_PUBLISHED);
    hot_raise_store_pattern_floor(HOT_PATTERN_EVENT, &(struct hot_version){.epoch = 1, .xmax = 30});
    ck_assert_int_eq(publish_from_store("events:2", 29), HOT_OLDER);
    ck_assert_int_eq(publish_from_store("users:1", 29), HOT_PUBLISHED);
    ck_assert_int_eq(hot_rig_publish("events:2", 29, 300), HOT_PUBLISHED);
    ck_assert_int_eq(publish_from_store("events:2", 30), HOT_PUBLISHED);
}
END_TEST

START_TEST(test_a_resync_refuses_what_is_older_from_everywhere)
{
    hot_rig_begin(4, 1);
    raise_pattern_floors(20);
    ck_assert_int_eq(hot_rig_publish("events:1", 19, 300), HOT_OLDER);
    ck_assert_int_eq(publish_from_store("events:1", 19), HOT_OLDER);
    ck_assert_int_eq(hot_rig_publish("events:1", 20, 300), HOT_PUBLISHED);
}
END_TEST

START_TEST(test_a_floor_is_never_lowered)
{
    hot_rig_begin(4, 1);
    raise_pattern_floors(20);
    raise_pattern_floors(10);
    ck_assert_int_eq(hot_rig_publish("events:1", 19, 300), HOT_OLDER);
    ck_assert_int_eq(hot_rig_publish("events:1", 30, 300), HOT_PUBLISHED);
    ck_assert_int_eq(publish_from_store("events:1", 29), HOT_OLDER);
}
END_TEST

START_TEST(test_floors_that_know_nothing_take_nothing_from_redis)
{
    hot_rig_begin(4, 1);
    ck_assert_int_eq(publish_from_store("events:1", 5), HOT_OLDER);
    raise_pattern_floors(1);
    ck_assert_int_eq(publish_from_store("events:1", 5), HOT_PUBLISHED);
}
END_TEST

/* ---- workers that serve themselves ---- */

START_TEST(test_a_render_that_a_worker_has_overtaken_is_not_published)
{
    hot_rig_begin(4, 1);
    struct hot_entry *entry = hot_rig_entry("events:1", 5, 300);
    ck_assert_int_eq(serve_own("events:1", 0), HOT_OWN_SERVE);
    ck_assert_int_eq(hot_publish(entry), HOT_OVERTAKEN);
    ck_assert_int_eq(hot_rig_find("events:1"), HOT_RIG_MISSING);
    entry->ticket = hot_ticket("events:1", 8);
    ck_assert_int_eq(hot_publish(entry), HOT_PUBLISHED);
    ck_assert_int_eq(serve_own("events:1", 0), HOT_OWN_LOOK_AGAIN);
    ck_assert_int_eq(hot_rig_find("events:1"), 5);
}
END_TEST

START_TEST(test_after_a_worker_has_served_itself_redis_is_believed_only_behind_postgresql)
{
    hot_rig_begin(4, 1);
    raise_pattern_floors(1);
    ck_assert_int_eq(publish_from_store("events:1", 5), HOT_PUBLISHED);
    ck_assert(hot_delete("events:1", 8));
    ck_assert_int_eq(serve_own("events:1", 0), HOT_OWN_SERVE);
    ck_assert_int_eq(publish_from_store("events:1", 6), HOT_OVERTAKEN);
    ck_assert_int_eq(hot_rig_publish("events:1", 7, 300), HOT_PUBLISHED);
    ck_assert_int_eq(publish_from_store("events:1", 6), HOT_OLDER);
    ck_assert_int_eq(publish_from_store("events:1", 7), HOT_PUBLISHED);
}
END_TEST

START_TEST(test_who_serves_itself_waits_while_the_writer_is_about_to_publish)
{
    hot_rig_begin(4, 1);
    uint32_t floor = hot_floor_of(hot_index_hash("events:1", 8));
    hot_floors_intend(floor + 1);
    ck_assert_int_eq(serve_own("events:1", 0), HOT_OWN_WAIT);
    hot_floors_intend((floor + 1) % HOT_FLOORS + 1);
    ck_assert_int_eq(serve_own("events:1", 0), HOT_OWN_SERVE);
    hot_floors_intend(HOT_INTENT_ALL);
    ck_assert_int_eq(serve_own("events:1", 0), HOT_OWN_WAIT);
    hot_floors_done();
    ck_assert_int_eq(serve_own("events:1", 0), HOT_OWN_SERVE);
}
END_TEST

/* ---- coherence ---- */

START_TEST(test_entries_are_fresh_then_stale_then_lapsed)
{
    hot_rig_begin(4, 1);
    ck_assert_int_eq(hot_rig_publish("events:1", 1, 300), HOT_PUBLISHED);
    ck_assert(hot_extend(hot_rig_now + 10, hot_rig_now + HOUR + 100));
    hot_rig_now += HOUR + 100;
    ck_assert_int_eq(find("events:1", 0), HOT_FRESH);
    hot_rig_now++;
    ck_assert_int_eq(find("events:1", 0), HOT_LAPSED);
    ck_assert_int_eq(find("events:1", 1), HOT_STALE);
    ck_assert_int_eq(find("events:2", 1), HOT_MISSING);
    struct hot_view view;
    ck_assert_int_eq(hot_find("events:1", 8, hot_rig_now, 1, &view), HOT_STALE);
    ck_assert_int_eq(view.coherent_at, hot_rig_now - HOUR - 91);
    hot_release();
    hot_rig_now++;
    ck_assert_int_eq(find("events:1", 1), HOT_LAPSED);
    ck_assert(hot_extend(hot_rig_now, hot_rig_now + 100));
    ck_assert_int_eq(find("events:1", 1), HOT_FRESH);
}
END_TEST

START_TEST(test_before_coherence_was_ever_said_everything_has_lapsed)
{
    char error[200];
    ck_assert(region_create(4 << 20, 1, error, sizeof error));
    region_attach_writer();
    region_attach_reader(0);
    ck_assert_uint_eq(hot_open(false, NULL, NULL), 0);
    hot_rig_now = 5; /* microseconds after boot */
    ck_assert_int_eq(find("events:1", HOUR), HOT_LAPSED);
    ck_assert(hot_extend(5, 100));
    ck_assert_int_eq(find("events:1", HOUR), HOT_MISSING);
}
END_TEST

START_TEST(test_after_a_lapse_that_a_worker_used_the_entries_of_before_are_gone)
{
    hot_rig_begin(4, 1);
    ck_assert_int_eq(hot_rig_publish("events:1", 1, 300), HOT_PUBLISHED);
    hot_rig_now += HOUR + 1;
    ck_assert_int_eq(find("events:1", 0), HOT_LAPSED);
    ck_assert_int_eq(serve_own("events:1", 0), HOT_OWN_SERVE);
    ck_assert(!hot_extend(hot_rig_now, hot_rig_now + 100));
    ck_assert_int_eq(hot_rig_find("events:1"), HOT_RIG_MISSING);
    ck_assert_int_eq(hot_rig_publish("events:1", 1, 300), HOT_PUBLISHED);
    /* That lapse is over. */
    ck_assert(hot_extend(hot_rig_now, hot_rig_now + 200));
    ck_assert_int_eq(hot_rig_find("events:1"), 1);
}
END_TEST

START_TEST(test_a_lapse_that_nobody_used_loses_nothing)
{
    hot_rig_begin(4, 1);
    ck_assert_int_eq(hot_rig_publish("events:1", 1, 300), HOT_PUBLISHED);
    hot_rig_now += HOUR + 1;
    ck_assert_int_eq(find("events:1", 0), HOT_LAPSED);
    ck_assert(hot_extend(hot_rig_now, hot_rig_now + 100));
    ck_assert_int_eq(serve_own("events:1", 0), HOT_OWN_LOOK_AGAIN);
    ck_assert_int_eq(hot_rig_find("events:1"), 1);
}
END_TEST

START_TEST(test_once_a_worker_has_used_a_lapse_it_is_one_for_all)
{
    hot_rig_begin(4, 2);
    ck_assert_int_eq(hot_rig_publish("events:1", 1, 300), HOT_PUBLISHED);
    hot_rig_now += HOUR + 10;
    ck_assert_int_eq(find("events:1", 20), HOT_STALE);
    ck_assert_int_eq(serve_own("events:1", 5), HOT_OWN_SERVE);
    region_attach_reader(1);
    ck_assert_int_eq(find("events:1", 20), HOT_LAPSED);
    ck_assert_int_eq(serve_own("events:1", 20), HOT_OWN_SERVE);
}
END_TEST

START_TEST(test_a_new_generation_makes_everything_missing_and_free)
{
    hot_rig_begin(4, 1);
    for (char last = 'a'; last <= 'z'; last++)
        ck_assert_int_eq(hot_rig_publish((char[]){'e', last, 0}, 1, 50 << 10), HOT_PUBLISHED);
    hot_new_generation();
    for (char last = 'a'; last <= 'z'; last++)
        ck_assert_int_eq(hot_rig_find((char[]){'e', last, 0}), HOT_RIG_MISSING);
    hot_maintain();
    struct hot_statistics statistics;
    hot_statistics(&statistics);
    ck_assert_int_eq(statistics.entries[HOT_PATTERN_EVENT], 0);
    ck_assert_int_eq(statistics.bytes[HOT_PATTERN_EVENT], 0);
    ck_assert_int_eq(statistics.segments_sealed, 0);
    ck_assert_int_eq(statistics.generation, 2);
    ck_assert_int_eq(hot_rig_publish("ea", 1, 300), HOT_PUBLISHED);
    ck_assert_int_eq(hot_rig_find("ea"), 1);
}
END_TEST

START_TEST(test_the_cursor_is_replaced_as_a_whole)
{
    hot_rig_begin(4, 1);
    char cursor[HOT_CURSOR_MAX], loaded[HOT_CURSOR_MAX];
    ck_assert_uint_eq(hot_load_cursor(loaded), 0);
    for (unsigned i = 0; i < 5; i++) {
        memset(cursor, 'a' + (int)i, sizeof cursor);
        hot_store_cursor(cursor, sizeof cursor - i);
        ck_assert_uint_eq(hot_load_cursor(loaded), sizeof cursor - i);
        ck_assert_mem_eq(loaded, cursor, sizeof cursor - i);
    }
    /* Half of the next one, and no end. */
    struct hot_header *header = (struct hot_header *)hot_region.writable;
    memset(header->cursors[header->cursor == 0 ? 1 : 0].bytes, 'x', HOT_CURSOR_MAX / 2);
    ck_assert_uint_eq(hot_load_cursor(loaded), sizeof cursor - 4);
    ck_assert_mem_eq(loaded, cursor, sizeof cursor - 4);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hot");
    TCase *cases = tcase_create("hot");
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, test_what_was_published_is_found_as_it_is);
    tcase_add_test(cases, test_keys_of_every_length_are_told_apart);
    tcase_add_test(cases, test_a_key_with_the_hash_of_another_one_is_not_taken_for_it);
    tcase_add_test(cases, test_a_newer_body_takes_the_place_of_an_older_one_and_never_the_other_way_round);
    tcase_add_test(cases, test_versions_are_ordered_by_epoch_then_xmax_then_fewer_in_progress);
    tcase_add_test(cases, test_what_was_deleted_is_gone_and_nothing_older_comes_back);
    tcase_add_test(cases, test_what_is_too_large_for_a_segment_is_refused);
    tcase_add_test(cases, test_what_has_expired_is_missing);
    tcase_add_test(cases, test_whether_an_entry_was_read_is_known_until_it_is_published_anew);
    tcase_add_test(cases, test_each_entry_is_listed_once);
    tcase_add_test(cases, test_a_change_that_was_read_refuses_what_is_older_from_redis_alone);
    tcase_add_test(cases, test_a_resync_refuses_what_is_older_from_everywhere);
    tcase_add_test(cases, test_a_floor_is_never_lowered);
    tcase_add_test(cases, test_floors_that_know_nothing_take_nothing_from_redis);
    tcase_add_test(cases, test_a_render_that_a_worker_has_overtaken_is_not_published);
    tcase_add_test(cases, test_after_a_worker_has_served_itself_redis_is_believed_only_behind_postgresql);
    tcase_add_test(cases, test_who_serves_itself_waits_while_the_writer_is_about_to_publish);
    tcase_add_test(cases, test_entries_are_fresh_then_stale_then_lapsed);
    tcase_add_test(cases, test_before_coherence_was_ever_said_everything_has_lapsed);
    tcase_add_test(cases, test_after_a_lapse_that_a_worker_used_the_entries_of_before_are_gone);
    tcase_add_test(cases, test_a_lapse_that_nobody_used_loses_nothing);
    tcase_add_test(cases, test_once_a_worker_has_used_a_lapse_it_is_one_for_all);
    tcase_add_test(cases, test_a_new_generation_makes_everything_missing_and_free);
    tcase_add_test(cases, test_the_cursor_is_replaced_as_a_whole);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
