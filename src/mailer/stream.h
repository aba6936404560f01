/* stream: from a lease to its result. Takes owed mail from the outbox, has it written and sent, and tells the outbox
 * what became of it. Mailer; one stream a process. See the README for what it keeps to. */
#ifndef MAILER_STREAM_H
#define MAILER_STREAM_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/object.h"
#include "mail/letter.h"
#include "mailer/smtp.h"
#include "pg/pool.h"

/* Durations in microseconds. Texts are copied. */
struct stream_settings {
    int64_t connections; /* of smtp */
    int64_t rate;        /* messages a second over all hosts; 0: no limit */
    int64_t attempts;
    int64_t retry_min;
    int64_t retry_max;
    int64_t interval; /* between questions while nothing is due */
    int64_t lease_time;
    const char *from;
    const char *reply_to;   /* NULL: none */
    const char *public_url; /* NULL: no links */
};

struct stream_options {
    struct event_base *base;
    struct pg_pool *pool;
    struct smtp *smtp;
    const char *owner; /* of the leases; boot lifetime */
    void (*ended)(void);
};

/* How it stands; see turnoutctl show mail. */
struct stream_figures {
    int64_t waiting;   /* leased, not begun */
    int64_t in_flight; /* begun, and not committed: what a crash now can repeat */
    int64_t sent;      /* since the start of this process */
    bool paused;       /* by turnoutctl mail pause, as last heard */
    bool unreachable;  /* this host cannot send now */
    char why[256];     /* what the server, or the way there, said last of that; "" = nothing */
    int64_t next_try;  /* monotonic; where it is unreachable */
};

/* Once; nothing happens before stream_begin. */
void stream_create(const struct stream_options *options);
/* At the start and after a reload. */
void stream_set(const struct stream_settings *settings);
/* The stream owns them from now on, and frees those before. */
void stream_set_letters(struct letters *letters);
/* Takes over what a predecessor held, and goes on from there. */
void stream_begin(void);
/* Begins nothing more; what is being sent may end until `deadline` (monotonic), the rest is owed again. Then calls
 * `ended`, once. */
void stream_stop(int64_t deadline);
void stream_figures(struct stream_figures *figures);

#endif
