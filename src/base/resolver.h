/* resolver: host names to addresses in a thread of its own, as getaddrinfo would stop the loop. Any process with a
 * loop. */
#ifndef BASE_RESOLVER_H
#define BASE_RESOLVER_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/object.h"

#define RESOLVER_NAMES_MAX 8
#define RESOLVER_ADDRESSES_MAX 16

/* One address of the name with number `name`. */
struct resolver_address {
    int name;
    char text[64]; /* an IPv6 address with its zone: 45 + 1 + 16 characters at most */
};

struct resolver_answer {
    const char *error; /* NULL: at least one address was found */
    int count;
    struct resolver_address addresses[RESOLVER_ADDRESSES_MAX];
};

/* A lookup on its way: from start until `done` or cancel. */
struct resolver;

typedef void resolver_done(void *context, const struct resolver_answer *answer);

/* Looks up 1..RESOLVER_NAMES_MAX names, one after the other. `done` is called once, from the loop, at `timeout`
 * microseconds at the latest, and never from within this call. */
struct resolver *resolver_start(struct event_base *base, const char *const names[], int count, int64_t timeout,
                                resolver_done *done, void *context);
/* `done` will not be called. The thread ends when getaddrinfo lets it, and frees what is left. */
void resolver_cancel(struct resolver *resolver);

#endif
