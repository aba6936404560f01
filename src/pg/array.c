/* array: the text form of arrays (PostgreSQL, 8.15.6): every element quoted, so that none can be taken for NULL or for
 * more than one; a quote and a backslash are escaped by a backslash, everything else stands for itself. Any process. */
#include "pg/array.h"

#include <string.h>

/* Arrays of before may have been bigger by far. */
#define MEMORY_KEPT 65536

void pg_array_begin(struct buffer *array)
{
    buffer_clear(array, MEMORY_KEPT);
    buffer_append(array, "{", 1);
}

void pg_array_add(struct buffer *array, const char *element)
{
    if (buffer_length(array) > 1)
        buffer_append(array, ",", 1);
    if (element == NULL) {
        buffer_append_text(array, "NULL");
        return;
    }
    buffer_append(array, "\"", 1);
    for (;;) {
        size_t plain = strcspn(element, "\"\\");
        buffer_append(array, element, plain);
        element += plain;
        if (*element == '\0')
            break;
        const char escaped[2] = {'\\', *element++};
        buffer_append(array, escaped, sizeof escaped);
    }
    buffer_append(array, "\"", 1);
}

const char *pg_array_end(struct buffer *array)
{
    buffer_append(array, "}", 1);
    return buffer_text(array);
}
