/* order: somebody's registration or cancel on its way to a decision. Worker process.
 * Whoever takes the request makes it, the engine owns it from engine_submit until `decided`. */
#ifndef REGISTRATION_ORDER_H
#define REGISTRATION_ORDER_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/object.h"
#include "base/uuid.h"

#define ORDER_MAGIC 0x4f524452U

enum order_kind {
    ORDER_REGISTER, /* event_id, user_id; registration_id is the one that a new row gets */
    ORDER_CANCEL,   /* registration_id */
};

/* How an order ended. */
enum order_end {
    ORDER_DECIDED,     /* the rule has answered: `result`, `row`; columns outcome, body, etag, ref, replayed */
    ORDER_OVERLOADED,  /* its deadline passed, or its client went, before it was sent: nothing was done */
    ORDER_BUSY,        /* somebody else held the event's seats until its deadline: nothing was done */
    ORDER_FAILED,      /* PostgreSQL refuses this one, also alone: nothing was done; `sqlstate`, `message` */
    ORDER_UNAVAILABLE, /* no connection: nothing was done */
    ORDER_TIMED_OUT,   /* the statement was cancelled by its time-out: nothing was done */
    ORDER_UNKNOWN,     /* sent, the connection was lost, and what became of it is not known */
};

struct order_decision {
    enum order_end end;
    const PGresult *result; /* ORDER_DECIDED; valid during the call */
    int row;
    bool keyed;           /* ORDER_DECIDED: there is the column `replayed` */
    const char *sqlstate; /* ORDER_FAILED: both valid during the call; else NULL */
    const char *message;
    int retry_after; /* seconds, with jitter, where nothing was done; else 0 */
};

/* Texts live until `decided`; NULL is null. */
struct order {
    OBJECT_HEADER;
    enum order_kind kind;
    const char *action_id;
    const char *registration_id;
    const char *request_id;
    const char *actor_id;
    const char *role;
    const char *event_id;
    const char *user_id;
    const char *key;          /* Idempotency-Key; NULL: none */
    const char *request_hash; /* of what was asked, as bytea text; with a key */
    /* Whether its client is still there; asked before it costs a statement. An order that nobody wants ends OVERLOADED.
     */
    bool (*is_wanted)(const struct order *order);
    /* Exactly once, never from within engine_submit. The order is its maker's again. */
    void (*decided)(struct order *order, const struct order_decision *decision);
    void *context;

    /* the engine's */
    TAILQ_ENTRY(order) link;
    int64_t deadline;                /* clock_monotonic microseconds: not sent by then, it ends */
    char busy_event[UUID_TEXT_SIZE]; /* whose seats were held when it was tried; empty: none yet */
    int tries;                       /* calls that said `busy` */
    bool in_doubt;                   /* some call with it was lost with its connection */
    bool probes;                     /* goes ahead of the others of its event, to see whether its seats are free */
};

TAILQ_HEAD(orders, order);

/* Whether an order has waited too long at that moment, or nobody waits for it any more. */
typedef bool order_is_dead(const struct order *order, int64_t now);

#endif
