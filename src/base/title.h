/* title: the name of the process in ps(1). Any process. */
#ifndef BASE_TITLE_H
#define BASE_TITLE_H

/* Once, first thing in main: takes the memory of argv, whose texts are copied first. */
void title_reserve(int argc, char **argv);
/* Shows "turnoutd: TITLE" from now on. */
void title_set(const char *title);

#endif
