/* claim: what a text about a person must look like, so that the users table can hold it and no mail header or log line
 * breaks by it. Worker. The texts are UTF-8 without NUL and end with one. */
#ifndef IDENTITY_CLAIM_H
#define IDENTITY_CLAIM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/object.h"

/* An issuer, a subject, a name, a department: at most 255 characters, none of them a control character. */
bool claim_is_name(const char *text, size_t length) MUST_CHECK;
/* A language tag or the name of a time zone. */
bool claim_is_short(const char *text, size_t length) MUST_CHECK;
/* Looks like an address, and cannot break out of a mail header: whether it exists is the issuer's word. */
bool claim_is_email(const char *text, size_t length) MUST_CHECK;
/* employee or guest */
bool claim_is_kind(const char *text, size_t length) MUST_CHECK;
/* participant, organizer or admin. One that we do not know is refused, not taken for the lowest: somebody meant
 * something by it. */
bool claim_is_role(const char *text, size_t length) MUST_CHECK;

#endif
