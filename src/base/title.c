/* title: the name of the process in ps(1), written over the memory that the kernel reads it from: argv and what lies
 * behind it. */
#include "base/title.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/object.h"

static char *memory;
static size_t memory_size;

void title_reserve(int argc, char **argv)
{
    char *end = argv[0];
    for (int i = 0; i < argc && argv[i] == end; i++)
        end = argv[i] + strlen(argv[i]) + 1;
    /* main still reads its arguments: they move away before they are written over */
    for (int i = 1; i < argc; i++) {
        argv[i] = strdup(argv[i]);
        INVARIANT(argv[i] != NULL);
    }
    memory = argv[0];
    memory_size = (size_t)(end - argv[0]);
    program_invocation_name = strdup(program_invocation_name);
    INVARIANT(program_invocation_name != NULL);
    const char *slash = strrchr(program_invocation_name, '/');
    program_invocation_short_name = slash == NULL ? program_invocation_name : (char *)(size_t)(slash + 1);
}

void title_set(const char *title)
{
    if (memory_size == 0)
        return;
    memset(memory, 0, memory_size);
    snprintf(memory, memory_size, "turnoutd: %s", title);
}
