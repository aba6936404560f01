/* tally: what is counted of mail. Mailer; it counts in the process's own page. */
#ifndef MAILER_TALLY_H
#define MAILER_TALLY_H

#include <stdint.h>

#include "mailer/smtp.h"

/* The label of a kind of mail; of one that is not known, too. */
unsigned tally_kind(const char *kind);
/* What became of a letter, so many microseconds after it was begun. */
void tally_outcome(unsigned kind, enum smtp_outcome outcome, int64_t microseconds);

#endif
