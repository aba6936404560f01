/* hot_floors: what may not be published any more, and who is just about to publish; for src/shm alone. Refresher. */
#ifndef SHM_HOT_FLOORS_H
#define SHM_HOT_FLOORS_H

#include "shm/hot_layout.h"

/* How many bodies workers have served themselves, of keys of this floor. */
uint64_t hot_floors_served(uint32_t floor);
/* May an entry be published, as far as floors and what workers served say? */
enum hot_publish hot_floors_measure(uint32_t floor, const struct hot_entry *entry);
/* It is going to be: nothing older will. */
void hot_floors_note(uint32_t floor, const struct hot_entry *entry);
/* Says what is intended, so that what workers do from here on waits for hot_floors_done. */
void hot_floors_intend(uint32_t intent);
void hot_floors_done(void);
/* After distrust: nothing is known. */
void hot_floors_wipe(void);

#endif
