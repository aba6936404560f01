/* secret: reads a secret from a file, never from the command line. Any process at start. */
#ifndef BASE_SECRET_H
#define BASE_SECRET_H

#include <stddef.h>

#include "base/object.h"

/* Reads the file whole (at most 64 KiB), without one line end behind it, into new memory that the caller wipes and
 * frees with secret_free. NULL: `error` says why (missing, unreadable, empty, readable for everybody). */
char *secret_read(const char *path, size_t *length, char *error, size_t error_size) MUST_CHECK;
void secret_free(char *secret, size_t length);

#endif
