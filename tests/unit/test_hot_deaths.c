/* Who may write where in the hot cache, and what a refresher does with what a dead one left there. */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "hot_rig.h"
#include "shm/hot_floors.h"
#include "shm/hot_index.h"
#include "shm/hot_segments.h"

/* How a child ends that does this: its exit status, or 256 and the signal. */
static int end_of(void (*work)(void *context), void *context)
{
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        /* what kills it is expected: no report, no core */
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        signal(SIGSEGV, SIG_DFL);
        signal(SIGBUS, SIG_DFL);
        work(context);
        _exit(0);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? 256 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* ---- rights ---- */

static void make_region(void)
{
    char error[200];
    ck_assert(!region_exists());
    ck_assert(region_create(4 << 20, 3, error, sizeof error));
    ck_assert(region_exists());
}

static void write_at(void *offset)
{
    region_attach_reader(1);
    *(volatile char *)(uintptr_t)(hot_region.shared + *(size_t *)offset) = 1;
}

static void write_own(void *unused)
{
    (void)unused;
    region_attach_reader(1);
    memset(hot_region.own, 1, hot_region.worker_size);
    /* and it is the page of this slot that it has written to */
    if (memcmp(hot_worker_line(hot_region.shared, 1), hot_region.own, hot_region.worker_size) != 0)
        _exit(1);
}

START_TEST(test_a_worker_that_writes_elsewhere_dies)
{
    make_region();
    size_t forbidden[] = {
        0,
        hot_region.index,
        hot_region.floors,
        hot_region.segments,
        hot_region.workers - 1,
        hot_region.workers,
        hot_region.workers + 2 * hot_region.worker_size - 1, /* its own page, in the mapping of everything */
        hot_region.workers + 2 * hot_region.worker_size,
    };
    for (unsigned i = 0; i < sizeof forbidden / sizeof *forbidden; i++)
        ck_assert_int_eq(end_of(write_at, &forbidden[i]), 256 + SIGSEGV);
    ck_assert_int_eq(end_of(write_own, NULL), 0);
}
END_TEST

static void write_as_bystander(void *unused)
{
    char *workers = hot_region.workers_of_master;
    (void)unused;
    *workers = 1;
    region_detach();
    *(volatile char *)workers = 1;
}

START_TEST(test_other_processes_have_nothing_of_it)
{
    make_region();
    ck_assert_int_eq(end_of(write_as_bystander, NULL), 256 + SIGSEGV);
    ck_assert_int_eq(hot_region.workers_of_master[0], 1);
    ck_assert_ptr_null(hot_region.shared);
    ck_assert_ptr_null(hot_region.writable);
}
END_TEST

START_TEST(test_its_size_is_sealed_and_its_memory_is_there)
{
    make_region();
    ck_assert_int_eq(ftruncate(hot_region.file, (off_t)hot_region.size / 2), -1);
    ck_assert_int_eq(ftruncate(hot_region.file, (off_t)hot_region.size * 2), -1);
    struct stat status;
    ck_assert_int_eq(fstat(hot_region.file, &status), 0);
    ck_assert_int_ge(status.st_blocks * 512, (int64_t)hot_region.workers);
    ck_assert_int_lt(status.st_blocks * 512, (int64_t)hot_region.size); /* workers bring theirs */
}
END_TEST

START_TEST(test_more_than_there_is_memory_is_refused_in_words)
{
    char error[200] = "";
    ck_assert(!region_create(INT64_C(1) << 43, 1, error, sizeof error));
    ck_assert_str_eq(error, "not enough memory for a cache of 8796093022208 bytes");
    ck_assert(!region_exists());
    make_region();
}
END_TEST

START_TEST(test_no_two_processes_write_to_one_cache_line)
{
    ck_assert_uint_ge(sizeof(struct hot_worker_line), 128);
    make_region();
    ck_assert_uint_eq(hot_region.worker_size % (size_t)sysconf(_SC_PAGESIZE), 0);
    ck_assert_uint_eq(hot_region.workers % (size_t)sysconf(_SC_PAGESIZE), 0);
    ck_assert_uint_eq(sizeof(struct hot_floor), HOT_LINE);
}
END_TEST

/* ---- successors ---- */

static const char *key_of(char *key, unsigned number)
{
    snprintf(key, 30, "events:%u", number);
    return key;
}

/* Enough for several segments, some of it dead, and not all of it fits. */
static void leave_a_cache(void)
{
    hot_rig_begin(6, 1);
    char key[30];
    for (unsigned i = 0; i < 900; i++)
        ck_assert_int_eq(hot_rig_publish(key_of(key, i), i + 1, 6000), HOT_PUBLISHED);
    for (unsigned i = 880; i < 900; i++)
        ck_assert(hot_delete(key_of(key, i), strlen(key)));
    hot_store_cursor("here", 4);
}

static int64_t entries(void)
{
    struct hot_statistics statistics;
    hot_statistics(&statistics);
    return statistics.entries[HOT_PATTERN_EVENT];
}

static void expect_nothing(void)
{
    char key[30], cursor[HOT_CURSOR_MAX];
    ck_assert_int_eq(entries(), 0);
    for (unsigned i = 0; i < 900; i++)
        ck_assert_int_eq(hot_rig_find(key_of(key, i)), HOT_RIG_LAPSED);
    ck_assert_uint_eq(hot_load_cursor(cursor), 0);
    struct hot_header *header = (struct hot_header *)hot_region.writable;
    ck_assert_uint_eq(header->distrust, 0);
    ck_assert_int_eq(header->intent, 0);
    /* and it begins anew, versions from the start, too */
    hot_rig_now += 10;
    ck_assert(hot_extend(hot_rig_now, hot_rig_now + 1000));
    for (unsigned i = 0; i < 900; i++) {
        ck_assert_int_eq(hot_rig_publish(key_of(key, i), 1, 6000), HOT_PUBLISHED);
        ck_assert_int_eq(hot_rig_find(key), 1);
    }
}

START_TEST(test_a_successor_keeps_what_was_published_and_goes_on)
{
    leave_a_cache();
    int64_t before = entries();
    ck_assert_int_gt(before, 400);
    ck_assert_uint_eq(hot_open(false, NULL, NULL), (size_t)before);
    ck_assert_int_eq(entries(), before);
    char key[30], cursor[HOT_CURSOR_MAX];
    ck_assert_uint_eq(hot_load_cursor(cursor), 4);
    int64_t found = 0;
    for (unsigned i = 0; i < 900; i++) {
        int64_t version = hot_rig_find(key_of(key, i));
        found += version == i + 1;
        ck_assert(version == i + 1 || version == HOT_RIG_MISSING);
    }
    ck_assert_int_eq(found, before);
    /* Floors, too, also of what was deleted. */
    ck_assert_int_eq(hot_rig_publish("events:899", 899, 300), HOT_OLDER);
    for (unsigned i = 0; i < 2000; i++) {
        ck_assert_int_eq(hot_rig_publish(key_of(key, i), 1000 + i, 6000), HOT_PUBLISHED);
        ck_assert_int_eq(hot_rig_find(key), 1000 + i);
    }
}
END_TEST

/* A publish up to any of its steps. */
static void die_while_publishing(int step)
{
    struct hot_entry *entry = hot_rig_entry("events:850", 5000, 6000);
    uint64_t hash = hot_index_hash(entry->key, entry->key_length);
    uint32_t segment, offset;
    char *place = hot_segments_room(9000 / 64 * 64, &segment, &offset);
    memset(place, 0x55, step == 0 ? 100 : 9000 / 64 * 64);
    if (step >= 2)
        hot_floors_intend(hot_floor_of(hash) + 1);
    if (step >= 3)
        hot_floors_note(hot_floor_of(hash), entry);
}

START_TEST(test_of_a_publish_that_was_cut_off_nothing_is_seen)
{
    leave_a_cache();
    int64_t before = entries();
    for (int step = 0; step < 4; step++) {
        die_while_publishing(step);
        ck_assert_int_eq(hot_serve_own("events:850", 10, hot_rig_now, 0) == HOT_OWN_WAIT, step >= 2);
        ck_assert_uint_eq(hot_open(false, NULL, NULL), (size_t)before);
        ck_assert_int_eq(hot_rig_find("events:850"), 851);
        ck_assert_int_eq(hot_serve_own("events:850", 10, hot_rig_now, 0), HOT_OWN_LOOK_AGAIN);
    }
    ck_assert_int_eq(hot_rig_publish("events:850", 4999, 300), HOT_OLDER);
    ck_assert_int_eq(hot_rig_publish("events:850", 5000, 300), HOT_PUBLISHED);
}
END_TEST

START_TEST(test_a_floor_that_was_cut_off_is_never_too_low)
{
    static const struct hot_version old = {3, 70, 4}, new = {5, 60, 2};
    hot_rig_begin(4, 1);
    struct hot_floor *floor =
        (struct hot_floor *)(hot_region.writable + hot_region.floors) + hot_floor_of(hot_index_hash("events:1", 8));
    for (int step = 1; step <= 4; step++) {
        /* As the stores of hot_floors.c come. */
        floor->every.epoch = step >= 2 ? new.epoch : old.epoch;
        floor->every.xmax = step >= 3 ? new.xmax : old.xmax;
        floor->every.in_progress = step >= 4 ? new.in_progress : 0;
        ck_assert_uint_eq(hot_open(false, NULL, NULL), 0);
        struct hot_entry *entry = hot_rig_entry("events:1", 0, 300);
        entry->version = (struct hot_version){3, 70, 5};
        ck_assert_int_eq(hot_publish(entry), HOT_OLDER);
    }
    struct hot_entry *entry = hot_rig_entry("events:1", 0, 300);
    entry->version = (struct hot_version){6, 1, 9};
    ck_assert_int_eq(hot_publish(entry), HOT_PUBLISHED);
}
END_TEST

START_TEST(test_an_old_generation_that_was_not_put_away_is_dropped)
{
    leave_a_cache();
    ck_assert_int_eq(hot_rig_find("events:850"), 851);
    ((struct hot_header *)hot_region.writable)->generation++;
    ck_assert_int_eq(hot_rig_find("events:850"), HOT_RIG_MISSING);
    ck_assert_uint_eq(hot_open(false, NULL, NULL), 0);
    ck_assert_int_eq(entries(), 0);
    struct hot_statistics statistics;
    hot_statistics(&statistics);
    ck_assert_int_eq(statistics.segments_free, 6);
    char key[30];
    for (unsigned i = 0; i < 2000; i++)
        ck_assert_int_eq(hot_rig_publish(key_of(key, i), 1000 + i, 6000), HOT_PUBLISHED);
}
END_TEST

/* ---- corruption ---- */

static struct hot_entry_header *living_entry(void)
{
    return hot_index_entry(hot_index_at(hot_index_find(hot_index_hash("events:850", 10), "events:850", 10)));
}

static void checksum_again(struct hot_entry_header *entry);

/* What a stray store may have hit. */
static void corrupt(int what)
{
    struct hot_entry_header *entry = living_entry();
    uint32_t slot = hot_index_find(entry->hash, "events:850", 10);
    uint64_t reference = hot_index_at(slot);
    switch (what) {
    case 0: /* a byte of a body */
        ((char *)entry)[entry->bodies[0].bytes + 1000] ^= 1;
        break;
    case 1: /* a size */
        entry->size += HOT_LINE;
        break;
    case 2: /* a size beyond everything */
        entry->size = UINT32_MAX / HOT_LINE * HOT_LINE;
        break;
    case 3: /* a checksum */
        entry->checksum++;
        break;
    case 4: /* the segment in a reference */
        hot_index_store(slot, reference | UINT64_C(0xffffff) << 14);
        break;
    case 5: /* the offset */
        hot_index_store(slot, reference ^ 1);
        break;
    case 6: /* the tag */
        hot_index_store(slot, reference ^ UINT64_C(1) << 50);
        break;
    case 7: /* a slot where the key is not looked for */
        hot_index_store(slot, 0);
        slot = (slot + 3 * HOT_BUCKET) % hot_region.slot_count;
        hot_index_store(slot, reference);
        break;
    case 8: /* a second slot */
        for (unsigned i = 0; i < HOT_BUCKET; i++) {
            uint32_t other = hot_bucket_second(entry->hash) * HOT_BUCKET + i;
            if (hot_index_at(other) == 0) {
                hot_index_store(other, reference);
                break;
            }
        }
        break;
    case 9: /* another seed's hash, and all else right */
        entry->hash ^= UINT64_C(1) << 20;
        checksum_again(entry);
        break;
    case 10: /* a body beyond the entry, and a checksum to it */
        entry->bodies[1].length = entry->size;
        checksum_again(entry);
        break;
    case 11: /* the size of a dead entry before living ones */
        INVARIANT(hot_delete("events:850", 10));
        entry->size = 7;
        break;
    case 12: /* what the crash handler does, and the master does not know */
        region_distrust();
        break;
    default:
        ck_abort_msg("no such corruption");
    }
}

static void stay_silent(void)
{
    ck_assert(log_open("/dev/null"));
}

START_TEST(test_what_does_not_verify_is_not_believed)
{
    stay_silent();
    leave_a_cache();
    corrupt(_i);
    ck_assert_uint_eq(hot_open(false, NULL, NULL), 0);
    expect_nothing();
}
END_TEST

START_TEST(test_a_distrusted_cache_is_empty_for_everybody_at_once)
{
    leave_a_cache();
    ck_assert_int_eq(hot_rig_find("events:850"), 851);
    region_distrust();
    ck_assert_int_eq(hot_rig_find("events:850"), HOT_RIG_MISSING);
    ck_assert_uint_eq(hot_open(true, NULL, NULL), 0);
    expect_nothing();
}
END_TEST

START_TEST(test_who_crashes_distrusts_even_when_everything_verifies)
{
    leave_a_cache();
    ck_assert_uint_eq(hot_open(true, NULL, NULL), 0);
    expect_nothing();
}
END_TEST

START_TEST(test_a_wiped_cache_leaves_pinned_bytes_alone)
{
    hot_rig_begin(4, 1);
    ck_assert_int_eq(hot_rig_publish("events:1", 1, 6000), HOT_PUBLISHED);
    struct hot_view view;
    ck_assert_int_eq(hot_find("events:1", 8, hot_rig_now, 0, &view), HOT_FRESH);
    ck_assert_uint_eq(hot_open(true, NULL, NULL), 0);
    char key[30];
    for (unsigned i = 10; i < 2000; i++)
        ck_assert_int_eq(hot_rig_publish(key_of(key, i), 1, 6000), HOT_PUBLISHED);
    ck_assert(hot_rig_is_body(&view, "events:1", 1, 6000));
    hot_release();
}
END_TEST

/* As the writer makes it: of everything behind it. */
#define XXH_INLINE_ALL
#include <xxhash.h>
static void checksum_again(struct hot_entry_header *entry)
{
    entry->checksum = XXH3_64bits(&entry->size, entry->size - sizeof entry->checksum);
}

/* ---- time ---- */

START_TEST(test_finding_takes_nanoseconds)
{
    enum { ENTRIES = 2000, FINDS = 200000 };
    hot_rig_begin(64, 64);
    static char keys[ENTRIES][60];
    for (unsigned i = 0; i < ENTRIES; i++) {
        snprintf(keys[i], sizeof keys[i], "events:01890a5d-ac96-774b-bcce-b302099a%04x", i);
        ck_assert_int_eq(hot_rig_publish(keys[i], 1, 8000), HOT_PUBLISHED);
    }
    int64_t best[2] = {INT64_MAX, INT64_MAX};
    for (int round = 0; round < 10; round++)
        for (int spread = 0; spread < 2; spread++) {
            int64_t from = clock_monotonic();
            for (unsigned i = 0; i < FINDS; i++) {
                struct hot_view view;
                const char *key = keys[spread ? i * 7919 % ENTRIES : 0];
                if (hot_find(key, 43, hot_rig_now, 0, &view) != HOT_FRESH)
                    ck_abort_msg("it was there");
                hot_release();
            }
            int64_t took = clock_monotonic() - from;
            best[spread] = took < best[spread] ? took : best[spread];
        }
    printf("finding: %.1f ns for one key, %.1f ns over %d keys\n", (double)best[0] * 1000 / FINDS,
           (double)best[1] * 1000 / FINDS, ENTRIES);
    int64_t from = clock_monotonic();
    ck_assert_uint_eq(hot_open(false, NULL, NULL), ENTRIES);
    printf("verifying %d entries: %.1f ms\n", ENTRIES, (double)(clock_monotonic() - from) / 1000);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hot deaths");
    TCase *cases = tcase_create("hot deaths");
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, test_a_worker_that_writes_elsewhere_dies);
    tcase_add_test(cases, test_other_processes_have_nothing_of_it);
    tcase_add_test(cases, test_its_size_is_sealed_and_its_memory_is_there);
    tcase_add_test(cases, test_more_than_there_is_memory_is_refused_in_words);
    tcase_add_test(cases, test_no_two_processes_write_to_one_cache_line);
    tcase_add_test(cases, test_a_successor_keeps_what_was_published_and_goes_on);
    tcase_add_test(cases, test_of_a_publish_that_was_cut_off_nothing_is_seen);
    tcase_add_test(cases, test_a_floor_that_was_cut_off_is_never_too_low);
    tcase_add_test(cases, test_an_old_generation_that_was_not_put_away_is_dropped);
    tcase_add_loop_test(cases, test_what_does_not_verify_is_not_believed, 0, 13);
    tcase_add_test(cases, test_a_distrusted_cache_is_empty_for_everybody_at_once);
    tcase_add_test(cases, test_who_crashes_distrusts_even_when_everything_verifies);
    tcase_add_test(cases, test_a_wiped_cache_leaves_pinned_bytes_alone);
    tcase_add_test(cases, test_finding_takes_nanoseconds);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
