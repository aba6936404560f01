/* worker: serves HTTP. One of `workers` processes that share the listeners. */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

#include <stddef.h>

#include "base/child.h"
#include "base/configuration.h"

struct worker_options {
    const struct child_start *start;
    const struct configuration *configuration;
    const int *listeners; /* of the API; inherited */
    size_t listener_count;
    bool listeners_stay; /* systemd has them: who waits in their queues is the next daemon's */
    const int *internal; /* of /healthz, /readyz and /metrics; inherited */
    size_t internal_count;
    bool internal_stay;
    int fill;            /* its end of the pair with the refresher (api/fill.h); inherited; -1: the cache is off */
    int schema_expected; /* the migration that this program needs at least */
};

/* Runs the process; returns its exit status. */
int worker_main(const struct worker_options *options);

#endif
