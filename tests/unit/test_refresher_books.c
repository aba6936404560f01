/* What the refresher remembers: which changes show on which pages, when what is due, which reads are done with, and the
 * bytes of pages and their variants. */
#include <brotli/decode.h>
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "identity/cursor.h"
#include "refresher/bodies.h"
#include "refresher/coherence.h"
#include "refresher/directory.h"
#include "refresher/page.h"
#include "refresher/schedule.h"

#define MEETUP "meetup"
#define PUBLISHED "published"

static const char *id_text(int number)
{
    static char text[UUID_TEXT_SIZE];
    snprintf(text, sizeof text, "00000000-0000-7000-8000-%012d", number);
    return text;
}

static struct place place_of(int number)
{
    struct place place = {.start = number * INT64_C(1000)};
    uuid_to_bytes(id_text(number), place.id);
    return place;
}

/* A page that shows events `from` to `to`, behind the one before; with a next page unless it is the last. */
static struct item *add_page(const char *category, int from, int to, bool endless)
{
    struct hot_key key;
    struct place last = place_of(to);
    unsigned char ids[DIRECTORY_IDS_MAX][DIRECTORY_ID_SIZE];
    for (int i = from; i <= to; i++)
        uuid_to_bytes(id_text(i), ids[i - from]);
    ck_assert(
        hot_key_list(&key, category, PUBLISHED, 10, (from - 1) * INT64_C(1000), from == 1 ? NULL : id_text(from - 1)));
    struct item *item = directory_add(&key);
    directory_set_page(item, endless, &last, (const unsigned char *)ids, (size_t)(to - from + 1));
    return item;
}

static struct event_change change_of(int number, bool was, bool is)
{
    struct event_change change = {.start_before = number * INT64_C(1000), .start_after = number * INT64_C(1000)};
    uuid_to_bytes(id_text(number), change.id);
    if (was) {
        change.category_before = MEETUP;
        change.status_before = PUBLISHED;
    }
    if (is) {
        change.category_after = MEETUP;
        change.status_after = PUBLISHED;
    }
    return change;
}

/* Both ways of asking say the same, but for pages that are touched only because one of them ends last. */
static bool touches(const struct event_change *change, const struct item *item)
{
    struct item **found;
    size_t count = directory_pages_touched(change, &found);
    for (size_t i = 0; i < count; i++) {
        if (found[i] == item) {
            ck_assert(directory_page_touched(item, change));
            return true;
        }
    }
    return false;
}

START_TEST(test_an_event_shows_on_the_pages_that_cover_its_place)
{
    struct item *first = add_page("", 1, 10, false);
    struct item *second = add_page("", 11, 20, true);
    struct item *category = add_page(MEETUP, 1, 20, true);
    struct item *other = add_page("sports", 1, 20, true);
    struct event_change published = change_of(5, false, true);
    published.start_after += 500;

    ck_assert(touches(&published, first));
    ck_assert(touches(&published, category));
    ck_assert(!touches(&published, second));
    /* pages of another category show it only because they hold the id in this test; it goes there, too */
    ck_assert(touches(&published, other));
    uuid_to_bytes(id_text(777), published.id);
    ck_assert(!touches(&published, other));

    struct event_change behind = change_of(99, false, true);
    ck_assert(touches(&behind, second));
    ck_assert(touches(&behind, category));
    ck_assert(!touches(&behind, first));
}
END_TEST

START_TEST(test_a_move_shows_where_it_was_and_where_it_is)
{
    struct item *first = add_page("", 1, 10, false);
    struct item *second = add_page("", 11, 20, false);
    struct item *third = add_page("", 21, 30, true);
    struct event_change moved = change_of(5, true, true);
    moved.start_after = 25500;
    ck_assert(touches(&moved, first));
    ck_assert(!touches(&moved, second));
    ck_assert(touches(&moved, third));
}
END_TEST

