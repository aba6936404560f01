/* local_time: one table of the languages that dates are written out in. The C library's locales are not used: which of
 * them a host has is an accident, and setlocale is the whole process's. */
#include "mail/local_time.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

bool local_time_read(const char *clock, const char *offset, struct local_time *time)
{
    struct tm parts = {0};
    const char *rest = strptime(clock, "%Y-%m-%dT%H:%M:%S", &parts);
    if (rest == NULL || (*rest != '\0' && *rest != '.') || strlen(offset) != sizeof "+00:00" - 1 ||
        (offset[0] != '+' && offset[0] != '-') || offset[3] != ':' || !isdigit((unsigned char)offset[1]) ||
        !isdigit((unsigned char)offset[2]) || !isdigit((unsigned char)offset[4]) || !isdigit((unsigned char)offset[5]))
        return false;
    struct tm normal = parts;
    (void)timegm(&normal); /* fills in the weekday, and makes another day of one that does not exist */
    if (normal.tm_mday != parts.tm_mday || normal.tm_mon != parts.tm_mon)
        return false;
    *time = (struct local_time){
        .year = normal.tm_year + 1900,
        .month = normal.tm_mon + 1,
        .day = normal.tm_mday,
        .weekday = normal.tm_wday,
        .hour = normal.tm_hour,
        .minute = normal.tm_min,
    };
    snprintf(time->offset, sizeof time->offset, "%s", offset);
    return true;
}

/* ---- English ---- */

static const char *const english_months[] = {"January", "February", "March",     "April",   "May",      "June",
                                             "July",    "August",   "September", "October", "November", "December"};
static const char *const english_days[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                           "Thursday", "Friday", "Saturday"};

static void english_date(const struct local_time *time, struct buffer *to)
{
    buffer_printf(to, "%s, %d %s %d", english_days[time->weekday], time->day, english_months[time->month - 1],
                  time->year);
}

static void american_date(const struct local_time *time, struct buffer *to)
{
    buffer_printf(to, "%s, %s %d, %d", english_days[time->weekday], english_months[time->month - 1], time->day,
                  time->year);
}

static void american_clock(const struct local_time *time, struct buffer *to)
{
    buffer_printf(to, "%d:%02d %s", time->hour % 12 == 0 ? 12 : time->hour % 12, time->minute,
                  time->hour < 12 ? "AM" : "PM");
}

/* ---- Japanese ---- */

static void japanese_date(const struct local_time *time, struct buffer *to)
{
    static const char *const days[] = {"日", "月", "火", "水", "木", "金", "土"};
    buffer_printf(to, "%d年%d月%d日(%s)", time->year, time->month, time->day, days[time->weekday]);
}

/* ---- numbers alone ---- */

static void plain_date(const struct local_time *time, struct buffer *to)
{
    buffer_printf(to, "%04d-%02d-%02d", time->year, time->month, time->day);
}

static void plain_clock(const struct local_time *time, struct buffer *to)
{
    buffer_printf(to, "%d:%02d", time->hour, time->minute);
}

static void two_digit_clock(const struct local_time *time, struct buffer *to)
{
    buffer_printf(to, "%02d:%02d", time->hour, time->minute);
}

/* ---- all of them ---- */

struct form {
    const char *language; /* NULL: any */
    const char *region;   /* of the locale; NULL: any */
    void (*date)(const struct local_time *time, struct buffer *to);
    void (*clock)(const struct local_time *time, struct buffer *to);
    const char *before_clock; /* between a date and a clock */
    const char *to_clock;     /* between two clocks of one day */
    const char *to_day;       /* between two days */
    const char *open;         /* around the zone */
    const char *comma;
    const char *close;
};

/* The first that fits. */
static const struct form forms[] = {
    {"en", "US", american_date, american_clock, ", ", " to ", " to ", " (", ", ", ")"},
    {"en", "PH", american_date, american_clock, ", ", " to ", " to ", " (", ", ", ")"},
    {"en", NULL, english_date, two_digit_clock, ", ", "–", " to ", " (", ", ", ")"},
    {"ja", NULL, japanese_date, plain_clock, " ", "〜", " 〜 ", "(", "、", ")"},
    {NULL, NULL, plain_date, two_digit_clock, " ", "–", " – ", " (", ", ", ")"},
};

/* Whether one of the parts of `locale` behind its language is `region`. */
static bool has_region(const char *locale, const char *region)
{
    size_t length = strlen(region);
    for (const char *at = strchr(locale, '-'); at != NULL; at = strchr(at, '-')) {
        at++;
        if (strncasecmp(at, region, length) == 0 && (at[length] == '\0' || at[length] == '-'))
            return true;
    }
    return false;
}

/* "pt-BR" speaks "pt". */
static bool speaks(const char *tag, const char *language)
{
    size_t length = strlen(language);
    return strncasecmp(tag, language, length) == 0 && (tag[length] == '\0' || tag[length] == '-');
}

static const struct form *form_of(const struct local_time_style *style)
{
    const struct form *form = forms;
    while (
        (form->language != NULL && !speaks(style->language, form->language)) ||
        (form->region != NULL && !(speaks(style->locale, form->language) && has_region(style->locale, form->region))))
        form++;
    return form;
}

void local_time_date(const struct local_time_style *style, const struct local_time *time, struct buffer *to)
{
    form_of(style)->date(time, to);
}

void local_time_clock(const struct local_time_style *style, const struct local_time *time, struct buffer *to)
{
    form_of(style)->clock(time, to);
}

static void append_moment(const struct form *form, const struct local_time *time, struct buffer *to)
{
    form->date(time, to);
    buffer_append_text(to, form->before_clock);
    form->clock(time, to);
}

void local_time_span(const struct local_time_style *style, const struct local_time *start, const struct local_time *end,
                     const char *zone, struct buffer *to)
{
    const struct form *form = form_of(style);
    bool is_one_day = start->year == end->year && start->month == end->month && start->day == end->day;
    bool is_one_offset = strcmp(start->offset, end->offset) == 0;
    bool is_utc = is_one_offset && strcmp(start->offset, "+00:00") == 0;
    append_moment(form, start, to);
    if (!is_one_offset)
        buffer_printf(to, "%sUTC%s%s", form->open, start->offset, form->close);
    /* the clock may show an earlier time at the end than at the start, on the night that it is set back */
    buffer_append_text(to, is_one_day && is_one_offset ? form->to_clock : form->to_day);
    if (is_one_day)
        form->clock(end, to);
    else
        append_moment(form, end, to);
    buffer_printf(to, "%s%s", form->open, zone);
    if (!is_utc || strcmp(zone, "UTC") != 0)
        buffer_printf(to, "%sUTC%s", form->comma, end->offset);
    buffer_append_text(to, form->close);
}
