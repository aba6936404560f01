/* command: the one table of commands; enum, parser and help come from it. Master and turnoutctl. */
#ifndef CTL_COMMAND_H
#define CTL_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "base/object.h"

/* COMMAND(symbol, words, arguments, where, whom, help): where = the master answers it over the socket, or turnoutctl
 * does it HERE with the configuration file. whom = it is about the whole daemon (ALL), about one process, which stands
 * before it (ONE: "@worker 2 restart"), or either (ANY). */
#define COMMAND_LIST(COMMAND)                                                                                        \
    COMMAND(SHOW_PROCESSES, "show processes", "", MASTER, ANY, "processes: pid, role, state, since when, restarts")  \
    COMMAND(SHOW_CONFIG, "show config", "", MASTER, ALL, "options in force: value, default, where it was set")       \
    COMMAND(SHOW_POOLS, "show pools", "", MASTER, ANY, "connections to PostgreSQL of each process")                  \
    COMMAND(SHOW_CONNECTIONS, "show connections", "", MASTER, ANY, "client connections and requests of each worker") \
    COMMAND(SHOW_MEMORY, "show memory", "", MASTER, ANY, "bytes held by each process")                               \
    COMMAND(SHOW_LIMITS, "show limits", "", MASTER, ALL, "limits of users and addresses: figures, refused, in use")  \
    COMMAND(SHOW_VERSION, "show version", "", MASTER, ALL, "version of the running daemon and since when it runs")   \
    COMMAND(SHOW_CACHE, "show cache", "[KEY]", MASTER, ALL,                                                          \
            "the hot cache: entries, hits and room by pattern of keys; or the entry of one key, with its body")      \
    COMMAND(CACHE_DROP, "cache drop", "PATTERN", MASTER, ALL,                                                        \
            "delete the entries whose keys fit PATTERN (* any characters, ? any one)")                               \
    COMMAND(CACHE_WARM, "cache warm", "", MASTER, ALL, "fill the hot cache with what is asked for first")            \
    COMMAND(SHOW_MAIL, "show mail", "", MASTER, ALL, "what the mailer of this host does, and how the outbox stands") \
    COMMAND(SHOW_JOBS, "show jobs", "", HERE, ALL,                                                                   \
            "the scheduler's jobs, on all hosts: last run, how long, rows, failures")                                \
    COMMAND(MAIL_DEAD, "mail dead", "", HERE, ALL, "mail that was given up: to whom, and the server's words")        \
    COMMAND(MAIL_RETRY, "mail retry", "ID | all", HERE, ALL,                                                         \
            "owe dead mail again, or try now what waits for its next try")                                           \
    COMMAND(MAIL_DROP, "mail drop", "ID", HERE, ALL, "give up mail that is dead or owed: it is never sent")          \
    COMMAND(MAIL_PAUSE, "mail pause", "", HERE, ALL, "send no more mail from any host, until mail resume")           \
    COMMAND(MAIL_RESUME, "mail resume", "", HERE, ALL, "go on after mail pause")                                     \
    COMMAND(MAIL_TEST, "mail test", "ADDRESS", MASTER, ALL, "send a test message and say what the server answered")  \
    COMMAND(PING, "ping", "", MASTER, ANY, "ask processes whether they answer, and how soon")                        \
    COMMAND(RELOAD, "reload", "", MASTER, ALL,                                                                       \
            "read the configuration, keys and secrets again and put in force what needs no restart")                 \
    COMMAND(RESTART, "restart", "[--now]", MASTER, ONE,                                                              \
            "replace one process and wait for its successor; --now does not wait for its open requests")             \
    COMMAND(STOP, "stop", "[--now]", MASTER, ALL,                                                                    \
            "end the daemon and wait until it has ended; --now does not wait for open requests")                     \
    COMMAND(WORKERS, "workers", "N", MASTER, ALL, "run N workers from now on")                                       \
    COMMAND(LOG_LEVEL, "log-level", "debug|info|warning|error", MASTER, ANY, "what is logged from now on")           \
    COMMAND(TOKEN, "token", "--email E [--role R] [--ttl T] | --emails FILE [--role R] [--ttl T]", HERE, ALL,        \
            "print a token for development, one a line; R: participant, organizer or admin; T: 8h unless said")      \
    COMMAND(MIGRATE, "migrate", "", HERE, ALL, "bring the database's schema and rules up to date")                   \
    COMMAND(EVENTS_IMPORT, "events import", "FILE", HERE, ALL,                                                       \
            "write all events of a JSON array or a CSV file, or none of them")                                       \
    COMMAND(USERS_IMPORT, "users import", "FILE [--dry-run] [-v]", HERE, ALL,                                        \
            "take the people of a CSV file over: add and update them all, or none; -v: say what changes")            \
    COMMAND(AUDIT, "audit", "[--event ID]", HERE, ALL,                                                               \
            "count the rows of all events, or of one, and name the counters that differ; corrects nothing")

enum command_where { COMMAND_MASTER, COMMAND_HERE };
enum command_whom { COMMAND_ALL, COMMAND_ONE, COMMAND_ANY };

enum command {
#define COMMAND_ENUM(symbol, words, arguments, where, whom, help) COMMAND_##symbol,
    COMMAND_LIST(COMMAND_ENUM)
#undef COMMAND_ENUM
        COMMAND_COUNT
};

struct command_line {
    const char *words;
    const char *arguments;
    enum command_where where;
    enum command_whom whom;
    const char *help;
};

extern const struct command_line command_table[COMMAND_COUNT];

/* How many words name a process before the command: "@worker 2" two, "@scheduler" one, none 0. */
size_t command_address(char *const *words, size_t count);
/* Finds the command whose words stand first; behind those that name a process; `*used` is how many words
 * it took, with those. COMMAND_COUNT: none. */
enum command command_find(char *const *words, size_t count, size_t *used) MUST_CHECK;

#endif
