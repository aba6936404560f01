/* call: one call of the store on its way: what is said to Redis for it, and what its reply means. Refresher; private to
 * src/redis. */
#ifndef REDIS_CALL_H
#define REDIS_CALL_H

#include <sys/queue.h>

#include "base/buffer.h"
#include "redis/connection.h"
#include "redis/store.h"

/* What Redis runs for us, and by which name it knows it; one per connection, as it may forget. */
enum call_script { CALL_SCRIPT_PUT, CALL_SCRIPT_RELEASE, CALL_SCRIPT_COUNT };
struct call_script_names {
    char sha[CALL_SCRIPT_COUNT][41]; /* "": not known, the text is sent each time */
};
extern const char *const call_script_texts[CALL_SCRIPT_COUNT];

struct call {
    OBJECT_HEADER;
    TAILQ_ENTRY(call) others; /* of the list that it is in */
    struct store *store;
    enum store_call kind;
    store_done *done; /* NULL: nobody waits */
    void *context;
    struct buffer key;   /* as Redis knows it */
    size_t prefix;       /* how much of it is the store's */
    struct buffer value; /* put: the envelope; lease, release: the token */
    int64_t milliseconds;
    uint64_t lease;
    unsigned int name; /* which store_name it belongs to */
    int64_t began_at;
    int64_t deadline;
    bool answered;      /* late: what comes now is dropped */
    bool in_full;       /* Redis did not know the script: sent as text */
    enum store_end end; /* of one that was not sent */
};
TAILQ_HEAD(call_list, call);

/* Sends it. false: it will not be answered. */
bool call_send(struct call *call, struct redis_connection *connection, const struct call_script_names *scripts,
               redis_replied *replied) MUST_CHECK;
/* Redis did not know a script by its name. */
bool call_is_unknown_script(const redisReply *reply) MUST_CHECK;
/* The reply says that Redis is there and of no use for anything: it is loading, or wants a password. */
bool call_is_out_of_service(const redisReply *reply) MUST_CHECK;
/* What a reply means; STORE_END_OK of a get: with the entry. */
enum store_end call_end(const struct call *call, const redisReply *reply, struct store_entry *entry) MUST_CHECK;

#endif
