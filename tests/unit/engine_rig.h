/* engine_rig: the registration engine under a clock, a timer and two pools that are made up, so that a test says what
 * PostgreSQL answers and when, hours pass in no time, and whatever is told is compared with what was done. */
#ifndef TESTS_UNIT_ENGINE_RIG_H
#define TESTS_UNIT_ENGINE_RIG_H

#include <stdbool.h>
#include <stdint.h>

#include "registration/engine.h"

#define MILLISECONDS INT64_C(1000)
#define RIG_ORDERS 20000
#define RIG_EVENTS 8

/* What becomes of a call, beside what stands in its orders. */
enum rig_fate {
    RIG_ANSWERED,
    RIG_LOST_BEFORE,     /* the connection is lost; the pool sends it again, as what it is, and hears the answer */
    RIG_LOST_AFTER,      /* the same, when it had taken effect */
    RIG_LOST_AT_WORK,    /* the same, and the lost try holds the seats for a while, until it takes effect */
    RIG_GIVEN_UP_BEFORE, /* lost, and there is no connection to send it again on */
    RIG_GIVEN_UP_AFTER,
    RIG_UNAVAILABLE, /* never sent */
    RIG_DEADLOCK,
    RIG_KEYS_IN_USE, /* the odd ones among its orders are `busy` for a key, and name no event */
    RIG_FATES,
};

struct rig_order {
    struct order order;
    int number;
    int at;        /* its event */
    bool is_full;  /* the rule refuses it */
    bool poisons;  /* PostgreSQL refuses each call with it */
    bool hangs;    /* each call with it runs into the statement time-out */
    bool gone;     /* its client */
    bool applied;  /* it has taken effect */
    bool was_lost; /* some call with it was lost */
    int64_t submitted;
    int decided; /* how often */
    int sent;    /* the same */
    int64_t decided_at;
    enum order_end end;
    char action[16], registration[40], event[40];
};

extern struct rig {
    int64_t now;
    struct configuration configuration;
    int64_t held_until[RIG_EVENTS]; /* somebody else has the seats of this event until then */
    bool is_away;                   /* PostgreSQL: calls wait for a connection */
    enum rig_fate (*fate)(void);    /* of the next call; NULL: RIG_ANSWERED */
    void (*on_decided)(struct rig_order *order);
    int64_t takes; /* a call, when nothing holds it up */
    int calls[2];  /* sent in the main and the busy lane */
    int order_count;
    struct rig_order orders[RIG_ORDERS];
} rig;

/* Once in a process. */
void rig_start(void);
struct rig_order *rig_submit(enum order_kind kind, int event);
/* The same, with its faults and key filled in between. */
struct rig_order *rig_make(enum order_kind kind, int event);
void rig_send(struct rig_order *order);
/* Lets time pass: everything that falls due happens in its order. */
void rig_pass(int64_t microseconds);
/* Orders in flight in a lane, 0 main or 1 busy. */
int rig_in_flight(int lane);
/* Until nothing waits and nothing is in flight; fails when that takes longer than so many microseconds. */
void rig_finish(int64_t within);

#endif
