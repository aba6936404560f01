/* busy: events whose seats somebody else holds, and the orders that wait for them. Worker process; knows no pool, the
 * engine sends.
 *
 * An event in the table has its orders to itself. Its turn comes round robin with calls of one event each, which wait
 * for the seats row for a bounded time (two events in one call would hold the first while it waits for the second). An
 * event whose row outlasts that is stuck: now and then one order of it, the probe, is tried without waiting, the others
 * stay. */
#ifndef REGISTRATION_BUSY_H
#define REGISTRATION_BUSY_H

#include "registration/batch.h"
#include "registration/order.h"

struct busy_event;

/* How many, all gauges. */
struct busy_counts {
    int64_t events;
    int64_t stuck;
    int64_t orders;       /* that wait here */
    int64_t orders_stuck; /* those of them that wait for a stuck event */
};
extern struct busy_counts busy_counts;

/* The event that orders for `id` go to; NULL: it is not busy. */
struct busy_event *busy_find(const char *id) MUST_CHECK;
/* The same, made where there is none. */
struct busy_event *busy_enter(const char *id) MUST_CHECK;

/* Puts an order behind the others, or in front of them where it comes back from a call. */
void busy_add(struct busy_event *event, struct order *order);
void busy_add_again(struct busy_event *event, struct order *order);
/* A call of orders that somebody wants to see apart from each other goes before the event's others. */
void busy_add_batch(struct batch *batch);

/* The next call, of at most `most` orders of the event whose turn it is; those that are dead are handed over instead.
 * NULL: nobody has anything. */
struct batch *busy_next(int most, int64_t now, order_is_dead *is_dead, struct orders *dead) MUST_CHECK;
/* Whether the next call has something to send, too. */
bool busy_others_wait(void) MUST_CHECK;
/* The call of busy_next was answered and its orders are gone or back. `held`: the seats could not be had. */
void busy_answered(struct busy_event *event, bool held);

/* The probe was answered or has ended; `held` as above. */
void busy_probed(struct busy_event *event, bool held);

/* To be called every few milliseconds while there are events. Hands over the orders that are dead (judged by the
 * caller, asked in the order of their deadlines) and the probes that are due, and forgets events of which nobody has
 * wanted anything for a while. */
void busy_sweep(int64_t now, order_is_dead *is_dead, struct orders *dead, struct orders *probes);

#endif
