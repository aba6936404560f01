/* array: the text form of a one-dimensional array, {"a","b",NULL}, for statements that take many things at once. Any
 * process. */
#ifndef PG_ARRAY_H
#define PG_ARRAY_H

#include "base/buffer.h"

/* Empties the buffer (keeping its memory), then one call for each element; NULL is null. */
void pg_array_begin(struct buffer *array);
void pg_array_add(struct buffer *array, const char *element);
/* The whole, ended by NUL; valid until the buffer changes. */
const char *pg_array_end(struct buffer *array);

#endif
