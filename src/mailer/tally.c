/* tally: what is counted of mail. Mailer. */
#include "mailer/tally.h"

#include <stddef.h>
#include <string.h>

#include "mail/letters.h"
#include "shm/statistics.h"

_Static_assert((int)LABEL_MAIL_KIND_CONFIRMATION == (int)LETTERS_CONFIRMATION &&
                   (int)LABEL_MAIL_KIND_SURVEY_INVITATION == (int)LETTERS_SURVEY_INVITATION &&
                   (int)LABEL_MAIL_KIND_OTHER == (int)LETTERS_KINDS,
               "the labels are the kinds in their order, and one for all others");

unsigned tally_kind(const char *kind)
{
    for (unsigned i = 0; kind != NULL && i < LETTERS_KINDS; i++) {
        if (strcmp(letters_kinds[i], kind) == 0)
            return i;
    }
    return LABEL_MAIL_KIND_OTHER;
}

void tally_outcome(unsigned kind, enum smtp_outcome outcome, int64_t microseconds)
{
    static const unsigned char outcomes[] = {[SMTP_SENT] = LABEL_MAIL_OUTCOME_SENT,
                                             [SMTP_TEMPORARY] = LABEL_MAIL_OUTCOME_TEMPORARY,
                                             [SMTP_PERMANENT] = LABEL_MAIL_OUTCOME_PERMANENT,
                                             [SMTP_SLOW] = LABEL_MAIL_OUTCOME_SLOW,
                                             [SMTP_UNREACHABLE] = LABEL_MAIL_OUTCOME_UNSENT,
                                             [SMTP_GIVEN_UP] = LABEL_MAIL_OUTCOME_GIVEN_UP,
                                             [SMTP_LOST] = LABEL_MAIL_OUTCOME_LOST};
    statistics_add(STATISTICS_MAIL, kind, outcomes[outcome], 1);
    if (outcome == SMTP_SENT)
        statistics_observe(STATISTICS_MAIL_SECONDS, LABEL_NONE_ONE, microseconds);
}
