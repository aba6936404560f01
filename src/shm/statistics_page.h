/* statistics_page: the layout of the shared memory, for src/shm alone. See the README for what holds it together. */
#ifndef SHM_STATISTICS_PAGE_H
#define SHM_STATISTICS_PAGE_H

#include <stdatomic.h>
#include <stdint.h>

#include "shm/statistics.h"

/* Limits of the histograms in microseconds, 100 µs to 10 s; one more cell counts what is above, the last one holds the
 * sum. There is no cell for the number of observations: it is the sum of the others, and so it cannot contradict them
 * whenever a process dies. */
#define STATISTICS_LIMITS                                                                                        \
    {                                                                                                            \
        100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, \
            10000000                                                                                             \
    }
enum { STATISTICS_LIMIT_COUNT = 16, STATISTICS_SUM_AT = STATISTICS_LIMIT_COUNT + 1 };

enum statistics_kind { STATISTICS_COUNTER, STATISTICS_GAUGE, STATISTICS_LATEST, STATISTICS_HISTOGRAM };
enum statistics_unit { STATISTICS_NUMBER, STATISTICS_MICROSECONDS };
/* Cells of one value. */
enum {
    STATISTICS_COUNTER_WIDTH = 1,
    STATISTICS_GAUGE_WIDTH = 1,
    STATISTICS_LATEST_WIDTH = 1,
    STATISTICS_HISTOGRAM_WIDTH = STATISTICS_SUM_AT + 1,
};

/* Where each family begins: STATISTICS_AT_symbol. */
enum {
#define FAMILY_PLACE(symbol, kind, unit, name, first, second, help) \
    STATISTICS_AT_##symbol,                                         \
        STATISTICS_LAST_##symbol =                                  \
            STATISTICS_AT_##symbol - 1 +                            \
            (int)LABEL_##first##_COUNT * (int)LABEL_##second##_COUNT * (int)STATISTICS_##kind##_WIDTH,
    STATISTICS_FAMILY_LIST(FAMILY_PLACE)
#undef FAMILY_PLACE
        STATISTICS_CELLS
};

/* The line of a family. */
struct statistics_line {
    const char *name; /* without the prefix */
    const char *help;
    enum statistics_kind kind;
    enum statistics_unit unit;
    unsigned place; /* of its first cell */
    unsigned width; /* cells of one value */
    unsigned first; /* how many labels */
    unsigned second;
};
extern const struct statistics_line statistics_lines[STATISTICS_FAMILY_COUNT];
extern const int64_t statistics_limits[STATISTICS_LIMIT_COUNT];

typedef _Atomic int64_t statistics_cell;
#if ATOMIC_LLONG_LOCK_FREE != 2
#error "a process that dies within an update would leave half of it: 64-bit atomics must need no lock"
#endif

/* The master, the scheduler, the refresher, the mailer, and each worker. */
enum { STATISTICS_WORKERS_MAX = 256, STATISTICS_WORKERS_FROM = 4, STATISTICS_SLOTS = 260 };

/* Written by its own process alone. Aligned and padded to whole pages of the machine, so that two processes never write
 * to one cache line. */
struct statistics_page {
    statistics_cell holder; /* pid of the process that has taken it, once its gauges are its own; 0: nobody yet */
    statistics_cell cells[STATISTICS_CELLS];
} __attribute__((aligned(4096)));

/* What the master knows; written by it alone. */
struct statistics_roll {
    statistics_cell slots;                     /* how many pages, from the first on, have ever been given out */
    statistics_cell holders[STATISTICS_SLOTS]; /* pid of the process that lives, 0: none */
} __attribute__((aligned(4096)));

struct statistics_memory {
    struct statistics_roll roll;
    struct statistics_page pages[STATISTICS_SLOTS];
};
/* NULL before statistics_create. */
extern struct statistics_memory *statistics_memory;

#endif
