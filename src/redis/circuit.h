/* circuit: whether Redis is asked at all. Refresher; one per store; no input or output of its own.
 *
 * It opens when the connection is lost, and when calls fail or are late: CIRCUIT_FAILURES in a row, or half of the last
 * CIRCUIT_WINDOW. Then nothing is sent but probes, one at a time, with back-off and jitter; the first that succeeds
 * closes it. Who answers probes but no calls is probed less and less often, too. */
#ifndef REDIS_CIRCUIT_H
#define REDIS_CIRCUIT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/object.h"

#define CIRCUIT_FAILURES 5
#define CIRCUIT_WINDOW 20

enum circuit_state {
    CIRCUIT_CLOSED,  /* calls are sent */
    CIRCUIT_OPEN,    /* no call is sent; the next probe is due at `probe_at` */
    CIRCUIT_PROBING, /* no call is sent; a probe is on its way */
    CIRCUIT_STATE_COUNT
};
/* For logs; static. */
const char *circuit_state_name(enum circuit_state state);

struct circuit {
    enum circuit_state state;
    int failures;      /* of calls, in a row, while closed */
    uint32_t outcomes; /* of the last calls, the latest in the lowest bit; a failure is 1 */
    int outcome_count; /* how many of them there are */
    bool proven;       /* a call has succeeded since it was closed */
    int probes;        /* since the last call that succeeded */
    int64_t probe_at;  /* clock_monotonic; CIRCUIT_OPEN */
};

/* Open, with a probe due at once. */
void circuit_begin(struct circuit *circuit, int64_t now);
/* A call that was sent has ended. true: that has opened the circuit. */
bool circuit_count(struct circuit *circuit, bool failed, int64_t now) MUST_CHECK;
/* The connection of a closed circuit is lost: a probe is due at once where it had been good for something. */
void circuit_lost(struct circuit *circuit, int64_t now);
/* The probe that is due is sent. */
void circuit_probe(struct circuit *circuit);
/* It has ended: well (closed) or not (open again, for longer). */
void circuit_probed(struct circuit *circuit, bool well, int64_t now);

#endif
