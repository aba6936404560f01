/* process: the process table. Starts children, watches them, says who died of what, and starts them again. Master; the
 * only writer. */
#ifndef MASTER_PROCESS_H
#define MASTER_PROCESS_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/child.h"
#include "base/configuration.h"

/* In the order in which they are shown. The refresher is there where the cache is on (cache_size is not 0), the mailer
 * where there is a server to send to (smtp_url is set). */
enum process_role { PROCESS_WORKER, PROCESS_REFRESHER, PROCESS_MAILER, PROCESS_SCHEDULER, PROCESS_ROLE_COUNT };

enum process_state {
    PROCESS_STARTING, /* forked; has not said that it serves */
    PROCESS_READY,    /* serves */
    PROCESS_STOPPING, /* was told to stop */
    PROCESS_BACKOFF,  /* no process now, started again at `restart_at` */
    PROCESS_FAILED,   /* ended with "do not restart"; no process now */
};

/* One row. Boot lifetime; a row is used again for the same slot. */
struct process {
    OBJECT_HEADER;
    bool used;
    enum process_role role;
    int slot;
    enum process_state state;
    pid_t pid; /* 0: no process now */
    int channel;
    struct event *channel_event;
    int64_t started_at;    /* realtime, microseconds */
    int64_t started_clock; /* monotonic */
    int64_t serves_since;  /* monotonic; 0: it has not said yet that it serves */
    int64_t last_pong;     /* monotonic */
    int64_t last_number;   /* of the last pong */
    int64_t restart_at;    /* monotonic, PROCESS_BACKOFF */
    int64_t restarts;
    int failures;           /* deaths in a row before serving, or by a crash soon after */
    bool silent;            /* killed, as it did not answer */
    bool removed;           /* not to be started again: the table shrinks */
    bool distrust;          /* of the refresher: one has crashed, and none has served since */
    int64_t reload_sent;    /* the last reload that it was sent, or started with */
    int64_t reload_done;    /* and that it has confirmed */
    char reload_error[256]; /* what it could not do of that one; "" = nothing */
    bool log_owed;          /* it has not been told yet that the log's file was moved away */
    struct child_report report;
};

/* A piece of an answer. */
struct process_answer {
    int64_t number; /* of the question */
    bool more;      /* further pieces follow */
    int status;     /* exit status for turnoutctl, of the whole answer */
    const char *text;
    size_t length;
};

/* Runs in the new process; returns its exit status. */
typedef int process_main(const struct child_start *start);

struct process_options {
    struct event_base *base;
    const struct configuration *configuration;
    process_main *main_of[PROCESS_ROLE_COUNT];
    /* Called in the child right after the fork: closes what is not its own. */
    void (*enter)(enum process_role role, const struct child_start *start);
    /* Called after the death of a worker, before its slot is given to another one. */
    void (*buried)(enum process_role role, int slot);
    /* Called after every change: a pong, a death, a start. */
    void (*changed)(void *context);
    /* Called for a process that is in no row. */
    void (*reaped)(void *context, pid_t pid, int status);
    /* Called for each piece of what a child answers to process_ask. */
    void (*answered)(void *context, const struct process_answer *answer);
    void *context;
    bool refresher;            /* there shall be one */
    bool mailer;               /* the same */
    int64_t ping_interval_max; /* microseconds: who watches the master wants to hear of pongs that often */
};

/* Which rows a command is about. */
struct process_target {
    int role; /* enum process_role; -1: all rows, whatever the slot */
    int slot;
};
#define PROCESS_ALL ((struct process_target){.role = -1})

/* Is the row among them? */
bool process_is_meant(const struct process_target *target, const struct process *process);

/* For logs and the control socket; static. */
const char *process_role_name(enum process_role role);
/* The same for a state. */
const char *process_state_name(enum process_state state);

/* Once, before the others. */
void process_table_create(const struct process_options *options);

/* How many workers there shall be. The table is brought there step by step: shares of the connection budget shrink and
 * are confirmed before a worker is added, and grow after one has gone. */
void process_set_workers(int64_t workers);
/* The number asked for last. */
int64_t process_workers_wanted(void);
/* Workers that serve. */
int64_t process_workers_ready(void);

/* Does what is due: reaps, pings, kills who does not answer, forks. To be called from the top of the master's loop,
 * never from a callback. Returns the exit status in a child; -1 in the master. */
int process_supervise(void);
/* When process_supervise has something to do next, if nothing happens before (monotonic, microseconds). */
int64_t process_next_due(void);

/* Asks every child for a report; returns the number of the ping. */
int64_t process_ping(void);
/* true when every child that is meant and lives has answered the ping `number`. */
bool process_answered(int64_t number, const struct process_target *target);
/* The number of the last ping that was sent. */
int64_t process_last_ping(void);
/* The number of the last ping that a worker which serves has answered. */
int64_t process_last_answer(void);

/* Sends the configuration in force to every child, and starts those again that had given up; returns the number of this
 * reload. Who is started from now on has it already. */
int64_t process_reload(void);
/* true when every child that lives has confirmed the reload `number`. */
bool process_reloaded(int64_t number);
/* Tells every child that the log's file was moved away. */
void process_reopen_log(void);
/* Tells one child to end, which is then started again. false: it does not live, or ends already. */
bool process_restart(const struct process_target *target, bool now) MUST_CHECK;
/* The row, or NULL. */
const struct process *process_find(const struct process_target *target);

/* Tells every child to stop; nothing is started from now on. */
void process_stop_all(bool now);
/* SIGKILL to every child that is left. */
void process_kill_all(void);
/* true: no child is left. */
bool process_all_gone(void);
/* true: a child said "do not restart" and no worker is left or none ever served. */
bool process_bad_start(void);
/* Tells the children that are meant what to log. */
void process_log_level(enum log_level level, const struct process_target *target);

/* Asks the only process of a role; returns the number of the question, whose answer comes in pieces. 0: there is none
 * that serves, or it takes no more questions just now. */
int64_t process_ask(enum process_role role, enum child_question what, const char *argument) MUST_CHECK;

/* Calls `row` for every row in use that is meant, workers first. */
void process_each(const struct process_target *target, void (*row)(void *context, const struct process *process),
                  void *context);

#endif
