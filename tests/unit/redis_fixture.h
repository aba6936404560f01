/* redis_fixture: a store on a loop against a private Redis, for the unit tests of src/redis. */
#ifndef REDIS_FIXTURE_H
#define REDIS_FIXTURE_H

#include <hiredis/hiredis.h>

#include "loop.h"
#include "redis/store.h"

#define KEY "events:01995089-b0a8-781a-8ff6-277a95b2a3f1"
/* As Redis knows it, by the names that redis_fixture_store gives. */
#define WHOLE_KEY "turnout:1:7000000000000000001:16384:abc:body:" KEY

/* What became of one call. */
struct end {
    bool done;
    enum store_result result;
    int64_t after; /* microseconds */
    int64_t began_at;
    struct store_version version;
    int64_t expires_at;
    char body[64];
    size_t body_length;
};

/* What an observer has heard. */
struct heard {
    int ends[STORE_CALL_COUNT][STORE_END_COUNT];
    enum circuit_state circuit;
    int opened, probes; /* how often */
};
extern struct heard heard;

/* Starts the test program again below with_redis.sh unless it runs there already. First line of main. */
void redis_fixture_need(char **arguments);
/* Before each test: a server that runs, with its settings as at the start, and nothing in it. */
void redis_fixture_fresh(void);
/* Options that tests change: the socket, the password, a time-out of 2 s, for machines that are busy. */
struct store_options redis_fixture_options(void);
/* A store that is named; waits until its circuit is closed. */
struct store *redis_fixture_store(const struct store_options *options);

/* An entry of this version, alive for a minute. */
struct store_entry redis_fixture_entry(uint64_t epoch, uint64_t xmax, uint64_t in_progress, const char *body);
/* Each makes a call for KEY; the second form of each waits for its end. */
void redis_fixture_get(struct store *store, struct end *end);
struct end redis_fixture_got(struct store *store);
void redis_fixture_put(struct store *store, const struct store_entry *entry, struct end *end);
enum store_result redis_fixture_was_put(struct store *store, const struct store_entry *entry);
enum store_result redis_fixture_leased(struct store *store, int64_t milliseconds, uint64_t *lease);
/* For calls of the test's own. */
struct end *redis_fixture_begin(struct end *end);
void redis_fixture_done(void *context, enum store_result result, const struct store_entry *entry);

/* A command of somebody else, on a connection of its own; its reply as text ("" for nil). */
const char *redis_fixture_say(const char *format, ...);
/* A file of the server's folder; static. */
const char *redis_fixture_path(const char *name);
/* Sends a signal to the server. */
void redis_fixture_signal(int number);
/* Ends it, and waits until it is gone; starts it, and waits until it answers. */
void redis_fixture_stop(void);
void redis_fixture_start(void);

#endif
