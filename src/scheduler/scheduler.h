/* scheduler: clock work in the database. One process a host; several hosts may run one. */
#ifndef SCHEDULER_SCHEDULER_H
#define SCHEDULER_SCHEDULER_H

#include "base/child.h"
#include "base/configuration.h"

struct scheduler_options {
    const struct child_start *start;
    const struct configuration *configuration;
};

/* Runs the process; returns its exit status. */
int scheduler_main(const struct scheduler_options *options);

#endif
