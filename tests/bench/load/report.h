/* report: what the load generator prints at its end: a table for people, or JSON for tests. */
#ifndef LOAD_REPORT_H
#define LOAD_REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "client.h"
#include "mix.h"

#define REPORT_FAILURES_MAX 20000

/* One request that failed, for those who ask why. */
struct report_failure {
    int64_t at;  /* clock_monotonic */
    int64_t due; /* the same */
    const char *request;
    enum client_failure failure;
    int status;
    int port;
    char detail[200];
};

struct report {
    int64_t began; /* clock_monotonic */
    int64_t ended;
    double rate; /* 0: closed loop */
    int connections;
    int64_t connects;
    int64_t unasked;
    int64_t answered;
    int64_t in_time; /* of those, before `ended` */
    int64_t failed;
    int64_t unanswered; /* were to be asked again when the end came */
    int64_t never_sent; /* due before the end, and no connection was free */
    int64_t reasons[CLIENT_FAILURE_COUNT];
    struct report_failure failures[REPORT_FAILURES_MAX]; /* the first ones */
};

void report_note(struct report *report, const struct client *client, enum client_failure failure, int status,
                 const char *detail);
void report_text(const struct report *report, const struct mix *mix, FILE *out);
void report_json(const struct report *report, const struct mix *mix, FILE *out);

#endif
