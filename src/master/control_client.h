/* control_client: what control.c and control_wait.c share of a connection to the control socket. Master, these two
 * files and control_cache.c. */
#ifndef MASTER_CONTROL_CLIENT_H
#define MASTER_CONTROL_CLIENT_H

#include <event2/event.h>
#include <stdbool.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "base/buffer.h"
#include "ctl/command.h"
#include "ctl/protocol.h"
#include "master/process.h"

/* What a client waits for before its answer can be made. */
enum client_wait {
    WAIT_NOTHING,
    WAIT_REPORTS,   /* the pongs of a ping, for REPORT_TIME at most */
    WAIT_RELOAD,    /* the end of a reload, which has limits of its own */
    WAIT_SUCCESSOR, /* another process in the place of one that was told to end */
    WAIT_ANSWER,    /* what the refresher answers */
};

/* A connection. reading → (waiting) → writing → closed, or held until the end after "stop". */
struct client {
    OBJECT_HEADER;
    LIST_ENTRY(client) link;
    int descriptor;
    struct event *readable;
    struct event *writable;
    struct event *timer;
    struct buffer in;
    struct buffer out;
    enum client_wait wait;
    bool held;
    enum command command;
    struct process_target target;
    int64_t number;          /* of the ping, the reload or the question that it waits for */
    enum process_role asked; /* WAIT_ANSWER */
    int64_t asked_at;        /* monotonic */
    pid_t pid;               /* that is being replaced, or was asked */
    struct buffer pieces;    /* of the answer, so far */
};

/* Sends the answer and closes. */
void client_reply(struct client *client, struct protocol_reply *answer);
/* Refuses the command as one that cannot be understood. */
void client_refuse(struct client *client, const char *why);

/* Answers "show" and "ping" with what is known. */
void client_show(struct client *client);
/* Commands whose answer has to be waited for: these begin to wait, or answer at once. */
void client_wait_reports(struct client *client);
void client_wait_reload(struct client *client);
void client_wait_restart(struct client *client, bool now, int64_t shutdown_timeout);
/* "show cache", "cache ...", with what stands behind them. */
void client_wait_cache(struct client *client, char *const *words, size_t count);

/* "show mail", "mail test", with what stands behind them; `mailer`: there is to be one. */
void client_wait_mail(struct client *client, char *const *words, size_t count, bool mailer);

/* Something has changed: answers whose wait is over. */
void client_look(struct client *client);
/* The refresher has answered a question. */
void client_take_piece(struct client *client, const struct process_answer *answer);
/* It has waited for as long as it may. false: for nothing. */
bool client_give_up(struct client *client) MUST_CHECK;

#endif
