/* statistics: the writing side. Any process; it touches its own page, the master also its roll. */
#include "shm/statistics.h"

#include <sys/mman.h>
#include <unistd.h>

#include "shm/statistics_page.h"

const int64_t statistics_limits[STATISTICS_LIMIT_COUNT] = STATISTICS_LIMITS;

const struct statistics_line statistics_lines[STATISTICS_FAMILY_COUNT] = {
#define FAMILY_LINE(symbol, kind_, unit_, name_, first_, second_, help_) \
    [STATISTICS_##symbol] = {.name = (name_),                            \
                             .help = (help_),                            \
                             .kind = STATISTICS_##kind_,                 \
                             .unit = STATISTICS_##unit_,                 \
                             .place = STATISTICS_AT_##symbol,            \
                             .width = STATISTICS_##kind_##_WIDTH,        \
                             .first = LABEL_##first_##_COUNT,            \
                             .second = LABEL_##second_##_COUNT},
    STATISTICS_FAMILY_LIST(FAMILY_LINE)
#undef FAMILY_LINE
};

struct statistics_memory *statistics_memory;

static struct statistics_page nobody;
static struct statistics_page *own = &nobody;
static unsigned own_role;

static statistics_cell *cell_of(enum statistics_family family, unsigned first, unsigned second)
{
    INVARIANT(family < STATISTICS_FAMILY_COUNT);
    const struct statistics_line *line = &statistics_lines[family];
    INVARIANT(first < line->first && second < line->second);
    return &own->cells[line->place + (first * line->second + second) * line->width];
}

/* One writer: a load and a store are enough, and cost no locked instruction. */
static void add(statistics_cell *cell, int64_t n)
{
    atomic_store_explicit(cell, atomic_load_explicit(cell, memory_order_relaxed) + n, memory_order_relaxed);
}

void statistics_add(enum statistics_family family, unsigned first, unsigned second, int64_t n)
{
    add(cell_of(family, first, second), n);
}

void statistics_count(enum statistics_family family, unsigned label)
{
    add(cell_of(family, label, LABEL_NONE_ONE), 1);
}

void statistics_set(enum statistics_family family, unsigned first, unsigned second, int64_t value)
{
    atomic_store_explicit(cell_of(family, first, second), value, memory_order_relaxed);
}

void statistics_observe(enum statistics_family family, unsigned label, int64_t microseconds)
{
    statistics_cell *cells = cell_of(family, label, LABEL_NONE_ONE);
    INVARIANT(statistics_lines[family].kind == STATISTICS_HISTOGRAM);
    unsigned at = 0;
    while (at < STATISTICS_LIMIT_COUNT && microseconds > statistics_limits[at])
        at++;
    add(&cells[at], 1);
    add(&cells[STATISTICS_SUM_AT], microseconds > 0 ? microseconds : 0);
}

unsigned statistics_code(int status)
{
#define STATUS_PLACE(unused, number) [number] = LABEL_CODE_##number,
    static const unsigned char codes[600] = {STATISTICS_STATUS_LIST(STATUS_PLACE, )};
#undef STATUS_PLACE
    return status >= 0 && status < 600 ? codes[status] : LABEL_CODE_OTHER;
}

/* ---- pages ---- */

static unsigned slot_of(unsigned role, int slot)
{
    INVARIANT(role < LABEL_ROLE_COUNT && slot >= 0 && slot < STATISTICS_WORKERS_MAX);
    if (role == LABEL_ROLE_WORKER)
        return STATISTICS_WORKERS_FROM + (unsigned)slot;
    static const unsigned char places[LABEL_ROLE_COUNT] = {
        [LABEL_ROLE_MASTER] = 0, [LABEL_ROLE_SCHEDULER] = 1, [LABEL_ROLE_REFRESHER] = 2, [LABEL_ROLE_MAILER] = 3};
    return places[role];
}

void statistics_create(void)
{
    /* Untouched pages cost nothing. */
    void *memory = mmap(NULL, sizeof *statistics_memory, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    INVARIANT(memory != MAP_FAILED);
    statistics_memory = memory;
    statistics_begin(LABEL_ROLE_MASTER, 0);
    statistics_holder(LABEL_ROLE_MASTER, 0, getpid());
}

static void clear_gauges(void)
{
    for (unsigned family = 0; family < STATISTICS_FAMILY_COUNT; family++) {
        const struct statistics_line *line = &statistics_lines[family];
        for (unsigned i = 0; line->kind == STATISTICS_GAUGE && i < line->first * line->second; i++)
            atomic_store_explicit(&own->cells[line->place + i], 0, memory_order_relaxed);
    }
}

void statistics_begin(unsigned role, int slot)
{
    INVARIANT(statistics_memory != NULL);
    own = &statistics_memory->pages[slot_of(role, slot)];
    own_role = role;
    clear_gauges();
    /* who sees the pid sees cleared gauges */
    atomic_store_explicit(&own->holder, getpid(), memory_order_release);
}

unsigned statistics_role(void)
{
    return own_role;
}

void statistics_holder(unsigned role, int slot, pid_t pid)
{
    struct statistics_roll *roll = &statistics_memory->roll;
    int64_t at = slot_of(role, slot);
    atomic_store_explicit(&roll->holders[at], pid, memory_order_release);
    if (at >= atomic_load_explicit(&roll->slots, memory_order_relaxed))
        atomic_store_explicit(&roll->slots, at + 1, memory_order_release);
}
