/* control_cache: the hot cache as turnoutctl shows it: figures from the pages of the statistics, entries as the
 * refresher tells them. Master. */
#include "master/control_cache.h"

#include <string.h>

#include "base/clock.h"
#include "shm/statistics_read.h"

static int64_t of_pattern(enum statistics_family family, unsigned pattern)
{
    return statistics_total(family, pattern, LABEL_NONE_ONE);
}

static int64_t fills(unsigned pattern)
{
    int64_t sum = 0;
    for (unsigned source = 0; source < LABEL_SOURCE_COUNT; source++)
        sum += statistics_total(STATISTICS_CACHE_FILLS, pattern, source);
    return sum;
}

/* 0: there is no such moment. */
static const char *moment(int64_t realtime, char text[28])
{
    if (realtime == 0)
        return NULL;
    clock_rfc3339(realtime, text);
    return text;
}

static void add_pattern(struct protocol_reply *reply, const char *name, unsigned pattern)
{
    char text[28];
    protocol_reply_text(reply, name);
    protocol_reply_int(reply, of_pattern(STATISTICS_CACHE_ENTRIES, pattern));
    protocol_reply_int(reply, of_pattern(STATISTICS_CACHE_BYTES, pattern));
    protocol_reply_int(reply, of_pattern(STATISTICS_CACHE_HITS, pattern));
    protocol_reply_int(reply, of_pattern(STATISTICS_CACHE_MISSES, pattern));
    protocol_reply_int(reply, fills(pattern));
    protocol_reply_int(reply, of_pattern(STATISTICS_CACHE_STALE, pattern));
    protocol_reply_int(reply, of_pattern(STATISTICS_CACHE_EVICTIONS, pattern));
    protocol_reply_text(reply, moment(of_pattern(STATISTICS_CACHE_OLDEST, pattern), text));
}

void control_cache_show(struct protocol_reply *reply)
{
    static const char *const columns[] = {"pattern", "entries", "bytes",     "hits",   "misses",
                                          "fills",   "stale",   "evictions", "oldest", NULL};
    static const char *const names[] = {[LABEL_PATTERN_LIST] = "events:list",
                                        [LABEL_PATTERN_EVENT] = "events",
                                        [LABEL_PATTERN_STATS] = "stats",
                                        [LABEL_PATTERN_USER] = "users",
                                        [LABEL_PATTERN_CALENDAR] = "calendars"};
    char text[28];
    protocol_reply_begin(reply, columns);
    for (unsigned pattern = 0; pattern < LABEL_PATTERN_COUNT; pattern++)
        add_pattern(reply, names[pattern], pattern);
    static const char *const segments[] = {[LABEL_SEGMENT_FREE] = "segments_free",
                                           [LABEL_SEGMENT_OPEN] = "segments_open",
                                           [LABEL_SEGMENT_SEALED] = "segments_sealed"};
    for (unsigned state = 0; state < LABEL_SEGMENT_COUNT; state++)
        protocol_reply_fact_int(reply, segments[state],
                                statistics_total(STATISTICS_CACHE_SEGMENTS, state, LABEL_NONE_ONE));
    protocol_reply_fact_int(reply, "pins", statistics_total(STATISTICS_CACHE_PINS, LABEL_NONE_ONE, LABEL_NONE_ONE));
    int64_t generation = statistics_total(STATISTICS_CACHE_GENERATION, LABEL_NONE_ONE, LABEL_NONE_ONE);
    protocol_reply_fact_int(reply, "generation", generation);
    const char *coherent = moment(statistics_total(STATISTICS_CACHE_COHERENT, LABEL_NONE_ONE, LABEL_NONE_ONE), text);
    protocol_reply_fact_text(reply, "coherent_since", coherent, coherent == NULL ? 0 : strlen(coherent));
}

void control_cache_entry(struct protocol_reply *reply, const char *text, size_t length)
{
    protocol_reply_begin(reply, NULL);
    const char *end = text + length;
    while (text < end && *text != '\n') {
        const char *line_end = memchr(text, '\n', (size_t)(end - text));
        const char *colon = memchr(text, ':', (size_t)(end - text));
        char name[64];
        if (line_end == NULL || colon == NULL || colon + 2 > line_end || (size_t)(colon - text) >= sizeof name)
            break;
        memcpy(name, text, (size_t)(colon - text));
        name[colon - text] = '\0';
        protocol_reply_fact_text(reply, name, colon + 2, (size_t)(line_end - colon - 2));
        text = line_end + 1;
    }
    if (text < end)
        protocol_reply_fact_text(reply, "body", text + 1, (size_t)(end - text - 1));
}
