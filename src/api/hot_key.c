/* hot_key: the keys of the hot cache. Worker and refresher; pure functions. A key is only ever the text that these
 * functions make: whoever reads one makes it again and compares. */
#include "api/hot_key.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

#define LIST_PREFIX "events:list:"

static bool is_category(const char *text, size_t length)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-_";
    return length < sizeof((struct hot_key *)NULL)->category && strspn(text, letters) >= length;
}

/* Drafts are their organizers' alone. */
static bool is_public_status(const char *text)
{
    return strcmp(text, LIST_STATUS_DEFAULT) == 0 || strcmp(text, "completed") == 0 || strcmp(text, "cancelled") == 0;
}

static bool is_role(const char *text)
{
    return strcmp(text, "participant") == 0 || strcmp(text, "organizer") == 0 || strcmp(text, "admin") == 0;
}

/* Texts are put together by hand: each hit makes one, and printf would be a good part of what it costs. `text` holds
 * the longest that there can be: 12 + 50 + 1 + 15 + 1 + 3 + 1 + 20 + 1 + 36 bytes. */
static void end_text(struct hot_key *key, const char *end)
{
    key->length = (size_t)(end - key->text);
    INVARIANT(key->length <= HOT_KEY_MAX);
}

static char *put_limit(char *to, int64_t limit)
{
    if (limit >= 100)
        *to++ = (char)('0' + limit / 100);
    if (limit >= 10)
        *to++ = (char)('0' + limit / 10 % 10);
    *to++ = (char)('0' + limit % 10);
    return to;
}

bool hot_key_list(struct hot_key *key, const char *category, const char *status, int64_t limit, int64_t after_place,
                  const char *after_id)
{
    category = category == NULL ? "" : category;
    status = status == NULL ? LIST_STATUS_DEFAULT : status;
    if (!is_category(category, strlen(category)) || !is_public_status(status) || limit < 1 || limit > PAGE_LIMIT_MOST)
        return false;
    *key = (struct hot_key){.pattern = HOT_PATTERN_LIST, .limit = limit, .first_page = after_id == NULL};
    memcpy(key->category, category, strlen(category) + 1);
    memcpy(key->status, status, strlen(status) + 1);
    char *to = stpcpy(stpcpy(key->text, LIST_PREFIX), category);
    *to++ = ':';
    to = stpcpy(to, status);
    *to++ = ':';
    to = put_limit(to, limit);
    *to++ = ':';
    if (after_id != NULL) {
        INVARIANT(strlen(after_id) == UUID_TEXT_SIZE - 1);
        key->after_place = after_place;
        memcpy(key->after_id, after_id, UUID_TEXT_SIZE);
        to += snprintf(to, sizeof key->text - (size_t)(to - key->text), "%" PRId64 ".%s", after_place, after_id);
    }
    *to = '\0';
    end_text(key, to);
    return true;
}

void hot_key_of(struct hot_key *key, enum hot_pattern pattern, const char *id, const char *role)
{
    static const char *const prefixes[HOT_PATTERN_COUNT] = {[HOT_PATTERN_EVENT] = "events",
                                                            [HOT_PATTERN_STATS] = "stats",
                                                            [HOT_PATTERN_USER] = "users",
                                                            [HOT_PATTERN_CALENDAR] = "calendars"};
    INVARIANT(prefixes[pattern] != NULL && strlen(id) == UUID_TEXT_SIZE - 1);
    INVARIANT(role == NULL || (pattern == HOT_PATTERN_USER && is_role(role)));
    *key = (struct hot_key){.pattern = pattern};
    memcpy(key->id, id, UUID_TEXT_SIZE);
    if (role != NULL)
        memcpy(key->role, role, strlen(role) + 1);
    char *to = stpcpy(key->text, prefixes[pattern]);
    *to++ = ':';
    to = stpcpy(to, id);
    if (role != NULL) {
        *to++ = ':';
        to = stpcpy(to, role);
    }
    end_text(key, to);
}

/* Cuts the text before the next `end`; NULL: there is none. */
static char *cut(char **rest, char end)
{
    char *part = *rest;
    char *found = strchr(part, end);
    if (found == NULL)
        return NULL;
    *found = '\0';
    *rest = found + 1;
    return part;
}

static bool is_id(const char *text, char id[UUID_TEXT_SIZE])
{
    return uuid_parse(text, strlen(text), id);
}

static bool parse_list(struct hot_key *key, char *rest)
{
    const char *category = cut(&rest, ':');
    const char *status = category == NULL ? NULL : cut(&rest, ':');
    const char *limit_text = status == NULL ? NULL : cut(&rest, ':');
    int64_t limit;
    int64_t place = 0;
    char id[UUID_TEXT_SIZE];
    if (limit_text == NULL || !text_parse_int64(limit_text, 1, PAGE_LIMIT_MOST, &limit))
        return false;
    if (*rest == '\0')
        return hot_key_list(key, category, status, limit, 0, NULL);
    const char *place_text = cut(&rest, '.');
    return place_text != NULL && text_parse_int64(place_text, INT64_MIN, INT64_MAX, &place) && is_id(rest, id) &&
           hot_key_list(key, category, status, limit, place, id);
}

static bool parse_one(struct hot_key *key, enum hot_pattern pattern, char *rest)
{
    char id[UUID_TEXT_SIZE];
    char *role = pattern == HOT_PATTERN_USER ? strchr(rest, ':') : NULL;
    if (role != NULL)
        *role++ = '\0';
    if (!is_id(rest, id) || (role != NULL && !is_role(role)))
        return false;
    hot_key_of(key, pattern, id, role);
    return true;
}

static bool parse_text(struct hot_key *key, char *text)
{
    if (strncmp(text, LIST_PREFIX, sizeof LIST_PREFIX - 1) == 0)
        return parse_list(key, text + sizeof LIST_PREFIX - 1);
    char *rest = text;
    const char *prefix = cut(&rest, ':');
    if (prefix == NULL)
        return false;
    if (strcmp(prefix, "events") == 0)
        return parse_one(key, HOT_PATTERN_EVENT, rest);
    if (strcmp(prefix, "stats") == 0)
        return parse_one(key, HOT_PATTERN_STATS, rest);
    if (strcmp(prefix, "calendars") == 0)
        return parse_one(key, HOT_PATTERN_CALENDAR, rest);
    return strcmp(prefix, "users") == 0 && parse_one(key, HOT_PATTERN_USER, rest);
}

bool hot_key_parse(struct hot_key *key, const char *text, size_t length)
{
    char copy[HOT_KEY_MAX + 1];
    if (length > HOT_KEY_MAX || memchr(text, '\0', length) != NULL)
        return false;
    memcpy(copy, text, length);
    copy[length] = '\0';
    /* another spelling of the same thing would be another key */
    return parse_text(key, copy) && key->length == length && memcmp(key->text, text, length) == 0;
}
