/* master: opens listeners and the control socket, starts and watches the other processes. Serves no HTTP, opens no
 * database. */
#ifndef MASTER_MASTER_H
#define MASTER_MASTER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/configuration.h"
#include "base/object.h"

/* Runs until the daemon ends. Returns the exit status, in the master and in each child. A bad start ends the process
 * with status 2. */
int master_run(const struct configuration *configuration) MUST_CHECK;

/* Checks what only a look at the system can: addresses, key files, connection strings, the SQL folder. false: one line
 * in `error`. Loads OpenSSL and libpq: the master calls it in a child of its own. */
bool master_check(const struct configuration *configuration, char *error, size_t error_size) MUST_CHECK;

#endif
