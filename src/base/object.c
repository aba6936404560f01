/* object: the end of a process whose invariant is broken. Any process. */
#include "base/object.h"

#include <stdlib.h>

#include "base/log.h"

void object_die(const char *what, const char *file, int line)
{
    log_record(LOG_LEVEL_ERROR, "broken invariant",
               (const struct log_field[]){
                   log_text("condition", what), log_text("file", file), log_int("line", line), {.key = NULL}});
    abort();
}
