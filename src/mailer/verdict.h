/* verdict: what an answer of an SMTP server, or its absence, means for the message and for the stream. Mailer; no
 * state. */
#ifndef MAILER_VERDICT_H
#define MAILER_VERDICT_H

#include <stdbool.h>

#include "mailer/smtp.h"

/* How far a message had come: the last command that was sent. */
enum smtp_stage {
    SMTP_STAGE_CONNECT, /* nothing yet, also the greeting */
    SMTP_STAGE_HELLO,
    SMTP_STAGE_TLS,
    SMTP_STAGE_AUTH,
    SMTP_STAGE_MAIL,
    SMTP_STAGE_RECIPIENT,
    SMTP_STAGE_DATA, /* the command alone */
    SMTP_STAGE_BODY, /* bytes of the message */
};

/* How it ended. */
struct smtp_end {
    enum smtp_stage stage;
    int code;          /* of the last answer to that command; 0: there was none */
    bool accepted;     /* libcurl says that the server has taken it */
    const char *words; /* of the server where it answered, else ours; one line */
};

/* The outcome: never SMTP_GIVEN_UP. RFC 5321, 4.2.1 for the classes; RFC 3463 for the enhanced codes. */
enum smtp_outcome verdict_of(const struct smtp_end *end);
/* A kept connection may have been closed by the server while nothing was sent over it: then the message has not begun,
 * and is sent once more over a new one. */
bool verdict_was_stale(const struct smtp_end *end, bool reused);
/* The command that a line of the client begins with; `before` for any other line. */
enum smtp_stage verdict_stage(const char *line, size_t length, enum smtp_stage before);

#endif