START_TEST(test_the_page_before_hears_that_its_next_page_is_empty)
{
    struct item *first = add_page("", 1, 10, false);
    struct item *second = add_page("", 11, 20, false);
    struct event_change last = change_of(21, true, false);
    ck_assert(touches(&last, second)); /* 21 may have been all that followed */
    ck_assert(!touches(&last, first)); /* 20 follows it */
    struct event_change added = change_of(21, false, true);
    ck_assert(!touches(&added, second));
}
END_TEST

START_TEST(test_counts_show_on_pages_that_hold_the_event)
{
    struct item **found;
    struct item *first = add_page("", 1, 10, false);
    struct item *second = add_page("", 11, 20, true);
    struct event_change change = change_of(15, false, false);
    ck_assert_uint_eq(directory_pages_showing(change.id, &found), 1);
    ck_assert_ptr_eq(found[0], second);
    ck_assert(directory_page_shows(second, change.id));
    ck_assert(!directory_page_shows(first, change.id));

    /* the next rendering shows others */
    struct place last = place_of(14);
    unsigned char id[DIRECTORY_ID_SIZE];
    uuid_to_bytes(id_text(14), id);
    directory_set_page(second, false, &last, id, 1);
    ck_assert_uint_eq(directory_pages_showing(change.id, &found), 0);
    directory_remove(second);
    uuid_to_bytes(id_text(14), change.id);
    ck_assert_uint_eq(directory_pages_showing(change.id, &found), 0);
    ck_assert_uint_eq(directory_count(), 1);
}
END_TEST

START_TEST(test_a_page_that_was_never_rendered_is_touched_by_nothing)
{
    struct hot_key key;
    struct event_change change = change_of(1, true, true);
    ck_assert(hot_key_list(&key, "", PUBLISHED, 10, 0, NULL));
    struct item *item = directory_add(&key);
    ck_assert_ptr_eq(directory_add(&key), item);
    ck_assert_ptr_eq(directory_find(key.text, key.length), item);
    ck_assert(!touches(&change, item));
}
END_TEST

static struct item *add_event(int number, int64_t due)
{
    struct hot_key key;
    hot_key_of(&key, HOT_PATTERN_EVENT, id_text(number), NULL);
    struct item *item = directory_add(&key);
    schedule_put(item, due);
    return item;
}

START_TEST(test_what_is_due_first_comes_first)
{
    enum { COUNT = 500 };
    struct item *items[COUNT];
    int64_t last = INT64_MIN;
    srandom(7);
    for (int i = 0; i < COUNT; i++)
        items[i] = add_event(i, random() % 1000);
    for (int i = 0; i < COUNT; i += 3)
        schedule_put(items[i], random() % 1000);
    for (int i = 0; i < COUNT; i += 5)
        schedule_drop(items[i]);
    size_t left = 0;
    for (struct item *item; (item = schedule_first()) != NULL; left++) {
        ck_assert_int_ge(item->due, last);
        last = item->due;
        schedule_drop(item);
        schedule_drop(item); /* not in it any more: nothing happens */
    }
    ck_assert_uint_eq(left, COUNT - COUNT / 5);
}
END_TEST

START_TEST(test_the_first_change_is_rendered_at_once_and_the_next_after_a_pause)
{
    ck_assert_int_eq(schedule_due(HOT_PATTERN_EVENT, 0, 1000000), 1000000);
    ck_assert_int_eq(schedule_due(HOT_PATTERN_EVENT, 990000, 1000000), 1040000);
    ck_assert_int_eq(schedule_due(HOT_PATTERN_STATS, 990000, 1000000), 1240000);
    ck_assert_int_eq(schedule_due(HOT_PATTERN_EVENT, 900000, 1000000), 1000000);
}
END_TEST

