/* buckets: words of 64 bits, eight to a cache line, and the one way in which they change. The master makes them,
 * workers write them; nothing else is touched. */
#include "shm/buckets.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* A word: above, the tag that tells keys of one set apart; below, the tick at which the bucket is full again. 42 bits
 * of ticks go round in 795 days. */
#define TIME_BITS 42
#define TIME_MASK ((UINT64_C(1) << TIME_BITS) - 1)
#define TICKS_A_SECOND UINT64_C(64000)
#define SECOND INT64_C(1000000)
/* No bucket is full later than this, in ticks: what seems to be has been full for long, and the ticks have gone round
 * since. Beyond the longest limit there is room for a clock that was read long before it is used. */
#define AHEAD_MOST (UINT64_C(1) << 28)
#define SET 8
#ifndef BUCKETS_SETS /* a test has one set, in which all keys meet */
#define BUCKETS_SETS (UINT64_C(1) << 14)
#endif
#define SETS ((uint64_t)BUCKETS_SETS)

typedef _Atomic(uint64_t) bucket_word;
typedef bucket_word bucket_set[SET]; /* one cache line */
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "words are swapped without a lock");
_Static_assert(BUCKETS_SECONDS_MAX *TICKS_A_SECOND < AHEAD_MOST, "the longest limit is within what counts as ahead");
_Static_assert(BUCKETS_RATE_MAX <= TICKS_A_SECOND, "the shortest gap is a tick");

#define TABLE_SIZE (SETS * sizeof(bucket_set))
#define MEMORY_SIZE (BUCKETS_TABLE_COUNT * TABLE_SIZE)

/* Boot lifetime; children inherit it. */
static struct {
    bucket_set *sets;  /* of all tables, one after another; NULL: not in this process */
    uint64_t seed;     /* nobody outside can choose keys that meet */
    int64_t opened_at; /* an hour before they were made: ticks are never below 0 */
} buckets;

bool buckets_create(int64_t now, char *error, size_t error_size)
{
    INVARIANT(buckets.sets == NULL);
    void *memory = mmap(NULL, MEMORY_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, MEMORY_SIZE, PROT_READ) != 0 ||
        getrandom(&buckets.seed, sizeof buckets.seed, 0) != (ssize_t)sizeof buckets.seed) {
        snprintf(error, error_size, "cannot make the memory of limits: %s", strerror(errno));
        return false;
    }
    buckets.sets = memory;
    buckets.opened_at = now - BUCKETS_SECONDS_MAX * SECOND;
    return true;
}

void buckets_attach(void)
{
    INVARIANT(buckets.sets != NULL && mprotect(buckets.sets, MEMORY_SIZE, PROT_READ | PROT_WRITE) == 0);
}

void buckets_detach(void)
{
    INVARIANT(buckets.sets != NULL && munmap(buckets.sets, MEMORY_SIZE) == 0);
    buckets.sets = NULL;
}

struct buckets_limit buckets_limit(enum buckets_table table, unsigned kind, int64_t rate, int64_t burst)
{
    INVARIANT(table < BUCKETS_TABLE_COUNT && rate >= 1 && rate <= BUCKETS_RATE_MAX);
    INVARIANT(burst >= 1 && burst <= rate * BUCKETS_SECONDS_MAX);
    const int64_t name[] = {kind, rate, burst};
    struct buckets_limit limit = {.table = table,
                                  .seed = XXH3_64bits_withSeed(name, sizeof name, buckets.seed),
                                  .gap = TICKS_A_SECOND / (uint64_t)rate};
    limit.most = limit.gap * (uint64_t)burst;
    return limit;
}

static uint64_t ticks_of(int64_t now)
{
    return (uint64_t)(now - buckets.opened_at) * (TICKS_A_SECOND / 1000) / 1000;
}

static int64_t microseconds_of(uint64_t ticks)
{
    return (int64_t)((ticks * 1000 + TICKS_A_SECOND / 1000 - 1) / (TICKS_A_SECOND / 1000));
}

/* Ticks until the bucket of a word is full; below 0: so long has it been. A word that was never used is the oldest. */
static int64_t until_full(uint64_t word, uint64_t now)
{
    if (word == 0)
        return INT64_MIN;
    uint64_t ahead = (word - now) & TIME_MASK;
    return ahead <= AHEAD_MOST ? (int64_t)ahead : (int64_t)ahead - (int64_t)(TIME_MASK + 1);
}

/* A word of a set as it was read. */
struct place {
    bucket_word *at;
    uint64_t word;
    int64_t missing; /* ticks until it is full; not above 0: full */
    bool own;        /* of the key that was looked for; else the one that has been full for longest */
};

/* Everybody who finds no bucket of a key takes the same place for it, the lowest word and of equals the first: that is
 * what keeps two workers from making two buckets of one key. */
static struct place look(bucket_set set, uint64_t tag, uint64_t now)
{
    struct place oldest = {.at = NULL};
    for (size_t i = 0; i < SET; i++) {
        uint64_t word = atomic_load_explicit(&set[i], memory_order_relaxed);
        struct place place = {
            .at = &set[i], .word = word, .missing = until_full(word, now), .own = word >> TIME_BITS == tag};
        if (place.own)
            return place;
        if (oldest.at == NULL || place.missing < oldest.missing)
            oldest = place;
    }
    return oldest;
}

static struct buckets_answer make_answer(const struct buckets_limit *limit, bool admitted, uint64_t missing)
{
    struct buckets_answer answer = {.admitted = admitted, .counted = true};
    if (missing + limit->gap <= limit->most)
        answer.left = (int64_t)((limit->most - missing) / limit->gap);
    else
        answer.wait = microseconds_of(missing + limit->gap - limit->most);
    answer.refills = microseconds_of((uint64_t)answer.left * limit->gap);
    return answer;
}

struct buckets_answer buckets_take(const struct buckets_limit *limit, const void *key, size_t length, int64_t now)
{
    INVARIANT(buckets.sets != NULL);
    uint64_t hash = XXH3_64bits_withSeed(key, length, limit->seed);
    uint64_t tag = hash >> TIME_BITS;
    uint64_t tick = ticks_of(now);
    bucket_word *set = buckets.sets[limit->table * SETS + hash % SETS];
    for (;;) {
        struct place place = look(set, tag, tick);
        if (!place.own && place.missing > 0)
            return (struct buckets_answer){.admitted = true};
        uint64_t missing = place.missing > 0 ? (uint64_t)place.missing : 0;
        if (missing + limit->gap > limit->most)
            return make_answer(limit, false, missing);
        missing += limit->gap;
        uint64_t word = tag << TIME_BITS | ((tick + missing) & TIME_MASK);
        if (atomic_compare_exchange_weak_explicit(place.at, &place.word, word, memory_order_relaxed,
                                                  memory_order_relaxed))
            return make_answer(limit, true, missing);
    }
}

size_t buckets_in_use(enum buckets_table table, int64_t now)
{
    INVARIANT(table < BUCKETS_TABLE_COUNT);
    size_t count = 0;
    uint64_t tick = ticks_of(now);
    for (size_t i = 0; buckets.sets != NULL && i < SETS * SET; i++) {
        bucket_word *word = &buckets.sets[table * SETS + i / SET][i % SET];
        count += until_full(atomic_load_explicit(word, memory_order_relaxed), tick) > 0;
    }
    return count;
}

size_t buckets_room(void)
{
    return SETS * SET;
}
