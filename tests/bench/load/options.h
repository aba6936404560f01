/* options: the command line of the load generator. A wrong one ends the program with EXIT_USAGE and says why. */
#ifndef LOAD_OPTIONS_H
#define LOAD_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>

#include "mix.h"

#define EXIT_USAGE 64

/* Durations in microseconds. */
struct options {
    struct sockaddr_storage address;
    socklen_t address_length;
    struct mix *mix;  /* the caller's, filled in */
    const char *file; /* that the mix came from */
    int connections;
    double rate; /* requests a second of an open loop; 0: closed loop */
    bool poisson;
    int64_t duration;
    int64_t requests; /* to be asked; 0: no end */
    int64_t within;   /* that they come in; 0: not given */
    double fresh;     /* share of requests that want their connection closed */
    int64_t timeout;
    FILE *answers; /* NULL: not wanted */
    bool json;
    bool progress;
};

/* Fills in `options`, of which `mix` is set and the rest is zero. */
void options_read(int argc, char **argv, struct options *options);
_Noreturn void options_wrong(const char *what, const char *detail);

#endif
