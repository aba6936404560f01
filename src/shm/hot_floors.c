/* hot_floors: versions below which nothing is published, by the hash of the key and by pattern; tickets; the intent.
 * Refresher. */
#include "shm/hot_floors.h"

#include "shm/hot_index.h"

static struct hot_header *header(void)
{
    return (struct hot_header *)hot_region.writable;
}

static struct hot_floor *floor_at(uint32_t floor)
{
    return (struct hot_floor *)(hot_region.writable + hot_region.floors) + floor;
}

static struct hot_version load(struct hot_floor_version *floor)
{
    return (struct hot_version){
        .epoch = atomic_load_explicit(&floor->epoch, memory_order_relaxed),
        .xmax = atomic_load_explicit(&floor->xmax, memory_order_relaxed),
        .in_progress = atomic_load_explicit(&floor->in_progress, memory_order_relaxed),
    };
}

/* Killed between any two of these stores, what stands there is never below what stood there before (the fewer in
 * progress the higher; epoch before xmax), and once the epoch is stored not below what is being stored, but for its
 * number in progress, which is 0 until then. It may be too high; then the successor's epoch is higher still. */
static void raise(struct hot_floor_version *floor, const struct hot_version *version)
{
    struct hot_version present = load(floor);
    if (hot_version_compare(version, &present) <= 0)
        return;
    atomic_store_explicit(&floor->in_progress, 0, memory_order_release);
    atomic_store_explicit(&floor->epoch, version->epoch, memory_order_release);
    atomic_store_explicit(&floor->xmax, version->xmax, memory_order_release);
    atomic_store_explicit(&floor->in_progress, version->in_progress, memory_order_release);
}

static bool below(const struct hot_version *version, struct hot_floor_version *floor)
{
    struct hot_version present = load(floor);
    return hot_version_compare(version, &present) < 0;
}

static bool known(struct hot_floor_version *floor)
{
    return atomic_load_explicit(&floor->epoch, memory_order_relaxed) != 0;
}

uint64_t hot_floors_served(uint32_t floor)
{
    uint64_t sum = 0;
    for (uint32_t worker = 0; worker < hot_region.workers_max; worker++) {
        const struct hot_worker_line *line = hot_worker_line(hot_region.writable, worker);
        if (atomic_load_explicit(&line->present, memory_order_acquire) != 0)
            sum += atomic_load_explicit(&hot_worker_served(line)[floor], memory_order_acquire);
    }
    return sum;
}

struct hot_ticket hot_ticket(const char *key, size_t length)
{
    return (struct hot_ticket){hot_floors_served(hot_floor_of(hot_index_hash(key, length)))};
}

enum hot_publish hot_floors_measure(uint32_t floor, const struct hot_entry *entry)
{
    struct hot_floor *of_key = floor_at(floor), *of_pattern = &header()->pattern_floors[entry->pattern];
    const struct hot_version *version = &entry->version;
    if (below(version, &of_key->every) || below(version, &of_pattern->every))
        return HOT_OLDER;
    if (entry->source == HOT_FROM_DATABASE)
        return hot_floors_served(floor) == entry->ticket.served ? HOT_PUBLISHED : HOT_OVERTAKEN;
    /* A table of floors that has just been made knows nothing of what was served before it. */
    if (!known(&of_pattern->every) || below(version, &of_key->store) || below(version, &of_pattern->store))
        return HOT_OLDER;
    /* Of what workers have served themselves only the number is known, unless `every` covers all of it. */
    return hot_floors_served(floor) == atomic_load_explicit(&of_key->served, memory_order_relaxed) ? HOT_PUBLISHED
                                                                                                   : HOT_OVERTAKEN;
}

void hot_floors_note(uint32_t floor, const struct hot_entry *entry)
{
    struct hot_floor *of_key = floor_at(floor);
    raise(&of_key->every, &entry->version);
    /* Rendered after the ticket was taken, so not older than anything that had been served by then. */
    if (entry->source == HOT_FROM_DATABASE)
        atomic_store_explicit(&of_key->served, entry->ticket.served, memory_order_release);
}

void hot_floors_intend(uint32_t intent)
{
    /* Release: who still waited for another intent sees what came of that. */
    atomic_store_explicit(&header()->intent, intent, memory_order_release);
    atomic_thread_fence(memory_order_seq_cst);
}

void hot_floors_done(void)
{
    /* Release: who no longer waits sees what was published. */
    atomic_store_explicit(&header()->intent, HOT_INTENT_NONE, memory_order_release);
}

void hot_raise_store_floor(const char *key, size_t length, const struct hot_version *version)
{
    raise(&floor_at(hot_floor_of(hot_index_hash(key, length)))->store, version);
}

void hot_raise_store_pattern_floor(enum hot_pattern pattern, const struct hot_version *version)
{
    raise(&header()->pattern_floors[pattern].store, version);
}

void hot_raise_pattern_floor(enum hot_pattern pattern, const struct hot_version *version)
{
    raise(&header()->pattern_floors[pattern].every, version);
}

static void wipe(struct hot_floor *floor)
{
    struct hot_floor_version *of[] = {&floor->every, &floor->store};
    for (unsigned i = 0; i < 2; i++) {
        atomic_store_explicit(&of[i]->epoch, 0, memory_order_relaxed);
        atomic_store_explicit(&of[i]->xmax, 0, memory_order_relaxed);
        atomic_store_explicit(&of[i]->in_progress, 0, memory_order_relaxed);
    }
    atomic_store_explicit(&floor->served, 0, memory_order_relaxed);
}

void hot_floors_wipe(void)
{
    for (uint32_t floor = 0; floor < HOT_FLOORS; floor++)
        wipe(floor_at(floor));
    for (unsigned pattern = 0; pattern < HOT_PATTERN_COUNT; pattern++)
        wipe(&header()->pattern_floors[pattern]);
}
