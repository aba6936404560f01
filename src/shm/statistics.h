/* statistics: counters, gauges and histograms in shared memory. Each process writes only its own page; who reads
 * (statistics_read.h) adds the pages up. Any process; the master makes the memory before its first fork.
 *
 *     statistics_count(STATISTICS_IDEMPOTENCY, LABEL_IDEMPOTENCY_REPLAYED);
 *
 * Without a page of one's own (unit tests, turnoutctl) the calls write to memory that nobody reads. */
#ifndef SHM_STATISTICS_H
#define SHM_STATISTICS_H

#include <stdint.h>
#include <sys/types.h>

#include "base/object.h"
#include "shm/statistics_table.h"

/* One enum for each list of labels, with its length: LABEL_ROLE_WORKER, ..., LABEL_ROLE_COUNT. */
#define LABEL_ENUM(symbol, text) LABEL_##symbol,
#define DIMENSION_ENUM(symbol) enum { STATISTICS_##symbol##_LABELS(LABEL_ENUM) LABEL_##symbol##_COUNT };
STATISTICS_DIMENSION_LIST(DIMENSION_ENUM)
#undef DIMENSION_ENUM
#undef LABEL_ENUM
enum { LABEL_ROUTE_COUNT = STATISTICS_ROUTES_MAX };

/* The metrics: STATISTICS_HTTP_REQUESTS, ... */
enum statistics_family {
#define FAMILY_ENUM(symbol, kind, unit, name, first, second, help) STATISTICS_##symbol,
    STATISTICS_FAMILY_LIST(FAMILY_ENUM)
#undef FAMILY_ENUM
        STATISTICS_FAMILY_COUNT
};

/* Adds `n` (not below 0 for a counter; a gauge may go down). `first` and `second` are labels of the family's lists,
 * LABEL_NONE_ONE where it has none. A few nanoseconds: no lock, no system call. */
void statistics_add(enum statistics_family family, unsigned first, unsigned second, int64_t n);
/* One more, for families with one list of labels at most. */
void statistics_count(enum statistics_family family, unsigned label);
/* Sets a gauge. */
void statistics_set(enum statistics_family family, unsigned first, unsigned second, int64_t value);
/* Puts a duration in microseconds into a histogram. */
void statistics_observe(enum statistics_family family, unsigned label, int64_t microseconds);
/* The label CODE_... of an HTTP status. */
unsigned statistics_code(int status);

/* Makes the memory. Master, once, before the first fork; takes the master's page. */
void statistics_create(void);
/* Takes the page of a process: LABEL_ROLE_..., and the worker's slot (0 for the others). First thing in a child. What
 * its predecessor counted stays; its gauges are cleared. */
void statistics_begin(unsigned role, int slot);
/* The role that was begun last. */
unsigned statistics_role(void);
/* Notes which process holds a page, 0: none does. Master only; gauges count only while page and note agree. */
void statistics_holder(unsigned role, int slot, pid_t pid);

#endif
