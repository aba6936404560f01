/* hot_open: what hot_open.c and hot_write.c share, for src/shm alone. Refresher. */
#ifndef SHM_HOT_OPEN_H
#define SHM_HOT_OPEN_H

#include <stdbool.h>

#include "shm/hot_layout.h"

/* The form of the entry must have been looked at before: its size is believed. */
bool hot_entry_verifies(const struct hot_entry_header *entry) MUST_CHECK;

#endif
