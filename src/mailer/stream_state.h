/* stream_state: what stream.c and stream_outbox.c share. Mailer; these two alone. */
#ifndef MAILER_STREAM_STATE_H
#define MAILER_STREAM_STATE_H

#include <event2/event.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/object.h"
#include "mailer/outage.h"
#include "mailer/stream.h"

#define LETTER_MAGIC 0x4c455454U
/* Below how many letters that wait more are leased. */
#define LEASE_LOW 50
/* A result waits so long for others to be committed with, in microseconds. */
#define COMMIT_WAIT INT64_C(20000)
/* No lease is used in its last third. */
#define LEASE_RESERVE 3

/* One letter that is leased. */
struct parcel {
    OBJECT_HEADER;
    TAILQ_ENTRY(parcel) link;
    int64_t id;
    int64_t leased_until; /* monotonic, not later than the row says */
    int64_t begun;        /* monotonic; when it was handed to smtp */
    json_t *owed;
    unsigned kind; /* label */
    struct letter letter;
    bool in_flight; /* begun, and the server may have taken it, and the outbox does not know yet */
    enum smtp_outcome outcome;
    char words[512];
};
TAILQ_HEAD(parcels, parcel);

/* Why what this owner holds is being given back. */
enum release {
    RELEASE_NONE,  /* it is not */
    RELEASE_FIRST, /* a predecessor held it */
    RELEASE_DOUBT, /* a lease may have been given to nobody */
    RELEASE_LAST,  /* the end */
};

/* The whole. Only stream.c and stream_outbox.c. */
extern struct stream_state {
    struct stream_options options;
    struct stream_settings settings;
    char *from, *reply_to, *public_url; /* the settings' */
    struct letters *letters;
    char host[65];
    struct event *timer;
    struct parcels waiting, sending, told, committing;
    int64_t waiting_count, sending_count, told_count, committing_count;
    int64_t in_flight;  /* parcels that are */
    int64_t told_since; /* monotonic, of the oldest that is told */
    struct outage outage;
    bool begun;             /* the predecessor's leases are taken over */
    bool doubt;             /* a lease may have been given whose answer was lost */
    bool slowed;            /* the server wants less, and the outbox is not told yet: nothing is leased before */
    bool leasing, renewing; /* a statement of the kind is in flight */
    enum release releasing;
    bool stopping, ended, paused;
    int64_t stop_at;    /* monotonic, stopping: what is being sent is cut */
    int64_t asked;      /* letters, by the lease in flight */
    int64_t lease_sent; /* monotonic */
    int64_t lease_due;  /* monotonic: not before */
    int64_t commit_due; /* the same for results, after a failure */
    int64_t renewed;    /* monotonic: when leases were last renewed */
    char place[128];    /* where the scan goes on; "" = from the start */
    bool from_start;    /* the lease in flight scans from the start */
    int64_t rescan_due; /* monotonic */
    int64_t sent;
} stream_state;

/* By enum smtp_outcome, as turnout.mail_done knows them, and the log. */
extern const char *const stream_outcome_words[];

/* ---- stream.c ---- */

/* Does whatever is due; called after each thing that happens. What it calls may call it again: it does one pass then.
 */
void stream_pump(void);
/* Letters that this process holds, wherever they are. */
int64_t stream_leased_count(void);
/* The parcel is in no list any more. */
void stream_free_parcel(struct parcel *parcel);
/* Those that wait: nothing of them was tried, they are owed again as they were. */
void stream_give_back(const char *why);

/* ---- stream_outbox.c ---- Each asks PostgreSQL; what it answers is taken down before stream_pump is called. `now` is
 * monotonic. */

/* Is there something to tell, and enough of it, or waiting for long enough? */
bool stream_commit_is_due(int64_t now);
/* Tells what became of all letters that are told. */
void stream_commit(void);
/* May more be leased now? */
bool stream_lease_is_due(int64_t now);
/* Leases as many as may wait. */
void stream_lease(int64_t now);
/* When leases are next renewed. */
int64_t stream_renew_due(void);
/* Renews those of all letters that are held. */
void stream_renew(int64_t now);
/* Is what this owner holds to be given back now, so that it can begin or go on? */
bool stream_release_is_due(int64_t now);
/* Gives it back. */
void stream_release(enum release which);
/* Nothing is leased, as far as is known here, and no statement under way that could change that. */
bool stream_is_idle(void);

#endif
