/* statistics_read: adds up the pages of all processes and writes them in Prometheus' text format. Worker
 * process, and the master for what turnoutctl shows; it reads all pages and writes none. */
#ifndef SHM_STATISTICS_READ_H
#define SHM_STATISTICS_READ_H

#include <stddef.h>

#include "base/buffer.h"
#include "shm/statistics.h"

/* Of what statistics_write makes. */
#define STATISTICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Names the routes of STATISTICS_ROUTES_MAX: labels[i] is `route="/api/events",method="GET"`. The array and its texts
 * stay the caller's, boot lifetime. */
void statistics_set_routes(const char *const *labels, size_t count);

/* The sum of one counter or gauge over all pages, as /metrics tells it. */
int64_t statistics_total(enum statistics_family family, unsigned first, unsigned second) MUST_CHECK;

/* Appends the whole page of /metrics. */
void statistics_write(struct buffer *text);

#endif
