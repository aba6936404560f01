/* fill: what workers and the refresher say to each other about entries that are missing. One SOCK_SEQPACKET pair per
 * worker slot, made by the master before its first fork, of which it keeps both ends: a death closes none, and what
 * waits in one is the successor's. Worker and refresher.
 *
 * A worker asks once per key however many requests wait for it. It takes an answer whose number it does not know for
 * its predecessor's. After FILL_BEGUN it asks again for everything that it still waits for. */
#ifndef API_FILL_H
#define API_FILL_H

/* What follows the kind stands behind each (base/message.h). */
enum fill_message {
    FILL_ASK,    /* worker: number, key */
    FILL_ANSWER, /* refresher: number, enum fill_result */
    FILL_BEGUN,  /* refresher: it has just started */
};

enum fill_result {
    FILL_PUBLISHED,   /* look it up */
    FILL_ABSENT,      /* there is no such public thing, as of a moment after the question */
    FILL_OWN,         /* ask PostgreSQL yourself: too large, refused by the rules, or overtaken again and again */
    FILL_UNAVAILABLE, /* PostgreSQL is away for the refresher */
};

#endif
