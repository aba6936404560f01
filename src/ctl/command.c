/* command: the table of commands and its search. Master and turnoutctl. */
#include "ctl/command.h"

#include <string.h>

const struct command_line command_table[COMMAND_COUNT] = {
#define COMMAND_ROW(symbol, words, arguments, where, whom, help) \
    {words, arguments, COMMAND_##where, COMMAND_##whom, help},
    COMMAND_LIST(COMMAND_ROW)
#undef COMMAND_ROW
};

/* How many of the given words spell `command`, 0 where they do not. */
static size_t match(const char *command, char *const *words, size_t count)
{
    for (size_t used = 0; used < count; used++) {
        size_t length = strlen(words[used]);
        if (length == 0 || strncmp(command, words[used], length) != 0)
            return 0;
        command += length;
        if (*command == '\0')
            return used + 1;
        if (*command++ != ' ')
            return 0;
    }
    return 0;
}

size_t command_address(char *const *words, size_t count)
{
    if (count == 0 || words[0][0] != '@')
        return 0;
    return count > 1 && words[1][0] >= '0' && words[1][0] <= '9' ? 2 : 1;
}

enum command command_find(char *const *words, size_t count, size_t *used)
{
    size_t before = command_address(words, count);
    for (int i = 0; i < COMMAND_COUNT; i++) {
        *used = match(command_table[i].words, words + before, count - before);
        if (*used > 0) {
            *used += before;
            return (enum command)i;
        }
    }
    return COMMAND_COUNT;
}
