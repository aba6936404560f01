/* outage: when this host may try to send again after it could not. Mailer. */
#include "mailer/outage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "shm/statistics.h"

#define WAIT_FIRST INT64_C(1000000)
#define WAIT_MOST INT64_C(60000000)

void outage_failed(struct outage *outage, int64_t begun, const char *words)
{
    int64_t now = clock_monotonic();
    if (outage->failures > 0 && begun < outage->next_try && now < outage->next_try)
        return; /* begun beside the one that failed before */
    int64_t wait = WAIT_FIRST << (outage->failures < 6 ? outage->failures : 6);
    if (wait > WAIT_MOST)
        wait = WAIT_MOST;
    outage->next_try = now + wait - (int64_t)((uint64_t)random() % ((uint64_t)wait / 3));
    /* once for each reason: a server that is away for a night is one line */
    if (outage->failures == 0 || strncmp(outage->words, words, sizeof outage->words - 1) != 0)
        log_error("mail cannot be sent from this host; it stays owed and is tried again", log_text("words", words));
    if (outage->failures++ == 0)
        outage->since = now;
    snprintf(outage->words, sizeof outage->words, "%s", words);
    statistics_set(STATISTICS_MAIL_UNREACHABLE, LABEL_NONE_ONE, LABEL_NONE_ONE, 1);
}

void outage_over(struct outage *outage)
{
    if (outage->failures == 0)
        return;
    log_info("mail can be sent again", log_int("tries", outage->failures),
             log_int("away_us", clock_monotonic() - outage->since));
    *outage = (struct outage){0};
    statistics_set(STATISTICS_MAIL_UNREACHABLE, LABEL_NONE_ONE, LABEL_NONE_ONE, 0);
}

const char *outage_words(const struct outage *outage)
{
    return outage->failures > 0 ? outage->words : "";
}
