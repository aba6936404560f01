/* command: the one table of commands; enum, parser and help come from it. Master and turnoutctl. */
#ifndef CTL_COMMAND_H
#define CTL_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "base/object.h"

/* COMMAND(symbol, words, arguments, where, help): where = the master answers it over the socket, or turnoutctl does it
 * HERE with the configuration file. */
#define COMMAND_LIST(COMMAND)                                                                                   \
    COMMAND(SHOW_PROCESSES, "show processes", "", MASTER, "processes: pid, role, state, since when, restarts")  \
    COMMAND(SHOW_CONFIG, "show config", "", MASTER, "options in force: value, default, where it was set")       \
    COMMAND(SHOW_POOLS, "show pools", "", MASTER, "connections to PostgreSQL of each process")                  \
    COMMAND(SHOW_CONNECTIONS, "show connections", "", MASTER, "client connections and requests of each worker") \
    COMMAND(SHOW_MEMORY, "show memory", "", MASTER, "bytes held by each process")                               \
    COMMAND(SHOW_VERSION, "show version", "", MASTER, "version of the running daemon and since when it runs")   \
    COMMAND(STOP, "stop", "[--now]", MASTER,                                                                    \
            "end the daemon and wait until it has ended; --now does not wait for open requests")                \
    COMMAND(WORKERS, "workers", "N", MASTER, "run N workers from now on")                                       \
    COMMAND(LOG_LEVEL, "log-level", "debug|info|warning|error", MASTER, "what is logged from now on")           \
    COMMAND(TOKEN, "token", "--email E [--role R] [--ttl T] | --emails FILE [--role R] [--ttl T]", HERE,        \
            "print a token for development, one a line; R: participant, organizer or admin; T: 8h unless said") \
    COMMAND(MIGRATE, "migrate", "", HERE, "bring the database's schema and rules up to date")                   \
    COMMAND(EVENTS_IMPORT, "events import", "FILE", HERE,                                                       \
            "write all events of a JSON array or a CSV file, or none of them")

enum command_where { COMMAND_MASTER, COMMAND_HERE };

enum command {
#define COMMAND_ENUM(symbol, words, arguments, where, help) COMMAND_##symbol,
    COMMAND_LIST(COMMAND_ENUM)
#undef COMMAND_ENUM
        COMMAND_COUNT
};

struct command_line {
    const char *words;
    const char *arguments;
    enum command_where where;
    const char *help;
};

extern const struct command_line command_table[COMMAND_COUNT];

/* Finds the command whose words stand first; `*used` is how many words it took. COMMAND_COUNT: none. */
enum command command_find(char *const *words, size_t count, size_t *used) MUST_CHECK;

#endif
