/* clock: time in microseconds, and the date of HTTP. Any process. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>
#include <sys/time.h>

/* Microseconds since an unspecified start; never goes back. */
int64_t clock_monotonic(void);
/* Microseconds since 1970-01-01T00:00:00Z. */
int64_t clock_realtime(void);

/* "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110, 5.6.7), made once a second; the text is static, and always as long. */
#define HTTP_DATE_SIZE sizeof "Sun, 06 Nov 1994 08:49:37 GMT"
const char *clock_http_date(void);
/* "2026-11-22T14:08:51.123456Z" of a realtime in microseconds, into `text` (at least 28 bytes). */
void clock_rfc3339(int64_t realtime, char text[28]);

/* For libevent; a negative duration is none. */
struct timeval clock_timeval(int64_t microseconds);

#endif