START_TEST(test_a_read_is_done_with_when_nobody_holds_it_or_one_before)
{
    struct coherence_point point;
    uint64_t first = coherence_add(100, "a");
    coherence_hold(first);
    coherence_hold(first);
    ck_assert(!coherence_advance(&point));
    uint64_t second = coherence_add(200, "b");
    uint64_t third = coherence_add(300, "c");
    coherence_hold(third);
    ck_assert(!coherence_advance(&point));
    coherence_release(first);
    ck_assert(!coherence_advance(&point));
    coherence_release(first);
    ck_assert(coherence_advance(&point));
    ck_assert_int_eq(point.sent_at, 200);
    ck_assert_str_eq(point.cursor, "b");
    ck_assert_uint_lt(second, third);
    ck_assert(!coherence_advance(&point));
    coherence_release(third);
    ck_assert(coherence_advance(&point));
    ck_assert_int_eq(point.sent_at, 300);
    ck_assert_uint_eq(coherence_outstanding(), 0);
}
END_TEST

START_TEST(test_more_reads_than_are_kept_apart_are_done_with_together)
{
    struct coherence_point point;
    char cursor[16];
    uint64_t first = coherence_add(1, "first");
    uint64_t last = first;
    coherence_hold(first);
    for (int i = 2; i <= 1000; i++) {
        snprintf(cursor, sizeof cursor, "%d", i);
        last = coherence_add(i, cursor);
        coherence_hold(last);
    }
    for (uint64_t number = first; number < last; number++)
        coherence_release(number);
    ck_assert(coherence_advance(&point));
    ck_assert_int_lt(point.sent_at, 1000);
    for (size_t holders = 1000 - (size_t)(last - first); holders > 0; holders--) {
        ck_assert(!coherence_advance(&point));
        coherence_release(last);
    }
    ck_assert(coherence_advance(&point));
    ck_assert_int_eq(point.sent_at, 1000);
    ck_assert_str_eq(point.cursor, "1000");
}
END_TEST

static void make_content(struct page_content *content, int count, bool endless)
{
    *content = (struct page_content){.endless = endless, .last = place_of(count), .count = (size_t)count};
    for (int i = 0; i < count; i++)
        uuid_to_bytes(id_text(i + 1), content->ids[i]);
}

START_TEST(test_what_an_entry_keeps_of_a_page_comes_back)
{
    struct page_content content, back;
    unsigned char meta[PAGE_META_MAX];
    for (int count = 0; count <= DIRECTORY_IDS_MAX; count += 50) {
        make_content(&content, count, count == 50);
        size_t length = page_meta_write(&content, meta);
        ck_assert_uint_le(length, sizeof meta);
        ck_assert(page_meta_read(meta, length, &back));
        ck_assert_uint_eq(back.count, content.count);
        ck_assert_int_eq(back.endless, content.endless);
        ck_assert_int_eq(place_compare(&back.last, &content.last), 0);
        ck_assert_mem_eq(back.ids, content.ids, content.count * DIRECTORY_ID_SIZE);
        ck_assert(!page_meta_read(meta, length - 1, &back));
        meta[0]++;
        ck_assert(!page_meta_read(meta, length, &back));
    }
}
END_TEST

