/* buckets: token buckets that all workers of a host share, one for each user and kind of request and for each address.
 * Made by the master before its first fork; a bucket is one word, taken from by one compare-and-swap. The argument is
 * in README.md. */
#ifndef SHM_BUCKETS_H
#define SHM_BUCKETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/object.h"

/* Apart, so that whoever has many addresses takes no room from users. */
enum buckets_table { BUCKETS_OF_USERS, BUCKETS_OF_ADDRESSES, BUCKETS_TABLE_COUNT };

/* A bucket holds no more than what flows into it in so many seconds: the words know no longer time. */
#define BUCKETS_SECONDS_MAX 3600
/* Requests a second; the time between two is a whole number of ticks of 1/64 ms, rounded down. */
#define BUCKETS_RATE_MAX 10000

/* What buckets of one kind hold. Made by buckets_limit; copied freely. */
struct buckets_limit {
    enum buckets_table table;
    uint64_t seed;
    uint64_t gap;  /* ticks in which one request flows in */
    uint64_t most; /* ticks in which the whole burst does */
};

/* What became of one request. */
struct buckets_answer {
    bool admitted;
    bool counted;    /* false: admitted because there was no room for its bucket */
    int64_t left;    /* requests that would be admitted at once after this one */
    int64_t wait;    /* microseconds until the next one is; 0 while some are left */
    int64_t refills; /* microseconds in which `left` flow in */
};

/* Master, once, before the first fork; it can only read them. `now` is the monotonic clock in microseconds, here and
 * below. false: `error` says why. */
bool buckets_create(int64_t now, char *error, size_t error_size) MUST_CHECK;
/* In a worker, right after the fork: it may write them. */
void buckets_attach(void);
/* In any other child: they are not there. */
void buckets_detach(void);

/* Buckets of `burst` requests (at least 1), into which `rate` (1 to BUCKETS_RATE_MAX) flow each second; the whole burst
 * within BUCKETS_SECONDS_MAX. `kind` tells limits of one table apart. Other figures mean other buckets, all of them
 * full: so a changed limit holds at once. */
struct buckets_limit buckets_limit(enum buckets_table table, unsigned kind, int64_t rate, int64_t burst);

/* Takes one request from the bucket of a key, full before its first use. No lock, no system call. Worker. */
struct buckets_answer buckets_take(const struct buckets_limit *limit, const void *key, size_t length, int64_t now);

/* How many buckets of a table are not full, and how many there can be. Reads all of it: for reports. Master, worker. */
size_t buckets_in_use(enum buckets_table table, int64_t now);
size_t buckets_room(void);

#endif
