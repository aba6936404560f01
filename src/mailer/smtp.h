/* smtp: sends messages over kept SMTP connections, which libcurl opens. Mailer. It knows nothing of the outbox: each
 * message is answered exactly once with what became of it, in the server's words. */
#ifndef MAILER_SMTP_H
#define MAILER_SMTP_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/object.h"

struct smtp;

enum smtp_tls {
    SMTP_TLS_STARTTLS, /* STARTTLS, or nothing is sent; with smtps: TLS from the first byte */
    SMTP_TLS_TRY,      /* STARTTLS where the server offers it; its certificate is checked all the same */
    SMTP_TLS_OFF,      /* in the clear */
};

struct smtp_options {
    struct event_base *base;
    const char *url; /* smtp://host[:port] or smtps://host[:port] */
    enum smtp_tls tls;
    const char *ca_file;       /* PEM; NULL: the system's */
    const char *user;          /* NULL: no AUTH */
    const char *password_file; /* read at the start and by smtp_change */
    int64_t timeout;           /* microseconds: to connect, and without any progress of one message */
    int64_t connections;       /* at most, and so messages at once */
};

/* What became of a message. */
enum smtp_outcome {
    SMTP_SENT,        /* the server has taken it */
    SMTP_TEMPORARY,   /* refused for now (4xx) */
    SMTP_LOST,        /* no answer, or the connection broke, once the server had heard of the message: it may have been
                         taken, and the message may be what broke it */
    SMTP_PERMANENT,   /* refused for ever (5xx) */
    SMTP_SLOW,        /* the server wants less of us (421, or 45x that speaks of rate) */
    SMTP_UNREACHABLE, /* this host cannot send now: no connection, TLS, greeting, AUTH, or the sender is refused */
    SMTP_GIVEN_UP,    /* by smtp_destroy, or smtp_cancel_all: what became of it is not known */
};

/* `words`: one line of the server's, or of ours, valid during the call. */
typedef void smtp_done(void *context, enum smtp_outcome outcome, const char *words);

struct smtp_message {
    const char *sender;    /* bare addresses */
    const char *recipient; /* one */
    const void *bytes;     /* kept by the caller until `done` */
    size_t length;
    smtp_done *done; /* called from the loop, never from within smtp_send */
    void *context;
};

struct smtp_figures {
    int64_t open;     /* connections that stand */
    int64_t sending;  /* messages that are not answered yet */
    int64_t connects; /* connections made since the start */
    int64_t failures; /* attempts to connect that failed */
};

/* Opens nothing yet. NULL: `error` says what cannot be used (an URL, a file). */
struct smtp *smtp_create(const struct smtp_options *options, char *error, size_t error_size) MUST_CHECK;
/* Settings for messages to come: connections, time-out, password, CA. false: `error`, and the old ones stay. */
bool smtp_change(struct smtp *smtp, const struct smtp_options *options, char *error, size_t error_size) MUST_CHECK;
/* How many more messages may be given now. */
int64_t smtp_room(const struct smtp *smtp);
/* Only while there is room. */
void smtp_send(struct smtp *smtp, const struct smtp_message *message);
/* Cuts what is being sent: each is answered SMTP_GIVEN_UP within the call. */
void smtp_cancel_all(struct smtp *smtp);
void smtp_figures(const struct smtp *smtp, struct smtp_figures *figures);
void smtp_destroy(struct smtp *smtp);

/* Checks what --check-config checks of smtp_url. */
bool smtp_check_url(const char *url, char *error, size_t error_size) MUST_CHECK;

#endif