START_TEST(test_the_ids_of_an_array_are_read_and_nothing_else_is)
{
    struct page_content content;
    char two[80];
    snprintf(two, sizeof two, "{%s,", id_text(1));
    snprintf(two + strlen(two), sizeof two - strlen(two), "%s}", id_text(2));
    ck_assert(page_ids_read(two, &content));
    ck_assert_uint_eq(content.count, 2);
    ck_assert(page_ids_read("{}", &content));
    ck_assert_uint_eq(content.count, 0);
    static const char *const wrong[] = {
        "", "{", "}", "{x}", "{00000000-0000-7000-8000-000000000001", "{00000000-0000-7000-8000-000000000001,}", "{}x"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        ck_assert_msg(!page_ids_read(wrong[i], &content), "%s", wrong[i]);
}
END_TEST

/* The cursor between these two texts. */
static const char *cursor_in(const char *text, const char *before, char cursor[CURSOR_TEXT_MAX])
{
    const char *at = strstr(text, before);
    ck_assert_ptr_nonnull(at);
    size_t length = strspn(at + strlen(before), "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");
    memcpy(cursor, at + strlen(before), length);
    cursor[length] = '\0';
    return cursor;
}

START_TEST(test_a_page_names_the_next_one_by_a_cursor_of_its_list)
{
    struct page_content content;
    struct buffer body = {0}, link = {0};
    struct hot_key key;
    struct cursor cursor;
    char text[CURSOR_TEXT_MAX];
    cursor_set_key("0123456789abcdef0123456789abcdef", 32);
    make_content(&content, 3, false);
    ck_assert(hot_key_list(&key, MEETUP, PUBLISHED, 3, 0, NULL));
    page_body(&key, &content, "[1,2,3]", 7, &body);
    page_link(&key, &content, &link);
    ck_assert_int_eq(strncmp(buffer_text(&body), "{\"events\":[1,2,3],\"next_cursor\":\"", 33), 0);
    ck_assert(
        cursor_verify(cursor_in(buffer_text(&body), "next_cursor\":\"", text), "events|7:meetup|0:|0:|0:|0:", &cursor));
    ck_assert_int_eq(cursor.place, 3000);
    ck_assert_str_eq(cursor.id, id_text(3));
    ck_assert_int_eq(strncmp(buffer_text(&link), "Link: </api/events?category=meetup&limit=3&cursor=", 50), 0);

    struct buffer cancelled = {0};
    ck_assert(hot_key_list(&key, NULL, "cancelled", 50, 0, NULL));
    page_body(&key, &content, "[]", 2, &cancelled);
    page_link(&key, &content, &cancelled);
    ck_assert(cursor_verify(cursor_in(buffer_text(&cancelled), "/api/events?status=cancelled&cursor=", text),
                            "events|0:|10:cancelled|0:|0:|0:", &cursor));

    struct buffer last = {0};
    content.endless = true;
    page_body(&key, &content, "[]", 2, &last);
    page_link(&key, &content, &last);
    ck_assert_str_eq(buffer_text(&last), "{\"events\":[],\"next_cursor\":null}");
    buffer_free(&body);
    buffer_free(&link);
    buffer_free(&cancelled);
    buffer_free(&last);
}
END_TEST

static void assert_line(const struct hot_body *body, const char *line)
{
    char lines[512];
    ck_assert_uint_lt(body->lines_length, sizeof lines);
    memcpy(lines, body->lines, body->lines_length);
    lines[body->lines_length] = '\0';
    ck_assert_msg(strstr(lines, line) != NULL, "%s is not in %s", line, lines);
}

START_TEST(test_variants_unpack_to_the_body_and_say_what_they_are)
{
    struct hot_body bodies[HOT_ENCODING_COUNT];
    char body[20000], back[20000];
    for (size_t i = 0; i < sizeof body; i++)
        body[i] = "{\"title\":\"an event\",\"venue\":\"here\"}"[i % 34];
    bodies_make(body, sizeof body, "application/json", "3.120.4", "Link: <x>\r\n", bodies);

    z_stream stream = {.next_in = (Bytef *)(uintptr_t)bodies[HOT_GZIP].bytes,
                       .avail_in = (uInt)bodies[HOT_GZIP].length,
                       .next_out = (Bytef *)back,
                       .avail_out = sizeof back};
    ck_assert_int_eq(inflateInit2(&stream, 15 + 16), Z_OK);
    ck_assert_int_eq(inflate(&stream, Z_FINISH), Z_STREAM_END);
    ck_assert_uint_eq(stream.total_out, sizeof body);
    ck_assert_mem_eq(back, body, sizeof body);
    inflateEnd(&stream);

    size_t length = sizeof back;
    ck_assert_int_eq(BrotliDecoderDecompress(bodies[HOT_BROTLI].length, (const uint8_t *)bodies[HOT_BROTLI].bytes,
                                             &length, (uint8_t *)back),
                     BROTLI_DECODER_RESULT_SUCCESS);
    ck_assert_uint_eq(length, sizeof body);
    ck_assert_mem_eq(back, body, sizeof body);

    ck_assert_mem_eq(bodies[HOT_IDENTITY].bytes, body, sizeof body);
    assert_line(&bodies[HOT_IDENTITY], "ETag: \"3.120.4\"\r\n");
    assert_line(&bodies[HOT_IDENTITY], "Content-Length: 20000\r\n");
    assert_line(&bodies[HOT_GZIP], "ETag: \"3.120.4-gz\"\r\nLink: <x>\r\n");
    assert_line(&bodies[HOT_GZIP], "Content-Encoding: gzip\r\n");
    assert_line(&bodies[HOT_BROTLI], "ETag: \"3.120.4-br\"\r\n");
    assert_line(&bodies[HOT_BROTLI], "Content-Encoding: br\r\n");
    for (int i = 0; i < HOT_ENCODING_COUNT; i++) {
        ck_assert_uint_eq(bodies[i].lines_of_304, strlen("ETag: \"\"\r\nLink: <x>\r\n") + bodies[i].etag_length);
        ck_assert_int_eq(strncmp(bodies[i].etag, "3.120.4", 7), 0);
    }
}
END_TEST

START_TEST(test_variants_that_do_not_pay_are_left_out)
{
    struct hot_body bodies[HOT_ENCODING_COUNT];
    char noise[4000];
    bodies_make("{}", 2, "application/json", NULL, "", bodies);
    ck_assert_ptr_null(bodies[HOT_GZIP].bytes);
    ck_assert_ptr_null(bodies[HOT_BROTLI].bytes);
    ck_assert_uint_eq(bodies[HOT_IDENTITY].etag_length, 16);
    assert_line(&bodies[HOT_IDENTITY], "Content-Type: application/json\r\n");
    srandom(3);
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (char)random();
    bodies_make(noise, sizeof noise, "application/json", NULL, "", bodies);
    ck_assert_ptr_null(bodies[HOT_GZIP].bytes);
    ck_assert_ptr_null(bodies[HOT_BROTLI].bytes);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("refresher_books");
    TCase *tests = tcase_create("refresher_books");
    SRunner *runner;
    int failed;

    tcase_add_test(tests, test_an_event_shows_on_the_pages_that_cover_its_place);
    tcase_add_test(tests, test_a_move_shows_where_it_was_and_where_it_is);
    tcase_add_test(tests, test_the_page_before_hears_that_its_next_page_is_empty);
    tcase_add_test(tests, test_counts_show_on_pages_that_hold_the_event);
    tcase_add_test(tests, test_a_page_that_was_never_rendered_is_touched_by_nothing);
    tcase_add_test(tests, test_what_is_due_first_comes_first);
    tcase_add_test(tests, test_the_first_change_is_rendered_at_once_and_the_next_after_a_pause);
    tcase_add_test(tests, test_a_read_is_done_with_when_nobody_holds_it_or_one_before);
    tcase_add_test(tests, test_more_reads_than_are_kept_apart_are_done_with_together);
    tcase_add_test(tests, test_what_an_entry_keeps_of_a_page_comes_back);
    tcase_add_test(tests, test_the_ids_of_an_array_are_read_and_nothing_else_is);
    tcase_add_test(tests, test_a_page_names_the_next_one_by_a_cursor_of_its_list);
    tcase_add_test(tests, test_variants_unpack_to_the_body_and_say_what_they_are);
    tcase_add_test(tests, test_variants_that_do_not_pay_are_left_out);
    suite_add_tcase(suite, tests);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
