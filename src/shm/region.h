/* region: the one piece of memory that holds the hot cache: made by the master before its first fork, mapped by each
 * process with just the rights that it needs. Master, worker, refresher. */
#ifndef SHM_REGION_H
#define SHM_REGION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/object.h"

/* Master, once: a memfd of `size` bytes for segments (a multiple of 1 MiB, at least 4) and what goes with them, sealed
 * against another size, every page of it there. The master keeps only the pages of the workers mapped. false: `error`
 * says why (too little memory). */
bool region_create(int64_t size, int workers_max, char *error, size_t error_size) MUST_CHECK;
/* true: there is one (cache_size is not 0). */
bool region_exists(void) MUST_CHECK;

/* In a child, right after the fork and before descriptors are closed: everything read-only, but for the page of this
 * slot. */
void region_attach_reader(int slot);
/* In the refresher: everything may be written. */
void region_attach_writer(void);
/* In any other child: nothing. */
void region_detach(void);

/* Master, after waitpid: whatever the dead worker pinned is free again. */
void region_clear_pin(int slot);
/* In the handler of a crash signal of the refresher: from now on nobody believes what lies there. Async-signal-safe. */
void region_distrust(void);

#endif
