/* smtp_lane: one connection to the SMTP server, and how a message is said over it. Mailer; smtp.c alone. All functions
 * are called by the lane's own thread, without the lock. */
#ifndef MAILER_SMTP_LANE_H
#define MAILER_SMTP_LANE_H

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "mailer/smtp.h"
#include "mailer/smtp_settings.h"
#include "mailer/verdict.h"

#define WORDS_SIZE 512
/* Of an answer; RFC 5321 lets a server say 512 octets. A server that says more without a line end has ended. */
#define LINE_SIZE 2048

/* One message. The thread that has it owns it until it is told. */
struct task {
    TAILQ_ENTRY(task) link;
    char sender[330], recipient[330]; /* in angle brackets */
    char *bytes;
    size_t length;
    smtp_done *done; /* NULL: cancelled, nobody wants to know */
    void *context;
    struct smtp_end end;
    enum smtp_outcome outcome; /* what `end` means, once that is final */
    char words[WORDS_SIZE];
};
TAILQ_HEAD(tasks, task);

/* One thread and its connection. */
struct lane {
    struct smtp *smtp;     /* smtp.c's */
    pthread_mutex_t *lock; /* the one of smtp.c, which guards what says so */
    pthread_t thread;
    bool started;
    CURL *curl;            /* the thread's */
    bool connected;        /* and nothing stands against the next message */
    bool pipelining;       /* the server takes commands together */
    char heard[LINE_SIZE]; /* from the server, not taken as a line yet */
    size_t heard_length;
    struct smtp_settings *settings;
    struct task *task;      /* under the lock */
    _Atomic int descriptor; /* of its connection; -1: none */
    _Atomic int64_t moved;  /* monotonic: when something last came or went */
    _Atomic bool late;      /* the loop has cut it */
    /* of the attempt under way */
    enum smtp_stage stage;
    int code;
    char answer[WORDS_SIZE];
};

/* Something came or went, or begins to be waited for. */
void lane_note(struct lane *lane);
/* Sends the message over the connection that stands, else over a new one; `end` and `words` of the task say what became
 * of it. *reused: it was over one that stood. Answers whether one was made. */
bool lane_try(struct lane *lane, struct task *task, bool *reused);
/* Closes the connection. Nobody waits for the answer to QUIT, which a server that hangs never gives. */
void lane_hang_up(struct lane *lane);

#endif
