/* loop: a libevent loop that a test turns until what it waits for is so. Of the fixtures of servers. */
#ifndef LOOP_H
#define LOOP_H

#include <check.h>
#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#define MILLISECOND ((int64_t)1000)
#define SECOND ((int64_t)1000000)

/* Starts the test program again below `script` (of tests/unit) unless the variable that it sets is there already. First
 * line of main. */
void fixture_need(const char *variable, const char *script, char **arguments);
/* The loop of this test, made at the first call. */
struct event_base *fixture_base(void);
/* Runs the loop until the expression holds; fails the test after 20 s. */
#define fixture_wait_for(expression)                \
    do {                                            \
        int64_t fixture_end = fixture_deadline();   \
        while (!(expression))                       \
            fixture_turn(fixture_end, #expression); \
    } while (0)
int64_t fixture_deadline(void);
/* One turn of the loop, of 10 ms at most. */
void fixture_turn(int64_t deadline, const char *waited_for);
/* Ends the test program with the result of a suite. */
int fixture_run(Suite *suite);

#endif
