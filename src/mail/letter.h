/* letter: from what the outbox says of an owed mail to the bytes of a message (RFC 5322), by the templates of its kind
 * and language. Mailer; the master checks templates with it. It sends nothing and reads no file after letters_read. */
#ifndef MAIL_LETTER_H
#define MAIL_LETTER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/object.h"

/* An address of RFC 5321 with its NUL, and a Message-ID without its angle brackets. */
#define LETTER_ADDRESS_SIZE 320
#define LETTER_MESSAGE_ID_SIZE 320

/* The templates of all kinds in all languages. */
struct letters;

/* Reads and checks every template: FOLDER/LANGUAGE/KIND.{subject,txt,html}; a file of the same name under `own` (NULL:
 * none) stands for the installed one. NULL: `error` names the file, the line and what is wrong. */
struct letters *letters_read(const char *folder, const char *own, char *error, size_t error_size) MUST_CHECK;
void letters_free(struct letters *letters);

/* How this installation writes. All texts belong to the caller. */
struct letter_style {
    const char *from;            /* an address, or `Name <address>` */
    const char *reply_to;        /* the same; NULL: none */
    const char *public_url;      /* of the API as people reach it, without a slash at its end; NULL: no links */
    const char *unsubscribe_url; /* for this person and kind (RFC 8058); NULL: none */
    int64_t now;                 /* realtime, microseconds: the Date */
};

/* One message, ready to be sent. */
struct letter {
    char recipient[LETTER_ADDRESS_SIZE];
    char sender[LETTER_ADDRESS_SIZE]; /* the bare address of `from`: the envelope's */
    char message_id[LETTER_MESSAGE_ID_SIZE];
    struct buffer message; /* lines end with CR LF; dots are not stuffed */
};

/* Checks what --check-config checks of mail_from and mail_reply_to: one address, with or without a name. */
bool letter_check_address(const char *address, char *error, size_t error_size) MUST_CHECK;

/* Writes the message for `owed`, an object as turnout.mail_lease gives it. `letter` is filled; letter_free it also
 * after a failure. false: `error` says what the object lacks (a broken row, never the fault of a text in it). */
bool letter_write(const struct letters *letters, const struct letter_style *style, const json_t *owed,
                  struct letter *letter, char *error, size_t error_size) MUST_CHECK;
/* The message of `turnoutctl mail test`: to `address`, which passed letter_check_address, saying which host sent it. */
void letter_write_test(const struct letter_style *style, const char *address, const char *host, struct letter *letter);
void letter_free(struct letter *letter);

#endif
