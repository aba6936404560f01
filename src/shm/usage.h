/* usage: what a process uses of the machine, for its statistics page. Any process that has one. */
#ifndef SHM_USAGE_H
#define SHM_USAGE_H

/* Adds the CPU time since the last call and sets memory and descriptors: some ten microseconds. To be called once in a
 * while, not for each request. */
void usage_sample(void);

#endif
