/* tally: what is counted of mail. Mailer. */
#include "mailer/tally.h"

#include <stddef.h>
#include <string.h>

#include "shm/statistics.h"

static const char *const kinds[LABEL_MAIL_KIND_COUNT] = {
    [LABEL_MAIL_KIND_CONFIRMATION] = "confirmation",
    [LABEL_MAIL_KIND_WAITLISTED] = "waitlisted",
    [LABEL_MAIL_KIND_PROMOTED] = "promoted",
    [LABEL_MAIL_KIND_CANCELLED] = "cancelled",
    [LABEL_MAIL_KIND_CHANGED] = "changed",
    [LABEL_MAIL_KIND_EVENT_CANCELLED] = "event_cancelled",
    [LABEL_MAIL_KIND_REMINDER] = "reminder",
    [LABEL_MAIL_KIND_SURVEY_INVITATION] = "survey_invitation",
    [LABEL_MAIL_KIND_OTHER] = "other",
};

unsigned tally_kind(const char *kind)
{
    for (unsigned i = 0; kind != NULL && i < LABEL_MAIL_KIND_COUNT; i++) {
        if (strcmp(kinds[i], kind) == 0)
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
