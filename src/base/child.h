/* child: what every process that the master forks does alike: its loop, its channel to the master, pings, stopping, and
 * dying with the master. Worker, refresher, mailer, scheduler; the kinds of message are the master's, too. */
#ifndef BASE_CHILD_H
#define BASE_CHILD_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/message.h"
#include "base/object.h"

/* Exit status is protocol between a child and the master, and between the master and systemd. */
enum exit_status { EXIT_STATUS_DONE = 0, EXIT_STATUS_RESTART = 1, EXIT_STATUS_DO_NOT_RESTART = 2 };

/* Messages between master and child; what follows the kind stands behind each. */
enum child_message {
    CHILD_MESSAGE_PING,      /* master: number, workers ready, workers wanted, is the cache warm (0, 1) */
    CHILD_MESSAGE_PONG,      /* child: number, the report (child_report_put) */
    CHILD_MESSAGE_READY,     /* child: serves from now on */
    CHILD_MESSAGE_STOP,      /* master: enum child_stop */
    CHILD_MESSAGE_LOG_LEVEL, /* master: enum log_level */
    CHILD_MESSAGE_DB_SHARE,  /* master: connections to PostgreSQL that this process may have */
    CHILD_MESSAGE_RELOAD,    /* master: number, then name and value of each option that can be reloaded, as texts */
    CHILD_MESSAGE_RELOADED,  /* child: number, what could not be done ("" = nothing) */
    CHILD_MESSAGE_LOG,       /* master: the log's file was moved away; nothing follows */
    CHILD_MESSAGE_WARMED,    /* refresher: what is asked for first is in the cache */
    CHILD_MESSAGE_ASK,       /* master: number, enum child_question, argument as a text */
    CHILD_MESSAGE_ANSWER, /* child: number, 1 where more of it follows, exit status for turnoutctl, a piece of text */
};

/* What the master asks a child for on behalf of turnoutctl: the refresher about the cache, the mailer about mail. */
enum child_question {
    CHILD_QUESTION_CACHE_KEY,  /* the entry of this key */
    CHILD_QUESTION_CACHE_DROP, /* delete the entries whose keys fit this pattern (fnmatch, * and ?) */
    CHILD_QUESTION_CACHE_WARM, /* render what is asked for first again; answered when that is done */
    CHILD_QUESTION_MAIL_SHOW,  /* lines "name: value" about what the mailer does */
    CHILD_QUESTION_MAIL_TEST,  /* sends a test to this address; answered with the server's words */
};

/* How a process stops. */
enum child_stop {
    CHILD_STOP_DRAIN, /* nobody comes after it: who waits in the queues of the listeners is served, too */
    CHILD_STOP_NOW,   /* what is open is cut */
    CHILD_STOP_LEAVE, /* others go on accepting: the queues are left to them */
};

#define CHILD_POOLS_MAX 4

/* One pool of connections to PostgreSQL as a child reports it. */
struct child_pool_report {
    char name[16];
    int64_t open, idle, in_flight, waiting, max, connects, lost, timeouts, reachable;
};

/* What a child says of itself with each pong. */
struct child_report {
    int64_t connections, accepted, requests, in_flight; /* HTTP */
    int64_t memory_http;                                /* bytes of connections and requests */
    int64_t memory_allocated, memory_resident;          /* bytes, as the allocator and the kernel see them */
    int64_t loop_lag; /* microseconds that the loop was late, most since the last report */
    int64_t db_share; /* the share that it knows */
    int64_t pool_count;
    struct child_pool_report pools[CHILD_POOLS_MAX];
};

/* Appends the report to a message. */
void child_report_put(struct message_writer *writer, const struct child_report *report);
/* Reads what child_report_put appended. false: cut short or of another form; `report` is then not whole. */
bool child_report_get(struct message_reader *reader, struct child_report *report) MUST_CHECK;

/* Appends the reloadable options of the configuration in force to a message. */
void child_reload_put(struct message_writer *writer);

/* What the process brings. Called from the loop. */
struct child_callbacks {
    void (*stop)(void *context, enum child_stop how);
    void (*report)(void *context, struct child_report *report);
    void (*db_share)(void *context, int64_t share);
    void (*lag)(void *context, int64_t microseconds); /* how late the loop came to a timer, once in ping_interval */
    /* The configuration has new values: who keeps copies takes them now, and secrets are read again. What fails leaves
     * that part as it was; false: `error` says what. */
    bool (*reload)(void *context, char *error, size_t error_size);
    /* The master asks; to be answered by child_answer, at once or later. NULL: this process is not asked. */
    void (*ask)(void *context, int64_t number, enum child_question what, const char *argument);
    void *context;
};

/* What the master last said of the host. */
struct child_host {
    int64_t workers_ready;
    int64_t workers_wanted;
    int64_t warmed; /* 1: the cache has been filled with what is asked for first since the daemon started, or is off */
};

/* What a child gets from the master. */
struct child_start {
    int slot;
    int channel;
    int master;       /* its pid */
    int64_t db_share; /* connections to PostgreSQL that this process may have */
    bool distrust;    /* the refresher's predecessor crashed */
};

struct child;

/* First thing in a child: takes over signals and the channel, arms the death signal. */
struct child *child_create(const struct child_start *start);
struct event_base *child_base(const struct child *child);
const struct child_host *child_host(const struct child *child);
/* Tells the master that the process serves. */
void child_ready(struct child *child);
/* Tells the master that the cache is warm; once in a life is enough. */
void child_warmed(struct child *child);
/* Answers the question `number`: the exit status of turnoutctl and a text, which may be longer than a message. */
void child_answer(struct child *child, int64_t number, int status, const char *text, size_t length);
/* Calls `crashed` first thing in the handler of a signal that says that this process is broken. It may do only what is
 * async-signal-safe. Before child_create. */
void child_on_crash(void (*crashed)(void));
/* Runs the loop until child_exit; returns the status to exit with. */
int child_run(struct child *child, const struct child_callbacks *callbacks);
/* Ends the loop. */
void child_exit(struct child *child, enum exit_status status);

/* Names what the process is doing, for the line that a crash leaves. Both must stay readable until the next call; NULL:
 * nothing. */
void child_set_activity(const char *what, const char *request_id);

#endif
