/* place: where Redis is, as the configuration says it. Master, refresher; no state. */
#ifndef REDIS_PLACE_H
#define REDIS_PLACE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/object.h"

/* "name:port", "address:port", "[address6]:port": the name or address goes into `name`, without brackets. */
bool place_split(const char *host, char *name, size_t name_size, int *port) MUST_CHECK;

/* For the check of the configuration: is this a host as above, is this path short enough for a socket? */
bool place_check_host(const char *host, char *error, size_t error_size) MUST_CHECK;
bool place_check_socket(const char *path, char *error, size_t error_size) MUST_CHECK;

#endif
