/* refresher: the only writer of the hot cache. One process a host; several hosts may run one each. */
#ifndef REFRESHER_REFRESHER_H
#define REFRESHER_REFRESHER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/child.h"
#include "base/configuration.h"

struct refresher_options {
    const struct child_start *start;
    const struct configuration *configuration;
    const int *fills; /* its end of the pair with each worker slot (api/fill.h); inherited */
    size_t fill_count;
    bool distrust; /* the predecessor crashed: nothing that it left is kept */
};

/* Runs the process; returns its exit status. The caller has mapped the region for writing (region_attach_writer). */
int refresher_main(const struct refresher_options *options);

#endif
