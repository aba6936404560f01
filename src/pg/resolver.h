/* resolver: host names to addresses in a thread of its own, as getaddrinfo would stop the loop. Worker, scheduler. */
#ifndef PG_RESOLVER_H
#define PG_RESOLVER_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/object.h"

#define PG_RESOLVER_NAMES_MAX 8
#define PG_RESOLVER_ADDRESSES_MAX 16

/* One address of the name with number `name`. */
struct pg_address {
    int name;
    char text[64]; /* an IPv6 address with its zone: 45 + 1 + 16 characters at most */
};

struct pg_resolver_answer {
    const char *error; /* NULL: at least one address was found */
    int count;
    struct pg_address addresses[PG_RESOLVER_ADDRESSES_MAX];
};

/* A lookup on its way: from start until `done` or cancel. */
struct pg_resolver;

typedef void pg_resolver_done(void *context, const struct pg_resolver_answer *answer);

/* Looks up 1..PG_RESOLVER_NAMES_MAX names, one after the other. `done` is called once, from the loop, at `timeout`
 * microseconds at the latest, and never from within this call. */
struct pg_resolver *pg_resolver_start(struct event_base *base, const char *const names[], int count, int64_t timeout,
                                      pg_resolver_done *done, void *context);
/* `done` will not be called. The thread ends when getaddrinfo lets it, and frees what is left. */
void pg_resolver_cancel(struct pg_resolver *resolver);

#endif
