/* reload: another look at the configuration's file while the daemon runs. Master. */
#ifndef MASTER_RELOAD_H
#define MASTER_RELOAD_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/configuration.h"
#include "base/object.h"

/* An option whose value in the file is not the one that was in force. */
struct reload_change {
    const char *name;
    char *from;
    char *to;
    bool restart; /* it takes effect at the next start only */
};

/* How a reload ended. */
enum reload_outcome {
    RELOAD_DONE,    /* in force everywhere */
    RELOAD_REFUSED, /* nothing was changed: `text` says why */
    RELOAD_PARTIAL, /* in force, but not in every process: `text` says where not, and why */
};

struct reload_result {
    enum reload_outcome outcome;
    char text[512];
    struct reload_change *changes; /* ended by a name of NULL; of a refused one empty */
};

struct reload_options {
    const struct configuration *configuration; /* the one in force */
    /* Called in the process that checks a new configuration, right after the fork: closes all descriptors but these. */
    void (*enter)(int keep);
    /* Called when a reload has ended. */
    void (*ended)(void);
};

/* Once, before the others. */
void reload_create(const struct reload_options *options);
/* Asks for a reload; one that is under way may have read the file before it was changed, so another one follows it.
 * Returns the number of the one that answers. */
int64_t reload_ask(void);
/* The daemon ends: what is under way or asked for is refused. */
void reload_abandon(void);
/* NULL: the reload has not ended yet. A later one takes the place of the result. */
const struct reload_result *reload_result(int64_t number);

/* Does what is due. From the top of the master's loop. */
void reload_supervise(void);
/* When reload_supervise has something to do, if nothing happens before (monotonic); INT64_MAX: nothing. */
int64_t reload_next_due(void);
/* A process has ended that is in no row of the process table. */
void reload_reaped(pid_t pid, int status);

#endif
