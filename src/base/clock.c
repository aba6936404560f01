/* clock: time in microseconds, and the date of HTTP. Any process. */
#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static int64_t read_clock(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t clock_monotonic(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t clock_realtime(void)
{
    return read_clock(CLOCK_REALTIME);
}

const char *clock_http_date(void)
{
    static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    static char text[64];
    static time_t made_at = -1;

    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec == made_at)
        return text;
    struct tm tm;
    gmtime_r(&now.tv_sec, &tm);
    /* strftime would follow the locale */
    snprintf(text, sizeof text, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday], tm.tm_mday, months[tm.tm_mon],
             tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
    made_at = now.tv_sec;
    return text;
}

void clock_rfc3339(int64_t realtime, char text[28])
{
    time_t seconds = (time_t)(realtime / 1000000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    char whole[64];
    snprintf(whole, sizeof whole, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
             tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(realtime % 1000000));
    memcpy(text, whole, 28);
    text[27] = '\0';
}

struct timeval clock_timeval(int64_t microseconds)
{
    if (microseconds < 0)
        microseconds = 0;
    return (struct timeval){.tv_sec = microseconds / 1000000, .tv_usec = microseconds % 1000000};
}
