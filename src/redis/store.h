/* store: bodies that hosts share in Redis, the second level behind the hot cache. Refresher.
 *
 * Nothing here is needed to be right: whatever is wrong with Redis, each call is answered, after `timeout` at the
 * latest, with STORE_UNAVAILABLE where nothing else can be said. While Redis fails or is slow nothing is sent to it
 * (circuit.h): calls are then answered at the next turn of the loop.
 *
 * Keys are those of the hot cache. Times of entries are clock_realtime, microseconds, as hosts have no other clock in
 * common; they may differ: who takes an entry bounds its life by what is usual for the key. */
#ifndef REDIS_STORE_H
#define REDIS_STORE_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/object.h"
#include "redis/circuit.h"

struct store;

/* Which commits a body shows: numbers of shm's hot_version, compared in the same way: epoch, xmax, fewer in progress.
 */
struct store_version {
    uint64_t epoch;
    uint64_t xmax;
    uint64_t in_progress;
};

struct store_bytes {
    const char *bytes; /* may be NULL where the length is 0 */
    size_t length;
};

/* What an entry holds: the store looks at version and times only. Who changes the meaning of a part raises
 * STORE_FORMAT, so that hosts of both builds do not read each other's. */
#define STORE_FORMAT 1
struct store_entry {
    struct store_version version;
    int64_t rendered_at;
    int64_t expires_at;
    struct store_bytes body;
    struct store_bytes etag;
    struct store_bytes lines; /* header lines */
    struct store_bytes meta;
};
/* All parts of an entry together, and what stands around them. */
#define STORE_VALUE_MAX ((size_t)1 << 20)

enum store_result {
    STORE_DONE,        /* get: there it is; put, lease, release, delete: so it is */
    STORE_MISSING,     /* get: not there, expired, or not readable */
    STORE_REFUSED,     /* put: there is a newer one; lease: somebody else has it */
    STORE_UNAVAILABLE, /* nobody knows: it may have been done */
};

/* Called once, from the loop, never from within the call that it answers. `entry`: STORE_DONE of a get, valid during
 * the call; else NULL. It may call the store, but not destroy it. */
typedef void store_done(void *context, enum store_result result, const struct store_entry *entry);

/* What observers hear: which call, how it ended, and after how long. */
enum store_call { STORE_GET, STORE_PUT, STORE_LEASE, STORE_RELEASE, STORE_DELETE, STORE_CALL_COUNT };
enum store_end {
    STORE_END_OK,
    STORE_END_MISSING,      /* get: not there, or expired */
    STORE_END_MALFORMED,    /* get: there was something else; it has been removed */
    STORE_END_REFUSED,      /* put: a newer one; lease: somebody else's */
    STORE_END_LATE,         /* no answer within `timeout` */
    STORE_END_FAILED,       /* Redis answered with an error (no memory, read only), or the connection was lost */
    STORE_END_BUSY,         /* not sent: too many calls are in flight */
    STORE_END_CIRCUIT_OPEN, /* not sent: Redis is known to be away */
    STORE_END_COUNT
};

struct store_observer {
    void (*ended)(void *context, enum store_call call, enum store_end end, int64_t microseconds);
    void (*circuit)(void *context, enum circuit_state state);
    void *context;
};

struct store_options {
    struct event_base *base;
    const char *socket;                    /* path; NULL: `host` */
    const char *host;                      /* name:port, address:port or [address6]:port */
    const char *password_file;             /* read at each connect; NULL: none */
    int64_t timeout;                       /* microseconds, for each call; also for a connect with its AUTH */
    const struct store_observer *observer; /* NULL: nobody counts; boot lifetime */
};

/* Boot lifetime; copies its texts. Connects when it is named, keeps trying with back-off; Redis away is no error. */
struct store *store_create(const struct store_options *options);
/* Which database the entries are from (pg_feed_database): the beginning of each key. Until then, and for texts that are
 * empty, all calls are answered STORE_UNAVAILABLE. Another name: what is in flight is answered STORE_UNAVAILABLE. */
void store_name(struct store *store, const char *system, const char *database, const char *rules);
/* A reload. A new password file holds from the next connect on, a new time-out from the next call on. */
void store_change_settings(struct store *store, const char *password_file, int64_t timeout);

/* STORE_DONE: with the entry. */
void store_get(struct store *store, const char *key, size_t length, store_done *done, void *context);
/* Replaces what is there unless that is newer; of the same version it renews the expiry. An entry that is larger than
 * STORE_VALUE_MAX or has expired is not put: STORE_REFUSED. `done` may be NULL. */
void store_put(struct store *store, const char *key, size_t length, const struct store_entry *entry, store_done *done,
               void *context);
/* Who renders the key, on all hosts, for `milliseconds` at most or until store_release with the number that this
 * returned. Whether it was had says `done`. A lease whose answer was late is released by the store itself. */
uint64_t store_lease(struct store *store, const char *key, size_t length, int64_t milliseconds, store_done *done,
                     void *context);
/* Only if it is still ours; answers to nobody. */
void store_release(struct store *store, const char *key, size_t length, uint64_t lease);
/* `done` may be NULL. */
void store_delete(struct store *store, const char *key, size_t length, store_done *done, void *context);

struct store_statistics {
    enum circuit_state state;
    bool connected;
    int64_t in_flight;      /* also those that were answered late and whose reply has not come */
    int64_t connects;       /* since the start */
    const char *last_error; /* or NULL; valid until the next turn of the loop */
};
/* As it stands now. */
void store_statistics(const struct store *store, struct store_statistics *statistics);
/* Answers what is in flight with STORE_UNAVAILABLE, from within. Not from within `done`. */
void store_destroy(struct store *store);

#endif
