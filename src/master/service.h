/* service: what the service manager is told (sd_notify(3)): when the daemon serves, reloads, stops; a line of how it
 * is; and that it lives. Master. Without NOTIFY_SOCKET every call does nothing. */
#ifndef MASTER_SERVICE_H
#define MASTER_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/object.h"

/* Once, at the start: reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, and removes them. false: NOTIFY_SOCKET is no
 * address; the daemon runs without. */
bool service_open(void) MUST_CHECK;
/* How often the master has to hear of its workers, so that the watchdog is fed in time (microseconds); 0: no watchdog.
 */
int64_t service_pong_interval(void);
/* Says what there is to say: READY, STATUS, WATCHDOG. From the top of the master's loop. */
void service_supervise(void);
/* When service_supervise has something to do, if nothing happens before (monotonic); INT64_MAX: nothing. */
int64_t service_next_due(void);

/* A reload begins; it has ended, well or not. */
void service_reloading(void);
void service_reloaded(void);
/* The daemon ends, and may take so long (microseconds). */
void service_stopping(int64_t limit);

#endif
