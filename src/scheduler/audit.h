/* audit: what a step of the audit has found, told to the log and to the statistics. Scheduler only. */
#ifndef SCHEDULER_AUDIT_H
#define SCHEDULER_AUDIT_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

/* Reads the answer of turnout.audit_step, which stays the caller's. Adds the number of differences to `*found`; answers
 * whether the round goes on. */
bool audit_take(const PGresult *result, int64_t *found);

#endif
