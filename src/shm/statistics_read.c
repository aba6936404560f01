/* statistics_read: the reading side. Worker process. Cells are read one by one while others write: each is a whole
 * number that was true at some moment of the read, counters never go back, and what belongs together (the buckets of a
 * histogram and its count) comes from the same reads. */
#include "shm/statistics_read.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>

#include "config.h"
#include "shm/statistics_page.h"

#define PREFIX "turnout_"

#define LABEL_TEXT(symbol, text) text,
#define DIMENSION_TEXTS(symbol) static const char *const texts_##symbol[] = {STATISTICS_##symbol##_LABELS(LABEL_TEXT)};
STATISTICS_DIMENSION_LIST(DIMENSION_TEXTS)
#undef DIMENSION_TEXTS
#undef LABEL_TEXT

static const char *texts_ROUTE[STATISTICS_ROUTES_MAX]; /* NULL: a route that there is not */

/* Of each family. */
static const struct {
    const char *const *first;
    const char *const *second;
} texts[STATISTICS_FAMILY_COUNT] = {
#define FAMILY_TEXTS(symbol, kind, unit, name, first_, second_, help) \
    [STATISTICS_##symbol] = {.first = texts_##first_, .second = texts_##second_},
    STATISTICS_FAMILY_LIST(FAMILY_TEXTS)
#undef FAMILY_TEXTS
};

void statistics_set_routes(const char *const *labels, size_t count)
{
    INVARIANT(count <= STATISTICS_ROUTES_MAX);
    for (size_t i = 0; i < STATISTICS_ROUTES_MAX; i++)
        texts_ROUTE[i] = i < count ? labels[i] : NULL;
}

/* Adds up the cells of a family. A gauge counts while its page belongs to the process that the master knows: not that
 * of a dead one, and not before its successor has cleared it. */
static void add_up(const struct statistics_line *line, int64_t *sums)
{
    size_t count = (size_t)line->first * line->second * line->width;
    for (size_t i = 0; i < count; i++)
        sums[i] = 0;
    const struct statistics_memory *memory = statistics_memory;
    int64_t slots = memory == NULL ? 0 : atomic_load_explicit(&memory->roll.slots, memory_order_acquire);
    for (int64_t slot = 0; slot < slots; slot++) {
        const struct statistics_page *page = &memory->pages[slot];
        int64_t holder = atomic_load_explicit(&page->holder, memory_order_acquire);
        bool lives = holder == atomic_load_explicit(&memory->roll.holders[slot], memory_order_acquire);
        if (holder == 0 || (line->kind == STATISTICS_GAUGE && !lives))
            continue;
        for (size_t i = 0; i < count; i++) {
            int64_t value = atomic_load_explicit(&page->cells[line->place + i], memory_order_relaxed);
            if (line->kind != STATISTICS_LATEST)
                sums[i] += value;
            else if (value > sums[i])
                sums[i] = value;
        }
    }
}

int64_t statistics_total(enum statistics_family family, unsigned first, unsigned second)
{
    const struct statistics_line *line = &statistics_lines[family];
    INVARIANT(first < line->first && second < line->second);
    static int64_t sums[STATISTICS_CELLS];
    add_up(line, sums);
    return sums[(first * line->second + second) * line->width];
}

/* Microseconds as seconds, exactly and without a zero too many. */
static void put_value(struct buffer *text, enum statistics_unit unit, int64_t value)
{
    if (unit == STATISTICS_NUMBER) {
        buffer_printf(text, "%" PRId64, value);
        return;
    }
    char digits[32];
    int length = snprintf(digits, sizeof digits, "%" PRId64 ".%06d", value / 1000000, (int)(value % 1000000));
    while (digits[length - 1] == '0')
        length--;
    length -= digits[length - 1] == '.';
    buffer_append(text, digits, (size_t)length);
}

/* "{first,second,more}", or nothing. */
static void put_labels(struct buffer *text, const char *first, const char *second, const char *more)
{
    const char *const parts[] = {first, second, more};
    bool any = false;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (parts[i][0] == '\0')
            continue;
        buffer_append_text(text, any ? "," : "{");
        buffer_append_text(text, parts[i]);
        any = true;
    }
    buffer_append_text(text, any ? "} " : " ");
}

static void put_histogram(struct buffer *text, const struct statistics_line *line, const char *labels,
                          const int64_t *cells)
{
    int64_t count = 0;
    for (unsigned i = 0; i <= STATISTICS_LIMIT_COUNT; i++) {
        char limit[48] = "le=\"+Inf\"";
        count += cells[i];
        if (i < STATISTICS_LIMIT_COUNT)
            snprintf(limit, sizeof limit, "le=\"%g\"", (double)statistics_limits[i] / 1e6);
        buffer_printf(text, PREFIX "%s_bucket", line->name);
        put_labels(text, labels, "", limit);
        buffer_printf(text, "%" PRId64 "\n", count);
    }
    buffer_printf(text, PREFIX "%s_sum", line->name);
    put_labels(text, labels, "", "");
    put_value(text, line->unit, cells[STATISTICS_SUM_AT]);
    buffer_printf(text, "\n" PREFIX "%s_count", line->name);
    put_labels(text, labels, "", "");
    buffer_printf(text, "%" PRId64 "\n", count);
}

static bool is_empty(const int64_t *cells, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (cells[i] != 0)
            return false;
    }
    return true;
}

static void put_family(struct buffer *text, enum statistics_family family, const int64_t *sums)
{
    const struct statistics_line *line = &statistics_lines[family];
    const char *const *first = texts[family].first;
    const char *const *second = texts[family].second;
    /* of routes only what has happened is told: most codes of most routes never do */
    bool all = first != texts_ROUTE;
    for (size_t i = 0; i < line->first; i++) {
        for (size_t j = 0; j < line->second; j++) {
            const int64_t *cells = &sums[(i * line->second + j) * line->width];
            if (first[i] == NULL || (!all && is_empty(cells, line->width)))
                continue;
            if (line->kind == STATISTICS_HISTOGRAM) {
                put_histogram(text, line, first[i], cells);
                continue;
            }
            buffer_printf(text, PREFIX "%s", line->name);
            put_labels(text, first[i], second[j], "");
            put_value(text, line->unit, cells[0]);
            buffer_append_text(text, "\n");
        }
    }
}

void statistics_write(struct buffer *text)
{
    static const char *const types[] = {[STATISTICS_COUNTER] = "counter",
                                        [STATISTICS_GAUGE] = "gauge",
                                        [STATISTICS_LATEST] = "gauge",
                                        [STATISTICS_HISTOGRAM] = "histogram"};
    static int64_t sums[STATISTICS_CELLS];
    for (unsigned family = 0; family < STATISTICS_FAMILY_COUNT; family++) {
        const struct statistics_line *line = &statistics_lines[family];
        add_up(line, sums);
        buffer_printf(text, "# HELP " PREFIX "%s %s\n# TYPE " PREFIX "%s %s\n", line->name, line->help, line->name,
                      types[line->kind]);
        put_family(text, family, sums);
    }
}
