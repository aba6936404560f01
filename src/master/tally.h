/* tally: what the master counts of its children, in its own page of the statistics. Master. */
#ifndef MASTER_TALLY_H
#define MASTER_TALLY_H

#include <stddef.h>

#include "master/process.h"

/* The role in the statistics: LABEL_ROLE_... */
unsigned tally_role(enum process_role role);
/* Who holds the page of a row's process from now on; 0: nobody. */
void tally_holder(const struct process *process, pid_t pid);
/* A process has died that has to be started again; `status` is that of waitpid. */
void tally_restart(const struct process *process, int status);
/* How the process table stands. */
void tally_states(const struct process *rows, size_t count, int64_t workers_wanted);

#endif
