/* mailer: the process that sends the mail that is owed. One a host, where smtp_url is set. */
#ifndef MAILER_MAILER_H
#define MAILER_MAILER_H

#include "base/child.h"
#include "base/configuration.h"

struct mailer_options {
    const struct child_start *start;
    const struct configuration *configuration;
    /* By which its leases are known: the master's, the same for each mailer that it starts, so that a successor may
     * take at once what its dead predecessor held. Boot lifetime. */
    const char *owner;
};

/* Runs until the master or a signal ends it; returns the exit status. */
int mailer_main(const struct mailer_options *options);

#endif
