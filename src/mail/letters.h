/* letters: the templates of all kinds in all languages, and the names that may stand in them. For this folder only. */
#ifndef MAIL_LETTERS_H
#define MAIL_LETTERS_H

#include <stddef.h>

#include "base/buffer.h"
#include "mail/letter.h"
#include "mail/template.h"

/* What a template may name; conf/templates/README.md says what each is. */
enum letters_name {
    LETTERS_NAME,
    LETTERS_EMAIL,
    LETTERS_TITLE,
    LETTERS_DESCRIPTION,
    LETTERS_VENUE,
    LETTERS_CATEGORY,
    LETTERS_WHEN,
    LETTERS_DATE,
    LETTERS_TIME,
    LETTERS_TIMEZONE,
    LETTERS_POSITION,
    LETTERS_EVENT_ID,
    LETTERS_REGISTRATION_ID,
    LETTERS_PUBLIC_URL,
    LETTERS_EVENT_URL,
    LETTERS_CALENDAR_URL,
    LETTERS_REGISTRATION_URL,
    LETTERS_SURVEY_URL,
    LETTERS_UNSUBSCRIBE_URL,
    LETTERS_REPLY_TO,
    LETTERS_IS_REGISTERED,
    LETTERS_IS_WAITLISTED,
    LETTERS_IS_CANCELLED,
    LETTERS_HAS_CALENDAR,
    LETTERS_NAMES
};

/* In the order of letters_kinds. */
enum letters_kind {
    LETTERS_CONFIRMATION,
    LETTERS_WAITLISTED,
    LETTERS_PROMOTED,
    LETTERS_CANCELLED,
    LETTERS_CHANGED,
    LETTERS_EVENT_CANCELLED,
    LETTERS_REMINDER,
    LETTERS_SURVEY_INVITATION,
    LETTERS_KINDS
};
/* As the outbox and the files name them. */
extern const char *const letters_kinds[LETTERS_KINDS];

enum letters_part { LETTERS_SUBJECT, LETTERS_TEXT, LETTERS_HTML, LETTERS_PARTS };

struct letters_language {
    char tag[16]; /* of the folder: "ja" */
    struct template *templates[LETTERS_KINDS][LETTERS_PARTS];
};

/* That of the reader's locale: the very tag, else its language, else English. */
const struct letters_language *letters_language_of(const struct letters *letters, const char *locale);

#endif
